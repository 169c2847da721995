use super::*;
use std::path::Path;

const FLAT: &str =
    "base_model: scratch:small\ndataset_version: dataset_v1\nlearning_rate: 2e-4\nepochs: 3\nbatch_size: 8\n";
const SECTIONS: &str = "\
base_model: model://team/base@3
method: sft
peft: {type: none}
train:
  dataset_id: ds://team/web@1.2.0
  epochs: 3
  batch_size: 64
  lr: 2e-4
  max_seq_len: 4096
  gradient_checkpointing: false
  mixed_precision: fp32
eval:
  suite: [domain_em_f1, perplexity]
  thresholds: {em: 0.75, perplexity: 12}
infra: {gpus: 1, strategy: single}
callbacks: {}
";

fn yaml(text: &str) -> Result<TrainingConfig, Error> {
    TrainingConfig::from_yaml(text, Path::new("."))
}

fn problems(text: &str) -> Vec<String> {
    match yaml(text) {
        Err(Error::Invalid { problems }) => problems.iter().map(Problem::to_string).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

/// The one problem of a config in which one line was replaced.
fn problem_with(config: &str, line: &str, by: &str) -> String {
    assert!(config.contains(line), "{line}");
    let mut found = problems(&config.replace(line, by));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_five_keys_are_read() {
    let config = yaml(FLAT).unwrap();
    assert_eq!((config.dataset.as_str(), config.learning_rate), ("dataset_v1", 2e-4));
    assert_eq!((config.epochs, config.batch_size, config.method), (3, 8, None));
    let BaseModel::Scratch(scratch) = &config.base_model else { panic!("{config:?}") };
    assert_eq!((scratch.layers, scratch.width, scratch.vocabulary), (4, 128, Some(2048)));
    let dictionary = config.to_json();
    assert_eq!(dictionary["learning_rate"], 2e-4);
    assert_eq!(dictionary["dataset_version"], "dataset_v1");
    assert_eq!(dictionary.as_object().unwrap().len(), 5);
    assert_eq!(TrainingConfig::from_value(&dictionary, Path::new(".")).unwrap(), config);
    assert_eq!(TrainingConfig::from_json(&dictionary.to_string(), Path::new(".")).unwrap(), config);
}

#[test]
fn a_whole_learning_rate_is_a_number_too_and_names_are_trimmed() {
    let text = FLAT.replace("2e-4", "1").replace("dataset_v1", "'  dataset_v1 '");
    let config = yaml(&text).unwrap();
    assert_eq!((config.learning_rate, config.dataset.as_str()), (1.0, "dataset_v1"));
}

#[test]
fn each_rule_of_the_flat_form_is_held() {
    for (line, by, part) in [
        ("base_model: scratch:small", "base_model: '  '", "line 1, column 13: base_model is empty"),
        ("dataset_version: dataset_v1", "dataset_version: ''", "dataset_version is empty"),
        ("dataset_version: dataset_v1", "dataset_version: 7", "dataset_version is 7 (a whole number); expected a text"),
        ("dataset_version: dataset_v1", "dataset_version: ../../etc", "not a path"),
        ("dataset_version: dataset_v1", "dataset_version: model://a/b@1", "is a model; expected a dataset"),
        ("dataset_version: dataset_v1", "dataset_version: ds://a/b", "names no version"),
        ("learning_rate: 2e-4", "learning_rate: fast", "line 3, column 16: learning_rate is `fast` (a text)"),
        ("learning_rate: 2e-4", "learning_rate: '0.1'", "learning_rate is `0.1` (a text); expected a number"),
        ("learning_rate: 2e-4", "learning_rate: true", "learning_rate is true (a boolean)"),
        ("learning_rate: 2e-4", "learning_rate: 0", "above 0"),
        ("learning_rate: 2e-4", "learning_rate: -1e-3", "above 0"),
        ("epochs: 3", "epochs: 0", "line 4, column 9: epochs is 0 (a whole number); expected a whole number from 1"),
        ("epochs: 3", "epochs: 3.0", "epochs is 3 (a number with a fraction)"),
        ("epochs: 3", "epochs: '3'", "epochs is `3` (a text)"),
        ("epochs: 3", "epochs: true", "epochs is true (a boolean)"),
        ("epochs: 3", "epochs: [3]", "epochs is a list"),
        ("epochs: 3", "epochs:", "epochs is empty"),
        ("batch_size: 8", "batch_size: -8", "batch_size is -8"),
        ("batch_size: 8", "batch_size: 99999999999999999999", "batch_size is"),
        ("epochs: 3", "epochs: 3\nseed: 1", "line 5, column 1: seed is not a known key; the keys are base_model, "),
    ] {
        let found = problem_with(FLAT, line, by);
        assert!(found.contains(part), "{by}: {found}");
    }
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_text() {
    let found = problems("epochs: 0\nbase_model: scratch:small\nseed: 1\n");
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("line 1") && found[1].starts_with("line 3"), "{found:?}");
    assert_eq!(found[2..], ["dataset_version is missing", "learning_rate is missing", "batch_size is missing"]);
    let message = yaml("epochs: 0\n").unwrap_err().to_string();
    assert!(message.contains("epochs is 0") && message.contains("base_model is missing"), "{message}");
}

#[test]
fn what_is_no_mapping_or_no_yaml_is_refused() {
    for (text, part) in [
        ("- a\n- b\n", "is a list; expected a mapping"),
        ("just text", "is a text; expected"),
        ("", "is empty; expected"),
        ("a: [1\nb: 2\n", "not valid YAML"),
        ("epochs: 1\nepochs: 2\n", "epochs"),
    ] {
        let error = yaml(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
    let error = TrainingConfig::from_json("{\"epochs\": 3,}", Path::new(".")).unwrap_err().to_string();
    assert!(error.contains("not valid JSON") && error.contains("line 1"), "{error}");
    let error = TrainingConfig::from_json("{\n  \"epochs\": 0\n}", Path::new(".")).unwrap_err().to_string();
    assert!(error.contains("line 2, column 13: epochs is 0"), "{error}");
}

#[test]
fn the_sections_are_read() {
    let config = yaml(SECTIONS).unwrap();
    assert_eq!((config.method, config.max_seq_len, config.gpus), (Some(Method::Sft), Some(4096), Some(1)));
    assert_eq!((config.dataset.as_str(), config.learning_rate), ("ds://team/web@1.2.0", 2e-4));
    let eval = config.eval.clone().unwrap();
    assert_eq!(eval.suites, [Suite::DomainEmF1, Suite::Perplexity]);
    assert_eq!(
        eval.thresholds,
        [Threshold { metric: Metric::ExactMatch, value: 0.75 }, Threshold { metric: Metric::Perplexity, value: 12.0 }]
    );
    assert_eq!(TrainingConfig::from_value(&config.to_json(), Path::new(".")).unwrap(), config);
    let least = "base_model: scratch:small\nmethod: pretrain\ntrain: {dataset_id: d, epochs: 1, batch_size: 1, learning_rate: 1e-3}";
    let config = yaml(least).unwrap();
    assert_eq!((config.method, config.gpus, config.eval), (Some(Method::Pretrain), None, None));
}

#[test]
fn what_is_not_built_is_refused_by_name_with_what_would_work() {
    for (line, by, expected) in [
        (
            "peft: {type: none}",
            "peft: {type: qlora, r: 16, alpha: 32}",
            "line 3, column 14: peft.type: qlora is not supported yet; supported: none (full fine-tuning)",
        ),
        ("peft: {type: none}", "peft: lora", "peft: lora is not supported yet"),
        ("peft: {type: none}", "peft: {r: 16}", "peft has no type"),
        ("peft: {type: none}", "peft: {type: none, r: 16}", "peft.r belongs to an adapter"),
        ("method: sft", "method: dpo", "method: dpo is not supported yet; supported: sft, pretrain"),
        ("strategy: single", "strategy: fsdp", "infra.strategy: fsdp is not supported yet; supported: single"),
        ("gpus: 1", "gpus: 8", "infra.gpus: 8 is not supported yet; supported: 0, 1"),
        ("gpus: 1", "gpus: 1, gpu_type: A100_80GB", "infra.gpu_type is not supported yet"),
        ("gpus: 1", "gpus: 1, nodes: 2", "infra.nodes is not a known key"),
        (
            "gradient_checkpointing: false",
            "gradient_checkpointing: true",
            "train.gradient_checkpointing: true is not supported yet; supported: false",
        ),
        ("mixed_precision: fp32", "mixed_precision: bf16", "train.mixed_precision: bf16 is not supported yet"),
        (
            "suite: [domain_em_f1, perplexity]",
            "suite: [domain_em_f1, perplexity, toxicity]",
            "eval.suite: toxicity is not",
        ),
        (
            "suite: [domain_em_f1, perplexity]",
            "suite: perplexity",
            "eval.thresholds.em is measured by the suite domain_em",
        ),
        (
            "{em: 0.75, perplexity: 12}",
            "{hallucination_rate: 0.01}",
            "eval.thresholds.hallucination_rate is not supported",
        ),
        (
            "{em: 0.75, perplexity: 12}",
            "{em: 75}",
            "eval.thresholds.em is 75 (a whole number); expected a number from 0 to 1",
        ),
        (
            "callbacks: {}",
            "callbacks: {early_stopping: {patience: 2}}",
            "callbacks.early_stopping is not supported yet",
        ),
        ("callbacks: {}", "callbacks: {lr_finder: 1}", "callbacks.lr_finder is not known"),
        ("  lr: 2e-4", "  lr: 2e-4\n  learning_rate: 1e-4", "train.lr and train.learning_rate are one setting"),
        ("  lr: 2e-4\n", "", "train.learning_rate is missing"),
        ("  epochs: 3\n", "", "train.epochs is missing"),
        ("  max_seq_len: 4096", "  max_seq_len: long", "train.max_seq_len is `long` (a text)"),
        ("  max_seq_len: 4096", "  packing: true", "train.packing is not a known key"),
        ("method: sft", "method: sft\nepochs: 2", "epochs stands beside sections; in this form it is train.epochs"),
        ("method: sft\n", "", "method is missing"),
    ] {
        let found = problem_with(SECTIONS, line, by);
        assert!(found.contains(expected), "{by}: {found}");
    }
}

/// The sample of requirement 04, 11.2, as it stands there: every part that is not built is named.
#[test]
fn the_sample_request_names_all_that_is_missing() {
    let text = r#"{
        "base_model": "meta-llama/Meta-Llama-3-8B-Instruct",
        "method": "sft",
        "peft": {"type": "qlora", "r": 16, "alpha": 32, "target_modules": ["q_proj","v_proj","k_proj","o_proj"], "bnb_4bit": true},
        "train": {"dataset_id": "ds_789", "epochs": 3, "batch_size": 64, "lr": 2e-4, "max_seq_len": 4096},
        "eval": {"suite": ["domain_em_f1", "hallucination"], "thresholds": {"em": 0.75}},
        "infra": {"gpus": 8, "gpu_type": "A100_80GB", "strategy": "fsdp"},
        "callbacks": {"early_stopping": {"patience": 2}}
    }"#;
    let Err(Error::Invalid { problems }) = TrainingConfig::from_json(text, Path::new(".")) else { panic!("accepted") };
    let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "base_model",
            "peft.type",
            "eval.suite",
            "infra.gpus",
            "infra.gpu_type",
            "infra.strategy",
            "callbacks.early_stopping"
        ]
    );
}

#[test]
fn base_models_are_refs_folders_or_shapes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("weights")).unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let parse = |text: &str| BaseModel::parse(text, folder.path());
    assert_eq!(parse("./weights").unwrap(), BaseModel::Folder("./weights".into()));
    assert_eq!(parse("model://team/base@3").unwrap().to_string(), "model://team/base@3");
    let shape = "scratch:layers=2,width=32,heads=2,feed_forward=64";
    assert_eq!(parse(&format!("{shape},context=64")).unwrap().to_string(), format!("{shape},context=64"));
    assert_eq!(parse("scratch: layers = 2, width=32,heads=2,feed_forward=64").unwrap().to_string(), shape);
    for (text, part) in [
        ("mistral-7b", "`mistral-7b` is neither a registered model nor a folder that exists; use a registered model"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "scratch:small"),
        ("./nowhere", "nor a folder that exists"),
        ("file", "is a file"),
        ("model://team/base", "names no version"),
        ("scratch:huge", "no known preset; write scratch:small"),
        ("scratch:layers=2", "lacks width"),
        ("scratch:layers=2,depth=3", "has no `depth`; its keys are layers"),
        ("scratch:layers=0", "layers is `0`; expected a whole number from 1"),
        ("scratch:layers=2,layers=3", "twice"),
        ("scratch:layers=2,width=33,heads=2,feed_forward=64", "width 33 over 2 heads"),
        ("scratch:layers=2,width=6,heads=2,feed_forward=64", "even"),
        ("scratch:layers=2,width=32,heads=2,feed_forward=64,vocabulary=100", "at least 261"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}
