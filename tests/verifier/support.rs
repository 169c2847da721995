//! Both verifiers behind one face, and ledgers to set them on.

use cairn_ledger::{Damage, Error, Ledger, Options, Random, Redaction, Selection, Verdict, VerifyOptions, verify};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{Clock, NewEvent, RawJson, TenantId, Timestamp};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// What a verifier says of a directory: the verdict, and of the first finding log, position and file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) verdict: String,
    pub(crate) first: Option<(String, Option<u64>, String)>,
}

/// The verifier in Python, which answers a line for each directory.
pub(crate) struct Outsider {
    child: Child,
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Outsider {
    /// `None`, with the reason printed, where the machine lacks what it needs.
    pub(crate) fn start() -> Option<Self> {
        let here = cairn_tests::root().join("tests/verifier");
        let python = match cairn_tests::outside::python("python-verifier", 11, &here.join("requirements.txt")) {
            Ok(python) => python,
            Err(why) => {
                cairn_tests::outside::skipped("the verifier in Python", &why);
                return None;
            }
        };
        let mut command = Command::new(python);
        command.arg("-B").arg(here.join("driver.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (asked, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, asked, answers })
    }

    pub(crate) fn says(&mut self, dir: &Path) -> Said {
        writeln!(self.asked.as_mut().unwrap(), "{}", dir.display()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let report: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: the verifier said `{line}`"));
        let first = report["damage"].get(0).map(|found| {
            let text = |name: &str| found[name].as_str().unwrap().to_owned();
            (text("log"), found["position"].as_u64(), text("file"))
        });
        let verdict = report["verdict"].as_str().unwrap_or("not a ledger").to_owned();
        let code = match verdict.as_str() {
            "intact" | "erased with authority" => 0,
            "not a ledger" => 4,
            _ => 5,
        };
        assert_eq!(report["code"], code, "{report}");
        Said { verdict, first }
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        self.asked = None;
        let _ = self.child.wait();
    }
}

/// What Cairn's own verification says.
pub(crate) fn cairn_says(dir: &Path) -> Said {
    let first = |damage: &Damage| (damage.log.clone(), damage.position, damage.file.display().to_string());
    let damaged = |damage: &Damage| Said { verdict: "tampered".into(), first: Some(first(damage)) };
    if cairn_ledger::looks_like_bundle(dir) {
        return match cairn_ledger::verify_bundle(dir) {
            Ok(bundle) => {
                let verdict = if bundle.erased.is_nothing() { Verdict::Intact } else { Verdict::ErasedWithAuthority };
                Said { verdict: verdict.name().into(), first: None }
            }
            Err(Error::Damaged(damage)) => damaged(&damage),
            Err(other) => panic!("{other}"),
        };
    }
    match verify(dir, &VerifyOptions::default()) {
        Ok(report) => match report.damage.first() {
            Some(damage) => damaged(damage),
            None => Said { verdict: report.verdict().name().into(), first: None },
        },
        Err(Error::NotALedger { .. }) => Said { verdict: "not a ledger".into(), first: None },
        Err(other) => panic!("{other}"),
    }
}

/// 2026-01-01, and a second more at each look.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

/// Different bytes at each call, the same in each run.
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(bytes);
    }
}

fn options() -> Options {
    Options {
        origin: Some("log.example.com".into()),
        clock: Arc::new(Ticking(AtomicI64::new(0))),
        random: Arc::new(Counting(AtomicU64::new(0))),
        checkpoint_delay: Duration::from_secs(3600),
        reserve_bytes: 0,
        ..Options::default()
    }
}

pub(crate) fn event(id: &str, content: &str) -> NewEvent {
    said(id, &serde_json::json!({ "text": content }).to_string())
}

fn said(id: &str, data: &str) -> NewEvent {
    let data: RawJson = serde_json::from_str(data).unwrap();
    let payload = CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data };
    NewEvent::new("test", id, payload)
}

/// A directory in memory where there is one.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A ledger of these batches, closed.
pub(crate) fn write_ledger(dir: &Path, segment_bytes_max: u64, batches: Vec<Vec<NewEvent>>) -> Ledger {
    let ledger = Ledger::open(dir, Options { segment_bytes_max, ..options() }).unwrap();
    for batch in batches {
        ledger.append(&TenantId::default(), batch).unwrap();
    }
    ledger
}

fn batches(events: impl Iterator<Item = NewEvent>) -> Vec<Vec<NewEvent>> {
    events.map(|event| vec![event]).collect()
}

/// A ledger in which a payload, and an artifact, gave way to what an event says of them.
pub(crate) fn redacted(dir: &Path, segment_bytes_max: u64) -> Ledger {
    let ledger = write_ledger(dir, segment_bytes_max, batches((0..5).map(|id| event(&format!("e{id}"), "content"))));
    let artifacts = vec![ledger.artifacts(&TenantId::default()).put_bytes(b"weights").unwrap().blake3];
    let selection = Selection::Positions(vec![2..=2]);
    let redaction = Redaction { selection, request: "r1".into(), basis: "a mistake".into(), artifacts };
    ledger.redact(&TenantId::default(), &redaction).unwrap();
    ledger
}

/// A ledger of events about people.
pub(crate) fn about_people(dir: &Path, segment_bytes_max: u64) -> Ledger {
    let about = |id: u64| format!(r#"{{"n":{id},"caller":{{"$data_subject":"alice","value":"her number"}}}}"#);
    write_ledger(dir, segment_bytes_max, batches((0..5).map(|id| said(&format!("e{id}"), &about(id)))))
}

/// A ledger whose payloads compress well.
pub(crate) fn compressed(dir: &Path) -> Ledger {
    write_ledger(dir, 1800, batches((0..8).map(|id| event(&format!("e{id}"), &"again and ".repeat(40)))))
}

/// Every file below a folder, by its path there.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let items = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = items.filter(|item| item.file_type().is_file());
    files
        .map(|item| (item.path().strip_prefix(dir).unwrap().to_owned(), std::fs::read(item.path()).unwrap()))
        .filter(|(path, _)| path != Path::new("lock"))
        .collect()
}

pub(crate) fn write_files(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), bytes).unwrap();
    }
}

/// The ledger that is committed with the format's own tests.
pub(crate) fn committed() -> Vec<(PathBuf, Vec<u8>)> {
    files(&cairn_tests::root().join("ledger/tests/golden/ledger"))
}
