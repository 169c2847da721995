//! Sample events, a clock and randomness that repeat themselves, and a directory that cleans up.

use cairn_ledger::{Ledger, Options, Random};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{Clock, NewEvent, Position, RawJson, Recorded, TenantId, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// 2026-01-01, and a second more at each look.
pub(crate) struct Ticking(AtomicI64);

impl Ticking {
    pub(crate) fn at(micros: AtomicI64) -> Self {
        Self(micros)
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

/// Different bytes at each call, the same in each test.
pub(crate) struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(bytes);
    }
}

/// A directory in memory where there is one: for tests that would otherwise wait for thousands of syncs.
pub(crate) fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        origin: Some("log.example.com".into()),
        clock: Arc::new(Ticking(AtomicI64::new(0))),
        random: Arc::new(Counting(AtomicU64::new(0))),
        // Checkpoints come when they are asked for, or at the end.
        checkpoint_delay: Duration::from_secs(3600),
        reserve_bytes: 0,
        ..Options::default()
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

pub(crate) fn position(n: u64) -> Position {
    Position::new(n).unwrap()
}

/// An event with this id, whose content is made from `content`.
pub(crate) fn event(id: &str, content: &str) -> NewEvent {
    let data: RawJson =
        serde_json::from_str(&format!("{{\"text\":{}}}", serde_json::to_string(content).unwrap())).unwrap();
    let payload = CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data };
    NewEvent::new("test", id, payload)
}

/// An event whose free-form data is this JSON.
pub(crate) fn marked(id: &str, json: &str) -> NewEvent {
    let data = RawJson::parse(json).unwrap();
    NewEvent::new(
        "test",
        id,
        CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data },
    )
}

pub(crate) fn on_stream(id: &str, stream: &str, expected_version: Option<u64>) -> NewEvent {
    let mut event = event(id, id);
    event.envelope.stream = Some(stream.to_owned());
    event.envelope.expected_version = expected_version;
    event
}

/// Events with ids from `ids`, one batch each.
pub(crate) fn append_each(ledger: &Ledger, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        let appended = ledger.append(&tenant(), vec![event(&format!("e{id}"), &format!("content {id}"))]).unwrap();
        assert!(!appended[0].duplicate, "e{id} is new");
    }
}

pub(crate) fn read_all(ledger: &Ledger) -> Vec<Recorded> {
    let (mut all, mut from) = (Vec::new(), Position::FIRST);
    loop {
        let more = ledger.read(&tenant(), from, 7).unwrap();
        let Some(last) = more.last() else { return all };
        from = last.position.next().unwrap();
        all.extend(more);
    }
}

pub(crate) fn ids(events: &[Recorded]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// Every file below a folder, with its content.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
}

pub(crate) fn segments_dir(dir: &Path) -> PathBuf {
    dir.join("logs/default/main/0/segments")
}

/// The one frames file, to which the log is being appended.
pub(crate) fn active_file(dir: &Path) -> PathBuf {
    let mut frames: Vec<_> = std::fs::read_dir(segments_dir(dir)).unwrap().map(|item| item.unwrap().path()).collect();
    frames.retain(|path| path.extension().is_some_and(|extension| extension == "frames"));
    frames.sort();
    frames.pop().unwrap()
}
