//! Writes the signed file: first another one beside it, so that nobody reads a part.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::zone::SignedRecord;
use crate::error::words;
use crate::zone::text::LineWriter;

/// Writes records to a file, which replaces an older one.
///
/// # Errors
/// It cannot be written; says why. The older file stays.
pub(super) fn write(path: &Path, records: &[SignedRecord]) -> Result<(), String> {
    let (mut text, mut writer) = (String::new(), LineWriter::default());
    records.iter().for_each(|record| writer.put(&record.line(), &mut text));
    let beside = path.with_extension(format!("{:08x}", fastrand::u32(..)));
    let written = put(&beside, &text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // What is left of it is of no use.
        let _ = fs::remove_file(&beside);
        format!("failed to write {}: {}", path.display(), words(&error))
    })
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
