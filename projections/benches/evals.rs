//! Questions to the results: the best as of any position, pages of a leaderboard, the grid; and what loading the columns
//! costs the first one who asks. Beside them a bare pass over as many numbers as the columns hold.
//!
//! CAIRN_BENCH_RESULTS: results (1,000,000), all of them of one metric of one task, which is the worst case of a board;
//! each subject is a run with 20 checkpoints, evaluated twice, by 2 protocols; 1 in 100 is superseded.
//! CAIRN_BENCH_ENGINE: sled, fjall or auto (fjall).

use cairn_ledger::{Ledger, Options};
use cairn_projections::evals::{At, Board, Filter, Grid};
use cairn_projections::{Choice, Projections};
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationSuperseded, Measure};
use cairn_schemas::{Blake3, Event, NewEvent, Position, RawJson, Real, Ref, RunId, TenantId, Timestamp};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checkpoints of a run.
const STEPS: u64 = 20;
/// How often each question is asked.
const ASKED: u64 = 100;
const TARGET_MS: f64 = 10.0;
const START_MICROS: i64 = 1_767_225_600_000_000;

fn main() {
    let results = std::env::var("CAIRN_BENCH_RESULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let engine = std::env::var("CAIRN_BENCH_ENGINE").unwrap_or_else(|_| "fjall".into());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tenant = TenantId::default();
    let ledger = Ledger::open(&dir.path().join("ledger"), Options::default()).expect("a ledger");
    let began = Instant::now();
    let events = fill(&ledger, &tenant, results);
    println!("{results} results of one metric of one task, {events} events, appended in {:.1} s", seconds(began));
    let choice: Choice = engine.parse().expect("sled, fjall or auto");
    let projections = Projections::open_on(&dir.path().join("stores"), ledger, tenant, choice).expect("stores");
    let began = Instant::now();
    projections.catch_up().expect("followed");
    println!("{engine}: all stores followed in {:.1} s", seconds(began));
    ask_all(&projections, results, events);
}

fn ask_all(projections: &Projections, results: u64, events: u64) {
    let evals = projections.evals();
    let board = |at: At| Board { task: "gsm8k".into(), metric: "exact_match".into(), at, ..Board::default() };
    let (before, began) = (resident_mib(), Instant::now());
    evals.best(&board(At::default())).expect("an answer");
    let (took, more) = (ms(began.elapsed()), resident_mib().saturating_sub(before));
    println!("{:<56} {took:>9.1} ms   {more} MiB", "cold: the first question, which loads the columns");
    let bare: Vec<f64> = (0..results).map(|number| number as f64).collect();
    asked("a bare pass over as many numbers", None, |_| {
        black_box(bare.iter().copied().fold(f64::MIN, f64::max));
    });
    let past = |number: u64| At::as_of(Position::new(1 + mixed(number) % events).expect("from 1"));
    asked("best, as of any position", Some(TARGET_MS), |number| {
        black_box(evals.best(&board(past(number))).expect("an answer"));
    });
    asked("best, now", Some(TARGET_MS), |_| {
        black_box(evals.best(&board(At::default())).expect("an answer"));
    });
    asked("best, as of any position and valid at any time", None, |number| {
        let valid_at = Some(time(mixed(number + 7) % events));
        black_box(evals.best(&board(At { valid_at, ..past(number) })).expect("an answer"));
    });
    asked("leaderboard, 20 rows, as of any position", Some(TARGET_MS), |number| {
        black_box(evals.leaderboard(&board(past(number)), None, 20).expect("an answer"));
    });
    let subject = Some("run:*5".to_owned());
    let filter = Filter { subject, from_step: Some(1_000), ..Filter::default() };
    asked("the same of subjects by pattern, from a step on", None, |number| {
        let board = Board { filter: filter.clone(), ..board(past(number)) };
        black_box(evals.leaderboard(&board, None, 20).expect("an answer"));
    });
    let page = evals.leaderboard(&board(At::default()), None, 10_000).expect("an answer");
    let cursor = page.items.last().expect("rows").cursor.clone();
    asked("leaderboard, 20 rows after the 10,000th", None, |_| {
        black_box(evals.leaderboard(&board(At::default()), Some(&cursor), 20).expect("an answer"));
    });
    asked("grid of 100 checkpoints", None, |number| {
        let subjects = (0..5).map(|more| Ref::Run(run(more * 3))).collect();
        let grid = Grid { subjects, by_step: true, at: past(number), ..Grid::default() };
        black_box(evals.matrix(&grid, None, 100).expect("an answer"));
    });
}

/// Median and 99th percentile of many askings.
fn asked(what: &str, target_ms: Option<f64>, mut ask: impl FnMut(u64)) {
    ask(0);
    let mut times: Vec<f64> = (0..ASKED)
        .map(|number| {
            let began = Instant::now();
            ask(number);
            ms(began.elapsed())
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let target = target_ms.map(|target| format!("   target {target} ms")).unwrap_or_default();
    println!("{what:<56} {:>9.2} ms   p99 {:>7.2} ms{target}", times[times.len() / 2], times[times.len() * 99 / 100]);
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// SplitMix64.
fn mixed(number: u64) -> u64 {
    let z = (number.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn run(number: u64) -> RunId {
    format!("018f4e9a-7c3b-7def-8123-{number:012x}").parse().expect("a run's id")
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_micros(START_MICROS + number as i64 * 1_000_000)
}

/// Appends the results and their corrections; how many events that made.
fn fill(ledger: &Ledger, tenant: &TenantId, results: u64) -> u64 {
    let (mut batch, mut waiting, mut events) = (Vec::with_capacity(5_000), VecDeque::new(), 0);
    for number in 0..results {
        let one: [Option<Event>; 2] = [Some(completed(number, results)), superseded(number)];
        for event in one.into_iter().flatten() {
            events += 1;
            let mut event = NewEvent::new("bench", &events.to_string(), event);
            event.envelope.occurred_at = Some(time(mixed(number) % results));
            batch.push(event);
        }
        if batch.len() >= 4_999 || number + 1 == results {
            waiting.push_back(ledger.submit(tenant, std::mem::take(&mut batch)).expect("room"));
            if waiting.len() > 4 {
                waiting.pop_front().expect("one waits").wait().expect("durable");
            }
        }
    }
    waiting.into_iter().for_each(|pending| drop(pending.wait().expect("durable")));
    events
}

fn completed(number: u64, results: u64) -> Event {
    // The second half evaluates the checkpoints of the first half again.
    let checkpoint = number % (results / 2).max(1);
    let measure = Measure {
        name: "exact_match".into(),
        value: Real((mixed(number) % 1_000_000) as f64 / 1e6),
        n: 1_319,
        standard_error: Some(Real(0.01)),
        higher_is_better: true,
        unit: None,
    };
    EvaluationCompleted {
        evaluation: Ref::eval(&format!("bench/{number}")).expect("an id"),
        subject: Ref::Run(run(checkpoint / STEPS)),
        run: None,
        suite: "core".into(),
        task: "gsm8k".into(),
        dataset: Some("ds://team/gsm8k@1.0.0".parse().expect("a ref")),
        slice: "all".into(),
        metrics: vec![measure],
        protocol_digest: Blake3::of(&(checkpoint % 2).to_le_bytes()),
        protocol: RawJson::default(),
        samples: None,
        step: Some(checkpoint % STEPS * 500),
    }
    .into()
}

fn superseded(number: u64) -> Option<Event> {
    let of = mixed(number) % (number + 1);
    let event = EvaluationSuperseded {
        evaluation: Ref::eval(&format!("bench/{of}")).expect("an id"),
        superseded_by: None,
        reason: "the answers leaked".into(),
    };
    (number % 100 == 99).then(|| event.into())
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
