//! The file: a head that tells whether the rest is whole, then who wrote it and when, then objects.
//!
//! It is written beside its place and renamed, so a reader finds the old one or the new one. The
//! file beside it is locked while it is written: replicas on one node may share a `hostPath`.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::octets::{Octets, put_number, put_text};
use crate::error::words;

/// The first octets of every snapshot.
const MAGIC: &[u8; 8] = b"signpost";
/// The version of the form that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Octets before the body: magic, version, length and SHA-256 of the body.
const HEAD: u64 = 8 + 4 + 8 + 32;
/// Octets that a file may have. One of 5,000 nodes has 10 MB.
const LARGEST: u64 = 256 << 20;
/// Attempts to lock the file that another process renames meanwhile.
const ATTEMPTS: usize = 8;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// When its data were last known to be right, in seconds since 1970.
    pub(super) as_of: u64,
    /// Marks of the cluster, with spaces between.
    pub(super) cluster: String,
    /// Which objects it has, and what is kept of them.
    pub(super) content: String,
}

/// A snapshot that is whole.
pub(super) struct Contents {
    pub(super) about: About,
    octets: Vec<u8>,
    /// Where the records begin.
    records: usize,
}

impl Contents {
    /// The records of its objects.
    pub(super) fn records(&self) -> &[u8] {
        &self.octets[self.records..]
    }
}

//----------- Reading --------------------------------------------------------

/// Reads a file. Returns `None` if there is none.
///
/// # Errors
/// Why it is of no use.
pub(super) fn read(path: &Path) -> Result<Option<Contents>, String> {
    // Opening a pipe would wait for its other end.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(words(&error)),
    };
    let metadata = file.metadata().map_err(|error| words(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > LARGEST {
        return Err(format!("it has {} octets, more than any snapshot", metadata.len()));
    }
    let mut octets = Vec::with_capacity(metadata.len() as usize);
    file.take(LARGEST).read_to_end(&mut octets).map_err(|error| words(&error))?;
    whole(octets).map(Some)
}

/// Checks that a file is whole.
pub(super) fn whole(octets: Vec<u8>) -> Result<Contents, String> {
    let mut head = Octets(&octets);
    if head.array() != Some(*MAGIC) {
        return Err("it does not begin like a snapshot".to_owned());
    }
    let short = || "it is cut short".to_owned();
    let version = u32::from_be_bytes(head.array().ok_or_else(short)?);
    if version != VERSION {
        return Err(format!("it has version {version} of the form, and this program reads version {VERSION}"));
    }
    let len = u64::from_be_bytes(head.array().ok_or_else(short)?);
    let sum: [u8; 32] = head.array().ok_or_else(short)?;
    let body = head.0;
    if (body.len() as u64) < len {
        return Err(format!("it is cut short: {} of {} octets", octets.len(), HEAD.saturating_add(len)));
    }
    if body.len() as u64 != len || Sha256::digest(body)[..] != sum {
        return Err("it is damaged: its checksum is wrong".to_owned());
    }
    let about = about(&mut head).ok_or("its head cannot be read")?;
    let records = octets.len() - head.0.len();
    Ok(Contents { about, octets, records })
}

fn about(octets: &mut Octets<'_>) -> Option<About> {
    let (as_of, cluster, content) = (octets.number()?, octets.text()?.to_owned(), octets.text()?.to_owned());
    Some(About { as_of, cluster, content })
}

//----------- Writing --------------------------------------------------------

/// Writes a file; `records` writes the records of its objects.
pub(super) fn write(
    path: &Path,
    about: &About,
    records: impl FnOnce(&mut Body<BufWriter<&File>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let file = locked(&beside)?;
    let written = fill(&file, about, records).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // Half a file helps nobody, and its room may be what is missing.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Opens the file beside, empty and locked: no other process renames it.
fn locked(beside: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        // Whoever may write to the folder must not choose another file with a link.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(beside)?;
        file.try_lock()?;
        // The one that had the lock before may have renamed it.
        if std::fs::metadata(beside).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino())) {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.set_len(0)?;
            return Ok(file);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn fill(
    mut file: &File,
    about: &About,
    records: impl FnOnce(&mut Body<BufWriter<&File>>) -> io::Result<()>,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(HEAD))?;
    let mut body = Body { out: BufWriter::new(file), sum: Sha256::new(), len: 0 };
    let mut head = Vec::new();
    put_number(&mut head, about.as_of);
    put_text(&mut head, &about.cluster);
    put_text(&mut head, &about.content);
    body.write_all(&head)?;
    records(&mut body)?;
    body.flush()?;
    let Body { sum, len, .. } = body;
    let head = [&MAGIC[..], &VERSION.to_be_bytes(), &len.to_be_bytes(), &sum.finalize()].concat();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&head)?;
    file.sync_all()
}

/// Counts and sums up what is written.
pub(super) struct Body<W> {
    out: W,
    sum: Sha256,
    len: u64,
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.out.write(octets)?;
        self.sum.update(&octets[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
