//! Bad input gets an error that names what and where, with its exit code, and nothing acknowledged is lost.

use crate::support::Place;

fn ingest(paths: &str) -> String {
    format!(
        "project: p\njobs:\n  - name: docs\n    ingest: {{ paths: [{paths}], author: A, access_policy: public, text: \"{{{{ text }}}}\" }}\n"
    )
}

fn run(place: &Place, yaml: &str) -> crate::support::Said {
    place.write("pipeline.yaml", yaml);
    place.cairn(&["run", "pipeline.yaml"])
}

#[test]
fn pipelines_are_refused_with_line_and_column() {
    let place = Place::new();
    place.write("a.jsonl", "{\"text\": \"x\"}\n");
    run(&place, "project: p\njobs:\n  - name: a\n    ingest: { path: [a.jsonl] }\n")
        .refuses(4, &["pipeline.yaml:4:", "path"]);
    run(&place, "project: p\njobs:\n  - name: a\n    ingest: { paths: [a.jsonl], redact: maybe }\n")
        .refuses(4, &["pipeline.yaml:4:", "true or false"]);
    run(&place, "project: p\njobs:\n  - name: a\n    tokenizer: { dataset: corpus, vocabulary: 300 }\n")
        .refuses(4, &["pipeline.yaml:4:", "`corpus`", "no earlier job"]);
    run(&place, "project: p\njobs: [\n").refuses(4, &["pipeline.yaml:"]);
    run(&place, "").refuses(4, &["empty"]);
    place.cairn(&["run", "absent.yaml"]).refuses(3, &["absent.yaml"]);
    run(&place, "project: p\njobs:\n  - name: t\n    tokenizer: { dataset: \"ds://p/none@1.0.0\", vocabulary: 300 }\n")
        .refuses(3, &["ds://p/none@1.0.0", "`t`"]);
    let base = "project: p\njobs:\n  - name: t\n    train: { method: sft, base_model: mistral-7b, dataset: \"ds://p/n@1.0.0\", steps: 1, learning_rate: 0.1 }\n";
    run(&place, base).refuses(4, &["mistral-7b", "scratch:"]);
}

#[test]
fn files_that_are_wrong_are_named_and_the_rest_is_kept() {
    let place = Place::new();
    run(&place, &ingest("absent.jsonl")).refuses(4, &["absent.jsonl", "`docs`"]);
    place.write("data/empty.txt", "");
    place.write("data/latin1.txt", b"caf\xe9 au lait");
    place.write("data/picture.png", b"\x89PNG");
    place.write("data/cut.jsonl", "{\"text\": \"a whole line of text\"}\n{\"text\": \"cut o");
    place.write(
        "data/long.jsonl",
        format!("{{\"text\": \"{}\"}}\n{{\"text\": \"after the long line\"}}\n", "x".repeat(9 << 20)),
    );
    run(&place, &ingest("data")).ok();
    let rejected = place.events("document_rejected");
    let because = |part: &str| {
        let found = rejected.iter().find(|e| e["data"]["source_uri"].as_str().unwrap().contains(part));
        let found = found.unwrap_or_else(|| panic!("{part} was not rejected: {rejected:?}"));
        format!("{} {}", found["data"]["rule"].as_str().unwrap(), found["data"]["detail"].as_str().unwrap())
    };
    assert!(because("empty.txt").contains("empty"), "{}", because("empty.txt"));
    assert!(because("latin1.txt").contains('3'), "the offset: {}", because("latin1.txt"));
    assert!(because("picture.png").contains("unsupported"), "{}", because("picture.png"));
    assert!(because("cut.jsonl").contains("column"), "{}", because("cut.jsonl"));
    assert!(because("long.jsonl").contains("bytes"), "{}", because("long.jsonl"));
    assert_eq!(place.events("document_ingested").len(), 2);
    place.cairn(&["verify"]).ok();
}

#[test]
fn events_are_refused_by_line_and_repeats_are_recognised() {
    let place = Place::new();
    let event = |id: &str, loss: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"cairn.training.step_logged.v2","source":"loop","id":"{id}","data":{{"run":"018f4e9a-7c3b-7def-8123-456789abcdef","step":1,"tokens":1,"metrics":[{{"name":"loss","value":{loss}}}]}}}}"#
        )
    };
    let said = place.append(&format!("{}\n{}\n", event("1", "2.5"), event("2", "2.4"))).ok();
    assert!(said.out.contains("2 appended"), "{said:?}");
    let said = place.append(&format!("{}\n{}\n", event("1", "2.5"), event("3", "2.3"))).ok();
    assert!(said.out.contains("1 appended, 1 were there already"), "lines that were added are recorded: {said:?}");
    assert!(place.append(&event("1", "2.5")).ok().out.contains("1 were there already"));
    place.append(&event("1", "9.9")).refuses(4, &["position 1", "other content"]);
    place.append(&format!("{}\nnot json\n", event("4", "1"))).refuses(4, &["line 2"]);
    place
        .append(&event("5", "1").replace("step_logged", "step_loged"))
        .refuses(4, &["line 1", "cairn.training.step_logged.v2"]);
    assert_eq!(place.events("step_logged").len(), 3);
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::new();
    place.cairn(&["status"]).refuses(3, &["no data directory"]);
    place.cairn(&["lineage", "run:018f4e9a-7c3b-7def-8123-456789abcdef"]).refuses(3, &["no data directory"]);
    place.append("").ok();
    place.cairn(&["lineage", "deployment:none"]).refuses(3, &["deployment:none"]);
    place.cairn(&["lineage", "tables:none"]).refuses(4, &["a ref is"]);
    place.cairn(&["curves", "018f4e9a-7c3b-7def-8123-456789abcdef"]).refuses(3, &["no curves"]);
    place.cairn(&["ask", "none", "hello"]).refuses(3, &["deployment:none"]);
    place.cairn(&["verify", "nowhere"]).refuses(3, &["nowhere"]);
    let mistyped = crate::support::Place::new();
    for args in [&["rebuild"][..], &["ask", "helper", "hello"], &["reproduce", "018f4e9a-7c3b-7def-8123-456789abcdef"]]
    {
        mistyped.cairn(args).refuses(3, &["no data directory"]);
    }
    assert!(!mistyped.data().exists(), "a mistyped --data makes no ledger");
    place.cairn(&["best", "--task", "t", "--metric", "m"]).refuses(3, &["`m`"]);
}

#[test]
fn training_configs_act_or_are_refused_by_name() {
    let place = Place::with_pipeline(10);
    place.cairn(&["run", "pipeline.yaml", "--only", "problems,pages,corpus,vocabulary,base"]).ok();
    let config = |change: &str| {
        format!(
            "base_model: model://small/small-base@1\ndataset_version: ds://small/corpus@1.0.0\nlearning_rate: 0.001\nepochs: 1\nbatch_size: 4\n{change}"
        )
    };
    let run = |text: &str| {
        place.write("training.yaml", text);
        place.cairn(&["run", "training.yaml", "--artifacts", "artifacts"])
    };
    run(&config("").replace("epochs: 1", "epochs: 0")).refuses(4, &["epochs"]);
    run(&config("").replace("batch_size: 4\n", "")).refuses(4, &["batch_size"]);
    run(&config("").replace("model://small/small-base@1", "mistral-7b")).refuses(4, &["mistral-7b", "scratch:"]);
    run(&config("gradient_magic: true\n")).refuses(4, &["gradient_magic"]);
    run(&config("").replace("corpus@1.0.0", "corpus@9.0.0")).refuses(3, &["ds://small/corpus@9.0.0"]);
    run(&config("")).ok();
    let json = |path: std::path::PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))).unwrap()
    };
    let registry = json(place.path("artifacts/models/registry.json"));
    let model = &registry["models"][0];
    assert_eq!(model["dataset_version"], "corpus@1.0.0");
    assert!(place.path("artifacts/datasets/corpus@1.0.0/data.jsonl").is_file());
    let version = model["model_version"].as_str().unwrap();
    assert_eq!(&json(place.path("artifacts/models").join(version).join("metadata.json")), model);
    let evaluation = json(place.path("artifacts/evaluations").join(version).join("evaluation.json"));
    for metric in ["quality_score", "latency_ms", "cost_per_1k_tokens"] {
        assert!(evaluation["metrics"][metric].is_number(), "{metric}: {evaluation}");
    }
}

/// On a file system that really is full. Needs root to mount one; says so where it cannot.
#[test]
fn a_full_disk_is_named_and_nothing_acknowledged_is_lost() {
    let place = Place::new();
    let small = place.data();
    std::fs::create_dir_all(&small).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not shown here: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(small.clone());
    let event = |id: u32| {
        let note = "n".repeat(20_000);
        format!(
            r#"{{"specversion":"1.0","type":"cairn.dataset.version_withdrawn.v1","source":"s","id":"{id}","data":{{"dataset":"ds://p/n@1.0.0","reason":"{note}"}}}}"#
        )
    };
    let mut acknowledged = 0;
    let full = loop {
        let said = place.append(&event(acknowledged + 1));
        if said.code != 0 {
            break said;
        }
        acknowledged += 1;
        assert!(acknowledged < 200, "2 MiB never filled");
    };
    full.refuses(1, &["full"]);
    assert!(acknowledged > 0);
    let kept = place.cairn(&["log"]).ok().out.lines().count();
    assert!(kept as u32 >= acknowledged, "{kept} of {acknowledged} acknowledged events are left");
    assert_eq!(place.cairn(&["verify"]).code, 0);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let place = Place::new();
    place.append("").ok();
    let mut child = place.start(&["status"]);
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["status"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}
