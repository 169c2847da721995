//! A tiny model, trained by a pipeline that was sent to the server, answers over HTTP: whole, as lines, as server-sent
//! events; and after a roll-back the earlier weights answer. Needs ONNX Runtime, which `make setup` fetches.

mod common;

use common::{TestServer, eventually};
use serde_json::{Value, json};

const YAML: &str = r#"
project: tiny
jobs:
  - name: problems
    ingest: { paths: [problems.jsonl], author: A, access_policy: public, language: en, text: "{{ question }} {{ answer }}", quality: { min_chars: 1 } }
  - name: corpus
    dataset:
      version: 1.0.0
      rows:
        - { from: problems, instruction: "{{ question }}", output: "{{ answer }}", text: "{{ question }}", split: { train: 0.8, test: 0.2 } }
  - name: vocabulary
    tokenizer: { dataset: corpus, vocabulary: 300 }
  - name: base
    train:
      method: pretrain
      base_model: "scratch:layers=1,width=16,heads=2,feed_forward=32,vocabulary=300,context=128"
      dataset: corpus
      tokenizer: vocabulary
      steps: 2
      batch_size: 2
      sequence_length: 32
      learning_rate: 1.0e-3
      register: base
  - name: tuned
    train: { method: sft, base_model: base, dataset: corpus, steps: 2, batch_size: 2, sequence_length: 64, learning_rate: 1.0e-3, register: tuned }
  - name: base-exam
    evaluate: { subject: base, suite: s, dataset: corpus, split: test, tasks: [{ name: language, kind: perplexity }] }
  - name: tuned-exam
    evaluate: { subject: tuned, suite: s, dataset: corpus, split: test, tasks: [{ name: language, kind: perplexity }] }
  - name: base-gate
    gate: { subject: base, evaluations: [base-exam], require: ["language.perplexity <= 100000"] }
  - name: tuned-gate
    gate: { subject: tuned, evaluations: [tuned-exam], require: ["language.perplexity <= 100000"] }
  - name: first
    deploy: { model: base, gate: base-gate, deployment: helper }
  - name: second
    deploy: { model: tuned, gate: tuned-gate, deployment: helper }
"#;

fn deployed() -> TestServer {
    let server = TestServer::start();
    let line = |n: u64| {
        let question = format!("Ann has {n} stones and finds {} more near cairn {}. How many?", n * 3, n * 7919);
        format!("{}\n", json!({ "question": question, "answer": format!("{} stones", n * 4) }))
    };
    std::fs::write(server.folder().join("problems.jsonl"), (1..60).map(line).collect::<String>()).unwrap();
    let sent = server.graphql("mutation($y: String!) { runPipeline(yaml: $y) { id } }", json!({ "y": YAML }));
    let id = sent["data"]["runPipeline"]["id"].as_str().unwrap_or_else(|| panic!("{sent}")).to_owned();
    eventually(|| {
        let query = format!(r#"{{ pipelineRun(id: "{id}") {{ state error }} }}"#);
        let run = server.query(&query)["pipelineRun"].clone();
        assert!(run["state"] != "FAILED" && run["state"] != "CANCELLED", "{run}");
        (run["state"] == "COMPLETED").then_some(())
    });
    server
}

fn active(server: &TestServer) -> Value {
    let head = server.query("{ log { head } }")["log"]["head"].clone();
    let query = format!(
        r#"{{ deployment(name: "helper", atLeast: {head}) {{ weightsDigest previous responses model {{ ref weightsDigest }} }} }}"#
    );
    server.query(&query)["deployment"].clone()
}

#[test]
fn a_deployment_answers_whole_and_in_pieces_with_the_weights_that_it_names() {
    let server = deployed();
    let chat = |stream: bool, accept: &str| {
        let messages = json!([{ "role": "user", "content": "How many stones?" }]);
        let generation =
            json!({ "temperature": 0.8, "top_k": 50, "top_p": 0.95, "max_tokens": 12, "seed": 5, "stream": stream });
        let body = json!({ "deployment_id": "helper", "messages": messages, "generation": generation });
        let answer = server.post(
            "/v1/inference/chat",
            &[("content-type", "application/json"), ("accept", accept)],
            body.to_string(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    let tuned = active(&server);
    assert_eq!(tuned["model"]["ref"], "model://tiny/tuned@1");
    let whole = chat(false, "application/json").json();
    let text = whole["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!((&whole["weights_digest"], &whole["model"]), (&tuned["model"]["weightsDigest"], &tuned["model"]["ref"]));
    assert!(
        whole["usage"]["answer_tokens"].as_u64() <= Some(12) && whole["latency_ms"].as_f64() > Some(0.0),
        "{whole}"
    );

    let lines = chat(true, "application/json");
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    check_pieces(lines.text.lines(), &text, &tuned);
    let events = chat(true, "text/event-stream");
    assert_eq!(events.header("content-type"), "text/event-stream");
    check_pieces(events.text.lines().filter_map(|line| line.strip_prefix("data: ")), &text, &tuned);

    let back =
        server.query(r#"mutation { rollBack(deployment: "helper", reason: "a test") { model previous position } }"#);
    assert_eq!(back["rollBack"]["model"], "model://tiny/base@1");
    let base = active(&server);
    assert_eq!((&base["responses"], &base["previous"]), (&json!(3), &Value::Null));
    assert_eq!(chat(false, "*/*").json()["weights_digest"], base["weightsDigest"]);
    assert_ne!(base["weightsDigest"], tuned["weightsDigest"]);
    let again =
        server.query(r#"mutation { promote(deployment: "helper", model: "model://tiny/tuned@1") { model previous } }"#);
    assert_eq!(again["promote"], json!({ "model": "model://tiny/tuned@1", "previous": "model://tiny/base@1" }));

    let page = server.get("/metrics").text;
    for line in ["cairn_inference_requests_total{outcome=\"answered\"} 4", "cairn_inference_duration_seconds_count 4"] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

/// The pieces of one answer add up to its text, and the last one names the weights.
fn check_pieces<'a>(pieces: impl Iterator<Item = &'a str>, text: &str, active: &Value) {
    let pieces: Vec<Value> = pieces.map(|piece| serde_json::from_str(piece).unwrap()).collect();
    let joined: String = pieces.iter().map(|piece| piece["delta"].as_str().unwrap()).collect();
    let last = pieces.last().unwrap();
    assert_eq!((joined.as_str(), last["message"]["content"].as_str()), (text, Some(text)));
    assert_eq!((&last["done"], &last["weights_digest"]), (&json!(true), &active["weightsDigest"]));
    assert!(pieces[..pieces.len() - 1].iter().all(|piece| piece.get("done").is_none()), "{pieces:?}");
}
