//! Directives that are known and cannot be served. They are read, so that the error says what to
//! write in their place.
//!
//! - [`old`]: what CoreDNS itself no longer has, with the lines that took its place
//! - [`external`]: plugins that CoreDNS's own image lacks too
//! - [`clouds`]: zones in an account with a cloud

pub mod clouds;
pub mod external;
pub mod old;

use crate::chain::setup::{Registration, Setup};
use crate::corefile::{Cursor, Severity};
use crate::error::{Complaint, Result};

/// All of them. They come first, because CoreDNS refuses most of them before it sets up anything.
pub const REFUSED: &[Registration] = &[
    refused("proxy"),
    refused("federation"),
    refused("startup"),
    refused("shutdown"),
    refused("reverse"),
    refused("alternate"),
    refused("blocklist"),
    refused("fallback"),
    refused("fanout"),
    refused("k8s_crd"),
    refused("k8s_gateway"),
    refused("kubernetai"),
    refused("lighthouse"),
    refused("mdns"),
    refused("multicluster"),
    refused("netbox"),
    refused("ocp_dnsnameresolver"),
    refused("pdsql"),
    refused("records"),
    refused("redis"),
    refused("redisc"),
    refused("unbound"),
    Registration::bare("azure", clouds::azure),
    Registration::bare("clouddns", clouds::clouddns),
    Registration::bare("route53", clouds::route53),
];

const fn refused(name: &'static str) -> Registration {
    Registration::bare(name, unknown)
}

/// Refuses all such directives of the block, from the top as CoreDNS does, and says what to do. It
/// runs once for each of them; repeated reports count once.
fn unknown(s: &mut Setup<'_>) -> Result<()> {
    let is_unknown = |name: &str| REFUSED.iter().any(|known| known.name == name && !clouds::NAMES.contains(&name));
    let mut all = Vec::new();
    for directive in s.block.directives.iter().filter(|directive| is_unknown(&directive.name)) {
        let mut cursor = Cursor::new(directive);
        while cursor.next_occurrence() {
            // The words after a block that ended early are skipped.
            if cursor.word().as_str() == directive.name {
                all.push(complaint(&mut cursor));
            }
        }
    }
    all.sort_by_key(|complaint| complaint.position.as_ref().map(|position| position.line));
    let cursor = s.cursor();
    all.into_iter().for_each(|complaint| cursor.report(Severity::Error, complaint));
    Ok(())
}

/// Returns the complaint about the occurrence that the cursor stands on.
fn complaint(cursor: &mut Cursor<'_>) -> Complaint {
    let name = cursor.plugin();
    let complaint = cursor.word().complain(format!("Error during parsing: Unknown directive '{name}'"));
    let said = old::Said::read(cursor);
    let hints = match old::replacement(name, &said) {
        Some(new) => new.hints(),
        None => vec![
            format!("{name} is an external plugin, which is not in CoreDNS's own image either"),
            external::advice(name, &said),
        ],
    };
    hints.into_iter().fold(complaint, Complaint::hint)
}

#[cfg(test)]
mod tests {
    use super::REFUSED;
    use crate::plugins::{KNOWN, names};
    use crate::testing::Server;

    /// Returns the first error about a server block with these lines.
    fn error(lines: &str) -> String {
        let text = format!(".:1053 {{\n{lines}\n}}\n");
        Server::with_plugins(&KNOWN, &text).err().expect("refused").to_string()
    }

    #[test]
    fn old_directives_are_refused_with_the_lines_to_write() {
        let got = error("proxy . 8.8.8.8");
        let wanted = "Corefile:2 - Error during parsing: Unknown directive 'proxy'\n  2 | proxy . 8.8.8.8\n    | ^^^^^\n\
                      help: write `forward . 8.8.8.8`";
        assert!(got.starts_with(wanted), "{got}");
        let startup = error("startup /bin/a b\nwhoami");
        assert!(startup.contains("help: write `on startup /bin/a b`"), "{startup}");
        let all = error("proxy a.example \"b c\" {\npolicy least_conn\nmax_fails 0\nexcept x y\n}\nwhoami");
        for wanted in [
            "help: write\n    forward a.example \"b c\" {\n        max_fails 0\n        except x y\n    }",
            "help: `policy least_conn`",
        ] {
            assert!(all.contains(wanted), "{wanted}\nis not in\n{all}");
        }
    }

    #[test]
    fn the_first_one_in_the_file_is_the_first_error() {
        let got = error("mdns\nwhoami\nproxy . 192.0.2.1\nfederation");
        assert!(got.starts_with("Corefile:2 - Error during parsing: Unknown directive 'mdns'"), "{got}");
    }

    #[test]
    fn external_plugins_are_named() {
        let got = error("fallback NXDOMAIN . 192.0.2.1:53\nforward . 192.0.2.2");
        for wanted in [
            "Corefile:2 - Error during parsing: Unknown directive 'fallback'",
            "help: fallback is an external plugin, which is not in CoreDNS's own image either",
            "next NXDOMAIN",
        ] {
            assert!(got.contains(wanted), "{got}");
        }
        for registration in REFUSED {
            assert!(!names().contains(&registration.name), "{} is served", registration.name);
        }
    }
}
