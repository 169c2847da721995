//! How fast events go from the ledger into all stores together: followed, and rebuilt while the old stores answer.
//! Beside it what reading and decoding alone take, which all projections share.
//!
//! CAIRN_BENCH_EVENTS: events of the log (300,000). CAIRN_BENCH_ENGINES: sled,fjall,memory (fjall). CAIRN_BENCH_ONLY:
//! projections that are rebuilt (all). The mix is that of training runs, 10 to 20 metrics a step, with their jobs,
//! checkpoints, evaluations, models and documents.

use cairn_ledger::{Ledger, Options};
use cairn_projections::{Choice, Projections};
use cairn_schemas::events::data::DocumentIngested;
use cairn_schemas::events::evaluation::{EvaluationCompleted, Measure};
use cairn_schemas::events::job::{JobCompleted, JobStarted};
use cairn_schemas::events::model::VersionRegistered;
use cairn_schemas::events::training::{CheckpointSaved, MetricValue, RunStarted, StepLogged};
use cairn_schemas::{Blake3, Event, NewEvent, Position, RawJson, Real, Ref, RunId, Sha256, TenantId, Timestamp};
use std::path::Path;
use std::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MICROS: i64 = 1_767_225_600_000_000;
/// Steps of a run between its start and its end.
const STEPS: u64 = 4_000;
const METRICS: [&str; 20] = [
    "loss",
    "grad_norm",
    "learning_rate",
    "throughput/tokens_per_second",
    "throughput/device/tokens_per_second",
    "train/CrossEntropyLoss",
    "train/Perplexity",
    "optim/total_grad_norm",
    "optim/clipping_rate",
    "optim/step_size",
    "memory/peak_gib",
    "memory/reserved_gib",
    "data/seen_tokens",
    "data/loading_seconds",
    "router/load_balancing_loss",
    "router/z_loss",
    "eval/validation/c4/loss",
    "eval/validation/pile/loss",
    "system/gpu_utilisation",
    "system/temperature",
];

fn main() {
    let events: u64 = number("CAIRN_BENCH_EVENTS", 300_000);
    let engines = std::env::var("CAIRN_BENCH_ENGINES").unwrap_or_else(|_| "fjall".into());
    let only = std::env::var("CAIRN_BENCH_ONLY").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tenant = TenantId::default();
    let ledger = Ledger::open(&dir.path().join("ledger"), Options::default()).expect("a ledger");
    println!("{events} events, the mix of training runs, 10 to 20 metrics a step");
    timed("append to the ledger", events, || fill(&ledger, &tenant, events));
    timed("read and decode alone", events, || {
        let mut from = Some(Position::FIRST);
        while let Some(at) = from {
            let read = ledger.read(&tenant, at, 16_384).expect("readable");
            from = read.last().and_then(|event| event.position.next());
        }
    });
    for engine in engines.split(',') {
        let stores = dir.path().join(engine);
        let projections = match engine {
            "memory" => Projections::in_memory(ledger.clone(), tenant.clone()),
            name => {
                let choice: Choice = name.parse().expect("sled, fjall or memory");
                Projections::open_on(&stores, ledger.clone(), tenant.clone(), choice)
            }
        };
        let projections = projections.expect("stores");
        let label = format!("{engine}: follow, all stores together");
        timed(&label, events, || projections.catch_up().expect("followed"));
        let first = projections.digests().expect("digests");
        let label =
            format!("{engine}: rebuild of {}, the old ones answering", if only.is_empty() { "all" } else { "some" });
        timed(&label, events, || projections.rebuild(&only, &mut |_, _, _| {}).expect("rebuilt"));
        assert_eq!(projections.digests().expect("digests"), first, "two rebuilds give equal digests");
        println!("{:<58} {:>9.1} MiB", format!("{engine}: on disk"), size(&stores) as f64 / 1_048_576.0);
    }
    println!("{:<58} {:>9} MiB", "most memory held", status("VmHWM:") / 1_024);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|given| given.parse().ok()).unwrap_or(default)
}

fn timed(what: &str, events: u64, run: impl FnOnce()) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    run();
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let per_event = cpu * 1e6 / events as f64;
    println!(
        "{what:<58} {:>9.0} events/s   {took:>7.2} s   {per_event:>6.2} µs of processors an event",
        events as f64 / took
    );
}

/// Seconds that all threads of this process have run, in the system and outside it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.path().is_dir() {
        true => size(&entry.path()),
        false => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.flatten().map(one).sum()
}

fn fill(ledger: &Ledger, tenant: &TenantId, events: u64) {
    let mut batch = Vec::with_capacity(5_000);
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..events {
        batch.push(NewEvent::new("bench", &number.to_string(), event(number)));
        if batch.len() == 5_000 || number + 1 == events {
            waiting.push_back(ledger.submit(tenant, std::mem::take(&mut batch)).expect("room"));
            if waiting.len() > 4 {
                waiting.pop_front().expect("one waits").wait().expect("durable");
            }
        }
    }
    waiting.into_iter().for_each(|pending| drop(pending.wait().expect("durable")));
}

fn run_id(number: u64) -> RunId {
    format!("018f4e9a-7c3b-7def-8123-{number:012x}").parse().expect("a run's id")
}

fn artifact(kind: &str, number: u64) -> Ref {
    Ref::Artifact(Blake3::of(format!("{kind} {number}").as_bytes()))
}

fn reference(text: String) -> Ref {
    text.parse().expect("a ref")
}

/// The event at a place of the log: runs one after the other, each with its job, steps, checkpoints, results, and the
/// documents of the next one's dataset.
fn event(number: u64) -> Event {
    let (run, at) = (number / (STEPS + 200), number % (STEPS + 200));
    match at {
        0 => JobStarted {
            run: run_id(run),
            kind: "train".into(),
            name: format!("train-{run}"),
            pipeline: Some("bench".into()),
            attempt: 1,
            key: Blake3::of(&run.to_le_bytes()),
            spec: RawJson::parse(r#"{"config": {"optimizer": {"lr": 0.0003, "betas": [0.9, 0.95]}}}"#).expect("JSON"),
            inputs: vec![reference(format!("ds://team/web@1.0.{run}"))],
            resolved_at: None,
            reproduces: None,
        }
        .into(),
        1 => started(run).into(),
        _ if at < 102 => document(run, at).into(),
        _ if at == STEPS + 198 => model(run).into(),
        _ if at == STEPS + 199 => JobCompleted {
            run: run_id(run),
            attempt: 1,
            outputs: vec![artifact("weights", run)],
            duration_ms: 1_000,
            summary: RawJson::parse(r#"{"steps": 4000}"#).expect("JSON"),
        }
        .into(),
        _ if at % 200 == 199 => CheckpointSaved {
            run: run_id(run),
            attempt: 1,
            step: at,
            tokens: at * 4_194_304,
            checkpoint: artifact("checkpoint", number),
            state_digest: Blake3::of(&number.to_le_bytes()),
            weights_digest: Blake3::of(&number.to_be_bytes()),
        }
        .into(),
        _ if at % 100 == 98 => evaluation(run, number, at).into(),
        _ => step(run, at).into(),
    }
}

fn started(run: u64) -> RunStarted {
    RunStarted {
        run: run_id(run),
        method: "pretrain".into(),
        name: Some(format!("ladder-{run}")),
        attempt: 1,
        dataset: Some(reference(format!("ds://team/web@1.0.{run}"))),
        tokenizer: Some(artifact("tokenizer", 0)),
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::parse(r#"{"model": {"d_model": 2048, "layers": 24}, "optimizer": {"lr": 0.0003}}"#)
            .expect("JSON"),
        environment: RawJson::default(),
        seed: run,
        graphs: vec![artifact("graph", 0)],
        identity: None,
        steps_planned: Some(STEPS),
    }
}

fn step(run: u64, at: u64) -> StepLogged {
    let progress = at as f64 / STEPS as f64;
    // Values as a run has them: all bits of the mantissa in use.
    let noise = |metric: u64| {
        let mixed = (at * 31 + metric * 7 + run).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    };
    let metrics = METRICS.iter().zip(0..).take(10 + (run % 11) as usize);
    StepLogged {
        run: run_id(run),
        attempt: 1,
        step: at,
        tokens: at * 4_194_304,
        time: Some(Timestamp::from_micros(START_MICROS + (run * STEPS + at) as i64 * 731_234)),
        metrics: metrics
            .map(|(name, metric)| MetricValue {
                name: (*name).into(),
                value: Real(11.0 * (-4.0 * progress).exp() + 2.0 + 0.05 * noise(metric)),
            })
            .collect(),
    }
}

fn document(run: u64, at: u64) -> DocumentIngested {
    let number = run * 1_000 + at;
    DocumentIngested {
        run: run_id(run),
        source: "web".into(),
        document: Ref::Doc(Blake3::of(&number.to_le_bytes())),
        sha256: Sha256::from_bytes([number as u8; 32]),
        source_uri: format!("file:///docs/{number}.txt"),
        timestamp: Timestamp::from_micros(START_MICROS),
        author: "team".into(),
        access_policy: "public".into(),
        content_type: "text/plain".into(),
        language: "en".into(),
        bytes: 4_000,
        fingerprint: Blake3::of(&number.to_be_bytes()),
        redactions: None,
    }
}

fn model(run: u64) -> VersionRegistered {
    VersionRegistered {
        model: reference(format!("model://team/ladder@{}", run + 1)),
        run: Some(run_id(run)),
        weights: Some(artifact("weights", run)),
        weights_digest: Some(Blake3::of(&run.to_le_bytes())),
        tokenizer: Some(artifact("tokenizer", 0)),
        architecture: RawJson::default(),
        dataset: Some(reference(format!("ds://team/web@1.0.{run}"))),
        base_model: None,
        parameters: Some(1_000_000),
        training_samples: None,
        metadata: RawJson::default(),
    }
}

fn evaluation(run: u64, number: u64, at: u64) -> EvaluationCompleted {
    let measure = |name: &str, value: f64| Measure {
        name: name.into(),
        value: Real(value),
        n: 1_000,
        standard_error: Some(Real(0.01)),
        higher_is_better: name != "loss",
        unit: None,
    };
    EvaluationCompleted {
        evaluation: Ref::eval(&number.to_string()).expect("an evaluation's name"),
        subject: Ref::Run(run_id(run)),
        run: None,
        suite: "core".into(),
        task: ["gsm8k", "mmlu", "arc", "hellaswag"][(at / 100 % 4) as usize].into(),
        dataset: None,
        slice: "all".into(),
        metrics: vec![measure("exact_match", at as f64 / STEPS as f64), measure("loss", 2.0)],
        protocol_digest: Blake3::of(b"protocol"),
        protocol: RawJson::default(),
        samples: None,
        step: Some(at),
    }
}
