//! Reads the directive.

use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::Cursor;
use crate::dnssec::files;
use crate::dnssec::key::Key;
use crate::error::Result;

/// Sets of records whose signatures are kept, as in CoreDNS.
const CAPACITY: u64 = 10_000;

/// What the directive says.
pub(super) struct Options {
    pub(super) zones: Zones,
    pub(super) keys: Vec<Key>,
    pub(super) capacity: u64,
}

pub(super) static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "key",
            form: "file KEY...",
            about: "The key pairs that sign, in files of BIND's `dnssec-keygen`, relative to *root*: the path of `K*.key`, \
                    of `K*.private`, or of both without their endings. The option may stand several times.",
            read: key,
        },
        OptionOf {
            name: "cache_capacity",
            form: "CAPACITY",
            about: "How many sets of records have their signatures kept (10000).",
            read: |cursor, options, _| {
                let word = cursor.expect_arg()?;
                options.capacity = cursor.integer(word)?.try_into().unwrap_or_default();
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
                let read = files::read(&s.path(word.as_str()));
                options.keys.push(read.map_err(|why| cursor.error_at(word, why))?);
            }
            Ok(())
        }
        "aws_secretsmanager" => {
            cursor.args_of(1..)?;
            let complaint = cursor
                .complain(source, "keys in AWS Secrets Manager are not read: they need an account with that cloud");
            Err(complaint.hint("mount the key files from a Secret, and name them with `key file`").into())
        }
        _ => {
            // CoreDNS reads no key, and takes the words behind it as options.
            cursor.warn(source, "no key is read from here: write `key file KEY`");
            Ok(())
        }
    }
}

impl Options {
    pub(super) fn read(s: &Setup<'_>) -> Result<Self> {
        let mut options = Self { zones: Zones::default(), keys: Vec::new(), capacity: CAPACITY };
        let mut cursor = s.cursor();
        while cursor.only_occurrence()? {
            let directive = cursor.word();
            let words = cursor.args();
            options.zones = Zones::read(&cursor, &words, s.keys);
            OPTIONS.read(&mut cursor, &mut options, s)?;
            if options.keys.is_empty() {
                cursor.warn(directive, "there is no key: nothing is signed");
            }
        }
        let fits = |key: &&Key| options.zones.iter().any(|zone| zone.is_under(&key.name));
        if let Some(key) = options.keys.iter().find(|key| !fits(key)) {
            let (name, tag) = (key.name, key.tag());
            let complaint =
                cursor.complain(cursor.word(), format!("key {name} (keyid: {tag}) can not sign any of the zones"));
            return Err(complaint.hint("a key signs the zone of its own name, and zones below it").into());
        }
        Ok(options)
    }
}
