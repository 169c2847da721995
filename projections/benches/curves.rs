//! What the store of curves takes and how fast it answers, each figure beside its target.
//!
//! CAIRN_BENCH_STEPS: steps of the long run (10,000,000). CAIRN_BENCH_RUNS: runs of 1,500 metrics and 20 points each
//! (200; FastTrackML's issue 860 has 75,000, which take 375 times the room). CAIRN_BENCH_ENGINE: sled or fjall (fjall).
//! `cold` is the first question to a store that was just opened; the files may still lie in the page cache.

use cairn_projections::curves::{AggregateQuery, Axis, CurveQuery, Smoothing};
use cairn_projections::measure::CurvesAlone;
use cairn_projections::{Curves, Engine};
use cairn_schemas::events::training::{MetricValue, RunCompleted, StepLogged};
use cairn_schemas::{Event, Position, Real, Recorded, RunId, Timestamp};
use std::path::Path;
use std::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MICROS: i64 = 1_767_225_600_000_000;
/// Events of a batch.
const BATCH: usize = 32_768;
/// How often a question is put.
const ASKED: usize = 21;
const LADDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/olmo/ladder");

fn main() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let engine = match std::env::var("CAIRN_BENCH_ENGINE").as_deref() {
        Ok("sled") => Engine::Sled,
        Ok("fjall") | Err(_) => Engine::Fjall,
        Ok(other) => panic!("`{other}` is no engine; use sled or fjall"),
    };
    println!("{:<64} {:>12} {:>12}", "on the engine of the stores", engine.name(), "target");
    ladder(engine);
    long(engine, number("CAIRN_BENCH_STEPS", 10_000_000));
    wide(engine, number("CAIRN_BENCH_RUNS", 200));
}

fn told(what: &str, figure: String, target: &str) {
    println!("{what:<64} {figure:>12} {target:>12}");
}

/// Events as the ledger would give them.
#[derive(Default)]
struct Feed {
    position: u64,
    events: Vec<Recorded>,
}

impl Feed {
    fn add(&mut self, store: &CurvesAlone, event: Event) {
        self.position += 1;
        let at = Timestamp::from_micros(START_MICROS + self.position as i64 * 1_000);
        self.events.push(Recorded {
            position: Position::new(self.position).expect("it begins at 1"),
            recorded_at: at,
            stream_version: 1,
            source: String::new(),
            id: String::new(),
            stream: String::new(),
            project: String::new(),
            occurred_at: at,
            causation: None,
            extensions: Default::default(),
            used: Vec::new(),
            produced: Vec::new(),
            redacted_by: None,
            event,
            erased: Vec::new(),
            sealed: Vec::new(),
        });
        if self.events.len() == BATCH {
            self.flush(store);
        }
    }
    fn flush(&mut self, store: &CurvesAlone) {
        store.apply(&std::mem::take(&mut self.events)).expect("applied");
    }
}

fn run_id(number: u64) -> RunId {
    format!("018f4e9a-7c3b-7def-8123-{number:012x}").parse().expect("a run's id")
}

fn step(run: u64, step: u64, tokens: u64, time_micros: Option<i64>, metrics: Vec<MetricValue>) -> Event {
    let time = time_micros.map(Timestamp::from_micros);
    StepLogged { run: run_id(run), attempt: 1, step, tokens, time, metrics }.into()
}

fn metric(name: &str, value: f64) -> MetricValue {
    MetricValue { name: name.into(), value: Real(value) }
}

/// The median of some times, in milliseconds.
fn asked(question: &mut dyn FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ASKED).map(|_| once(question)).collect();
    times.sort_by(f64::total_cmp);
    times[ASKED / 2]
}

fn once(question: &mut dyn FnMut()) -> f64 {
    let began = Instant::now();
    question();
    began.elapsed().as_secs_f64() * 1e3
}

fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.path().is_dir() {
        true => size_of(&entry.path()),
        false => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.flatten().map(one).sum()
}

/// The runs of the OLMo ladder, every bit checked afterwards.
fn ladder(engine: Engine) {
    let Ok(files) = std::fs::read_dir(LADDER) else {
        println!("no files of the ladder in {LADDER}");
        return;
    };
    let mut files: Vec<_> =
        files.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "csv")).collect();
    files.sort();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = CurvesAlone::open(engine, dir.path()).expect("a store");
    let (mut feed, mut expected) = (Feed::default(), Vec::new());
    for (run, file) in (1..).zip(&files) {
        let text = std::fs::read_to_string(file).expect("readable");
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().expect("a heading").split(',').collect();
        let at = |name: &str| names.iter().position(|known| *known == name).expect("a column of the ladder");
        let (tokens, batch) = (at("throughput/total_tokens"), at("batch_size_in_tokens"));
        let mut columns: Vec<Vec<u64>> = vec![Vec::new(); names.len()];
        for line in lines {
            let values: Vec<f64> = line.split(',').map(|value| value.parse().expect("a number")).collect();
            columns.iter_mut().zip(&values).for_each(|(column, value)| column.push(value.to_bits()));
            let metrics = names.iter().zip(&values).map(|(name, value)| metric(name, *value)).collect();
            let at = (values[tokens] / values[batch]) as u64;
            feed.add(&store, step(run, at, values[tokens] as u64, None, metrics));
        }
        let rows = columns[0].len() as u64;
        feed.add(&store, completed(run, rows));
        expected.extend(names.into_iter().map(String::from).zip(columns).map(|(name, column)| (run, name, column)));
    }
    feed.flush(&store);
    let points: usize = expected.iter().map(|(.., column)| column.len()).sum();
    for (run, name, column) in &expected {
        let found = store.curves().series(&run_id(*run), name).expect("readable");
        let bits: Vec<u64> = found.iter().map(|point| point.value.to_bits()).collect();
        assert_eq!(&bits, column, "{name} of run {run}");
    }
    let (rows, bytes) = store.size().expect("readable");
    told(
        &format!("OLMo ladder, {points} points of {} runs, lossless, {rows} rows", files.len()),
        format!("{:.2} B/point", bytes as f64 / points as f64),
        "2.50",
    );
}

fn completed(run: u64, steps: u64) -> Event {
    RunCompleted {
        run: run_id(run),
        attempt: 1,
        steps,
        tokens: 0,
        duration_ms: 1,
        weights: None,
        weights_digest: None,
        metrics: Vec::new(),
        divergences: Vec::new(),
    }
    .into()
}

/// One long run with a dense metric and a sparse one.
fn long(engine: Engine, steps: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = CurvesAlone::open(engine, dir.path()).expect("a store");
    let mut feed = Feed::default();
    let mut noise = 1u64;
    let mut random = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 40) as f64 / (1u64 << 24) as f64
    };
    let (every, began) = ((steps / 26).max(1), Instant::now());
    let mut spent = 0.0;
    for at in 1..=steps {
        let loss = (2.0 + 8.0 / (1.0 + at as f64 / 5_000.0) + random() * 0.1) as f32;
        let mut metrics = vec![metric("loss", f64::from(loss)), metric("grad_norm", f64::from(random() as f32))];
        if at % every == 0 {
            metrics.push(metric("eval/acc", random()));
        }
        let time = START_MICROS + at as i64 * 150_000 + (random() * 2_000.0) as i64;
        let full = feed.events.len() + 1 == BATCH;
        let before = Instant::now();
        feed.add(&store, step(1, at, at * 2_048, Some(time), metrics));
        if full {
            spent += before.elapsed().as_secs_f64();
        }
    }
    feed.flush(&store);
    store.sync().expect("synced");
    let (rows, bytes) = store.size().expect("readable");
    let per_point = bytes as f64 / (2 * steps) as f64;
    told(
        &format!("{steps} steps of 2 metrics applied, of {:.0} s with their making", began.elapsed().as_secs_f64()),
        format!("{:.0} ev/s", steps as f64 / spent),
        "",
    );
    told(
        &format!("  their rows ({rows}); on disk {:.1} MiB", size_of(dir.path()) as f64 / 1_048_576.0),
        format!("{per_point:.2} B/point"),
        "",
    );
    drop(store);

    let reopened = CurvesAlone::open(engine, dir.path()).expect("a store");
    let curves = reopened.curves();
    let ask = |query: &CurveQuery| {
        let answer = curves.query(query).expect("an answer").remove(0);
        (answer.points.len(), answer.total_points)
    };
    let whole = CurveQuery { points_max: Some(2_000), ..CurveQuery::of(&run_id(1), "loss") };
    let ms = once(&mut || assert_eq!(ask(&whole).1, steps));
    told(&format!("curve of {steps} points to 2,000, cold"), format!("{ms:.2} ms"), "");
    let ms = asked(&mut || assert!(ask(&whole).0 > 500));
    told(&format!("curve of {steps} points to 2,000"), format!("{ms:.2} ms"), "20");
    let part = CurveQuery { from: Some(steps as f64 * 0.4), to: Some(steps as f64 * 0.43), ..whole.clone() };
    told("  a thirtieth of it to 2,000", format!("{:.2} ms", asked(&mut || _ = ask(&part))), "20");
    let past = CurveQuery { as_of: Position::new(steps / 2), ..whole.clone() };
    told("  as of half of it", format!("{:.2} ms", asked(&mut || assert_eq!(ask(&past).1, steps / 2))), "20");
    let by_tokens = CurveQuery { axis: Axis::Tokens, ..whole.clone() };
    told("  by tokens", format!("{:.2} ms", asked(&mut || _ = ask(&by_tokens))), "20");
    let smooth = CurveQuery { smoothing: Some(Smoothing::Ema(0.99)), ..whole };
    told("  smoothed over every point, once", format!("{:.0} ms", once(&mut || _ = ask(&smooth))), "");
    // An engine holds its folder until the last one lets go.
    drop((curves, reopened));

    let reopened = CurvesAlone::open(engine, dir.path()).expect("a store");
    let curves = reopened.curves();
    let sparse = CurveQuery::of(&run_id(1), "eval/acc");
    let mut ask = || assert_eq!(curves.query(&sparse).expect("an answer")[0].points.len() as u64, steps / every);
    let ms = once(&mut ask);
    told(&format!("{} points in {steps} steps, cold", steps / every), format!("{ms:.2} ms"), "");
    told(&format!("{} points in {steps} steps", steps / every), format!("{:.2} ms", asked(&mut ask)), "10");
}

/// Many runs with many metrics of few points: FastTrackML's issue 860, scaled.
fn wide(engine: Engine, runs: u64) {
    const METRICS: u64 = 1_500;
    const POINTS: u64 = 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = CurvesAlone::open(engine, dir.path()).expect("a store");
    let names: Vec<String> = (0..METRICS).map(|n| format!("layer_{}/metric_{}", n / 15, n % 15)).collect();
    let (mut feed, began) = (Feed::default(), Instant::now());
    for run in 1..=runs {
        for at in 1..=POINTS {
            // Batches as a client sends them: some hundred metrics at a time.
            for (part, names) in (0..).zip(names.chunks(150)) {
                let value = |(n, name): (usize, &String)| {
                    let seed = run * 31 + part * 150 + n as u64;
                    metric(name, f64::from((((seed * 7_919) % 1_000) as f32 / 1_000.0) / (1.0 + at as f32)))
                };
                let metrics = names.iter().enumerate().map(value).collect();
                feed.add(&store, step(run, at, at * 2_048, Some(START_MICROS + (at * 1_000_000) as i64), metrics));
                if feed.events.len() >= 2_000 {
                    feed.flush(&store);
                }
            }
        }
        feed.add(&store, completed(run, POINTS));
    }
    feed.flush(&store);
    store.sync().expect("synced");
    let points = runs * METRICS * POINTS;
    let (_, bytes) = store.size().expect("readable");
    let rate = points as f64 / began.elapsed().as_secs_f64();
    told(&format!("{runs} runs × {METRICS} metrics × {POINTS} points applied"), format!("{rate:.0} pt/s"), "");
    told(
        &format!("  their rows; on disk {:.1} MiB", size_of(dir.path()) as f64 / 1_048_576.0),
        format!("{:.2} B/point", bytes as f64 / points as f64),
        "",
    );
    drop(store);

    let reopened = CurvesAlone::open(engine, dir.path()).expect("a store");
    chart(
        &reopened.curves(),
        "one metric of 100 runs",
        (1..=runs.min(100)).map(run_id).collect(),
        vec![names[777].clone()],
        100.min(runs),
    );
    drop(reopened);
    let reopened = CurvesAlone::open(engine, dir.path()).expect("a store");
    let curves = reopened.curves();
    chart(&curves, "100 metrics of one run", vec![run_id(1 + runs / 2)], names[600..700].to_vec(), 100);
    let seeds = AggregateQuery {
        runs: (1..=runs.min(100)).map(run_id).collect(),
        metric: names[5].clone(),
        axis: Axis::Step,
        from: None,
        to: None,
        points_max: 500,
        quantiles: vec![0.1, 0.5, 0.9],
        as_of: None,
        smoothing: None,
        ancestors: false,
    };
    let mut ask = || assert_eq!(curves.aggregate(&seeds).expect("an answer").points.len() as u64, POINTS);
    told("mean and quantiles of 100 runs", format!("{:.2} ms", asked(&mut ask)), "");
}

fn chart(curves: &Curves, what: &str, runs: Vec<RunId>, metrics: Vec<String>, count: u64) {
    let query = CurveQuery { runs, metrics, points_max: Some(500), ..CurveQuery::default() };
    let mut ask = || {
        let answers = curves.query(&query).expect("an answer");
        assert!(answers.len() as u64 == count && answers.iter().all(|answer| answer.points.len() == 20));
    };
    told(&format!("100 curves on one chart: {what}, cold"), format!("{:.2} ms", once(&mut ask)), "");
    told(&format!("100 curves on one chart: {what}"), format!("{:.2} ms", asked(&mut ask)), "200");
}
