//! Two runs compared, what something went into, and runs that are replayed, checked, or cannot be.

use super::common::{Place, events, failure, gsm8k, words};
use cairn_processors::diff::{DiffQuery, diff, documents, shown};
use cairn_processors::impact::{Of, documents_of, impact};
use cairn_processors::reproduce::{Manner, RunBy, provenance_of};
use cairn_processors::{Context, Error, JobOutcome, PipelineReport, Quiet, reproduce};
use cairn_projections::lineage::{DocumentChange, ImpactQuery, Start};
use cairn_schemas::events::training::{CheckpointSaved, MetricValue, RunStarted, StepLogged};
use cairn_schemas::{Blake3, Event, NewEvent, RawJson, Real, Ref, RunId};

const PIPELINE: &str = r#"
project: math
jobs:
  - name: problems
    ingest: { paths: [train.jsonl], author: OpenAI, access_policy: public, language: en, text: "{{ question }}" }
  - name: corpus
    dataset:
      version: VERSION
      description: grade school problems
      rows:
        - { from: problems, text: "{{ question }}", split: { train: 1.0 } }
"#;

fn write_problems(place: &Place, lines: std::ops::Range<usize>) {
    let whole = std::fs::read_to_string(gsm8k("train.jsonl")).unwrap();
    let text: String = whole.lines().skip(lines.start).take(lines.len()).map(|line| format!("{line}\n")).collect();
    place.write("train.jsonl", text);
}

fn ran(place: &Place, ctx: &Context, version: &str) -> PipelineReport {
    let report = place.run(ctx, &PIPELINE.replace("VERSION", version));
    assert!(words(&report).iter().all(|word| ["done", "skipped"].contains(word)), "{}", failure(&report));
    report
}

fn run_of(report: &PipelineReport, job: &str) -> RunId {
    report.jobs.iter().find(|(info, _)| info.name == job).unwrap().0.run
}

fn append(ctx: &Context, id: &str, event: impl Into<Event>) {
    ctx.ledger().append(ctx.tenant(), vec![NewEvent::new("trainer", id, event)]).unwrap();
}

fn started(run: RunId, dataset: Option<&str>, config: &str) -> RunStarted {
    RunStarted {
        run,
        method: "pretrain".into(),
        name: None,
        attempt: 1,
        dataset: dataset.map(|dataset| dataset.parse().unwrap()),
        tokenizer: None,
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::parse(config).unwrap(),
        environment: RawJson::default(),
        seed: 7,
        graphs: Vec::new(),
        identity: None,
        steps_planned: Some(10),
    }
}

fn log_losses(ctx: &Context, run: RunId, losses: &[f64]) {
    for (step, loss) in (1..).zip(losses) {
        let metric = |name: &str, value: f64| MetricValue { name: name.into(), value: Real(value) };
        let metrics = vec![metric("loss", *loss), metric("learning_rate", 0.5)];
        let logged = StepLogged { run, attempt: 1, step, tokens: step * 10, time: None, metrics };
        append(ctx, &format!("{run}/{step}"), logged);
    }
}

#[test]
fn an_ingestion_is_read_again_where_its_sources_are_and_checked_where_they_are_not() {
    let place = Place::new();
    write_problems(&place, 0..40);
    let ctx = place.open();
    let report = ran(&place, &ctx, "1.0.0");
    let run = run_of(&report, "problems");
    let before = events(&ctx).len();
    let again = reproduce(&ctx, &run, place.dir.path(), &Quiet).unwrap();
    assert!(again.equal && again.manner == Manner::Replayed, "{again:#?}");
    assert!(
        again.compared.iter().any(|c| c.what == "output 1") && again.compared.iter().any(|c| c.what == "documents")
    );
    assert_eq!(events(&ctx).len(), before + 2, "a replay records that it was one, and no document");

    // Seen from elsewhere, and changed: what was stored answers.
    let elsewhere = tempfile::tempdir().unwrap();
    let checked = reproduce(&ctx, &run, elsewhere.path(), &Quiet).unwrap();
    assert!(checked.equal && checked.manner == Manner::Checked, "{checked:#?}");
    assert!(checked.notes[0].contains("train.jsonl"), "{:?}", checked.notes);
    write_problems(&place, 1..41);
    let changed = reproduce(&ctx, &run, place.dir.path(), &Quiet).unwrap();
    assert!(changed.equal && changed.manner == Manner::Checked, "{changed:#?}");
    assert!(changed.notes[0].contains("not those that were read"), "{:?}", changed.notes);

    // A shard that is damaged is no answer.
    let shard = ctx.projections().catalog().job(&run).unwrap().unwrap().outputs[0].clone();
    let Ref::Artifact(digest) = shard else { panic!("{shard} is no artifact") };
    let path = ctx.ledger().artifacts(ctx.tenant()).path(&digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let damaged = reproduce(&ctx, &run, elsewhere.path(), &Quiet).unwrap();
    let differing: Vec<_> = damaged.compared.iter().filter(|c| !c.is_equal()).map(|c| c.what.as_str()).collect();
    assert_eq!(differing, ["shard 1", "documents", "documents whose digests are as recorded"]);
    let lost = provenance_of(&ctx, &run_of(&report, "corpus"), None).unwrap();
    assert!(!lost.is_complete && lost.missing[0].what == "input", "{lost:#?}");
}

#[test]
fn a_run_from_outside_says_exactly_what_is_missing() {
    let place = Place::new();
    write_problems(&place, 0..20);
    let ctx = place.open();
    ran(&place, &ctx, "1.0.0");
    let (bare, whole, named) = (RunId::generate(), RunId::generate(), RunId::generate());
    append(&ctx, "bare", RunStarted { parent: Some(named), ..started(bare, None, "{}") });
    let found = provenance_of(&ctx, &bare, None).unwrap();
    let missing: Vec<&str> = found.missing.iter().map(|missing| missing.what).collect();
    assert_eq!(missing, ["code", "config", "environment", "data", "parent", "result"]);
    assert_eq!((found.by, found.manner, found.is_complete), (RunBy::Outside, None, false));
    let refused = reproduce(&ctx, &bare, place.dir.path(), &Quiet).unwrap_err().to_string();
    assert!(refused.contains("another program") && missing.iter().all(|what| refused.contains(what)), "{refused}");

    let checkpoint = ctx.ledger().artifacts(ctx.tenant()).put_bytes(b"state").unwrap().blake3;
    append(
        &ctx,
        "whole",
        RunStarted {
            code: RawJson::parse(r#"{"commit": "0123456789abcdef0123456789abcdef01234567"}"#).unwrap(),
            environment: RawJson::parse(r#"{"torch": "2.9"}"#).unwrap(),
            parent: Some(bare),
            ..started(whole, Some("ds://math/corpus@1.0.0"), r#"{"lr": 0.1}"#)
        },
    );
    append(
        &ctx,
        "checkpoint",
        CheckpointSaved {
            run: whole,
            attempt: 1,
            step: 1,
            tokens: 10,
            checkpoint: Ref::Artifact(checkpoint),
            state_digest: Blake3::of(b"a"),
            weights_digest: Blake3::of(b"b"),
        },
    );
    let found = provenance_of(&ctx, &whole, None).unwrap();
    assert!(found.is_complete && found.by == RunBy::Outside, "{found:#?}");
    let refused = reproduce(&ctx, &whole, place.dir.path(), &Quiet).unwrap_err().to_string();
    assert!(refused.contains("all that is needed for that is recorded"), "{refused}");
    let unknown = provenance_of(&ctx, &RunId::generate(), None).unwrap_err();
    assert!(matches!(unknown, Error::UnknownRef { kind: "run", .. }), "{unknown}");
}

#[test]
fn two_runs_are_compared_by_data_code_config_environment_and_metrics() {
    let place = Place::new();
    write_problems(&place, 0..30);
    let ctx = place.open();
    let one = ran(&place, &ctx, "1.0.0");
    write_problems(&place, 10..36);
    let two = ran(&place, &ctx, "2.0.0");
    let (before, after) = (RunId::generate(), RunId::generate());
    let config = r#"{"optimizer": {"lr": 0.001, "name": "adam"}, "layers": 4}"#;
    let first = RunStarted {
        code: RawJson::parse(r#"{"commit": "aaaaaaaa"}"#).unwrap(),
        environment: RawJson::parse(r#"{"device": "cpu", "threads": 2}"#).unwrap(),
        ..started(before, Some("ds://math/corpus@1.0.0"), config)
    };
    append(&ctx, "before", first.clone());
    log_losses(&ctx, before, &[3.0, 2.0, 1.5]);
    let until = ctx.ledger().head(ctx.tenant());
    let second = RunStarted {
        run: after,
        dataset: Some("ds://math/corpus@2.0.0".parse().unwrap()),
        code: RawJson::parse(r#"{"commit": "bbbbbbbb"}"#).unwrap(),
        config: RawJson::parse(r#"{"optimizer": {"lr": 0.01, "name": "adam"}, "layers": 4, "dropout": 0.1}"#).unwrap(),
        environment: RawJson::parse(r#"{"device": "cpu", "threads": 4}"#).unwrap(),
        seed: 8,
        ..first
    };
    append(&ctx, "after", second);
    log_losses(&ctx, after, &[3.0, 2.5]);

    let query = DiffQuery::of(before, after);
    let found = diff(&ctx, &query).unwrap();
    let told = |changes: &[cairn_processors::diff::Change]| -> Vec<String> {
        let one = |c: &cairn_processors::diff::Change| {
            format!("{} {} {}", c.path, shown(c.before.as_ref()), shown(c.after.as_ref()))
        };
        changes.iter().map(one).collect()
    };
    assert_eq!(told(&found.config), ["dropout - 0.1", "optimizer.lr 0.001 0.01"]);
    assert_eq!(told(&found.code), ["commit aaaaaaaa bbbbbbbb"]);
    assert_eq!(told(&found.environment), ["threads 2 4"]);
    assert_eq!(told(&found.facts), ["dataset ds://math/corpus@1.0.0 ds://math/corpus@2.0.0", "seed 7 8"]);
    assert_eq!((found.metrics.len(), found.metrics[0].metric.as_str()), (2, "learning_rate"));
    let loss = &found.metrics[1];
    let figures =
        [&loss.before, &loss.after].map(|f| f.as_ref().map(|f| (f.points, f.last_step, f.last.0, f.min.0, f.max.0)));
    assert_eq!(figures, [Some((3, 3, 1.5, 1.5, 3.0)), Some((2, 2, 2.5, 2.5, 3.0))]);
    let data = &found.data.documents;
    assert_eq!((data.removed, data.added, data.kept, data.items.len()), (10, 6, 20, 16));
    assert!(!found.is_same_work());

    // The ingestions of the two say the same of their documents, and pages go on where the one before ended.
    let ingestions = DiffQuery::of(run_of(&one, "problems"), run_of(&two, "problems"));
    let whole = documents(&ctx, &ingestions).unwrap();
    assert_eq!((whole.removed, whole.added, whole.kept), (10, 6, 20));
    let page = documents(&ctx, &DiffQuery { documents_first: 12, ..ingestions.clone() }).unwrap();
    let rest = documents(&ctx, &DiffQuery { documents_after: page.next.clone(), ..ingestions }).unwrap();
    assert_eq!([page.items, rest.items].concat(), whole.items);
    let added = whole.items.iter().filter(|(_, change)| *change == DocumentChange::Added).count();
    assert_eq!(added, 6);

    let same = diff(&ctx, &DiffQuery::of(before, before)).unwrap();
    assert!(same.is_same_work() && same.metrics.is_empty() && same.metrics_equal == 2);
    let early = diff(&ctx, &DiffQuery { as_of: until, ..query }).map(|found| found.metrics).map_err(|e| e.to_string());
    assert!(early.is_err_and(|error| error.contains(&after.to_string())), "a run that was not there yet is unknown");
}

#[test]
fn everything_that_a_person_a_version_or_a_commit_went_into_is_found() {
    let place = Place::new();
    write_problems(&place, 0..25);
    let ctx = place.open();
    let report = ran(&place, &ctx, "1.0.0");
    let run = RunId::generate();
    let code = RawJson::parse(r#"{"commit": "0123456789abcdef0123456789abcdef01234567"}"#).unwrap();
    append(&ctx, "training", RunStarted { code, ..started(run, Some("ds://math/corpus@1.0.0"), "{}") });
    let query = || ImpactQuery::of(Start::Things(Vec::new()));
    let documents = documents_of(&ctx, "OpenAI", None).unwrap();
    assert_eq!(documents.len(), 25);
    let of_person = impact(&ctx, &Of::DataSubject("OpenAI".into()), query()).unwrap();
    assert_eq!(of_person.starts, 25);
    let touched = |found: &cairn_projections::lineage::Impact, reference: &str| {
        found.items.iter().any(|item| item.reference.to_string() == reference)
    };
    assert!(touched(&of_person, "ds://math/corpus@1.0.0") && touched(&of_person, &format!("run:{run}")));
    let nobody = impact(&ctx, &Of::DataSubject("Nobody".into()), query()).unwrap_err().to_string();
    assert!(nobody.contains("named by no event") && !nobody.contains("Nobody"), "{nobody}");
    let of_version = Of::Things(vec!["ds://math/corpus@1.0.0".parse().unwrap()]);
    // The training, and the version's card.
    assert_eq!(impact(&ctx, &of_version, query()).unwrap().counts, [("run", 1), ("artifact", 1)]);
    let of_commit = impact(&ctx, &Of::Commit("0123456".into()), query()).unwrap();
    assert!(of_commit.total == 1 && touched(&of_commit, &format!("run:{run}")));
    // The jobs' own program is code as well.
    let digest = cairn_processors::provenance::code().executable.unwrap().to_string();
    let of_program = impact(&ctx, &Of::Commit(digest), query()).unwrap();
    assert!(touched(&of_program, &format!("run:{}", run_of(&report, "corpus"))), "{:?}", of_program.counts);
    assert!(report.jobs.iter().all(|(_, outcome)| matches!(outcome, JobOutcome::Done { .. })));
}
