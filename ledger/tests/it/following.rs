//! Reading at any lag takes bounded memory, files and work: nothing is decoded again for each event, and few files are
//! open whatever the number of segments.

use crate::common::*;
use cairn_ledger::{Access, FileSystem, Ledger, Options, Storage, StoredFile};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The real disk, counting what is read and how many files are open.
#[derive(Clone, Default)]
struct Counted(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes_read: AtomicU64,
    open: AtomicUsize,
    open_max: AtomicUsize,
}

struct CountedFile {
    file: Arc<dyn StoredFile>,
    counts: Arc<Counts>,
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counted {
    fn file(&self, file: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        let open = self.0.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.open_max.fetch_max(open, Ordering::Relaxed);
        Arc::new(CountedFile { file, counts: self.0.clone() })
    }
    fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }
    fn open_max(&self) -> usize {
        self.0.open_max.load(Ordering::Relaxed)
    }
}

impl StoredFile for CountedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.counts.bytes_read.fetch_add(into.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(into, offset)
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(from, offset)
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.file.set_bytes(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Storage for Counted {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.create_new(path, access).map(|file| self.file(file))
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
        FileSystem.create_dirs(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        FileSystem.list(path)
    }
}

fn on(disk: &Counted, segment_bytes_max: u64) -> Options {
    Options { storage: Arc::new(disk.clone()), segment_bytes_max, ..options() }
}

/// Reads the first events one a call, and says how many bytes that took.
fn read_each(ledger: &Ledger, disk: &Counted, count: u64) -> u64 {
    let before = disk.bytes_read();
    for at in 1..=count {
        assert_eq!(ledger.read(&tenant(), position(at), 1).unwrap()[0].position.get(), at);
    }
    disk.bytes_read() - before
}

#[test]
fn a_frame_or_block_is_read_once_for_a_reader_of_single_events() {
    let (dir, disk) = (in_memory(), Counted::default());
    let ledger = Ledger::open(dir.path(), on(&disk, 64 << 10)).unwrap();
    let content = "long ".repeat(100);
    let batch = (0..600).map(|n| event(&format!("b{n}"), &format!("{content}{n}"))).collect();
    ledger.append(&tenant(), batch).unwrap();
    let frame = std::fs::metadata(active_file(dir.path())).unwrap().len();
    assert!(frame > 300_000);
    let of_frame = read_each(&ledger, &disk, 600);
    assert!(of_frame <= 2 * frame, "{of_frame} bytes read of a frame of {frame}");
    append_each(&ledger, 0..1);
    drop(ledger);
    let ledger = Ledger::open(dir.path(), on(&disk, 64 << 10)).unwrap();
    let sealed: u64 = files(&segments_dir(dir.path()))
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "payloads"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    assert!(sealed > 0);
    // Entries are read by bundles of 256, some 24 KiB.
    let of_sealed = read_each(&ledger, &disk, 600);
    assert!(of_sealed <= 2 * sealed + 600 * (32 << 10), "{of_sealed} bytes read of {sealed}");
}

/// Two files for each of the 64 segments used last, as many of the index, and what is being written.
#[test]
fn open_files_are_bounded_whatever_the_number_of_segments() {
    let (dir, disk) = (in_memory(), Counted::default());
    let ledger = Ledger::open(dir.path(), on(&disk, 500)).unwrap();
    append_each(&ledger, 0..400);
    drop(ledger);
    let segments = files(&segments_dir(dir.path())).len() / 2;
    assert!(segments > 120, "{segments} segments");
    disk.0.open_max.store(0, Ordering::Relaxed);
    let ledger = Ledger::open(dir.path(), on(&disk, 500)).unwrap();
    assert!(disk.open_max() < 30, "opening opened {} files", disk.open_max());
    assert_eq!(read_all(&ledger).len(), 400);
    assert!(disk.open_max() < 2 * 64 + 64 + 10, "{} files were open", disk.open_max());
}
