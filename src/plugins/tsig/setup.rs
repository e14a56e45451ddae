//! Reads the directive.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::secrets::{self, Written};
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::signing::Secrets;
use crate::chain::zones::{self, Zones};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::wire::types::{opcode_number, type_number};

/// What the directive says.
#[derive(Default)]
pub(super) struct Options {
    pub(super) zones: Zones,
    pub(super) required: Required,
    pub(super) secrets: Secrets,
}

/// Which messages must be signed.
#[derive(Default)]
pub(super) struct Required {
    all_types: bool,
    types: Vec<u16>,
    all_opcodes: bool,
    opcodes: Vec<u8>,
}

impl Required {
    /// Returns whether a message with this type in its question and this opcode must be signed.
    pub(super) fn holds(&self, qtype: u16, opcode: u8) -> bool {
        self.all_types || self.types.contains(&qtype) || self.all_opcodes || self.opcodes.contains(&opcode)
    }
}

const OPCODES: [&str; 5] = ["QUERY", "IQUERY", "STATUS", "NOTIFY", "UPDATE"];

pub(super) static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "secret",
            form: "NAME KEY",
            about: "The name of a key, and its secret in Base64. The option may stand several times.",
            read: |cursor, options, _| {
                let words = cursor.args_of(2..=2)?;
                let Some(name) = zones::name(cursor, words[0]) else { return Ok(()) };
                options.add(cursor, words[0], Written { name, secret: words[1].as_str().to_owned() })
            },
        },
        OptionOf {
            name: "secrets",
            form: "FILE",
            about: "More keys from a file, in the form of `named.conf` (see Examples). A changed file is read with the next reload.",
            read: |cursor, options, _| {
                let words = cursor.args_of(1..=1)?;
                let file = words[0];
                // Not relative to `root`, as in CoreDNS.
                let read = secrets::read(Path::new(file.as_str()));
                for written in read.map_err(|why| cursor.error_at(file, why))? {
                    options.add(cursor, file, written)?;
                }
                Ok(())
            },
        },
        OptionOf {
            name: "require",
            form: "all|none|QTYPE...",
            about: "Questions for these types must be signed (none): others get REFUSED.",
            read: |cursor, options, _| {
                options.required.types.clear();
                let words = cursor.args_of(1..)?;
                match words[0].as_str() {
                    "all" => options.required.all_types = true,
                    "none" => {}
                    _ => options.required.types = numbers(cursor, &words, "query type", type_number)?,
                }
                Ok(())
            },
        },
        OptionOf {
            name: "require_opcode",
            form: "all|none|OPCODE...",
            about: "Messages with these opcodes must be signed (none): `QUERY`, `NOTIFY`. The others, `IQUERY`, `STATUS` \
                    and `UPDATE`, are answered NOTIMP with or without a signature.",
            read: |cursor, options, _| {
                options.required.opcodes.clear();
                let words = cursor.args_of(1..)?;
                match words[0].as_str() {
                    "all" => options.required.all_opcodes = true,
                    "none" => {}
                    _ => options.required.opcodes = numbers(cursor, &words, "opcode", opcode_number)?,
                }
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

impl Options {
    pub(super) fn read(s: &Setup<'_>) -> Result<Self> {
        let (mut cursor, mut options) = (s.cursor(), Self::default());
        while cursor.only_occurrence()? {
            let words = cursor.args();
            options.zones = Zones::read(&cursor, &words, s.keys);
            OPTIONS.read(&mut cursor, &mut options, s)?;
        }
        Ok(options)
    }

    /// Adds a key. One whose secret is not Base64 is known, and accepts no signature, as in
    /// CoreDNS.
    fn add(&mut self, cursor: &Cursor<'_>, word: &Word, written: Written) -> Result<()> {
        let Written { name, secret } = written;
        if self.secrets.contains_key(&name) {
            let name = value::quote(&name.to_string());
            return Err(cursor.error_at(word, format!("key {name} redefined")));
        }
        let octets = STANDARD.decode(&secret).unwrap_or_else(|_| {
            cursor.warn(word, format!("the secret of the key {name} is not Base64: no signature with it is accepted"));
            rand::random::<[u8; 32]>().to_vec()
        });
        self.secrets.insert(name, octets.into());
        Ok(())
    }
}

fn numbers<T>(cursor: &Cursor<'_>, words: &[&Word], what: &str, number: fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let read = |word: &&Word| match number(word.as_str()) {
        Some(number) => Ok(number),
        None if what == "opcode" => {
            Err(cursor.unknown(word, format!("Error during parsing: unknown opcode '{word}'"), &OPCODES))
        }
        None => {
            let complaint = cursor.complain(word, format!("Error during parsing: unknown {what} '{word}'"));
            Err(complaint.hint("types are written in upper case: A, AXFR, SOA").into())
        }
    };
    words.iter().map(read).collect()
}
