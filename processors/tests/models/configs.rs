//! Training configs by themselves and inside a pipeline, models from folders, and the folders of requirement 02.

use crate::support::{BASE, TUNED, events, folder, open, outcome, run, run_of, summary};
use cairn_processors::{JobOutcome, Pipeline, Quiet, RunOptions, export, run_pipeline};
use cairn_schemas::{Event, Ref};
use serde_json::Value;
use std::path::Path;

const FLAT: &str = "base_model: model://tiny/base@1\ndataset_version: ds://tiny/corpus@1.0.0\nlearning_rate: 0.01\nepochs: 1\nbatch_size: 8\n";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

#[test]
fn a_bare_config_trains_evaluates_and_writes_the_layout() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), BASE);
    let file = dir.path().join("finetune.yaml");
    std::fs::write(&file, FLAT).unwrap();
    let artifacts = dir.path().join("artifacts");
    let options = RunOptions { artifacts_dir: Some(artifacts.clone()), ..RunOptions::default() };
    for round in 0..2 {
        let report = run_pipeline(&ctx, &Pipeline::load(&file).unwrap(), &options, &Quiet).unwrap();
        assert!(report.complete, "round {round}: {report:?}");
    }
    let metadata = json(&artifacts.join("models/finetune_v1/metadata.json"));
    assert_eq!(metadata["model_version"], "finetune_v1");
    assert_eq!(metadata["base_model"], "model://tiny/base@1");
    assert_eq!(metadata["dataset_version"], "corpus@1.0.0");
    let config: Value = serde_saphyr::from_str(FLAT).unwrap();
    assert_eq!(metadata["training_config"], config);
    let data = std::fs::read_to_string(artifacts.join("datasets/corpus@1.0.0/data.jsonl")).unwrap();
    assert_eq!(metadata["num_training_samples"], data.lines().count());
    let dataset = json(&artifacts.join("datasets/corpus@1.0.0/metadata.json"));
    assert_eq!(dataset["sample_count"], data.lines().count());
    let registry = json(&artifacts.join("models/registry.json"));
    assert_eq!(registry["models"].as_array().unwrap().len(), 1);
    assert_eq!(registry["models"][0], metadata);
    let evaluation = json(&artifacts.join("evaluations/finetune_v1/evaluation.json"));
    assert_eq!(
        (&evaluation["model_version"], &evaluation["dataset_version"]),
        (&"finetune_v1".into(), &"corpus@1.0.0".into())
    );
    let metrics = &evaluation["metrics"];
    assert!(metrics["quality_score"].is_f64() && metrics["latency_ms"].as_u64().unwrap() >= 1, "{metrics}");
    assert!(metrics["cost_per_1k_tokens"].as_f64().unwrap() > 0.0, "{metrics}");
}

#[test]
fn from_scratch_a_config_needs_no_tokenizer_and_texts_are_scored() {
    let dir = folder();
    let ctx = open(dir.path());
    let corpus = BASE.split("  - name: vocabulary").next().unwrap();
    let texts_only: String = corpus
        .lines()
        .filter(|line| !line.contains("instruction:") && !line.contains("output:"))
        .map(|line| format!("{line}\n"))
        .collect();
    run(&ctx, dir.path(), &texts_only);
    let config = FLAT
        .replace("model://tiny/base@1", "scratch:layers=2,width=32,heads=2,feed_forward=64,vocabulary=300,context=48");
    let file = dir.path().join("small.yaml");
    std::fs::write(&file, config).unwrap();
    let artifacts = dir.path().join("artifacts");
    let options = RunOptions { artifacts_dir: Some(artifacts.clone()), ..RunOptions::default() };
    let report = run_pipeline(&ctx, &Pipeline::load(&file).unwrap(), &options, &Quiet).unwrap();
    assert!(report.complete, "{report:?}");
    assert_eq!(summary(&report, "train")["method"], "pretrain");
    let metrics = json(&artifacts.join("evaluations/small_v1/evaluation.json"))["metrics"].clone();
    let quality = metrics["quality_score"].as_f64().unwrap();
    assert!(
        quality > 0.0 && quality < 1.0 && metrics["latency_ms"].is_u64() && metrics["cost_per_1k_tokens"].is_f64(),
        "{metrics}"
    );
}

#[test]
fn prompts_that_were_all_too_long_are_counted_and_what_was_measured_is_given() {
    let dir = folder();
    let ctx = open(dir.path());
    let long = "instruction: \"{{ question }}".to_owned() + &" and nothing else".repeat(20);
    let text = BASE.replace("instruction: \"{{ question }}", &long);
    let exam = TUNED.split("  - name: base-exam").nth(1).unwrap().split("  - name: tuned-exam").next().unwrap();
    let artifacts = dir.path().join("artifacts");
    let options = RunOptions { artifacts_dir: Some(artifacts.clone()), ..RunOptions::default() };
    let pipeline = Pipeline::parse(&format!("{text}  - name: base-exam{exam}"), dir.path()).unwrap();
    let report = run_pipeline(&ctx, &pipeline, &options, &Quiet).unwrap();
    assert_eq!(summary(&report, "base-exam")["prompts_too_long"], 12);
    let evaluation = json(&artifacts.join("evaluations/base_v1/evaluation.json"));
    let metrics = &evaluation["metrics"];
    assert_eq!(metrics["quality_score"], 0.0);
    assert!(metrics["latency_ms"].is_u64() && metrics["cost_per_1k_tokens"].is_f64(), "{metrics}");
    assert!(
        summary(&run(&ctx, dir.path(), &format!("{BASE}{TUNED}").replace("1.0.0", "1.1.0")), "base-exam")
            .get("prompts_too_long")
            .is_none()
    );
}

#[test]
fn an_exported_model_is_a_base_model() {
    let dir = folder();
    let ctx = open(dir.path());
    let first = run(&ctx, dir.path(), BASE);
    let model: Ref = summary(&first, "base")["model"].as_str().unwrap().parse().unwrap();
    export::model(&ctx, &model, &dir.path().join("exported")).unwrap();
    let tuned =
        TUNED.split("  - name: base-exam").next().unwrap().replace("base_model: base", "base_model: ./exported");
    let report = run(&ctx, dir.path(), &format!("{BASE}{tuned}"));
    let started = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::RunStarted(event) if event.run == run_of(&report, "tuned") => Some(event),
        _ => None,
    });
    let started = started.unwrap();
    // The folder's weights are the very artifact that the base run recorded.
    assert_eq!(started.base_model.unwrap().to_string(), summary(&first, "base")["weights"].as_str().unwrap());
    assert_eq!(started.parent, None);
    let elsewhere = tuned.replace("./exported", "./nowhere");
    let pipeline = Pipeline::parse(&format!("{BASE}{elsewhere}"), dir.path()).unwrap();
    let report = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &Quiet).unwrap();
    let JobOutcome::Failed { error } = &outcome(&report, "tuned").1 else { panic!("{report:?}") };
    assert!(error.chain().contains("model.safetensors, config.json and tokenizer.json"), "{}", error.chain());
}

#[test]
fn what_a_config_gives_is_not_given_twice_and_nothing_of_it_is_ignored() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), BASE);
    let sections = "base_model: model://tiny/base@1\nmethod: sft\ntrain: { dataset_id: 'ds://tiny/corpus@1.0.0', epochs: 1, batch_size: 8, lr: 0.01 }\neval: { suite: perplexity }\n";
    std::fs::write(dir.path().join("flat.yaml"), FLAT).unwrap();
    std::fs::write(dir.path().join("sections.yaml"), sections).unwrap();
    for (settings, why) in [
        ("config: flat.yaml, steps: 3", "`steps`: stands beside `config`"),
        ("config: sections.yaml", "`eval` of"),
        ("config: absent.yaml", "absent.yaml"),
    ] {
        let text = format!("project: tiny\nseed: 3\njobs:\n  - name: more\n    train: {{ {settings} }}\n");
        let pipeline = Pipeline::parse(&text, dir.path()).unwrap();
        let report = run_pipeline(&ctx, &pipeline, &RunOptions::default(), &Quiet).unwrap();
        let JobOutcome::Failed { error } = &outcome(&report, "more").1 else { panic!("{settings}: {report:?}") };
        assert!(error.chain().contains(why), "{settings}: {}", error.chain());
    }
    let text = "project: tiny\nseed: 3\njobs:\n  - name: more\n    train: { config: flat.yaml, checkpoint_every: 4, register: more }\n";
    let report = run(&ctx, dir.path(), text);
    // Sums have answers and the base is trained: without a method given, answers are learnt.
    assert_eq!(summary(&report, "more")["method"], "sft");
}
