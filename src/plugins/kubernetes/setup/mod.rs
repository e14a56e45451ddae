//! The directive: from the Corefile to options.

mod options;
mod reader;

pub(super) use self::options::OPTIONS;
use self::reader::Reader;
use super::answers::name::Schema;
use super::answers::options::Options;
use super::answers::zone::Zone;
use super::reading::options::SourceOptions;
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::address::is_reverse;
use crate::corefile::{Cursor, Word};
use crate::error::{Complaint, Result};
use crate::wire::name::Name;

/// What a directive says.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) zones: Zones,
    pub(super) multicluster: Zones,
    pub(super) primary: Name,
    pub(super) options: Options,
    pub(super) source: SourceOptions,
    /// The file of `snapshot`.
    pub(super) snapshot: Option<Word>,
    /// The directive, for complaints.
    pub(super) written: Complaint,
}

impl Directive {
    /// The zones with what answers need to know of them.
    pub(super) fn served(&self) -> Vec<Zone> {
        let schema = |zone: &Name| {
            let (multicluster, zonal) = (self.multicluster.contains(zone), self.source.zonal);
            Schema { multicluster, zonal, ..Schema::default() }
        };
        self.zones.iter().map(|zone| Zone::new(*zone, schema(zone), self.options.ttl)).collect()
    }

    /// The zones in which no name is ever asked of the next plugin.
    pub(super) fn own_zones(&self) -> impl Iterator<Item = Name> + '_ {
        self.options.fallthrough.never(&self.zones)
    }
}

/// Reads the directive of one server block.
pub(super) fn read(s: &Setup<'_>) -> Result<Directive> {
    let mut cursor = s.cursor();
    let mut read = None;
    while cursor.only_occurrence()? {
        read = Some(directive(s, &mut cursor)?);
    }
    read.ok_or_else(|| cursor.arg_err())
}

fn directive(s: &Setup<'_>, cursor: &mut Cursor<'_>) -> Result<Directive> {
    let (written, arguments) = (cursor.complain(cursor.word(), ""), cursor.args());
    let zones = Zones::read(cursor, &arguments, s.keys);
    let primary = zones.iter().find(|zone| !is_reverse(&zone.to_string())).copied();
    let Some(primary) = primary else {
        let complaint = cursor.complain(cursor.word(), "non-reverse zone name must be used");
        return Err(complaint.hint("name the cluster's domain as well, such as cluster.local").into());
    };
    let mut reader = Reader::new();
    OPTIONS.read(cursor, &mut reader, s)?;
    reader.check(s, cursor, &zones)?;
    let Reader { options, source, multicluster, snapshot, .. } = reader;
    let snapshot = snapshot.map(|(word, _)| word);
    Ok(Directive { zones, multicluster, primary, options, source, snapshot, written })
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn a_snapshot_is_one_file_of_one_source() {
        let refusal = |option: &str| Server::refusal(&format!("kubernetes cluster.local {{\n{option}\n}}"));
        assert_eq!(refusal("snapshot kept"), "");
        assert_eq!(refusal("snapshot kept 2h"), "");
        for (option, end) in [
            ("snapshot", "unexpected line ending after 'snapshot'"),
            ("snapshot kept 0s", "MAX_AGE must be positive: 0s"),
            ("snapshot kept soon", "invalid duration \"soon\""),
            ("snapshot kept 1h 2h", "unexpected line ending after '2h'"),
            ("manifests src\nsnapshot kept", "it cannot be set with manifests"),
        ] {
            assert!(refusal(option).ends_with(end), "{option}: {}", refusal(option));
        }
        let two = |second: &str| {
            let block = |port: u16, more: &str| {
                format!(".:{port} {{\nkubernetes cluster.local {{\nsnapshot kept\n{more}\n}}\n}}\n")
            };
            Server::try_new(&(block(1053, "") + &block(1054, second))).err().map(|error| error.to_string())
        };
        assert_eq!(two(""), None, "equal directives share what is known");
        let said = two("ttl 7").unwrap_or_default();
        assert!(said.starts_with("plugin/kubernetes: Corefile:9 - kept is written for Corefile:3 already"), "{said}");
    }
}
