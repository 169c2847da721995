//! Questions over many runs: filter and sort at any page, count, an entity's state long ago; and what the list takes to
//! load and to hold. Each figure beside its limit.
//!
//! CAIRN_BENCH_RUNS: runs of 100 settings and 20 metrics each (1,000,000). CAIRN_BENCH_ENGINE: sled or fjall (fjall).

use cairn_projections::Engine;
use cairn_projections::catalog::{Catalog, Find};
use cairn_projections::measure::CatalogAlone;
use cairn_schemas::events::annotation::AnnotationRecorded;
use cairn_schemas::events::training::{MetricValue, RunStarted, StepLogged};
use cairn_schemas::{Event, Position, RawJson, Real, Recorded, Ref, RunId, Timestamp};
use std::fmt::Write;
use std::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MICROS: i64 = 1_767_225_600_000_000;
/// Events of one batch.
const BATCH: usize = 8_192;
/// Changes of one entity, whose past is asked for.
const CHANGES: u64 = 100_000;
/// Times that each question is asked.
const ROUNDS: usize = 20;
/// Items of the pages that are timed.
const PAGE: usize = 50;

fn main() {
    let runs: u64 = std::env::var("CAIRN_BENCH_RUNS").ok().and_then(|given| given.parse().ok()).unwrap_or(1_000_000);
    let engine = std::env::var("CAIRN_BENCH_ENGINE").unwrap_or_else(|_| "fjall".into());
    let engine = if engine == "sled" { Engine::Sled } else { Engine::Fjall };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let alone = CatalogAlone::open(engine, dir.path()).expect("a store");
    println!("{runs} runs, 100 settings and 20 metrics each, on {engine:?}");

    let began = Instant::now();
    let mut position = fill(&alone, runs);
    let took = began.elapsed().as_secs_f64();
    println!("{:<58} {:>9.0} events/s", "apply: two events a run", 2.0 * runs as f64 / took);
    let begun = position;
    position = annotate(&alone, position);
    let catalog = alone.catalog();

    let before = memory("VmRSS:");
    let began = Instant::now();
    let total = catalog.count_where("run", Some("seed >= 0"), None).expect("counted");
    assert_eq!(total, runs);
    println!("{:<58} {:>9.1} ms", "cold: the first question loads the list", ms(began));
    println!("{:<58} {:>9} MiB", "memory that the list takes", memory("VmRSS:").saturating_sub(before) >> 10);

    pages(&catalog);
    for filter in ["config.optimizer.lr < 1e-3", "config.s7 = 'value 3' AND metrics.m4 > 0.5 AND NOT config.b2 = true"]
    {
        report(
            &format!("count: {filter}"),
            5.0,
            (0..ROUNDS * 5).map(|_| {
                let began = Instant::now();
                catalog.count_where("run", Some(filter), None).expect("counted");
                ms(began)
            }),
        );
    }
    let long_ago = (0..ROUNDS as u64 * 10).map(|round| {
        let at = Position::new(begun + 1 + round * 37 % (CHANGES / 50)).expect("a position");
        let began = Instant::now();
        let state = catalog.state(&reference(0).to_string(), Some(at)).expect("read").expect("it was there");
        assert_eq!(state.tags["n"], at.get() - begun - 1);
        ms(began)
    });
    report("state of an entity 100,000 events ago", 10.0, long_ago);
    let began = Instant::now();
    let at = Position::new(position - CHANGES / 2);
    catalog.count_where("run", Some("config.optimizer.lr < 1e-3"), at).expect("counted");
    println!("{:<58} {:>9.1} ms", "the same count as of a past position", ms(began));
    println!("{:<58} {:>9} MiB   at most 4096", "most memory held", memory("VmHWM:") >> 10);
}

/// First pages and pages far behind, of filters and orders of each type.
fn pages(catalog: &Catalog) {
    let questions = [
        ("", "metrics.m0"),
        ("config.optimizer.lr < 5e-3", "metrics.m1 DESC"),
        ("config.s7 = 'value 3'", "created_at DESC"),
        ("metrics.m2 BETWEEN 0.2 AND 0.8 AND config.s1 IN ('value 1', 'value 2')", "config.s3, metrics.m5 DESC"),
        ("NOT (config.b1 = true OR config.n9 > 500) AND tags.n IS NULL", "name"),
        ("name LIKE 'run 1%'", "config.n3 DESC, seed"),
    ];
    for (filter, order) in questions {
        let ask = |after: Option<String>, first: usize| {
            let filter = (!filter.is_empty()).then(|| filter.to_owned());
            let order_by = Some(order.to_owned());
            let question = Find { kind: "run".into(), filter, order_by, after, first, ..Find::default() };
            catalog.find(&question).expect("found")
        };
        let (mut after, mut times) = (None, Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let page = ask(after.clone(), PAGE);
            times.push(ms(began));
            after = page.items.last().map(|item| item.cursor.clone());
        }
        for _ in 0..10 {
            let page = ask(after.clone(), 1_000);
            after = page.items.last().map(|item| item.cursor.clone()).or(after);
        }
        for _ in 0..ROUNDS {
            let began = Instant::now();
            ask(after.clone(), PAGE);
            times.push(ms(began));
        }
        let shown = if filter.is_empty() { "(all)" } else { filter };
        report(&format!("{} by {order}", shown.chars().take(44).collect::<String>()), 50.0, times.into_iter());
    }
}

fn report(what: &str, limit_ms: f64, times: impl Iterator<Item = f64>) {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{what:<58} {:>9.2} ms median {:>9.2} ms p99   at most {limit_ms}", at(0.5), at(0.99));
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn run_id(number: u64) -> RunId {
    format!("018f4e9a-7c3b-7def-8123-{number:012x}").parse().expect("a run's id")
}

fn reference(number: u64) -> Ref {
    Ref::Run(run_id(number))
}

fn recorded(position: u64, event: Event) -> Recorded {
    let (links, at) = (event.links(), Timestamp::from_micros(START_MICROS + position as i64 * 1_000));
    Recorded {
        position: Position::new(position).expect("from 1"),
        recorded_at: at,
        stream_version: 1,
        source: "bench".into(),
        id: position.to_string(),
        stream: event.default_stream(),
        project: format!("project {}", position % 20),
        occurred_at: at,
        causation: None,
        extensions: Default::default(),
        used: links.used,
        produced: links.produced,
        redacted_by: None,
        event,
        erased: Vec::new(),
        sealed: Vec::new(),
    }
}

/// Two events a run; gives the last position.
fn fill(alone: &CatalogAlone, runs: u64) -> u64 {
    let (mut position, mut batch) = (0, Vec::with_capacity(BATCH));
    for run in 0..runs {
        for event in [started(run), stepped(run)] {
            position += 1;
            batch.push(recorded(position, event));
        }
        if batch.len() >= BATCH || run + 1 == runs {
            alone.apply(&batch).expect("applied");
            batch.clear();
        }
    }
    position
}

fn annotate(alone: &CatalogAlone, mut position: u64) -> u64 {
    for from in (0..CHANGES).step_by(BATCH) {
        let batch: Vec<Recorded> = (from..(from + BATCH as u64).min(CHANGES))
            .map(|n| {
                position += 1;
                let tags = RawJson::parse(&format!(r#"{{"n":{n}}}"#)).expect("JSON");
                recorded(position, AnnotationRecorded { subject: reference(0), tags, owner: None, note: None }.into())
            })
            .collect();
        alone.apply(&batch).expect("applied");
    }
    position
}

/// A number from 0 to 1 that looks random.
fn chance(run: u64, which: u64) -> f64 {
    let mut z = (run * 131 + which).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn started(run: u64) -> Event {
    let mut config = format!(r#"{{"optimizer":{{"lr":{}}}"#, chance(run, 0) / 100.0);
    for n in 0..60 {
        let _ = write!(config, r#","n{n}":{}"#, (chance(run, 100 + n) * 1_000.0).floor());
    }
    for n in 0..29 {
        let _ = write!(config, r#","s{n}":"value {}""#, (chance(run, 200 + n) * 8.0) as u64);
    }
    for n in 0..10 {
        let _ = write!(config, r#","b{n}":{}"#, chance(run, 300 + n) < 0.5);
    }
    config.push('}');
    RunStarted {
        run: run_id(run),
        method: "pretrain".into(),
        name: Some(format!("run {run}")),
        attempt: 1,
        dataset: None,
        tokenizer: None,
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::parse(&config).expect("JSON"),
        environment: RawJson::default(),
        seed: run % 10,
        graphs: vec![],
        identity: None,
        steps_planned: None,
    }
    .into()
}

fn stepped(run: u64) -> Event {
    let metric = |n| MetricValue { name: format!("m{n}").into(), value: Real(chance(run, 400 + n)) };
    let metrics = (0..20u64).map(metric).collect();
    StepLogged { run: run_id(run), attempt: 1, step: 100, tokens: 204_800, time: None, metrics }.into()
}
