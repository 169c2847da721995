//! From documents to a deployed model, and every question that the ledger then answers.

use crate::support::Place;
use std::collections::BTreeSet;

#[test]
fn the_main_job_end_to_end() {
    let place = Place::with_pipeline(30);
    place.cairn(&["run", "pipeline.yaml"]).ok();
    let jobs = place.jobs();
    for (name, job) in &jobs {
        let expected = if name == "strict" { "blocked" } else { "skipped" };
        assert_eq!(job["state"], expected, "{name} again: {job}");
    }
    assert_eq!(jobs["base"]["summary"]["steps"], 30);
    assert_eq!(jobs["tuned"]["summary"]["parent"], jobs["base"]["run"]);
    asks_and_rolls_back(&place, &jobs);
    answers_questions(&place, &jobs);
    proves_it(&place, &jobs);
    rebuilds(&place);
}

fn asks_and_rolls_back(place: &Place, jobs: &serde_json::Map<String, serde_json::Value>) {
    let (base, tuned) = (&jobs["base"]["summary"]["weights_digest"], &jobs["tuned"]["summary"]["weights_digest"]);
    let ask = || place.json(&["ask", "helper", "How many?", "--max-tokens", "4"])["weights_digest"].clone();
    assert_eq!(ask(), *tuned);
    place.cairn(&["roll-back", "helper", "--reason", "worse in practice"]).ok();
    assert_eq!(ask(), *base);
    place.cairn(&["promote", "helper", "model://small/small-tuned@1", "--reason", "better after all"]).ok();
    assert_eq!(ask(), *tuned);
    let recorded = place.events("response_generated");
    let digests: Vec<_> = recorded.iter().map(|e| &e["data"]["weights_digest"]).collect();
    assert_eq!(digests, [tuned, base, tuned]);
}

fn answers_questions(place: &Place, jobs: &serde_json::Map<String, serde_json::Value>) {
    let run = jobs["base"]["run"].as_str().unwrap();
    let lineage = place.json(&["lineage", "helper"]);
    let kinds: BTreeSet<&str> =
        lineage["nodes"].as_array().unwrap().iter().map(|n| n["kind"].as_str().unwrap()).collect();
    for kind in ["deployment", "model", "run", "dataset", "document", "evaluation", "judgment", "artifact"] {
        assert!(kinds.contains(kind), "{kind} is missing from {kinds:?}");
    }
    let tree = place.cairn(&["lineage", "helper"]).ok().out;
    assert!(tree.contains("problems.jsonl#L1") && tree.contains("more documents"), "{tree}");
    let csv = place.cairn(&["curves", run, "--csv"]).ok().out;
    assert_eq!(csv.lines().count(), 31, "a heading and a line a step");
    let plot = place.cairn(&["curves", run]).ok().out;
    assert!(plot.contains("30 points, first "), "{plot}");
    let best = place.json(&["best", "--task", "language", "--metric", "perplexity"]);
    assert_eq!(best["standings"].as_array().unwrap().len(), 2);
    place
        .cairn(&["best", "--task", "language", "--metric", "perplexity", "--as-of", "2020-01-01"])
        .refuses(4, &["before the first event"]);
    let gates = place.events("gate_evaluated");
    let outcomes: Vec<_> = gates.iter().map(|e| e["data"]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["block", "pass", "pass"]);
    let again = place.json(&["reproduce", run]);
    assert_eq!(again["equal"], true, "{again}");
    assert!(again["compared"].as_array().unwrap().len() >= 3, "{again}");
}

fn proves_it(place: &Place, jobs: &serde_json::Map<String, serde_json::Value>) {
    assert_eq!(place.json(&["verify"])["verdict"], "intact");
    let weights = artifact_file(place, jobs["tuned"]["summary"]["weights"].as_str().unwrap());
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::remove_file(&weights).unwrap();
    let said = place.cairn(&["verify"]);
    assert!(said.code == 5 && said.out.contains("not stored here: artifact:"), "{said:?}");
    std::fs::write(&weights, bytes).unwrap();
    place.cairn(&["verify"]).ok();
    place.cairn(&["export", "deployment:helper", "--to", "bundle"]).ok();
    let alone = Place::new();
    let bundle = place.path("bundle").to_str().unwrap().to_owned();
    let verified = alone.json(&["verify", &bundle]);
    assert_eq!(verified["verdict"], "intact");
    let file = place
        .path("bundle/log/segments")
        .read_dir()
        .unwrap()
        .map(|f| f.unwrap().path())
        .max_by_key(|p| p.metadata().unwrap().len());
    flip(&file.unwrap());
    assert_eq!(alone.cairn(&["verify", &bundle]).code, 5);
    place.cairn(&["export", "helper", "--as", "model", "--to", "folder"]).ok();
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        assert!(place.path("folder").join(name).is_file(), "{name}");
    }
}

fn rebuilds(place: &Place) {
    let before = place.json(&["rebuild"]);
    std::fs::remove_dir_all(place.data().join("projections")).unwrap();
    let after = place.json(&["rebuild"]);
    assert_eq!(before, after);
    assert_eq!(after.as_array().unwrap().len(), 4);
}

#[test]
fn a_flipped_byte_is_found_with_its_position() {
    let place = Place::new();
    let event = |id: u32| {
        format!(
            r#"{{"specversion":"1.0","type":"cairn.training.step_logged.v2","source":"loop","id":"{id}","data":{{"run":"018f4e9a-7c3b-7def-8123-456789abcdef","step":{id},"tokens":{id},"metrics":[{{"name":"loss","value":1}}]}}}}"#
        )
    };
    let input: Vec<String> = (1..=40).map(event).collect();
    place.append(&input.join("\n")).ok();
    let segment =
        walk(&place.data().join("logs")).into_iter().find(|p| p.extension().is_some_and(|e| e == "frames")).unwrap();
    let whole = std::fs::read(&segment).unwrap();
    for at in (0..whole.len()).step_by(101) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&segment, &bytes).unwrap();
        let said = place.cairn(&["--json", "verify"]);
        assert_eq!(said.code, 5, "byte {at}: {said:?}");
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(report["damage"][0]["file"].as_str().unwrap().ends_with(".frames"), "byte {at}: {report}");
        assert!(report["damage"][0]["position"].is_u64(), "byte {at}: {report}");
    }
    std::fs::write(&segment, whole).unwrap();
    place.cairn(&["verify"]).ok();
}

/// Where an artifact's bytes lie.
fn artifact_file(place: &Place, reference: &str) -> std::path::PathBuf {
    let name = reference.strip_prefix("artifact:").unwrap();
    walk(&place.data().join("artifacts")).into_iter().find(|p| p.file_name().is_some_and(|n| n == name)).unwrap()
}

fn flip(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    walkdir::WalkDir::new(folder).into_iter().map(|f| f.unwrap().into_path()).filter(|p| p.is_file()).collect()
}
