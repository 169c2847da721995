//! Batches that wait together: frames that hold several, refusals among neighbours, room, deadlines, other tenants.

use crate::common::*;
use cairn_ledger::{Access, Batch, Error, FileSystem, Ledger, Options, Storage, StoredFile, VerifyOptions, verify};
use cairn_schemas::TenantId;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A disk on which syncs of frames can be held up, so that what comes meanwhile waits together.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Syncs that wait at the gate.
    held: usize,
}

struct GatedFile {
    file: Arc<dyn StoredFile>,
    gate: Option<Gate>,
}

impl Gate {
    fn set(&self, closed: bool) {
        self.0.0.lock().closed = closed;
        self.0.1.notify_all();
    }
    fn wait_until_held(&self, syncs: usize) {
        let mut state = self.0.0.lock();
        while state.held < syncs {
            self.0.1.wait(&mut state);
        }
    }
    fn pass(&self) {
        let mut state = self.0.0.lock();
        state.held += 1;
        self.0.1.notify_all();
        while state.closed {
            self.0.1.wait(&mut state);
        }
        state.held -= 1;
    }
    fn gated(&self, path: &Path, file: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        let is_log = path.extension().is_some_and(|extension| extension == "frames");
        Arc::new(GatedFile { file, gate: is_log.then(|| self.clone()) })
    }
}

impl Storage for Gate {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self.gated(path, FileSystem.create_new(path, access)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        FileSystem.open(path)
    }
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self.gated(path, FileSystem.open_writable(path)?))
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

impl StoredFile for GatedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(from, offset)
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.file.set_bytes(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.iter().for_each(Gate::pass);
        self.file.sync()
    }
}

/// A ledger with one event, whose next sync is held up by a second one.
fn held(dir: &Path, options: Options) -> (Ledger, Gate, cairn_ledger::Pending) {
    let gate = Gate::default();
    let ledger = Ledger::open(dir, Options { storage: Arc::new(gate.clone()), ..options }).unwrap();
    ledger.append(&tenant(), vec![on_stream("first", "s", None)]).unwrap();
    gate.set(true);
    let second = ledger.submit(&tenant(), vec![on_stream("second", "s", None)]).unwrap();
    gate.wait_until_held(1);
    (ledger, gate, second)
}

/// Frames in the log, as verification counts them.
fn frames(dir: &Path) -> u64 {
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
    report.logs[0].frames
}

#[test]
fn batches_that_wait_together_share_a_frame_and_refused_ones_leave_no_trace() {
    let dir = in_memory();
    let (ledger, gate, second) = held(dir.path(), options());
    let submit = |batch: Vec<_>| ledger.submit(&tenant(), batch).unwrap();
    let waiting = [
        submit(vec![on_stream("a1", "s", Some(2)), on_stream("a2", "new", Some(0))]),
        submit(vec![on_stream("b1", "never", Some(0)), on_stream("b2", "s", Some(2))]),
        submit(vec![on_stream("a1", "s", Some(2)), on_stream("a2", "new", Some(0))]),
        submit(vec![event("a2", "other content")]),
        submit(vec![on_stream("a2", "new", None), on_stream("c", "new", None)]),
        submit(vec![on_stream("d", "never", Some(0))]),
        submit(vec![on_stream("e", "new", Some(1))]),
    ];
    gate.set(false);
    assert_eq!(second.wait().unwrap()[0].position.get(), 2);
    let [a, b, repeat, conflict, partly, d, e] = waiting.map(|pending| pending.wait());
    let places = |appended: Result<Vec<cairn_ledger::Appended>, Error>| {
        let place = |a: &cairn_ledger::Appended| (a.position.get(), a.stream_version, a.duplicate);
        appended.unwrap().iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(places(a), [(3, 3, false), (4, 1, false)]);
    assert!(matches!(b, Err(Error::WrongVersion { index: 1, expected: 2, actual: 3, .. })));
    assert_eq!(places(repeat), [(3, 3, true), (4, 1, true)], "of a batch that was not durable yet");
    assert!(matches!(conflict, Err(Error::Conflict { position, .. }) if position.get() == 4));
    assert!(matches!(&partly, Err(Error::PartlyRepeated { repeated, .. }) if *repeated == [(0, position(4))]));
    assert_eq!(places(d), [(5, 1, false)], "the refused batch had not named the stream");
    assert_eq!(places(e), [(6, 2, false)]);
    assert_eq!(ids(&read_all(&ledger)), ["first", "second", "a1", "a2", "d", "e"]);
    drop(ledger);
    assert_eq!(frames(dir.path()), 3, "one for all that waited together");
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert!(ledger.append(&tenant(), vec![on_stream("d", "never", Some(0))]).unwrap()[0].duplicate);
}

/// Frames end at 1 MiB, a longer batch is a frame of its own, and every batch lies inside one frame.
#[test]
fn frames_are_bounded_and_a_long_batch_goes_alone() {
    let dir = in_memory();
    let (ledger, gate, second) = held(dir.path(), options());
    let text = "x".repeat(100 << 10);
    let submit = |ids: std::ops::Range<u32>| {
        let batch: Vec<_> = ids.map(|id| event(&id.to_string(), &text)).collect();
        ledger.submit(&tenant(), batch).unwrap()
    };
    let (small, long) = ((0..12).map(|id| submit(id..id + 1)).collect::<Vec<_>>(), submit(12..32));
    let after = submit(32..33);
    gate.set(false);
    for pending in small.into_iter().chain([second, long, after]) {
        pending.wait().unwrap();
    }
    assert_eq!(read_all(&ledger).len(), 35);
    drop(ledger);
    assert_eq!(frames(dir.path()), 2 + 4, "ten, two, the long one, the last");
}

#[test]
fn expectations_hold_on_streams_that_are_not_written() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let soon = || Instant::now() + Duration::from_secs(600);
    let append = |batch: Batch| ledger.append_by(&tenant(), batch, soon());
    let batch = |id: &str, stream: &str| Batch::from(vec![on_stream(id, stream, None)]);
    append(batch("a", "read").expecting("read", 0).expecting("another", 0)).unwrap();
    append(batch("b", "written").expecting("read", 1)).unwrap();
    let refused = append(batch("c", "written").expecting("written", 1).expecting("read", 2)).unwrap_err();
    assert!(matches!(&refused, Error::Unexpected { stream, expected: 2, actual: 1 } if stream == "read"), "{refused}");
    assert!(!refused.is_retryable());
    append(batch("d", "read")).unwrap();
    assert!(append(batch("b", "written").expecting("read", 1)).unwrap()[0].duplicate, "a repeat comes first");
    assert_eq!(ids(&read_all(&ledger)), ["a", "b", "d"]);
    let many = (0..1025).fold(batch("e", "written"), |batch, n| batch.expecting(&n.to_string(), 0));
    assert!(matches!(append(many), Err(Error::TooManyExpectations { given: 1025, max: 1024 })));
}

#[test]
fn without_room_callers_hear_that_the_disk_is_busy_and_without_an_answer_that_the_outcome_is_unknown() {
    let dir = in_memory();
    let (ledger, gate, second) = held(dir.path(), Options { queue_bytes_max: 4 << 10, ..options() });
    let third = ledger.submit(&tenant(), vec![event("third", &"x".repeat(3 << 10))]).unwrap();
    let busy = ledger.submit(&tenant(), vec![event("fourth", "x")]).map(drop).unwrap_err();
    assert!(matches!(busy, Error::Busy { bytes_max: 4096 }) && busy.is_retryable(), "{busy}");
    let by = |deadline| ledger.append_by(&tenant(), vec![event("fourth", "x")], deadline).unwrap_err();
    assert!(matches!(by(Instant::now()), Error::Busy { .. }), "nothing was recorded");
    let late = third.wait_by(Instant::now()).unwrap_err();
    assert!(matches!(late, Error::Deadline) && late.is_retryable(), "{late}");
    let reader = ledger.clone();
    let waits = std::thread::spawn(move || reader.append(&tenant(), vec![event("fourth", "x")]));
    gate.set(false);
    second.wait().unwrap();
    assert!(!waits.join().unwrap().unwrap()[0].duplicate, "there was room in the end");
    assert!(ledger.append(&tenant(), vec![event("third", &"x".repeat(3 << 10))]).unwrap()[0].duplicate);
    assert_eq!(ids(&read_all(&ledger)), ["first", "second", "third", "fourth"]);
}

/// While one tenant's sync is held up, another's events become durable, and its checkpoints too.
#[test]
fn logs_do_not_wait_for_one_another() {
    let dir = in_memory();
    let gate = Gate::default();
    let ledger = Ledger::open(dir.path(), Options { storage: Arc::new(gate.clone()), ..options() }).unwrap();
    let tenants: Vec<TenantId> = (0..4).map(|n| format!("tenant{n}").parse().unwrap()).collect();
    for tenant in &tenants {
        ledger.append(tenant, vec![event("first", "x")]).unwrap();
    }
    gate.set(true);
    let pending: Vec<_> =
        tenants.iter().map(|tenant| ledger.submit(tenant, vec![event("second", "x")]).unwrap()).collect();
    gate.wait_until_held(tenants.len());
    assert_eq!(ledger.checkpoint(&tenants[0]).unwrap().checkpoint.size, 1, "what is durable can be signed meanwhile");
    gate.set(false);
    for pending in pending {
        pending.wait().unwrap();
    }
}

#[tokio::test]
async fn an_answer_can_be_awaited() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let pending: Vec<_> =
        (0..10).map(|n| ledger.submit(&tenant(), vec![event(&n.to_string(), "x")]).unwrap()).collect();
    for (n, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap()[0].position.get(), n as u64 + 1, "in the order of submission");
    }
}
