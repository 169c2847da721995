//! Sealed segments in an object store: an implementation of [`Storage`] over the local disk and a bucket.
//!
//! Sealed objects are uploaded after they were sealed, read back and compared; then the oldest local copies may go. What
//! is not local is read in blocks through a bounded cache. All else (frames, keys, checkpoints) stays on the local disk.

mod apart;
mod config;
mod remote;

use super::{Access, Storage, StoredFile};
use crate::error::Error;
use crate::keys::read_marker;
use crate::layout::{Layout, SegmentPart};
use crate::log::Mode;
use crate::lru::Lru;
use parking_lot::Mutex;
use remote::Remote;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use config::OBJECT_STORE_FILE;
pub use config::ObjectStoreConfig;

/// Bytes fetched at once.
const BLOCK_BYTES: u64 = 1 << 20;

/// The local disk and the bucket behind it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tier(Arc<Inner>);

struct Inner {
    local: Arc<dyn Storage>,
    /// The ledger's directory: keys are paths below it.
    dir: PathBuf,
    remote: Remote,
    /// Blocks of objects, by the number of the object and of the block, weighed in bytes.
    blocks: Lru<Arc<[u8]>>,
    /// Sealed bytes of each log that stay on the local disk.
    keep_local_bytes: u64,
    /// Objects whose stored bytes were compared with the local ones by this process. Held while an object is uploaded,
    /// dropped or deleted, so that what an erasure deletes is not uploaded behind its back.
    verified: Mutex<HashSet<String>>,
}

/// The disk of the ledger in `dir`: `local` itself, or with the object store that the ledger is set to behind it.
pub(crate) fn behind(dir: &Path, local: Arc<dyn Storage>, mode: Mode) -> Result<Arc<dyn Storage>, Error> {
    match ObjectStoreConfig::read(&*local, dir)? {
        None => Ok(local),
        Some(config) => match Tier::open(dir, &config, local, mode) {
            Ok(tier) => Ok(Arc::new(tier)),
            Err(e) => Err(config.how_to_mend(dir, e)),
        },
    }
}

impl Tier {
    fn open(dir: &Path, config: &ObjectStoreConfig, local: Arc<dyn Storage>, mode: Mode) -> Result<Self, Error> {
        let marker = read_marker(&*local, &Layout::new(dir))?;
        let remote = Remote::reach(config, dir, marker.as_ref(), mode)?;
        let (dir, keep_local_bytes) = (dir.to_owned(), config.keep_local_bytes);
        let blocks = Lru::new(usize::try_from(config.cache_bytes_max).unwrap_or(usize::MAX));
        Ok(Self(Arc::new(Inner { local, dir, remote, blocks, keep_local_bytes, verified: Mutex::default() })))
    }

    /// The object that a path stands for; `None` for what stays on the local disk.
    fn key(&self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_str()?;
        let part = SegmentPart::parse(name)?.1;
        let is_sealed = matches!(part, SegmentPart::Entries | SegmentPart::Payloads { .. });
        is_sealed.then(|| self.below(path)).flatten()
    }

    fn below(&self, path: &Path) -> Option<String> {
        Some(path.strip_prefix(&self.0.dir).ok()?.to_str()?.to_owned())
    }

    /// Uploads what is sealed in a folder and not in the store yet, then drops the oldest local copies over the bound.
    fn sweep(&self, folder: &Path) -> io::Result<()> {
        let (mut sealed, Some(prefix)) = (BTreeMap::new(), self.below(folder)) else { return Ok(()) };
        for name in self.0.local.list(folder)? {
            let path = folder.join(&name);
            if let Some(key) = self.key(&path) {
                sealed.insert(path.clone(), (key, self.0.local.open(&path)?.bytes()?));
            }
        }
        let stored = self.0.remote.list(&prefix)?;
        for (path, (key, bytes)) in &sealed {
            if stored.get(key) != Some(bytes) {
                self.upload(path, key)?;
            }
        }
        let mut local_bytes: u64 = sealed.values().map(|(_, bytes)| bytes).sum();
        for (path, (key, bytes)) in &sealed {
            if local_bytes <= self.0.keep_local_bytes {
                break;
            }
            self.drop_local(path, key)?;
            local_bytes -= bytes;
        }
        self.0.local.sync_dir(folder)
    }

    /// Uploads one object and compares what the store then gives back.
    fn upload(&self, path: &Path, key: &str) -> io::Result<()> {
        let mut verified = self.0.verified.lock();
        let file = match self.0.local.open(path) {
            // Deleted since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        self.check_two_copies(path, key)?;
        self.0.remote.put(key, file.clone())?;
        self.compare(key, &*file)?;
        verified.insert(key.to_owned());
        Ok(())
    }

    /// The stored object must be the local file, byte for byte; else it is deleted and stays local alone.
    fn compare(&self, key: &str, file: &dyn StoredFile) -> io::Result<()> {
        let (ours, theirs) = (digest(file)?, self.0.remote.digest(key)?);
        if ours == theirs {
            return Ok(());
        }
        self.0.remote.delete(key)?;
        Err(io::Error::other(format!("the object store gave back other bytes of {key} than it was given")))
    }

    /// The last word before a copy goes: where links or mounts lead the store's folder here, there is no other.
    fn check_two_copies(&self, path: &Path, key: &str) -> io::Result<()> {
        match self.0.remote.is_same_file(key, path)? {
            false => Ok(()),
            true => Err(io::Error::other(format!(
                "the object store's {key} is the ledger's own file; an object store is another folder"
            ))),
        }
    }

    fn drop_local(&self, path: &Path, key: &str) -> io::Result<()> {
        let mut verified = self.0.verified.lock();
        self.check_two_copies(path, key)?;
        if !verified.contains(key) {
            self.compare(key, &*self.0.local.open(path)?)?;
            verified.insert(key.to_owned());
        }
        self.0.local.remove(path)
    }
}

/// Length and BLAKE3 of a file.
fn digest(file: &dyn StoredFile) -> io::Result<(u64, blake3::Hash)> {
    let (bytes, mut hasher) = (file.bytes()?, blake3::Hasher::new());
    let (mut buffer, mut at) = (vec![0; BLOCK_BYTES as usize], 0);
    while at < bytes {
        let length = (bytes - at).min(BLOCK_BYTES);
        let piece = &mut buffer[..length as usize];
        file.read_exact_at(piece, at)?;
        hasher.update(piece);
        at += length;
    }
    Ok((bytes, hasher.finalize()))
}

/// An object in the store, read block by block.
struct RemoteFile {
    tier: Tier,
    key: String,
    bytes: u64,
}

impl RemoteFile {
    /// Two readers may fetch one block at once; neither waits for the other.
    fn block(&self, index: u64) -> io::Result<Arc<[u8]>> {
        let (Inner { blocks, remote, .. }, key) = (&*self.tier.0, (number(&self.key), index));
        if let Some(block) = blocks.get(key) {
            return Ok(block);
        }
        let range = index * BLOCK_BYTES..((index + 1) * BLOCK_BYTES).min(self.bytes);
        let block: Arc<[u8]> = remote.read(&self.key, range)?.into();
        blocks.put(key, block.len(), block.clone());
        Ok(block)
    }
}

/// Stands for an object's key in the cache.
fn number(key: &str) -> u64 {
    u64::from_be_bytes(*blake3::hash(key.as_bytes()).as_bytes().first_chunk().expect("8 of 32 bytes"))
}

impl StoredFile for RemoteFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_exact_at(&self, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !into.is_empty() {
            let index = offset / BLOCK_BYTES;
            let at = (offset % BLOCK_BYTES) as usize;
            let block = self.block(index)?;
            let length = into.len().min(block.len() - at);
            let (now, later) = into.split_at_mut(length);
            now.copy_from_slice(&block[at..at + length]);
            (into, offset) = (later, offset + length as u64);
        }
        Ok(())
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn set_bytes(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    /// What the store has acknowledged is durable.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Tier {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        self.0.local.create_new(path, access)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        match (self.0.local.open(path), self.key(path)) {
            (Err(e), Some(key)) if e.kind() == io::ErrorKind::NotFound => {
                let bytes = self.0.remote.bytes(&key)?;
                Ok(Arc::new(RemoteFile { tier: self.clone(), key, bytes }))
            }
            (local, _) => local,
        }
    }

    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.0.local.open_writable(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn StoredFile>>> {
        self.0.local.lock(path)
    }
    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        self.0.local.create_dirs(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.local.rename(from, to)
    }

    /// Deletes from the store first: where that fails, the local copy still says that it is to be done.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let Some(key) = self.key(path) else { return self.0.local.remove(path) };
        let mut verified = self.0.verified.lock();
        let was_stored = self.0.remote.delete(&key)?;
        verified.remove(&key);
        self.0.blocks.remove_if(|(object, _)| object == number(&key));
        match self.0.local.remove(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && was_stored => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.local.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = self.0.local.list(path)?;
        let Some(prefix) = self.below(path).filter(|_| path.ends_with("segments")) else { return Ok(names) };
        let stored = self.0.remote.list(&prefix)?;
        names.extend(stored.keys().filter_map(|key| Some(key.rsplit_once('/')?.1.to_owned())));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn sealed(&self, folder: &Path) {
        if let Err(error) = self.sweep(folder) {
            tracing::warn!(folder = %folder.display(), %error, "sealed segments stay on the local disk for now");
        }
    }
}
