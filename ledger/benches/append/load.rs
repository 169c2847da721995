//! Events as a training service might send them, and the ways in which callers send them.

use crate::table::percentile;
use cairn_ledger::{Ledger, Options, Pending};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{NewEvent, RawJson, TenantId};
use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Callers at the same time.
pub(crate) const CALLERS: u64 = 64;
/// Length that an event's stored payload comes to.
pub(crate) const EVENT_BYTES: usize = 512;
/// What a stored payload holds beside its data here: names, MAC, lengths.
const BESIDE_DATA: usize = 128;
const WORDS: [&str; 32] = [
    "gradient",
    "loss",
    "token",
    "batch",
    "the",
    "of",
    "a",
    "model",
    "learning",
    "rate",
    "warmup",
    "checkpoint",
    "is",
    "layer",
    "attention",
    "and",
    "dropout",
    "shard",
    "worker",
    "step",
    "to",
    "sample",
    "evaluation",
    "cache",
    "norm",
    "scale",
    "in",
    "weights",
    "decay",
    "schedule",
    "prompt",
    "answer",
];

/// Ids that no other event has.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A small generator: what is measured is the ledger.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An event of some [`EVENT_BYTES`]: numbers, a random trace id, and words.
pub(crate) fn event() -> NewEvent {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut noise = Noise(id);
    let mut text = String::with_capacity(EVENT_BYTES);
    let (trace, loss) = (noise.next(), noise.next() % 100_000);
    write!(text, "{{\"step\":{id},\"loss\":0.{loss:05},\"trace\":\"{trace:016x}\",\"text\":\"").expect("memory");
    let mut pick = 0;
    while text.len() < EVENT_BYTES - BESIDE_DATA {
        pick = if pick < 32 { noise.next() } else { pick / 32 };
        text.push_str(WORDS[(pick % 32) as usize]);
        text.push(' ');
    }
    text.truncate(EVENT_BYTES - BESIDE_DATA);
    text.push_str("\"}");
    let data = RawJson::parse(&text).expect("JSON");
    let payload = CustomRecorded { kind: "b.log".into(), about: None, used: vec![], produced: vec![], data };
    let mut event = NewEvent::new("bench", &format!("{:08x}-{id:012}", std::process::id()), payload);
    event.envelope.stream = Some(format!("run/{:06}", id / 1000));
    event
}

pub(crate) fn tenant(n: u64) -> TenantId {
    format!("tenant{n}").parse().expect("a tenant")
}

pub(crate) fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, Options::default()).expect("a ledger")
}

/// 64 threads that append one event a call, to one tenant after another, for a while. Gives how many were acknowledged.
pub(crate) fn blocking(ledger: &Ledger, tenants: u64, time: Duration) -> u64 {
    let (done, end) = (AtomicU64::new(0), Instant::now() + time);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let done = &done;
            scope.spawn(move || {
                let mut turn = caller;
                while Instant::now() < end {
                    ledger.append(&tenant(turn % tenants), vec![event()]).expect("room");
                    done.fetch_add(1, Ordering::Relaxed);
                    turn += CALLERS;
                }
            });
        }
    });
    done.into_inner()
}

/// 64 callers on four threads, each with a window of submitted events; `each` hears of every thousand acknowledged.
pub(crate) fn windowed(ledger: &Ledger, events: u64, window: usize, each: &(dyn Fn(u64) + Sync)) {
    const THREADS: u64 = 4;
    let (submitted, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let room = window * (CALLERS / THREADS) as usize;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut pending: VecDeque<Pending> = VecDeque::with_capacity(room);
                let settle = |pending: Pending| {
                    pending.wait().expect("room");
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(1_000) {
                        each(done);
                    }
                };
                while submitted.fetch_add(1, Ordering::Relaxed) < events {
                    if pending.len() == room {
                        pending.drain(..room / 2).for_each(settle);
                    }
                    pending.push_back(ledger.submit(&tenant(0), vec![event()]).expect("room"));
                }
                pending.into_iter().for_each(settle);
            });
        }
    });
}

/// Acknowledgements of single events that come at a fixed rate, over so many tenants: sorted times from the moment at
/// which each was due.
pub(crate) fn paced(ledger: &Ledger, per_second: f64, tenants: u64, time: Duration) -> Vec<Duration> {
    let (begun, pause) = (Instant::now(), Duration::from_secs_f64(CALLERS as f64 / per_second));
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || {
                    let (mut times, mut due) = (Vec::new(), begun + pause.mul_f64(caller as f64 / CALLERS as f64));
                    let mut turn = caller;
                    while due < begun + time {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let event = event();
                        let sent = Instant::now();
                        ledger.append(&tenant(turn % tenants), vec![event]).expect("room");
                        times.push(sent.elapsed());
                        (due, turn) = (due + pause, turn + CALLERS);
                    }
                    times
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    });
    times.sort_unstable();
    times
}

/// How long a proof with its signed checkpoint takes after the acknowledgement, at the 99th of a hundred.
pub(crate) fn proven(ledger: &Ledger) -> Duration {
    let one = |_| {
        let appended = ledger.append(&tenant(0), vec![event()]).expect("room");
        let start = Instant::now();
        ledger.prove(&tenant(0), appended[0].position, None).expect("a proof");
        start.elapsed()
    };
    let mut times: Vec<_> = (0..200).map(one).collect();
    times.sort_unstable();
    percentile(&times, 99)
}

/// Body of the child process: says that it appends, and goes on.
pub(crate) fn append_until_killed(dir: &Path) {
    let ledger = open(dir);
    ledger.append(&tenant(0), vec![event()]).expect("room");
    println!("appending");
    windowed(&ledger, u64::MAX, 16, &|_| ());
}
