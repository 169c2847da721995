//! Pipelines sent to the server: checked at once, run in the background, followed by query and in the ledger.

mod common;

use common::{TestServer, eventually};
use serde_json::{Value, json};

const YAML: &str = r#"
project: math
jobs:
  - name: problems
    ingest:
      paths: [problems.jsonl]
      author: somebody
      access_policy: public
      text: "{{ question }}"
      quality: { min_chars: 1 }
  - name: corpus
    dataset:
      version: 1.0.0
      description: a few problems
      rows:
        - from: problems
          text: "{{ question }}"
          split: train
"#;

fn run_pipeline(server: &TestServer, yaml: &str) -> Value {
    server.graphql("mutation($y: String!) { runPipeline(yaml: $y) { id state } }", json!({ "y": yaml }))
}

#[test]
fn a_pipeline_runs_in_the_background_and_its_runs_are_found() {
    let server = TestServer::start();
    let lines: String = (0..12)
        .map(|n| format!("{}\n", json!({ "question": format!("There are {n} stones of number {} in a cairn; how many are left?", n * 7919) })))
        .collect();
    std::fs::write(server.folder().join("problems.jsonl"), lines).unwrap();
    let sent = run_pipeline(&server, YAML);
    let id = sent["data"]["runPipeline"]["id"].as_str().unwrap_or_else(|| panic!("{sent}")).to_owned();
    let done = eventually(|| {
        let query = format!(
            r#"{{ pipelineRun(id: "{id}") {{ state error submittedAt endedAt jobs {{ name kind state runId attempt done message summary }} }} }}"#
        );
        let run = server.query(&query)["pipelineRun"].clone();
        assert_ne!(run["state"], "FAILED", "{run}");
        (run["state"] == "COMPLETED").then_some(run)
    });
    let jobs = done["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{done}");
    assert!(jobs.iter().all(|job| job["state"] == "DONE"), "{done}");
    let data = server.query(
        r#"{ coverage { position head } pipelineRuns { id } dataset(ref: "ds://math/corpus") { ref rows documentCount run { kind state } lineage { nodes { kind } } } }"#,
    );
    assert_eq!(data["pipelineRuns"], json!([{ "id": id }]));
    let head = data["coverage"]["head"].as_u64().unwrap();
    let data = server.query(&format!(
        r#"{{ dataset(ref: "ds://math/corpus", atLeast: {head}) {{ ref rows run {{ kind state summary }} }} }}"#
    ));
    assert_eq!(
        (&data["dataset"]["ref"], &data["dataset"]["run"]["kind"]),
        (&json!("ds://math/corpus@1.0.0"), &json!("dataset"))
    );
    assert!(data["dataset"]["rows"].as_u64() > Some(0), "{data}");

    // The same work again is found recorded, and an ended pipeline cannot be cancelled.
    let again = run_pipeline(&server, YAML)["data"]["runPipeline"]["id"].as_str().unwrap().to_owned();
    let again = eventually(|| {
        let run =
            server.query(&format!(r#"{{ pipelineRun(id: "{again}") {{ state jobs {{ state }} }} }}"#))["pipelineRun"]
                .clone();
        (run["state"] == "COMPLETED").then_some(run)
    });
    assert_eq!(again["jobs"], json!([{ "state": "SKIPPED" }, { "state": "SKIPPED" }]));
    let (code, message) = server.refusal(&format!(r#"mutation {{ cancelPipeline(id: "{id}") {{ state }} }}"#));
    assert!(code == "not-ready" && message.contains("has ended"), "{code}: {message}");
}

#[test]
fn a_malformed_pipeline_is_refused_with_line_and_column_and_a_failing_one_says_why() {
    let server = TestServer::start();
    let wrong = run_pipeline(&server, &YAML.replace("author:", "autor:"));
    let error = &wrong["errors"][0];
    assert_eq!(error["extensions"]["code"], "malformed-pipeline", "{wrong}");
    assert_eq!(error["extensions"]["line"], 7, "{wrong}");
    assert!(error["message"].as_str().unwrap().contains("autor"), "{wrong}");

    let id = run_pipeline(&server, YAML)["data"]["runPipeline"]["id"].as_str().unwrap().to_owned();
    let failed = eventually(|| {
        let run = server.query(&format!(r#"{{ pipelineRun(id: "{id}") {{ state error }} }}"#))["pipelineRun"].clone();
        (run["state"] == "FAILED").then_some(run)
    });
    assert!(failed["error"].as_str().unwrap().contains("problems.jsonl"), "{failed}");
    assert_eq!(server.query(r#"{ pipelineRun(id: "x") { id } }"#)["pipelineRun"], Value::Null);
}
