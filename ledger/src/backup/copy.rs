//! Copying with a digest on the way, and reading back what was copied.

use super::manifest::{Listed, damaged};
use crate::error::Error;
use crate::storage::{Access, Storage, StoredFile, create_temporary, full_or, parent, publish};
use cairn_schemas::Blake3;
use std::path::Path;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Feeds `from..to` of a file to `each`, piece by piece.
pub(crate) fn pieces(
    file: &dyn StoredFile,
    path: &Path,
    from: u64,
    to: u64,
    mut each: impl FnMut(&[u8], u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut at, mut buffer) = (from, vec![0; COPY_BYTES.min((to - from) as usize)]);
    while at < to {
        let piece = buffer.len().min((to - at) as usize);
        file.read_exact_at(&mut buffer[..piece], at).map_err(Error::io("reading", path))?;
        each(&buffer[..piece], at)?;
        at += piece as u64;
    }
    Ok(())
}

/// Digest of a file's first bytes.
pub(crate) fn digest(file: &dyn StoredFile, path: &Path, bytes: u64) -> Result<Blake3, Error> {
    let mut hasher = blake3::Hasher::new();
    pieces(file, path, 0, bytes, |piece, _| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(Blake3::from_bytes(*hasher.finalize().as_bytes()))
}

/// Copies a file's first `bytes` under a new name, whole or not at all, and gives their digest.
pub(crate) fn whole(
    from: &dyn StoredFile,
    from_path: &Path,
    bytes: u64,
    (disk, to): (&dyn Storage, &Path),
    access: Access,
) -> Result<Listed, Error> {
    disk.create_dirs(parent(to)).map_err(Error::io("creating", parent(to)))?;
    let file = create_temporary(disk, to, access)?;
    let mut hasher = blake3::Hasher::new();
    pieces(from, from_path, 0, bytes, |piece, at| {
        hasher.update(piece);
        file.write_all_at(piece, at).map_err(full_or("writing", to, piece.len() as u64))
    })?;
    file.sync().map_err(full_or("syncing", to, bytes))?;
    publish(disk, to)?;
    Ok(Listed { bytes, blake3: Blake3::from_bytes(*hasher.finalize().as_bytes()) })
}

/// Adds `kept..bytes` to a file that holds the first `kept` bytes already, and gives the digest of the whole.
///
/// What was there stays as it is, so that an older list that names it holds still.
pub(crate) fn grow(
    from: &dyn StoredFile,
    from_path: &Path,
    kept: u64,
    bytes: u64,
    (disk, to): (&dyn Storage, &Path),
) -> Result<(), Error> {
    let file = disk.open_writable(to).map_err(Error::io("opening", to))?;
    file.set_bytes(kept).map_err(Error::io("cutting", to))?;
    pieces(from, from_path, kept, bytes, |piece, at| {
        file.write_all_at(piece, at).map_err(full_or("writing", to, piece.len() as u64))
    })?;
    file.sync().map_err(full_or("syncing", to, bytes - kept))
}

/// Reads a listed file in a backup and compares; `Ok(false)` where it is gone, shorter or other than listed.
pub(crate) fn holds(disk: &dyn Storage, dir: &Path, path: &str, listed: Listed, grows: bool) -> Result<bool, Error> {
    let at = dir.join(path);
    let Ok(file) = disk.open(&at) else { return Ok(false) };
    let bytes = file.bytes().map_err(Error::io("measuring", &at))?;
    let fits = if grows { bytes >= listed.bytes } else { bytes == listed.bytes };
    Ok(fits && digest(&*file, &at, listed.bytes)? == listed.blake3)
}

/// What reading back must find.
pub(crate) fn check(disk: &dyn Storage, dir: &Path, path: &str, listed: Listed, grows: bool) -> Result<(), Error> {
    match holds(disk, dir, path, listed, grows)? {
        true => Ok(()),
        false => {
            let expected = format!("{} bytes with BLAKE3 {}", listed.bytes, listed.blake3);
            Err(damaged(path, 0, expected, "other bytes, or none"))
        }
    }
}
