//! A run that was stopped or killed goes on from its last checkpoint and ends in the same bits.

use crate::support::{
    AtStep, BASE, checkpoints, events, folder, open, outcome, pipeline, run, run_cancelled_at, run_of, steps,
};
use cairn_processors::{JobOutcome, RunOptions, run_pipeline};
use cairn_schemas::events::training::{MetricValue, StepLogged};
use cairn_schemas::{Event, NewEvent, Real, RunId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// Names the folder for the process that is to be killed.
const FOLDER_VARIABLE: &str = "CAIRN_TEST_KILLED_RUN";

fn uninterrupted() -> (BTreeMap<u64, String>, Vec<f64>) {
    let dir = folder();
    let ctx = open(dir.path());
    let run = run_of(&run(&ctx, dir.path(), BASE), "base");
    (checkpoints(&ctx, run).into_iter().collect(), steps(&ctx, run).into_iter().map(|(.., loss)| loss).collect())
}

/// Every checkpoint and loss of the resumed run is that of the uninterrupted one; nothing diverged.
fn assert_same(dir: &Path, run: RunId) {
    let ctx = open(dir);
    let (expected, losses) = uninterrupted();
    for (step, digest) in checkpoints(&ctx, run) {
        if let Some(expected) = expected.get(&step) {
            assert_eq!(&digest, expected, "checkpoint at step {step}");
        }
    }
    assert!(checkpoints(&ctx, run).iter().any(|(step, _)| *step == 20));
    let taken = steps(&ctx, run);
    assert!((1..=20).all(|step| taken.iter().any(|(of, ..)| *of == step)), "{taken:?}");
    for (step, attempt, loss) in taken {
        assert_eq!(loss.to_bits(), losses[step as usize - 1].to_bits(), "step {step} of attempt {attempt}");
    }
    let completed = events(&ctx).into_iter().filter_map(|r| match r.event {
        Event::RunCompleted(event) if event.run == run => Some(event),
        _ => None,
    });
    let completed: Vec<_> = completed.collect();
    assert_eq!(completed.len(), 1);
    assert_eq!((completed[0].attempt, completed[0].divergences.as_slice()), (2, &[][..]));
}

#[test]
fn a_stopped_run_records_that_and_goes_on_where_it_stopped() {
    let dir = folder();
    let ctx = open(dir.path());
    let report = run_cancelled_at(&ctx, dir.path(), BASE, "base", 7);
    let (info, JobOutcome::Cancelled) = outcome(&report, "base") else { panic!("{report:?}") };
    assert_eq!(steps(&ctx, info.run).len(), 7);
    let cancelled = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunCancelled(event) => Some(event),
        _ => None,
    });
    assert_eq!(cancelled.unwrap().step, 7);
    let again = run(&ctx, dir.path(), BASE);
    assert_eq!((run_of(&again, "base"), outcome(&again, "base").0.attempt), (info.run, 2));
    let resumed = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunResumed(event) => Some(event),
        _ => None,
    });
    assert_eq!(resumed.unwrap().from_step, 7);
    drop(ctx);
    assert_same(dir.path(), info.run);
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let dir = folder();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::the_process_that_is_killed", "--nocapture", "--test-threads", "1"])
        .env(FOLDER_VARIABLE, dir.path())
        .output()
        .unwrap();
    assert!(!status.status.success(), "the child was to be killed: {}", String::from_utf8_lossy(&status.stdout));
    let ctx = open(dir.path());
    let report = run(&ctx, dir.path(), BASE);
    let base = run_of(&report, "base");
    assert_eq!(outcome(&report, "base").0.attempt, 2);
    let resumed = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunResumed(event) if event.run == base => Some(event),
        _ => None,
    });
    let resumed = resumed.unwrap();
    assert_eq!((resumed.from_step, resumed.attempt), (10, 2));
    assert!(resumed.checkpoint.is_some());
    drop(ctx);
    assert_same(dir.path(), base);
}

#[test]
fn a_step_that_comes_out_otherwise_is_named() {
    let dir = folder();
    let ctx = open(dir.path());
    let report = run_cancelled_at(&ctx, dir.path(), BASE, "base", 7);
    let base = outcome(&report, "base").0.run;
    // As if the first attempt had taken step 8 on another machine before it died.
    let metrics = vec![MetricValue { name: "loss".into(), value: Real(123.0) }];
    let step = StepLogged { run: base, attempt: 1, step: 8, tokens: 1, time: None, metrics };
    ctx.ledger().append(ctx.tenant(), vec![NewEvent::new("test", "step", step)]).unwrap();
    run(&ctx, dir.path(), BASE);
    let completed = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunCompleted(event) if event.run == base => Some(event),
        _ => None,
    });
    let divergences = completed.unwrap().divergences;
    assert_eq!(divergences.len(), 1);
    assert!(divergences[0].starts_with("step 8: loss was 123, is "), "{divergences:?}");
}

/// Trains until it kills itself in the middle of step 13; without a folder given, trains one of its own to the end.
#[test]
fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER_VARIABLE) else {
        let dir = folder();
        let ctx = open(dir.path());
        let killed = std::sync::atomic::AtomicBool::new(false);
        let mark = || killed.store(true, std::sync::atomic::Ordering::Relaxed);
        let observer = AtStep { job: "base", step: 13, then: &mark, seen: AtomicU64::new(0) };
        run_pipeline(&ctx, &pipeline(dir.path(), BASE), &RunOptions::default(), &observer).unwrap();
        assert!(killed.into_inner(), "step 13 was taken");
        return;
    };
    let dir = Path::new(&dir);
    let ctx = open(dir);
    // SIGKILL: no destructor runs, nothing is flushed.
    let kill = || rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    let observer = AtStep { job: "base", step: 13, then: &kill, seen: AtomicU64::new(0) };
    run_pipeline(&ctx, &pipeline(dir, BASE), &RunOptions::default(), &observer).unwrap();
}
