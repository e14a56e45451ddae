//! Writes the signed file: first another one beside it, so that nobody reads a part.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use super::zone::SignedRecord;
use crate::error::words;
use crate::zone::text::LineWriter;

/// Writes records to a file, which replaces an older one. It is as old as what was read for it,
/// which `began` says: what changes from then on is newer.
///
/// # Errors
/// It cannot be written; says why. The older file stays.
pub(super) fn write(path: &Path, records: &[SignedRecord], began: SystemTime) -> Result<(), String> {
    let (mut text, mut writer) = (String::new(), LineWriter::default());
    records.iter().for_each(|record| writer.put(&record.line(), &mut text));
    let beside = path.with_extension(format!("{:08x}", fastrand::u32(..)));
    let written = put(&beside, &text, began).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // What is left of it is of no use.
        let _ = fs::remove_file(&beside);
        format!("failed to write {}: {}", path.display(), words(&error))
    })
}

fn put(path: &Path, text: &str, began: SystemTime) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_modified(began)?;
    file.sync_all()
}
