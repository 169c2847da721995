//! Pipeline files: what is accepted, and where and how what is wrong is named.

mod common;

use cairn_processors::Pipeline;
use cairn_processors::pipeline::{BaseModel, Dedup, JobKind, JobSpec};
use common::Place;
use std::path::Path;

const INGEST: &str = "  - name: docs\n    ingest: { paths: [a.md], author: a, access_policy: public }\n";

const HEX: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn with(job: &str) -> String {
    format!("project: p\njobs:\n{INGEST}{job}")
}

#[test]
fn the_demos_pipeline_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/demo/pipeline.yaml");
    let pipeline = Pipeline::load(&path).unwrap();
    assert_eq!((pipeline.project.as_str(), pipeline.seed, pipeline.name.as_str()), ("math", 17, "pipeline"));
    let kinds: Vec<JobKind> = pipeline.jobs.iter().map(|job| job.spec.kind()).collect();
    for kind in JobKind::ALL {
        assert!(kinds.contains(&kind), "{kind}");
    }
    // What is recorded of each job's settings is read back as the same job.
    for job in &pipeline.jobs {
        let settings = job.spec.as_job().settings();
        assert_eq!(JobSpec::from_settings(job.spec.kind(), settings.clone()).unwrap(), job.spec, "{settings}");
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let pipeline = Pipeline::parse(&with(""), Path::new(".")).unwrap();
    assert_eq!(pipeline.seed, 17);
    let JobSpec::Ingest(ingest) = &pipeline.jobs[0].spec else { panic!() };
    assert!(ingest.redact);
    assert_eq!(ingest.dedup, Dedup::Above { jaccard: 0.8 });
    let off = with("").replace("access_policy: public", "access_policy: public, dedup: off");
    let JobSpec::Ingest(ingest) = &Pipeline::parse(&off, Path::new(".")).unwrap().jobs[0].spec else { panic!() };
    assert_eq!(ingest.dedup, Dedup::Off);
}

/// Line and column count from 1; each message says what would be right.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    let place = Place::new();
    let dataset =
        |settings: &str| with(&format!("  - name: set\n    dataset:\n      version: 1.0.0\n      rows:\n{settings}"));
    let train = |settings: &str| {
        with(&format!(
            "  - name: base\n    train:\n      method: pretrain\n      dataset: ds://p/set@1.0.0\n      learning_rate: 1.0e-3\n{settings}"
        ))
    };
    let scratch = |shape: &str| format!("      base_model: \"scratch:layers=1,width=16,feed_forward=8,{shape}\"\n");
    let rows = "        - { from: docs, text: '{{ text }}', split: { train: 0.9, test: 0.1 } }\n";
    let cases: Vec<(String, &str, &str)> = vec![
        ("".into(), "pipeline:1:1", "the file is empty"),
        ("project: p\njobs:\n  - name: x\n   y: 1\n".into(), "pipeline:4:4", "did not find expected"),
        ("project: p\njobs:\n  - name: [\n".into(), "pipeline:3:11", "expected a text"),
        ("project: p\njobs:\n\t- name: a\n".into(), "pipeline:3:", "tabs"),
        ("project: P!\njobs: []\n".into(), "pipeline:1:10", "a-z"),
        ("project: p\njobs: 3\n".into(), "pipeline:2:7", "expected a list"),
        ("project: p\njobs: []\n".into(), "pipeline:2:7", "0 jobs; a pipeline has 1 to"),
        (
            "project: p\nsede: 3\njobs: []\n".into(),
            "pipeline:2:1",
            "unknown field `sede`, expected one of project, seed, jobs",
        ),
        ("project: p\nseed: many\njobs: []\n".into(), "pipeline:2:7", "expected a whole number, in `seed: many`"),
        (
            with("  - name: docs\n    tokenizer: { dataset: docs, vocabulary: 300 }\n"),
            "pipeline:5:11",
            "a second job is named `docs`",
        ),
        (with("  - name: nothing\n"), "pipeline:5:11", "give it one of ingest, dataset"),
        (
            with("  - name: vocab\n    tokenizer: { dataset: corpus, vocabulary: 300 }\n"),
            "pipeline:6:27",
            "the jobs before it are docs",
        ),
        (
            with("  - name: vocab\n    tokenizer: { dataset: ds://p/set, vocabulary: 300 }\n"),
            "pipeline:6:27",
            "names no version",
        ),
        (
            with("  - name: vocab\n    tokenizer: { dataset: docs, vocabulary: 0 }\n"),
            "pipeline:6:",
            "expected a whole number from 1",
        ),
        (with("  - name: vocab\n    tokeniser: { dataset: docs }\n"), "pipeline:6:5", "unknown field `tokeniser`"),
        (
            with("").replace("paths: [a.md]", "paths: [a.md], paths: [b.md]"),
            "pipeline:4:",
            "a second `paths`; give it once",
        ),
        (with("").replace("author: a", "author: a, text: '{{ a'"), "pipeline:3:11", "template `{{ a`"),
        (with("").replace("author: a", "author: a, dedup: maybe"), "pipeline:4:", "expected off, or { jaccard: 0.8 }"),
        (
            with("").replace("author: a", "author: a, quality: { min_chars: 9, max_chars: 3 }"),
            "pipeline:3:11",
            "no document can pass both",
        ),
        (
            dataset("        - { from: docs, text: '{{ text }}', split: { train: 0.9, test: 0.2 } }\n"),
            "pipeline:9:",
            "sum to 1",
        ),
        (
            dataset("        - { from: docs, text: '{{ text }}', split: Train }\n"),
            "pipeline:9:",
            "`Train` is no name of a split",
        ),
        (
            dataset("        - { from: docs, split: train }\n"),
            "pipeline:5:11",
            "have no field; give instruction and output",
        ),
        (
            dataset("        - { from: dcos, text: '{{ text }}', split: train }\n"),
            "pipeline:9:19",
            "`dcos`, which is no earlier job",
        ),
        (train("      steps: 3\n      base_model: mistral-7b\n"), "pipeline:11:19", "a base model is scratch:layers=4"),
        (
            train("      steps: 3\n      base_model: \"scratch:layers=4,depth=2\"\n"),
            "pipeline:11:19",
            "`depth` is no key of a model",
        ),
        (
            train("      steps: 3\n      epochs: 3\n      base_model: run:018f4e9a-7c3b-7def-8123-456789abcdef\n"),
            "pipeline:5:11",
            "give one",
        ),
        (train(&scratch("heads=2")), "pipeline:5:11", "missing steps or epochs"),
        (train(&format!("      steps: 3\n{}", scratch("heads=2"))), "pipeline:5:11", "`tokenizer` is missing"),
        (train(&scratch("heads=3")), "pipeline:10:19", "`width` is 16, expected a multiple of twice `heads`"),
        (train(&scratch("heads=16")), "pipeline:10:19", "`width` is 16, expected a multiple of twice `heads`"),
        (train(&scratch("heads=2").replace("layers=1", "layers=0")), "pipeline:10:19", "`layers` is 0"),
        (train(&scratch("heads=2,context=100000000")), "pipeline:10:19", "`context` is 100000000"),
        (train(&scratch("heads=2,vocabulary=20")), "pipeline:10:19", "`vocabulary` is 20; a byte-level"),
        (train(&scratch("heads=2").replace(",feed_forward=8", "")), "pipeline:10:19", "missing field `feed_forward`"),
        (
            train(&format!(
                "{}      steps: 3\n      tokenizer: artifact:{HEX}\n      sequence_length: 99\n",
                scratch("heads=2,context=48")
            )),
            "pipeline:5:11",
            "job `base`: `sequence_length` is 99",
        ),
        (
            train(&format!(
                "{}      steps: 3\n      tokenizer: artifact:{HEX}\n  - name: tuned\n    train: {{ method: sft, base_model: base, dataset: ds://p/set@1.0.0, learning_rate: 1.0e-3, steps: 3, sequence_length: 49 }}\n",
                scratch("heads=2,context=48")
            )),
            "pipeline:13:11",
            "job `tuned`: `sequence_length` is 49",
        ),
        (
            with("  - name: vocab\n    tokenizer: { dataset: ds://p/set@1.0.0, vocabulary: 10 }\n"),
            "pipeline:6:",
            "`vocabulary` is 10; expected 261",
        ),
        (
            with("  - name: vocab\n    tokenizer: { dataset: docs, vocabulary: 300 }\n"),
            "pipeline:6:27",
            "`docs` is a job of kind ingest; name one of kind dataset here",
        ),
        (
            format!(
                "{}  - name: vocab\n    tokenizer: {{ dataset: set, split: tset, vocabulary: 300 }}\n",
                dataset(rows)
            ),
            "pipeline:11:27",
            "`set` has no split `tset`; its splits are test, train",
        ),
        (
            dataset("        - { from: docs, text: '{{ text | truncate(9) }}', split: train }\n"),
            "pipeline:5:11",
            "unknown filter: filter truncate is unknown",
        ),
        (train("      steps: -3\n"), "pipeline:10:", "expected a whole number from 1"),
        (train("      learning_rate: fast\n"), "pipeline:10:", "a second `learning_rate`"),
        (train("      clip_norm: 0\n"), "pipeline:10:", "expected a number above 0"),
        (train("      gpus: 8\n"), "pipeline:10:7", "unknown field `gpus`"),
    ];
    let wrong = cases.iter().filter_map(|(yaml, at, said)| {
        let why = place.refused(yaml);
        let right = why.starts_with(at) && why.contains(said);
        (!right).then(|| format!("expected {at} … {said}\n   found {why}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn gates_judges_and_exams_are_checked_before_anything_runs() {
    let place = Place::new();
    let after = |kind: &str, settings: &str| with(&format!("  - name: x\n    {kind}:\n{settings}"));
    let exam = "      subject: model://p/m@1\n      suite: s\n      dataset: ds://p/set@1.0.0\n      split: test\n      tasks:\n";
    for (yaml, said) in [
        (after("evaluate", &format!("{exam}        - {{ name: a, kind: generate }}\n")), "`metrics` is missing"),
        (after("evaluate", &format!("{exam}        - {{ name: a, kind: perplexity, temperature: 1 }}\n")), "no effect"),
        (
            after("evaluate", &format!("{exam}        - {{ name: a, kind: generate, metrics: [accuracy] }}\n")),
            "expected one of exact_match, f1",
        ),
        (
            after("evaluate", &format!("{exam}        - {{ name: a, kind: generate, metrics: [f1], extract: '(' }}\n")),
            "no regular expression",
        ),
        (
            after("gate", "      subject: model://p/m@1\n      evaluations: []\n      require: ['a.b >= 1']\n"),
            "`evaluations` is empty",
        ),
        (after("gate", "      subject: model://p/m@1\n      evaluations: [eval:e]\n"), "without a condition"),
        (
            after("gate", "      subject: model://p/m@1\n      evaluations: [eval:e]\n      require: ['f1 >= 0.5']\n"),
            "such as answers.f1",
        ),
        (
            after("gate", "      subject: model://p/m@1\n      evaluations: [eval:e]\n      require: ['a.f1 = 0.5']\n"),
            "one of >=, >, <=, <",
        ),
        (
            after(
                "gate",
                "      subject: model://p/m@1\n      evaluations: [eval:e]\n      compare: [{ metric: a.f1, test: bootstrap }]\n",
            ),
            "needs `baseline`",
        ),
        (
            after("judge", "      evaluation: eval:e\n      task: a\n      validators: [{ name: v, kind: regex }]\n"),
            "`pattern` is missing",
        ),
        (
            after(
                "judge",
                "      evaluation: eval:e\n      task: a\n      validators: [{ name: v, kind: no_pii, pattern: x }]\n",
            ),
            "no effect",
        ),
        (after("deploy", "      model: model://p/m@1\n      deployment: d\n"), "missing field `gate`"),
        (
            after("deploy", "      model: model://p/m@1\n      gate: judgment:g\n      deployment: a b\n"),
            "an id is 1 to 128",
        ),
    ] {
        let why = place.refused(&yaml);
        assert!(why.contains(said), "expected {said}\n   found {why}");
    }
}

#[test]
fn files_that_are_no_pipeline_are_refused_by_name() {
    let place = Place::new();
    let refused = |path: &Path| Pipeline::load(path).unwrap_err().to_string();
    assert!(refused(&place.path("none.yaml")).contains("cannot read"));
    assert!(refused(place.dir.path()).contains("is a folder"));
    assert!(refused(&place.write("latin.yaml", b"project: caf\xe9\n")).contains("is not UTF-8: byte 12"));
    let error = refused(&place.write("broken.yaml", "project: p\njobs:\n  - name: x\n    ingest: { path: [a] }\n"));
    assert!(error.contains("broken.yaml:4:15: unknown field `path`"), "{error}");
    assert!(error.contains("in `ingest: { path: [a] }`"), "{error}");
    // A training config is told by any of its keys.
    for text in ["dataset_version: ds://p/set@1.0.0\nepochs: 1\n", "method: sft\ntrain: { epochs: 1 }\n"] {
        let error = refused(&place.write("config.yaml", text));
        assert!(error.contains("config.yaml") && error.contains("base_model is missing"), "{error}");
    }
}

#[test]
fn a_base_model_is_what_it_looks_like() {
    for (text, expected) in [
        (
            "scratch:layers=2,width=8,heads=2,feed_forward=8",
            BaseModel::Scratch("layers=2,width=8,heads=2,feed_forward=8".into()),
        ),
        ("model://p/m@2", BaseModel::Ref("model://p/m@2".parse().unwrap())),
        ("./weights", BaseModel::Folder("./weights".into())),
    ] {
        assert_eq!(BaseModel::parse(text).unwrap(), expected);
        assert_eq!(expected.to_string(), text);
    }
    for text in ["https://example.com/m", "scratch:layers", "Mistral 7B", "model://p/m"] {
        assert!(BaseModel::parse(text).is_err(), "{text}");
    }
}
