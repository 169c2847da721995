//! A disk that counts what changes it, and dies at a chosen change.

use cairn_ledger::{Access, FileSystem, Storage, StoredFile};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone)]
pub(crate) struct DyingDisk(Arc<State>);

struct State {
    changes: AtomicUsize,
    /// The change it dies at, and whether that one is done before.
    dies: Option<(usize, bool)>,
}

struct DyingFile(Arc<dyn StoredFile>, DyingDisk);

impl DyingDisk {
    pub(crate) fn new(dies: Option<(usize, bool)>) -> Self {
        Self(Arc::new(State { changes: AtomicUsize::new(0), dies }))
    }
    pub(crate) fn changes(&self) -> usize {
        self.0.changes.load(Ordering::Relaxed)
    }
    fn change<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let n = self.0.changes.fetch_add(1, Ordering::Relaxed);
        match self.0.dies {
            Some((at, done)) if n == at && done => operation().and_then(|_| Err(io::Error::other("injected"))),
            Some((at, _)) if n >= at => Err(io::Error::other("injected")),
            _ => operation(),
        }
    }
    fn file(&self, file: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        Arc::new(DyingFile(file, self.clone()))
    }
}

impl Storage for DyingDisk {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        self.change(|| FileSystem.create_new(path, access)).map(|file| self.file(file))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.open(path).map(|file| self.file(file))
    }
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.open_writable(path).map(|file| self.file(file))
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn StoredFile>>> {
        FileSystem.lock(path)
    }
    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        self.change(|| FileSystem.create_dirs(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|| FileSystem.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|| FileSystem.remove(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|| FileSystem.sync_dir(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        FileSystem.list(path)
    }
}

impl StoredFile for DyingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }
    /// A write that fails has done half of itself.
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        let written = self.1.change(|| self.0.write_all_at(from, offset));
        if written.is_err() {
            self.0.write_all_at(&from[..from.len() / 2], offset)?;
        }
        written
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.1.change(|| self.0.set_bytes(length))
    }
    fn sync(&self) -> io::Result<()> {
        self.1.change(|| self.0.sync())
    }
}
