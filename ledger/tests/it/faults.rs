//! A disk that fills, fails or dies at each operation in turn: nothing acknowledged is lost, and the ledger opens again.

use crate::common::*;
use cairn_ledger::{Access, Error, FileSystem, Ledger, Options, Storage, StoredFile, VerifyOptions, verify};
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What the disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Writes fail half way; whether cutting back fails too.
    Full {
        stuck: bool,
    },
    /// Syncs of log files fail.
    Sync,
    /// From the nth operation on nothing works; whether that one was done before it failed.
    Dies {
        at: usize,
        done: bool,
    },
}

#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Mutex<State>>);

struct State {
    fault: Fault,
    operations: usize,
    marked: usize,
}

struct FaultyFile {
    file: Arc<dyn StoredFile>,
    disk: FaultyDisk,
    is_log: bool,
}

fn broken() -> io::Error {
    io::Error::other("injected")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl FaultyDisk {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(Mutex::new(State { fault, operations: 0, marked: 0 })))
    }
    pub(crate) fn sound() -> Self {
        Self::new(Fault::None)
    }
    pub(crate) fn set(&self, fault: Fault) {
        self.0.lock().fault = fault;
    }
    pub(crate) fn operations(&self) -> usize {
        self.0.lock().operations
    }
    /// Remembers an operation for whoever comes later.
    pub(crate) fn mark(&self, operation: usize) {
        self.0.lock().marked = operation;
    }
    pub(crate) fn marked(&self) -> usize {
        self.0.lock().marked
    }
    fn fault(&self) -> Fault {
        self.0.lock().fault
    }

    /// Counts a changing operation, and does it unless the disk is dead by then.
    fn change<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let (fault, n) = {
            let mut state = self.0.lock();
            state.operations += 1;
            (state.fault, state.operations - 1)
        };
        match fault {
            Fault::Dies { at, .. } if n > at => Err(broken()),
            Fault::Dies { at, done } if n == at => {
                if done {
                    operation()?;
                }
                Err(broken())
            }
            _ => operation(),
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        let is_log = path.extension().is_some_and(|extension| extension == "frames");
        Arc::new(FaultyFile { file, disk: self.clone(), is_log })
    }

    fn is_full(&self) -> bool {
        matches!(self.fault(), Fault::Full { .. })
    }
}

impl Storage for FaultyDisk {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        if self.is_full() {
            return Err(full());
        }
        self.change(|| FileSystem.create_new(path, access)).map(|file| self.file(path, file))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.open(path).map(|file| self.file(path, file))
    }
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.open_writable(path).map(|file| self.file(path, file))
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

impl StoredFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        if self.disk.is_full() {
            self.file.write_all_at(&from[..from.len() / 2], offset)?;
            return Err(full());
        }
        self.disk.change(|| self.file.write_all_at(from, offset))
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        match self.disk.fault() {
            Fault::Full { stuck: true } => Err(broken()),
            _ => self.disk.change(|| self.file.set_bytes(length)),
        }
    }
    fn sync(&self) -> io::Result<()> {
        match self.disk.fault() {
            Fault::Sync if self.is_log => Err(broken()),
            _ => self.disk.change(|| self.file.sync()),
        }
    }
}

pub(crate) fn on(disk: &FaultyDisk) -> Options {
    Options { storage: Arc::new(disk.clone()), segment_bytes_max: 1 << 10, ..options() }
}

fn append(ledger: &Ledger, id: u64) -> Result<bool, Error> {
    let appended = ledger.append(&tenant(), vec![event(&format!("e{id}"), &format!("content {id}"))])?;
    Ok(appended[0].duplicate)
}

fn assert_intact(dir: &Path) {
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
}

#[test]
fn a_full_disk_is_named_and_the_log_goes_on_when_there_is_room() {
    let dir = in_memory();
    let disk = FaultyDisk::sound();
    let ledger = Ledger::open(dir.path(), on(&disk)).unwrap();
    (0..3).for_each(|id| assert!(!append(&ledger, id).unwrap()));
    disk.set(Fault::Full { stuck: false });
    for _ in 0..3 {
        let refused = append(&ledger, 3).unwrap_err();
        assert!(matches!(refused, Error::DiskFull { .. }) && refused.is_retryable(), "{refused}");
        assert!(append(&ledger, 1).unwrap(), "a repeat needs no room");
    }
    assert!(matches!(ledger.artifacts(&tenant()).put_bytes(b"x"), Err(Error::DiskFull { .. })));
    assert!(matches!(ledger.checkpoint(&tenant()), Err(Error::DiskFull { .. })));
    assert_intact(dir.path());
    disk.set(Fault::None);
    (3..9).for_each(|id| assert!(!append(&ledger, id).unwrap()));
    let read = ids(&read_all(&ledger));
    assert_eq!(read, (0..9).map(|id| format!("e{id}")).collect::<Vec<_>>());
    drop(ledger);
    assert_eq!(ids(&read_all(&Ledger::open(dir.path(), options()).unwrap())), read);
    assert_intact(dir.path());
}

/// State that a refused group had touched in memory: stream numbers, versions and identities must all be as before.
#[test]
fn a_group_that_did_not_fit_leaves_no_trace() {
    let dir = in_memory();
    let disk = FaultyDisk::sound();
    let ledger = Ledger::open(dir.path(), on(&disk)).unwrap();
    let append = |id: &str, stream: &str, version| ledger.append(&tenant(), vec![on_stream(id, stream, version)]);
    append("a", "old", Some(0)).unwrap();
    disk.set(Fault::Full { stuck: false });
    append("b", "old", Some(1)).unwrap_err();
    append("c", "new", Some(0)).unwrap_err();
    disk.set(Fault::None);
    assert_eq!(append("c", "new", Some(0)).unwrap()[0].stream_version, 1);
    assert_eq!(append("b", "old", Some(1)).unwrap()[0].stream_version, 2);
    drop(ledger);
    assert_intact(dir.path());
}

#[test]
fn a_disk_that_can_neither_write_nor_cut_back_ends_the_writer() {
    let dir = in_memory();
    let disk = FaultyDisk::sound();
    let ledger = Ledger::open(dir.path(), on(&disk)).unwrap();
    append(&ledger, 0).unwrap();
    disk.set(Fault::Full { stuck: true });
    assert!(matches!(append(&ledger, 1), Err(Error::OutcomeUnknown { .. })));
    disk.set(Fault::None);
    assert!(matches!(append(&ledger, 2), Err(Error::WriterEnded { .. })), "for good, though there is room again");
    assert_eq!(read_all(&ledger).len(), 1, "readers go on");
    drop(ledger);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert!(!append(&ledger, 1).unwrap(), "half a frame was cut");
    drop(ledger);
    assert_intact(dir.path());
}

#[test]
fn a_failed_sync_ends_the_writer_for_good() {
    let dir = in_memory();
    let disk = FaultyDisk::sound();
    let ledger = Ledger::open(dir.path(), on(&disk)).unwrap();
    append(&ledger, 0).unwrap();
    disk.set(Fault::Sync);
    let unknown = append(&ledger, 1).unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }) && unknown.is_retryable(), "{unknown}");
    assert_eq!(ledger.head(&tenant()).unwrap().get(), 1, "what was not synced is not shown");
    disk.set(Fault::None);
    assert!(matches!(append(&ledger, 1), Err(Error::WriterEnded { .. })));
    assert!(matches!(ledger.checkpoint(&tenant()), Err(Error::WriterEnded { .. })));
    drop(ledger);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert!(append(&ledger, 1).unwrap(), "it had reached the disk after all, and is recorded once");
    assert_eq!(read_all(&ledger).len(), 2);
}

/// A log's creation fails at each of its operations in turn, and is finished by the same process or by the next.
#[test]
fn whichever_step_of_a_log_s_creation_fails_it_is_finished_later() {
    let steps = |disk: &FaultyDisk, dir: &Path| {
        let ledger = Ledger::open(dir, on(disk)).unwrap();
        (disk.operations(), ledger)
    };
    let (dir, disk) = (in_memory(), FaultyDisk::sound());
    let (before, ledger) = steps(&disk, dir.path());
    append(&ledger, 0).unwrap();
    let after = disk.operations();
    assert!(after - before > 20, "{before} to {after}");
    for at in before..after {
        for done in [false, true] {
            for reopen in [false, true] {
                let (dir, disk) = (in_memory(), FaultyDisk::sound());
                let (_, mut ledger) = steps(&disk, dir.path());
                disk.set(Fault::Dies { at, done });
                let failed = append(&ledger, 0).unwrap_err();
                disk.set(Fault::None);
                assert_intact(dir.path());
                if reopen || matches!(failed, Error::OutcomeUnknown { .. }) {
                    drop(ledger);
                    ledger = Ledger::open(dir.path(), on(&disk)).unwrap();
                }
                append(&ledger, 0).unwrap();
                append(&ledger, 1).unwrap();
                drop(ledger);
                let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
                assert!(report.is_intact() && report.logs[0].events == 2, "{at}, {done}, {reopen}: {report:?}");
            }
        }
    }
}

/// Opens, appends over several segments, signs, closes; gives the ids that were acknowledged.
fn scenario(dir: &Path, disk: &FaultyDisk) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let Ok(ledger) = Ledger::open(dir, on(disk)) else { return acknowledged };
    for id in 0..8 {
        if append(&ledger, id).is_ok() {
            acknowledged.push(id);
        }
        if id == 5 {
            // Whether it succeeds is not the question here.
            let _ = ledger.checkpoint(&tenant());
            let _ = ledger.artifacts(&tenant()).put_bytes(b"weights");
        }
    }
    acknowledged
}

/// Each operation is failed twice: not done, and done but unanswered. From there on the disk is dead.
#[test]
fn whichever_operation_the_disk_dies_at_nothing_acknowledged_is_lost() {
    let counting = FaultyDisk::sound();
    assert_eq!(scenario(in_memory().path(), &counting).len(), 8);
    let operations = counting.operations();
    assert!(operations > 60, "{operations}");
    for at in 0..operations {
        for done in [false, true] {
            let dir = in_memory();
            let acknowledged = scenario(dir.path(), &FaultyDisk::new(Fault::Dies { at, done }));
            // Before its marker stands, the directory is none yet.
            if dir.path().join("ledger").exists() {
                assert_intact(dir.path());
                Ledger::open_read_only(dir.path()).unwrap_or_else(|e| panic!("died at {at}, {done}: {e}"));
            }
            let ledger = Ledger::open(dir.path(), options()).unwrap_or_else(|e| panic!("died at {at}, {done}: {e}"));
            let found = ids(&read_all(&ledger));
            for id in &acknowledged {
                assert!(found.contains(&format!("e{id}")), "e{id} was acknowledged; died at {at}, {done}: {found:?}");
            }
            for id in 0..8 {
                append(&ledger, id).unwrap();
            }
            assert_eq!(read_all(&ledger).len(), 8, "retries record each event once; died at {at}, {done}");
            drop(ledger);
            assert_intact(dir.path());
        }
    }
}
