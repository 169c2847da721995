//! The runner: what is skipped, what is taken up again, and that every end is recorded.

mod common;

use cairn_processors::{Cancel, Context, Error, JobInfo, JobOutcome, Observer, Pipeline, RunOptions, run_pipeline};
use cairn_schemas::events::job::JobStarted;
use cairn_schemas::{Event, NewEvent};
use common::{Place, Watcher, events, failure, of, words};

const YAML: &str = "project: p\njobs:\n  - name: notes\n    ingest: { paths: [notes], author: a, access_policy: public, dedup: off }\n  - name: set\n    dataset:\n      version: 1.0.0\n      rows: [ { from: notes, text: '{{ text }}', split: train } ]\n";

fn notes(count: usize) -> Place {
    let place = Place::new();
    for n in 0..count {
        place.write(&format!("notes/{n:05}.md"), format!("Note number {n} says that stones were put on stones.\n"));
    }
    place
}

fn started(ctx: &Context) -> Vec<JobStarted> {
    of(&events(ctx), |event| match event {
        Event::JobStarted(e) => Some(e.clone()),
        _ => None,
    })
}

#[test]
fn a_request_to_stop_ends_the_job_and_the_next_run_takes_it_up() {
    let place = notes(40);
    let ctx = place.open();
    let cancel = Cancel::default();
    let watcher = Watcher { cancel_at: Some(("notes".into(), cancel.clone())), ..Watcher::default() };
    let options = RunOptions { cancel, ..RunOptions::default() };
    let report = run_pipeline(&ctx, &place.pipeline(YAML), &options, &watcher).unwrap();
    assert_eq!(words(&report), ["cancelled"]);
    assert!(!report.complete);
    assert_eq!(of(&events(&ctx), |e| matches!(e, Event::JobCancelled(_)).then_some(())).len(), 1);

    let report = place.run(&ctx, YAML);
    assert_eq!(words(&report), ["done", "done"]);
    let begun = started(&ctx);
    assert_eq!(begun.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!((begun[0].run, begun[0].key), (begun[1].run, begun[1].key));
    assert_eq!(begun[0].kind, "ingest");
}

#[test]
fn a_panic_is_recorded_as_the_jobs_failure() {
    // Enough documents for a report of progress, on which this observer panics.
    let place = notes(600);
    let ctx = place.open();
    let watcher = Watcher { panic_in: Some("notes".into()), ..Watcher::default() };
    let report = run_pipeline(&ctx, &place.pipeline(YAML), &RunOptions::default(), &watcher).unwrap();
    assert_eq!(words(&report), ["failed"]);
    assert!(failure(&report).contains("panicked: the observer gave up"), "{}", failure(&report));
    assert_eq!(of(&events(&ctx), |e| matches!(e, Event::JobFailed(_)).then_some(())).len(), 1);

    // What the attempt had recorded is not recorded again.
    let report = place.run(&ctx, YAML);
    assert_eq!(words(&report), ["done", "done"]);
    let documents = of(&events(&ctx), |e| matches!(e, Event::DocumentIngested(_)).then_some(()));
    assert_eq!(documents.len(), 600);
}

#[test]
fn a_killed_attempt_is_said_to_have_ended_and_goes_on_under_its_run() {
    let place = notes(30);
    // The data directory as a process leaves it that is killed right after it began.
    let killed = {
        let ctx = place.open();
        place.run(&ctx, YAML);
        started(&ctx)[0].clone()
    };
    let other = Place::new();
    std::fs::rename(place.path("notes"), other.path("notes")).unwrap();
    let ctx = other.open();
    let id = format!("{}/1/started", killed.run);
    let event = NewEvent::new("cairn://processors/ingest", &id, JobStarted { resolved_at: None, ..killed.clone() });
    ctx.ledger().append(ctx.tenant(), vec![event]).unwrap();

    let report = other.run(&ctx, YAML);
    assert_eq!(words(&report), ["done", "done"]);
    let (info, _) = &report.jobs[0];
    assert_eq!((info.run, info.attempt), (killed.run, 2));
    let failed = of(&events(&ctx), |event| match event {
        Event::JobFailed(e) => Some((e.run, e.attempt, e.error.clone())),
        _ => None,
    });
    assert_eq!(failed, [(killed.run, 1, "the process ended before the job did".to_owned())]);
}

#[test]
fn only_some_jobs_can_be_run_once_their_inputs_are_there() {
    let place = notes(5);
    let ctx = place.open();
    let only = |names: &[&str]| RunOptions {
        only: Some(names.iter().map(|n| (*n).to_owned()).collect()),
        ..RunOptions::default()
    };
    let pipeline = place.pipeline(YAML);
    let watcher = Watcher::default();
    let error = run_pipeline(&ctx, &pipeline, &only(&["sets"]), &watcher).unwrap_err().to_string();
    assert!(error.contains("`sets`") && error.contains("its jobs are notes, set"), "{error}");
    let exam = "  - name: vocabulary\n    tokenizer: { dataset: set, vocabulary: 300 }\n";
    let longer = place.pipeline(&format!("{YAML}{exam}"));
    let error = run_pipeline(&ctx, &longer, &only(&["vocabulary"]), &watcher).unwrap_err().to_string();
    assert!(error.contains("job `vocabulary`: needs notes, set, not completed yet"), "{error}");
    let error = run_pipeline(&ctx, &longer, &only(&["set", "vocabulary"]), &watcher).unwrap_err().to_string();
    assert!(error.contains("job `set`: needs notes, not"), "{error}");
    assert!(events(&ctx).is_empty());
    assert_eq!(words(&run_pipeline(&ctx, &pipeline, &only(&["notes"]), &watcher).unwrap()), ["done"]);
    assert_eq!(words(&run_pipeline(&ctx, &pipeline, &only(&["set"]), &watcher).unwrap()), ["skipped", "done"]);
}

#[test]
fn what_is_not_there_is_told_before_the_first_job() {
    let place = notes(5);
    let ctx = place.open();
    let vocabulary =
        |dataset: &str| format!("  - name: vocabulary\n    tokenizer: {{ dataset: '{dataset}', vocabulary: 300 }}\n");
    let later = "  - name: more\n    ingest: { paths: [notes, absent], author: a, access_policy: public }\n";
    for (job, words) in [
        (later.to_owned(), ["job `more`: there is no file or folder at", "absent"]),
        (vocabulary("ds://p/set@2.0.0"), ["no dataset `ds://p/set@2.0.0`", "job `vocabulary` names it"]),
        (vocabulary("ds://q/set@1.0.0"), ["no dataset `ds://q/set@1.0.0`", "job `vocabulary` names it"]),
        (
            "  - name: exam\n    evaluate: { subject: 'model://p/m@1', suite: s, dataset: set, split: train, tasks: [{ name: l, kind: perplexity }] }\n".to_owned(),
            ["no model `model://p/m@1`", "job `exam` names it"],
        ),
    ] {
        let pipeline = place.pipeline(&format!("{YAML}{job}"));
        let error = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &Watcher::default()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{job}: {error}");
    }
    assert!(events(&ctx).is_empty(), "nothing ran");
    // What an earlier job makes need not be there yet.
    let report = place.run(&ctx, &format!("{YAML}{}", vocabulary("ds://p/set@1.0.0")));
    assert_eq!(words(&report), ["done", "done", "done"]);
}

#[test]
fn what_was_resolved_and_used_is_recorded() {
    let place = notes(5);
    let ctx = place.open();
    let report = place.run(&ctx, YAML);
    let recorded = events(&ctx);
    let begun = started(&ctx);
    let ingested = of(&recorded, |event| match event {
        Event::JobCompleted(e) if e.run == begun[0].run => Some(e.outputs.clone()),
        _ => None,
    });
    assert_eq!(begun[1].inputs, ingested[0], "a dataset stands on the shards of its ingestion");
    let last_of_ingestion = recorded.iter().find(|r| matches!(&r.event, Event::JobCompleted(_))).unwrap().position;
    assert_eq!(begun[1].resolved_at, Some(last_of_ingestion.get()));
    let spec = begun[1].spec.to_value();
    assert_eq!(spec["jobs"]["notes"], format!("run:{}", begun[0].run));
    assert_eq!(spec["settings"]["rows"][0]["from"], "notes");
    // Lineage: the dataset leads back to every document.
    ctx.projections().catch_up().unwrap();
    let dataset = "ds://p/set@1.0.0".parse().unwrap();
    let graph =
        ctx.projections().lineage().walk(&dataset, cairn_projections::lineage::Direction::Up, 8, 1_000).unwrap();
    assert_eq!(graph.nodes.iter().filter(|node| node.kind == "document").count(), 5);
    assert!(report.complete);
}

#[test]
fn a_reader_beside_a_writer_sees_and_does_not_run() {
    let place = notes(5);
    let ctx = place.open();
    place.run(&ctx, YAML);
    let reader = Context::open_reader(&place.path(".cairn")).unwrap();
    assert!(!reader.is_writable());
    assert!(reader.projections().catalog().get("ds://p/set@1.0.0").unwrap().is_some());
    let error = run_pipeline(&reader, &place.pipeline(YAML), &RunOptions::default(), &Watcher::default()).unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    let missing = Context::open_reader(&place.path("nowhere")).err().unwrap().to_string();
    assert!(missing.contains("there is no data directory at") && missing.contains("nowhere"), "{missing}");
}

/// Runs the same pipeline again while its first job runs.
struct Again<'a> {
    ctx: &'a Context,
    pipeline: &'a Pipeline,
    found: std::sync::Mutex<Option<Error>>,
}

impl Observer for Again<'_> {
    fn job_started(&self, job: &JobInfo) {
        if job.name == "notes" {
            let again = run_pipeline(self.ctx, self.pipeline, &RunOptions::default(), &Watcher::default());
            *self.found.lock().unwrap() = again.err();
        }
    }
    fn progress(&self, _: &JobInfo, _: u64, _: u64, _: &str) {}
    fn job_finished(&self, _: &JobInfo, _: &JobOutcome) {}
}

#[test]
fn what_runs_in_this_process_is_not_taken_for_killed() {
    let place = notes(5);
    let ctx = place.open();
    let pipeline = place.pipeline(YAML);
    let again = Again { ctx: &ctx, pipeline: &pipeline, found: std::sync::Mutex::new(None) };
    let report = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &again).unwrap();
    assert_eq!(words(&report), ["done", "done"]);
    let found = again.found.lock().unwrap().take().unwrap();
    assert!(matches!(found, Error::AlreadyRunning { .. }), "{found}");
    assert!(of(&events(&ctx), |e| matches!(e, Event::JobFailed(_)).then_some(())).is_empty());
}
