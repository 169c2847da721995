//! What a run records, and what it refuses.

use crate::support::{
    AtStep, BASE, TUNED, checkpoints, events, folder, open, outcome, pipeline, run, run_of, steps, summary,
};
use cairn_processors::{JobOutcome, RunOptions, run_pipeline};
use cairn_schemas::{Event, Ref};

#[test]
fn a_run_records_all_that_it_takes_to_run_it_again() {
    let dir = folder();
    let ctx = open(dir.path());
    let report = run(&ctx, dir.path(), BASE);
    let base = run_of(&report, "base");
    let taken = steps(&ctx, base);
    assert_eq!(taken.iter().map(|(step, ..)| *step).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert!(taken[19].2 < taken[0].2, "the loss fell: {taken:?}");
    assert_eq!(checkpoints(&ctx, base).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [5, 10, 15, 20]);
    let all = events(&ctx);
    let started = all.iter().find_map(|r| match &r.event {
        Event::RunStarted(event) if event.run == base => Some((event, &r.used)),
        _ => None,
    });
    let (started, used) = started.unwrap();
    assert!(started.identity.is_some() && started.graphs.len() >= 2 && started.steps_planned == Some(20));
    assert!(used.contains(&"ds://tiny/corpus@1.0.0".parse().unwrap()));
    assert!(
        started.code.to_value()["executable"].is_string()
            && started.environment.to_value()["library_digest"].is_string()
    );
    for graph in &started.graphs {
        let Ref::Artifact(digest) = graph else { panic!("{graph}") };
        assert!(ctx.ledger().artifacts(ctx.tenant()).contains(digest));
    }
    let validated = all.iter().filter_map(|r| match &r.event {
        Event::StepLogged(event) if event.run == base => {
            event.metrics.iter().any(|m| m.name == "validation_loss").then_some(event.step)
        }
        _ => None,
    });
    assert_eq!(validated.collect::<Vec<_>>(), [5, 10, 15, 20]);
    let registered = all.iter().find_map(|r| match &r.event {
        Event::VersionRegistered(event) => Some(event),
        _ => None,
    });
    let registered = registered.unwrap();
    assert_eq!(registered.model.to_string(), "model://tiny/base@1");
    assert_eq!(
        registered.weights_digest.map(|d| d.to_string()),
        summary(&report, "base")["weights_digest"].as_str().map(str::to_owned)
    );
    assert!(registered.training_samples.unwrap() > 50);
    let again = run(&ctx, dir.path(), BASE);
    assert!(matches!(outcome(&again, "base").1, JobOutcome::Skipped { run, .. } if run == base));
}

#[test]
fn fine_tuning_begins_with_the_base_models_weights_and_names_its_run() {
    let dir = folder();
    let ctx = open(dir.path());
    let text = format!("{BASE}{TUNED}");
    let report = run(&ctx, dir.path(), &text);
    let (base, tuned) = (run_of(&report, "base"), run_of(&report, "tuned"));
    let started = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunStarted(event) if event.run == tuned => Some(event),
        _ => None,
    });
    let started = started.unwrap();
    assert_eq!(started.parent, Some(base));
    assert_eq!(started.base_model.unwrap().to_string(), "model://tiny/base@1");
    assert_eq!(started.method, "sft");
    // Fine-tuning on answers only: their loss falls below that of the untouched base.
    let loss = |job: &str| summary(&report, job)["tasks"]["loss"]["metrics"]["loss"]["value"].as_f64().unwrap();
    assert!(loss("base-exam") > 0.0 && loss("tuned-exam") > 0.0);
    let answers = summary(&report, "tuned-exam")["tasks"]["answers"]["metrics"].clone();
    assert_eq!(answers["exact_match"]["n"], 12);
    assert!(answers["format_validity"]["standard_error"].is_number(), "{answers}");
    assert!(
        answers["latency_ms"]["value"].as_f64().unwrap() > 0.0
            && answers["cost_per_1k_tokens"]["value"].as_f64().unwrap() > 0.0
    );
    let samples: Ref = summary(&report, "tuned-exam")["tasks"]["answers"]["samples"].as_str().unwrap().parse().unwrap();
    let samples = cairn_processors::read_samples(&ctx, &samples).unwrap();
    assert_eq!(samples.len(), 12);
    assert!(
        samples.iter().all(|sample| sample.prompt.starts_with("what is")
            && sample.reference.is_some()
            && sample.answer.is_some())
    );
}

#[test]
fn what_cannot_be_trained_is_refused_by_name_and_recorded() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), BASE);
    for (from, to, why) in [
        (
            "dataset: corpus, split: train, v",
            "dataset: ds://tiny/corpus@1.0.0, split: absent, v",
            "has no split `absent`",
        ),
        ("context=48\"", "context=48,vocabulary=270\"", "the model's `vocabulary` is 270"),
    ] {
        assert!(BASE.contains(from), "{from}");
        let pipeline = pipeline(dir.path(), &BASE.replace(from, to));
        let report = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &cairn_processors::Quiet).unwrap();
        let Some((info, JobOutcome::Failed { error })) = report.jobs.last() else { panic!("{to}: {report:?}") };
        assert!(error.chain().contains(why), "{to}: {}", error.chain());
        let recorded = events(&ctx).into_iter().any(|r| matches!(r.event, Event::JobFailed(e) if e.run == info.run));
        assert!(recorded, "{to}");
    }
}

#[test]
fn a_panic_while_training_fails_the_run_too() {
    let dir = folder();
    let ctx = open(dir.path());
    let observer = AtStep { job: "base", step: 3, then: &|| panic!("gave up"), seen: Default::default() };
    let report = run_pipeline(&ctx, &pipeline(dir.path(), BASE), &RunOptions::default(), &observer).unwrap();
    let Some((info, JobOutcome::Failed { error })) = report.jobs.last() else { panic!("{report:?}") };
    assert!(error.chain().contains("panicked: gave up"), "{}", error.chain());
    let failed = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunFailed(event) if event.run == info.run => Some(event),
        _ => None,
    });
    assert!(failed.unwrap().error.contains("panicked: gave up"));
    assert_eq!(steps(&ctx, info.run).len(), 3, "the steps before it are recorded");
    // It goes on from where it was.
    let report = run(&ctx, dir.path(), BASE);
    assert_eq!((run_of(&report, "base"), outcome(&report, "base").0.attempt), (info.run, 2));
}

#[test]
fn a_loss_that_is_no_number_fails_the_run_by_name() {
    let dir = folder();
    let ctx = open(dir.path());
    let text =
        BASE.replace("learning_rate: 1.0e-2", "learning_rate: 1.0e+30").replace("clip_norm: 1.0", "clip_norm: 1.0e+30");
    let pipeline = pipeline(dir.path(), &text);
    let report = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &cairn_processors::Quiet).unwrap();
    let Some((info, JobOutcome::Failed { error })) = report.jobs.last() else { panic!("{report:?}") };
    assert!(error.chain().contains("step "), "{}", error.chain());
    let failed = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunFailed(event) if event.run == info.run => Some(event),
        _ => None,
    });
    let failed = failed.unwrap();
    assert!(failed.step > 1 && failed.error.contains(&format!("step {}", failed.step)), "{failed:?}");
    // The steps before it are recorded.
    assert_eq!(steps(&ctx, info.run).len() as u64, failed.step - 1);
}
