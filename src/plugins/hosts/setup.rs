//! Reads the directive from the Corefile.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::Source;
use super::parse::Parsed;
use crate::chain::options::{OptionOf, OptionsOf, set, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Severity, Word, nearest, value};
use crate::error::{Result, is_out_of_files, words};
use crate::wire::name::Name;

/// The default of FILE.
const DEFAULT: &str = "/etc/hosts";

/// The contents of a directive.
pub(super) struct Directive {
    pub(super) source: Source,
    pub(super) reload: Duration,
    pub(super) fallthrough: Fallthrough,
    pub(super) unsupported_falls: bool,
}

/// Reads the directive, which may occur once in a block.
pub(super) fn read(s: &Setup<'_>) -> Result<Directive> {
    let mut cursor = s.cursor();
    let mut read = None;
    while cursor.only_occurrence()? {
        read = Some(directive(s, &mut cursor)?);
    }
    read.ok_or_else(|| cursor.arg_err())
}

fn directive(s: &Setup<'_>, cursor: &mut Cursor<'_>) -> Result<Directive> {
    let args = cursor.args();
    let (path, zones) = match args.split_first() {
        Some((file, zones)) => (path(s, cursor, file)?, zones),
        None => (PathBuf::from(DEFAULT), [].as_slice()),
    };
    readable(cursor, args.first().copied().unwrap_or(cursor.word()), &path)?;
    let zones = Zones::read(cursor, zones, s.keys);
    let mut read = Directive {
        source: Source { path, zones, inline: Vec::new(), ttl: 3600, reverse: true },
        reload: Duration::from_secs(5),
        fallthrough: Fallthrough::default(),
        unsupported_falls: false,
    };
    while cursor.next_option() {
        let first = cursor.word();
        match OPTIONS.find(first.as_str()) {
            Some(option) => (option.read)(cursor, &mut read, s)?,
            None if read.fallthrough.is_empty() => inline(cursor, first, &mut read.source),
            None => return Err(not_an_option(cursor, first)),
        }
    }
    if read.unsupported_falls && read.fallthrough.is_empty() {
        return Err(cursor.error("fallthrough_unsupported requires fallthrough"));
    }
    Ok(read)
}

/// Returns the path of FILE. A missing file is only a warning: it may appear later.
fn path(s: &Setup<'_>, cursor: &Cursor<'_>, file: &Word) -> Result<PathBuf> {
    let path = s.path(file.as_str());
    let shown = path.display();
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            cursor.warn(file, format!("Hosts file {} is a directory", value::quote(&shown.to_string())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            cursor.warn(file, format!("File does not exist: {shown}"));
        }
        Err(error) => {
            let why = words(&error);
            return Err(cursor.error_at(file, format!("unable to access hosts file '{shown}': {why}")));
        }
    }
    Ok(path)
}

/// Checks that the file can be read if it exists. Too many open files are an error: a reload at
/// that moment would lose the entries.
fn readable(cursor: &Cursor<'_>, word: &Word, path: &Path) -> Result<()> {
    let Err(error) = File::open(path) else { return Ok(()) };
    let message = format!("hosts file '{}' cannot be read: {}", path.display(), words(&error));
    match error.kind() {
        ErrorKind::NotFound => {}
        _ if is_out_of_files(&error) => return Err(cursor.error_at(word, message)),
        _ => cursor.warn(word, message),
    }
    Ok(())
}

//----------- Options --------------------------------------------------------

pub(super) static OPTIONS: OptionsOf<Directive> = OptionsOf {
    all: &[
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that have no entry are passed to the next plugin.",
            read: |cursor, directive, _| {
                let zones = cursor.args();
                directive.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
        OptionOf {
            name: "fallthrough_unsupported",
            form: "",
            about: "Questions for other types than A, AAAA and PTR are passed to the next plugin. It needs `fallthrough`.",
            read: |cursor, directive, _| set(cursor, &mut directive.unsupported_falls),
        },
        OptionOf {
            name: "no_reverse",
            form: "",
            about: "There are no PTR records.",
            // The rest of the line is read as another option, as in CoreDNS.
            read: |_, directive, _| {
                directive.source.reverse = false;
                Ok(())
            },
        },
        OptionOf {
            name: "reload",
            form: "DURATION",
            about: "How often the server looks whether the file has changed (5s); with 0s it is read once.",
            read: |cursor, directive, _| {
                directive.reload = reload(cursor)?;
                Ok(())
            },
        },
        OptionOf {
            name: "ttl",
            form: "SECONDS",
            about: "The TTL of all records, 1 to 65535 (3600).",
            read: |cursor, directive, _| {
                directive.source.ttl = ttl(cursor)?;
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

fn ttl(cursor: &mut Cursor<'_>) -> Result<u32> {
    let Some(&word) = cursor.args().first() else {
        return Err(cursor.error("ttl needs a time in second"));
    };
    let seconds = value::integer(word.as_str()).map_err(|_| cursor.error_at(word, "ttl needs a number of second"))?;
    match u16::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(seconds.into()),
        _ => {
            let complaint = cursor.complain(word, "Error during parsing: ttl provided is invalid");
            Err(complaint.hint("a ttl is from 1 to 65535 seconds").into())
        }
    }
}

fn reload(cursor: &mut Cursor<'_>) -> Result<Duration> {
    let [word] = cursor.args()[..] else {
        return Err(cursor.error("reload needs a duration (zero seconds to disable)"));
    };
    let span = value::duration(word.as_str());
    let span = span.map_err(|_| cursor.error_at(word, format!("invalid duration for reload '{word}'")))?;
    span.duration().ok_or_else(|| cursor.error_at(word, format!("invalid negative duration for reload '{word}'")))
}

/// Explains a word after `fallthrough` that is not an option: entries must stand above it.
fn not_an_option(cursor: &Cursor<'_>, word: &Word) -> crate::error::Error {
    let is_entry = value::ip(word.as_str().split('%').next().unwrap_or_default()).is_some();
    match is_entry {
        true => cursor.complain(word, unknown_property(word)).hint("entries stand above 'fallthrough'").into(),
        false => OPTIONS.unknown(cursor),
    }
}

/// Reads a line in hosts format. Every line is accepted, as in CoreDNS; bad ones get a warning.
fn inline(cursor: &mut Cursor<'_>, first: &Word, source: &mut Source) {
    let words: Vec<&str> = std::iter::once(first).chain(cursor.args()).map(Word::as_str).collect();
    let cursor = &*cursor;
    let is_wanted = |name: &Name| {
        let wanted = source.zones.holds(name);
        if !wanted {
            cursor.warn(first, format!("{name} is in none of the zones of 'hosts', dropping the name"));
        }
        wanted
    };
    let parsed = Parsed::read(words.join(" ").as_bytes(), is_wanted);
    let meant = nearest(first.as_str(), OPTIONS.names());
    let hint = meant.map(|option| format!("did you mean '{option}'?")).unwrap_or_default();
    for mistake in &parsed.mistakes {
        cursor.report(Severity::Warning, cursor.complain(first, mistake.what.clone()).hint(&hint));
    }
    source.inline.extend(parsed.entries);
}
