//! What the index costs: looking up an event that is new, and one that was recorded, in logs of 1 and 10 million events.
//!
//! The time shown is that of 1,000 lookups; from the page cache. 10 million take some 240 MB of disk and half a minute.

use cairn_ledger::measure::ManyIdentities;
use divan::Bencher;
use divan::counter::ItemsCount;
use std::sync::{Mutex, OnceLock};

const LOOKUPS: u64 = 1_000;
const MILLION: u64 = 1_000_000;

fn main() {
    divan::main();
}

type Shared = OnceLock<(tempfile::TempDir, Mutex<ManyIdentities>)>;

fn index_of(millions: u64) -> &'static Mutex<ManyIdentities> {
    static ONE: Shared = OnceLock::new();
    static TEN: Shared = OnceLock::new();
    let shared = if millions == 1 { &ONE } else { &TEN };
    let made = || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let index = ManyIdentities::new(dir.path(), millions * MILLION).expect("room");
        (dir, Mutex::new(index))
    };
    &shared.get_or_init(made).1
}

fn look_up(bencher: Bencher<'_, '_>, millions: u64, recorded: bool) {
    let index = index_of(millions);
    let recorded_of = recorded.then_some(millions * MILLION);
    let expected = if recorded { LOOKUPS as usize } else { 0 };
    bencher
        .counter(ItemsCount::new(LOOKUPS))
        .with_inputs(|| index.lock().expect("one thread").identities(LOOKUPS, recorded_of))
        .bench_local_refs(|identities| {
            let known = index.lock().expect("one thread").look_up(identities).expect("readable");
            assert_eq!(known, expected);
        });
}

#[divan::bench(max_time = 2, args = [1, 10])]
fn new_event_in_millions(bencher: Bencher<'_, '_>, millions: u64) {
    look_up(bencher, millions, false);
}

#[divan::bench(max_time = 2, args = [1, 10])]
fn recorded_event_in_millions(bencher: Bencher<'_, '_>, millions: u64) {
    look_up(bencher, millions, true);
}
