//! Ingestion, datasets and tokenizers, by pipelines on real problems: what is recorded, and that it is recorded once.

mod common;
mod compared;

use cairn_processors::dataset_reader::DatasetVersion;
use cairn_processors::pipeline::{JobKind, JobSpec};
use cairn_processors::{Pipeline, RunOptions, run_pipeline};
use cairn_schemas::{Blake3, Event, Ref};
use common::{Place, Watcher, events, failure, gsm8k, of, summary, words};
use std::collections::BTreeSet;

/// Enough for every split and small enough for every test.
const PROBLEMS: usize = 300;

fn problems() -> String {
    let whole = std::fs::read_to_string(gsm8k("train.jsonl")).unwrap();
    whole.lines().take(PROBLEMS).map(|line| format!("{line}\n")).collect()
}

const PIPELINE: &str = r#"
project: math
seed: 17
jobs:
  - name: problems
    ingest:
      paths: [gsm8k/train.jsonl]
      author: OpenAI
      access_policy: public
      licence: MIT
      language: en
      text: "{{ question }}\n{{ answer }}"
  - name: corpus
    dataset:
      version: 1.0.0
      description: grade school problems
      rows:
        - from: problems
          instruction: "{{ question }}"
          output: "{{ answer }}"
          text: "{{ question }}\n{{ answer | before('####') }}"
          split: { train: 0.8, validation: 0.1, test: 0.1 }
  - name: vocabulary
    tokenizer: { dataset: corpus, split: train, vocabulary: 400 }
"#;

#[test]
fn real_problems_become_documents_rows_and_a_tokenizer_and_are_not_made_twice() {
    let place = Place::new();
    let text = problems();
    let doubled = format!("{text}{}\n", text.lines().next().unwrap());
    place.write("gsm8k/train.jsonl", doubled);
    let (first, made) = {
        let ctx = place.open();
        let first = place.run(&ctx, PIPELINE);
        assert_eq!(words(&first), ["done", "done", "done"]);
        assert!(first.complete);
        (first, events(&ctx))
    };
    let ingested = summary(&first, "problems");
    assert_eq!(ingested["documents"], PROBLEMS);
    assert_eq!(ingested["rejected_by_rule"], serde_json::json!({ "exact_duplicate": 1 }));
    check_documents(&made);
    check_dataset(&place, &made);

    // Another process, the same work: every job is found, and nothing is recorded.
    let ctx = place.open();
    let again = place.run(&ctx, PIPELINE);
    assert_eq!(words(&again), ["skipped", "skipped", "skipped"]);
    assert!(again.complete);
    assert_eq!(summary(&again, "corpus"), summary(&first, "corpus"));
    assert_eq!(events(&ctx).len(), made.len());
}

fn check_documents(made: &[cairn_schemas::Recorded]) {
    let documents = of(made, |event| match event {
        Event::DocumentIngested(e) => Some(e),
        _ => None,
    });
    assert_eq!(documents.len(), PROBLEMS);
    let first = documents[0];
    assert_eq!((first.source.as_str(), first.source_uri.as_str()), ("problems", "train.jsonl#L1"));
    assert_eq!(
        (first.author.as_str(), first.access_policy.as_str(), first.language.as_str()),
        ("OpenAI", "public", "en")
    );
    assert_eq!(first.content_type, "application/jsonl");
    let rejected = of(made, |event| match event {
        Event::DocumentRejected(e) => Some(e),
        _ => None,
    });
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].duplicate_of.as_ref(), Some(&first.document));
    assert_eq!(rejected[0].source_uri, format!("train.jsonl#L{}", PROBLEMS + 1));
    assert!(
        made.iter().all(|recorded| recorded.source.starts_with("cairn://processors/") && recorded.project == "math")
    );
}

fn check_dataset(place: &Place, made: &[cairn_schemas::Recorded]) {
    let ctx = place.open();
    let dataset: Ref = "ds://math/corpus@1.0.0".parse().unwrap();
    let version = DatasetVersion::find(&ctx, &dataset).unwrap();
    let documents: BTreeSet<&Ref> = of(made, |event| match event {
        Event::DocumentIngested(e) => Some(&e.document),
        _ => None,
    })
    .into_iter()
    .collect();
    let mut rows = 0;
    for split in ["train", "validation", "test"] {
        let found = version.rows(&ctx, split, None).unwrap();
        assert!(!found.is_empty(), "{split}");
        for row in &found {
            let document: Ref = row.metadata["document"].as_str().unwrap().parse().unwrap();
            assert!(documents.contains(&document));
            assert!(row.metadata["source_uri"].as_str().unwrap().starts_with("train.jsonl#L"));
            assert!(
                row.output.contains("####") && !row.text.contains("####") && row.text.starts_with(&row.instruction)
            );
        }
        rows += found.len();
    }
    assert_eq!(rows, PROBLEMS);
    let added = of(made, |event| match event {
        Event::DocumentsAdded(e) => Some(e.documents.len()),
        _ => None,
    });
    assert_eq!(added.iter().sum::<usize>(), PROBLEMS);
    let card = of(made, |event| match event {
        Event::CardPublished(e) => Some(e.card.clone()),
        _ => None,
    });
    let Ref::Artifact(digest) = card[0] else { panic!("{card:?}") };
    let card = String::from_utf8(ctx.ledger().artifacts(ctx.tenant()).get(&digest).unwrap()).unwrap();
    for said in ["# ds://math/corpus@1.0.0", "grade school problems", "Licence: MIT", "exact_duplicate: 1", "| train |"]
    {
        assert!(card.contains(said), "{said} in {card}");
    }
}

#[test]
fn content_decides_the_digest_and_not_the_place_or_the_time() {
    let outputs = |prefix: &str| {
        let place = Place::new();
        place.write("gsm8k/train.jsonl", problems());
        let ctx = place.open();
        let report = place.run(&ctx, &PIPELINE.replace("description: grade", &format!("description: {prefix}")));
        let digests = |job: &str, key: &str| summary(&report, job)[key].as_str().unwrap().to_owned();
        (digests("corpus", "manifest"), digests("vocabulary", "tokenizer"))
    };
    assert_eq!(outputs("one"), outputs("another"));
}

#[test]
fn a_version_with_other_content_is_refused_and_a_higher_one_is_named() {
    let place = Place::new();
    place.write("gsm8k/train.jsonl", problems());
    let ctx = place.open();
    assert!(place.run(&ctx, PIPELINE).complete);
    let changed = PIPELINE.replace("seed: 17", "seed: 18");
    let report = place.run(&ctx, &changed);
    assert_eq!(words(&report), ["done", "failed"]);
    let why = failure(&report);
    assert!(
        why.contains("ds://math/corpus@1.0.0 exists with other content") && why.contains("commit it as 1.1.0"),
        "{why}"
    );
    let report = place
        .run(&ctx, &changed.replace("version: 1.0.0", "version: 1.1.0\n      parents: [\"ds://math/corpus@1.0.0\"]"));
    assert_eq!(words(&report), ["skipped", "done", "done"]);
    // The same content again, under a description of its own: the version is used as it is.
    let report = place.run(&ctx, &PIPELINE.replace("grade school problems", "the same"));
    assert_eq!(words(&report), ["skipped", "done", "skipped"]);
    assert_eq!(summary(&report, "corpus")["reused"], true);
}

#[test]
fn a_row_in_two_splits_is_refused() {
    let place = Place::new();
    let line = problems().lines().next().unwrap().to_owned();
    place.write("a.jsonl", &line);
    place.write("b.jsonl", line.replace("\\n", "  \\n"));
    let job = |name: &str| {
        format!(
            "  - name: {name}\n    ingest: {{ paths: [{name}.jsonl], author: a, access_policy: public, text: '{{{{ answer }}}}' }}\n"
        )
    };
    let rows = "  - name: set\n    dataset:\n      version: 1.0.0\n      rows:\n        - { from: a, text: '{{ text }}', split: train }\n        - { from: b, text: '{{ text }}', split: test }\n";
    let ctx = place.open();
    let report = place.run(&ctx, &format!("project: p\njobs:\n{}{}{rows}", job("a"), job("b")));
    assert_eq!(words(&report), ["done", "done", "failed"]);
    let why = failure(&report);
    assert!(why.contains("in `train` and `test`") && why.contains("b.jsonl#L1") && why.contains("in one job"), "{why}");
    assert!(of(&events(&ctx), |e| matches!(e, Event::VersionCommitted(_)).then_some(())).is_empty());
}

#[test]
fn what_is_wrong_in_a_file_is_named_and_the_rest_goes_on() {
    let place = Place::new();
    let mut jsonl = problems().lines().take(3).map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    jsonl.extend(b"{\"question\": \"cut o\n");
    jsonl.extend(b"{\"question\": \"\xff\"}\n");
    place.write("data/a.jsonl", jsonl);
    place.write("data/empty.jsonl", "");
    place.write("data/movie.mp4", "x");
    place.write("data/notes.jsonl", "{\"note\": \"no question here\"}\n");
    place.write(
        "data/mail.jsonl",
        "{\"question\": \"Who is ada@example.com?\", \"answer\": \"Ada, of course, who else.\"}\n",
    );
    let yaml = "project: p\njobs:\n  - name: mixed\n    ingest:\n      paths: [data]\n      author: a\n      access_policy: public\n      text: '{{ question }} {{ answer }}'\n";
    let ctx = place.open();
    let report = place.run(&ctx, yaml);
    assert!(report.complete);
    let found = summary(&report, "mixed");
    assert_eq!(found["documents"], 4);
    let rules =
        serde_json::json!({ "invalid_json": 1, "non_utf8": 1, "empty_file": 1, "unsupported_kind": 1, "template": 1 });
    assert_eq!(found["rejected_by_rule"], rules);
    assert_eq!(found["redactions"], serde_json::json!({ "email": 1 }));
    let recorded = events(&ctx);
    let named = of(&recorded, |event| match event {
        Event::DocumentRejected(e) => Some((e.rule.as_str(), e.source_uri.as_str(), e.detail.as_str())),
        _ => None,
    });
    let detail = |rule: &str| *named.iter().find(|(found, ..)| *found == rule).unwrap();
    assert_eq!(detail("invalid_json").1, "data/a.jsonl#L4");
    assert!(detail("invalid_json").2.contains("cut off"));
    assert!(
        detail("template").2.contains("no field `answer`, `question`")
            && detail("template").2.contains("its fields are note")
    );
    // The text of what was redacted or turned away is in no event.
    for event in &recorded {
        let json = event.event.to_json();
        assert!(!json.contains("ada@example.com") && !json.contains("no question here"), "{json}");
    }
}

#[test]
fn jobs_that_cannot_be_done_fail_with_what_would_be_right() {
    let place = Place::new();
    place.write("bad.jsonl", "{\"a\": 1\n");
    place.write("plain.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n");
    place.write("clip.mp4", "x");
    let ctx = place.open();
    let ingest = |settings: &str| {
        format!("project: p\njobs:\n  - name: docs\n    ingest: {{ author: a, access_policy: public, {settings} }}\n")
    };
    for (settings, said) in [
        ("paths: [clip.mp4]", "not supported; supported: .jsonl"),
        ("paths: [bad.jsonl]", "kept no document: rejected: invalid_json 1; the first: bad.jsonl#L1"),
        ("paths: [plain.jsonl]", "its fields are question, answer; give the job a `text` template"),
    ] {
        let report = place.run(&ctx, &ingest(settings));
        assert_eq!(words(&report), ["failed"], "{settings}");
        assert!(failure(&report).contains(said), "{settings}: {}", failure(&report));
        assert!(!report.complete);
    }
    let failed = of(&events(&ctx), |event| match event {
        Event::JobFailed(e) => Some((e.run, e.attempt)),
        _ => None,
    });
    assert_eq!(failed.len(), 3, "each end is recorded");
    // The same failing work again is another attempt of the same run.
    place.run(&ctx, &ingest("paths: [bad.jsonl]"));
    let after = of(&events(&ctx), |event| match event {
        Event::JobFailed(e) => Some((e.run, e.attempt)),
        _ => None,
    });
    assert_eq!(after.last().unwrap(), &(failed[1].0, 2));
    let rejections = of(&events(&ctx), |event| match event {
        Event::DocumentRejected(e) if e.rule == "invalid_json" => Some(()),
        _ => None,
    });
    assert_eq!(rejections.len(), 1, "what the first attempt recorded is not recorded again");
}

#[test]
fn a_dataset_names_documents_of_parents_that_exist() {
    let place = Place::new();
    place.write("gsm8k/train.jsonl", problems());
    let ctx = place.open();
    let unknown = PIPELINE.replace("version: 1.0.0", "version: 1.0.0\n      parents: [\"ds://math/older@0.1.0\"]");
    let why = run_pipeline(&ctx, &place.pipeline(&unknown), &RunOptions::default(), &Watcher::default());
    let why = why.unwrap_err().to_string();
    assert!(why.contains("there is no dataset `ds://math/older@0.1.0`"), "{why}");
    let unknown_split = PIPELINE.replace("split: train, vocabulary", "split: training, vocabulary");
    let why = place.refused(&unknown_split);
    assert!(why.contains("no split `training`") && why.contains("test, train, validation"), "{why}");
}

#[test]
fn a_changed_file_is_ingested_again() {
    let place = Place::new();
    place.write("notes.md", "# Notes\n\nThe first version of some notes on cairns.\n");
    let yaml =
        "project: p\njobs:\n  - name: notes\n    ingest: { paths: [notes.md], author: a, access_policy: public }\n";
    let ctx = place.open();
    let digest = |report: &cairn_processors::PipelineReport| summary(report, "notes")["bytes"].clone();
    let first = place.run(&ctx, yaml);
    assert_eq!(words(&place.run(&ctx, yaml)), ["skipped"]);
    place.write("notes.md", "# Notes\n\nThe second version of some notes on cairns.\n");
    let second = place.run(&ctx, yaml);
    assert_eq!(words(&second), ["done"]);
    assert_ne!(digest(&first), digest(&second));
    // A shard that is gone is made again.
    let shard = of(&events(&ctx), |event| match event {
        Event::IngestionCompleted(e) => Some(e.shards[0].clone()),
        _ => None,
    });
    let Ref::Artifact(digest) = shard.last().unwrap() else { panic!() };
    let artifacts = ctx.ledger().artifacts(ctx.tenant());
    std::fs::remove_file(artifacts.path(digest)).unwrap();
    assert_eq!(words(&place.run(&ctx, yaml)), ["done"]);
    assert_eq!(Blake3::of(&artifacts.get(digest).unwrap()), *digest);
}

#[test]
fn a_training_config_stands_for_the_jobs_that_the_dataset_allows() {
    let place = Place::new();
    place.write("gsm8k/train.jsonl", problems());
    let ctx = place.open();
    let config = |dataset: &str| {
        let text = format!(
            "base_model: \"scratch:layers=1,width=16,heads=2,feed_forward=32\"\ndataset_version: {dataset}\nlearning_rate: 0.001\nepochs: 1\nbatch_size: 4\n"
        );
        Pipeline::load(&place.write("small-one.yaml", text)).unwrap()
    };
    let why = config("ds://math/corpus@1.0.0").with_jobs(&ctx).unwrap_err().to_string();
    assert!(why.contains("there is no dataset `ds://math/corpus@1.0.0`"), "{why}");
    place.run(&ctx, PIPELINE);
    let pipeline = config("ds://math/corpus@1.0.0").with_jobs(&ctx).unwrap();
    assert_eq!(pipeline.project.as_str(), "math");
    let kinds: Vec<JobKind> = pipeline.jobs.iter().map(|job| job.spec.kind()).collect();
    assert_eq!(kinds, [JobKind::Train, JobKind::Evaluate]);
    let JobSpec::Train(train) = &pipeline.jobs[0].spec else { panic!() };
    assert_eq!(train.register.as_deref(), Some("small-one"));
    let JobSpec::Evaluate(exam) = &pipeline.jobs[1].spec else { panic!() };
    assert_eq!((exam.split.as_str(), exam.tasks.len()), ("test", 2));
    let unknown = place.write(
        "named.yaml",
        "base_model: mistral-7b\ndataset_version: corpus@1.0.0\nlearning_rate: 0.001\nepochs: 1\nbatch_size: 4\n",
    );
    let why = Pipeline::load(&unknown).unwrap_err().to_string();
    assert!(why.contains("mistral-7b") && why.contains("scratch:"), "{why}");
}
