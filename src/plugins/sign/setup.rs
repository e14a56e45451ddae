//! Reads the directives.

use std::path::PathBuf;

use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::Cursor;
use crate::dnssec::files;
use crate::dnssec::key::Key;
use crate::error::Result;

/// What one directive says.
pub(super) struct Options {
    pub(super) file: PathBuf,
    pub(super) zones: Zones,
    pub(super) keys: Vec<Key>,
    pub(super) directory: PathBuf,
}

pub(super) static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "key",
            form: "file KEY...",
            about: "The key pairs that sign, in files of BIND's `dnssec-keygen`, relative to *root*: the path of `K*.key`, \
                    of `K*.private`, or of both without their endings. They must have the SEP flag (KSK). The option may \
                    stand several times.",
            read: key,
        },
        OptionOf {
            name: "directory",
            form: "DIR",
            about: "The folder that signed files are written to (`/var/lib/coredns`), relative to *root*.",
            read: |cursor, options, s| {
                let words = cursor.args();
                let [word] = words[..] else {
                    return Err(cursor.complain(cursor.word(), "can only be one argument after \"directory\"").into());
                };
                options.directory = s.path(word.as_str());
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

fn key(cursor: &mut Cursor<'_>, options: &mut Options, s: &Setup<'_>) -> Result<()> {
    let source = cursor.expect_arg()?;
    match source.as_str() {
        "file" => {
            for word in cursor.args_of(1..)? {
                let key = files::read(&s.path(word.as_str())).map_err(|why| cursor.error_at(word, why))?;
                if !key.is_ksk() {
                    let complaint = cursor.complain(word, format!("DNSKEY in \"{word}\" is not a CSK/KSK"));
                    return Err(complaint.hint("make it with `dnssec-keygen -f KSK`").into());
                }
                options.keys.push(key);
            }
            Ok(())
        }
        "directory" => {
            let complaint = cursor.complain(source, "directory: not implemented");
            Err(complaint.hint("name each key with `key file`, as CoreDNS needs it too").into())
        }
        _ => {
            // CoreDNS reads no key, and takes the words behind it as options.
            cursor.warn(source, "no key is read from here: write `key file KEY`");
            Ok(())
        }
    }
}

impl Options {
    pub(super) fn read(s: &Setup<'_>) -> Result<Vec<Self>> {
        let (mut cursor, mut all) = (s.cursor(), Vec::new());
        while cursor.next_occurrence() {
            let directive = cursor.word();
            let file = s.path(cursor.expect_arg()?.as_str());
            let words = cursor.args();
            let zones = Zones::read(&cursor, &words, s.keys);
            let mut options = Self { file, zones, keys: Vec::new(), directory: PathBuf::from("/var/lib/coredns") };
            OPTIONS.read(&mut cursor, &mut options, s)?;
            if options.keys.is_empty() {
                // CoreDNS writes a file without signatures, which no resolver that validates takes.
                cursor.warn(directive, "there is no key: nothing is signed");
            } else {
                all.push(options);
            }
        }
        Ok(all)
    }
}
