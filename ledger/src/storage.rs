//! The contract between the ledger and the disk: the few file operations that durability rests on.
//!
//! Everything the log writes goes through here, so that a disk that loses, tears or refuses writes can be put in place.

mod fs;
mod tier;

use crate::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use fs::FileSystem;
pub use tier::ObjectStoreConfig;
pub(crate) use tier::{OBJECT_STORE_FILE, behind};

/// Who may read a new file: keys are for the owner alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Owner,
    Default,
}

/// A disk. A name is durable only after [`Storage::sync_dir`] on its folder, content only after a sync of its file.
pub trait Storage: Send + Sync {
    /// Creates a file for reading and writing; fails where the name is taken.
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>>;
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Opens an existing file for reading and writing.
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Takes a lock that lives as long as the returned file, creating it if need be; `None` where another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn StoredFile>>>;
    /// Creates a folder and those above it, and makes their names durable, its own also where it existed.
    fn create_dirs(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` by `from` in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that can still be written where this folder stands. A disk that cannot tell has no end.
    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    /// Names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Told that a log's folder of segments holds newly sealed ones, and at each opening: a disk that keeps them somewhere
    /// else too does its part now. What fails is tried again the next time.
    fn sealed(&self, _segments: &Path) {}
}

/// An open file, addressed by offset.
pub trait StoredFile: Send + Sync {
    fn bytes(&self) -> io::Result<u64>;
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()>;
    fn set_bytes(&self, length: u64) -> io::Result<()>;
    /// Makes the file this long and its blocks its own, so that nothing else can take their room.
    fn reserve(&self, length: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut at = self.bytes()?;
        while at < length {
            let piece = (length - at).min(ZEROS.len() as u64);
            self.write_all_at(&ZEROS[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }
    /// Makes content and length durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

/// Suffix of files being written; whatever bears it after a crash is worthless.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// Most bytes read at once from a small file (keys, checkpoints, markers).
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;

/// The name a file has while it is being written.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().expect("ledger files stand in a folder")
}

/// Creates `path`'s temporary twin, dropping a leftover one.
pub(crate) fn create_temporary(disk: &dyn Storage, path: &Path, access: Access) -> Result<Arc<dyn StoredFile>, Error> {
    let temporary = temporary(path);
    match disk.remove(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", &temporary)(e)),
        _ => {}
    }
    disk.create_new(&temporary, access).map_err(full_or("creating", &temporary, 0))
}

/// Gives the synced temporary file its name, durably.
pub(crate) fn publish(disk: &dyn Storage, path: &Path) -> Result<(), Error> {
    disk.rename(&temporary(path), path).map_err(Error::io("renaming to", path))?;
    disk.sync_dir(parent(path)).map_err(Error::io("syncing the folder of", path))
}

/// Writes a small file whole or not at all: temporary file, sync, rename, sync of the folder.
pub(crate) fn write_whole(disk: &dyn Storage, path: &Path, access: Access, bytes: &[u8]) -> Result<(), Error> {
    let file = create_temporary(disk, path, access)?;
    let length = bytes.len() as u64;
    file.write_all_at(bytes, 0).map_err(full_or("writing", path, length))?;
    file.sync().map_err(full_or("syncing", path, length))?;
    publish(disk, path)
}

/// Names in a folder; none where there is no such folder.
pub(crate) fn list_if_any(disk: &dyn Storage, path: &Path) -> Result<Vec<String>, Error> {
    match disk.list(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(Error::io("listing", path)),
    }
}

/// Reads a small file; `None` where there is none.
pub(crate) fn read_small(disk: &dyn Storage, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("opening", path)(e)),
    };
    let length = file.bytes().map_err(Error::io("measuring", path))?;
    let mut bytes = vec![0; length.min(SMALL_FILE_BYTES_MAX) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("reading", path))?;
    Ok(Some(bytes))
}

/// Whether an error means that the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Names a full disk as such, everything else as an I/O error.
pub(crate) fn full_or(action: &'static str, path: &Path, bytes: u64) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |e| match is_full(&e) {
        true => Error::DiskFull { bytes, path },
        false => Error::Io { action, path, source: e },
    }
}

/// Reads a file from front to back through one growing buffer.
pub(crate) struct Window<'a> {
    file: &'a dyn StoredFile,
    file_bytes: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Window<'a> {
    /// Bytes fetched at once; a longer request is fetched in one piece.
    const FETCH_BYTES: u64 = 1 << 20;

    pub(crate) fn new(file: &'a dyn StoredFile, file_bytes: u64) -> Self {
        Self { file, file_bytes, buffer: Vec::new(), buffer_at: 0 }
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes from `offset`: as many as asked for, fewer at the end of the file.
    pub(crate) fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let offset = offset.min(self.file_bytes);
        let length = (length as u64).min(self.file_bytes - offset);
        let buffered = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if offset < buffered.start || offset + length > buffered.end {
            let fetch = length.max(Self::FETCH_BYTES).min(self.file_bytes - offset);
            self.buffer.resize(fetch as usize, 0);
            self.buffer_at = offset;
            self.file.read_exact_at(&mut self.buffer, offset)?;
        }
        let start = (offset - self.buffer_at) as usize;
        Ok(&self.buffer[start..start + length as usize])
    }
}
