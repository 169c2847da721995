//! Durable append beside what the device itself takes to write and sync as much, in the same run on the same disk.
//!
//! Read each row of the ledger against the device's row of the same size: the ratio is the figure, not the time.

use cairn_ledger::{Ledger, Options, VerifyOptions, verify};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{NewEvent, RawJson, TenantId};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of an event's stored payload.
const EVENT_BYTES: usize = 512;
/// Callers that append one event a call at the same time.
const CALLERS: usize = 64;
/// Events of one batch.
const BATCH: usize = 256;

fn main() {
    divan::main();
}

/// An event that no other has the id of, with a payload of some [`EVENT_BYTES`].
fn event() -> NewEvent {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
    let text = "x".repeat(EVENT_BYTES - 110);
    let data: RawJson = serde_json::from_str(&format!("\"{text}\"")).expect("a JSON string");
    NewEvent::new("bench", &id, CustomRecorded { kind: "b".into(), about: None, used: vec![], produced: vec![], data })
}

fn batch(length: usize) -> Vec<NewEvent> {
    (0..length).map(|_| event()).collect()
}

/// Bytes that one batch takes in a frames file: payloads, entries, frame.
fn frame_bytes(length: usize) -> usize {
    length * (EVENT_BYTES + 129) + 92
}

fn device(bencher: Bencher<'_, '_>, bytes: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = File::create(dir.path().join("device")).expect("a file");
    let (buffer, mut at) = (vec![7; bytes], 0);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        file.write_all_at(&buffer, at).expect("room");
        file.sync_data().expect("a sync");
        at += bytes as u64;
    });
}

#[divan::bench(max_time = 2)]
fn device_one_event(bencher: Bencher<'_, '_>) {
    device(bencher, frame_bytes(1));
}

#[divan::bench(max_time = 2)]
fn device_64_events(bencher: Bencher<'_, '_>) {
    device(bencher, CALLERS * frame_bytes(1));
}

#[divan::bench(max_time = 2)]
fn device_batch_256(bencher: Bencher<'_, '_>) {
    device(bencher, frame_bytes(BATCH));
}

/// A ledger with a log, so that its creation is not measured.
fn open() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::open(dir.path(), Options::default()).expect("a new ledger");
    ledger.append(&TenantId::default(), batch(1)).expect("room");
    (dir, ledger)
}

fn one_caller(bencher: Bencher<'_, '_>, length: usize) {
    let (_dir, ledger) = open();
    bencher
        .counter(ItemsCount::new(length))
        .counter(BytesCount::new(length * EVENT_BYTES))
        .with_inputs(|| batch(length))
        .bench_local_values(|batch| ledger.append(&TenantId::default(), batch).expect("room"));
}

#[divan::bench(max_time = 2)]
fn ledger_one_caller_one_event(bencher: Bencher<'_, '_>) {
    one_caller(bencher, 1);
}

#[divan::bench(max_time = 2)]
fn ledger_one_caller_batch_256(bencher: Bencher<'_, '_>) {
    one_caller(bencher, BATCH);
}

/// Each sample is every caller appending [`EACH`] events, one a call.
#[divan::bench(max_time = 5, sample_size = 1)]
fn ledger_64_callers_one_event(bencher: Bencher<'_, '_>) {
    const EACH: usize = 50;
    let (_dir, ledger) = open();
    bencher
        .counter(ItemsCount::new(CALLERS * EACH))
        .counter(BytesCount::new(CALLERS * EACH * EVENT_BYTES))
        .with_inputs(|| (0..CALLERS).map(|_| batch(EACH)).collect::<Vec<_>>())
        .bench_local_values(|callers| {
            std::thread::scope(|scope| {
                for events in callers {
                    scope.spawn(|| {
                        for event in events {
                            ledger.append(&TenantId::default(), vec![event]).expect("room");
                        }
                    });
                }
            });
        });
}

/// Everything: chain, tree, commitments, MACs; from the page cache.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn verify_100_000_events(bencher: Bencher<'_, '_>) {
    const EVENTS: usize = 100_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::open(dir.path(), Options::default()).expect("a new ledger");
    for _ in 0..EVENTS / 5_000 {
        ledger.append(&TenantId::default(), batch(5_000)).expect("room");
    }
    drop(ledger);
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(EVENTS * (EVENT_BYTES + 129))).bench_local(|| {
        assert!(verify(dir.path(), &VerifyOptions::default()).expect("readable").is_intact());
    });
}

/// As after an orderly close: the index of 200,000 small events, one stream each ten, is built again.
#[divan::bench(sample_count = 5, sample_size = 1, args = ["frames", "sealed"])]
fn open_200_000_events(bencher: Bencher<'_, '_>, segments: &str) {
    const EVENTS: usize = 200_000;
    let segment_bytes_max = if segments == "sealed" { 8 << 20 } else { u64::MAX };
    let options = || Options { segment_bytes_max, ..Options::default() };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::open(dir.path(), options()).expect("a new ledger");
    for of_batch in 0..EVENTS / 100 {
        let streams = (0..100).map(|of_event| format!("stream {}", (of_batch * 100 + of_event) / 10));
        let named = |(event, stream): (NewEvent, String)| {
            let mut event = event;
            event.envelope.stream = Some(stream);
            event
        };
        let events = batch(100).into_iter().zip(streams).map(named).collect();
        ledger.append(&TenantId::default(), events).expect("room");
    }
    drop(ledger);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| Ledger::open(dir.path(), options()).expect("a whole log"));
}
