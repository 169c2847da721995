//! What was asked as of a past position is answered as of it in every field, however much is recorded later.

mod common;

use common::{CHILD, DATASET, MODEL, RUN, TestServer, digest, event, history};
use serde_json::{Value, json};

const LATER_MODEL: &str = "model://team/chat@2";

/// A document of the dataset that was not ingested so far.
fn late_document() -> String {
    format!("doc:{}", digest("dd"))
}

fn artifact(byte: &str) -> String {
    format!("artifact:{}", digest(byte))
}

fn checkpoint(id: &str, run: &str, attempt: u64, step: u64) -> Value {
    event(
        id,
        "cairn.training.checkpoint_saved.v1",
        json!({
            "run": run, "attempt": attempt, "step": step, "tokens": step * 2048, "checkpoint": artifact("c4"),
            "state_digest": digest("c5"), "weights_digest": digest("c6"),
        }),
    )
}

fn evaluated(id: &str, subject: &str, value: f64) -> Value {
    let metric = json!({ "name": "f1", "value": value, "n": 10, "higher_is_better": true });
    event(
        id,
        "cairn.evaluation.completed.v1",
        json!({
            "evaluation": format!("eval:{id}"), "subject": subject, "suite": "gsm8k", "task": "answers", "slice": "all",
            "metrics": [metric], "protocol_digest": digest("f0"),
        }),
    )
}

fn gated(id: &str, subject: &str) -> Value {
    event(
        id,
        "cairn.judgment.gate_evaluated.v1",
        json!({
            "judgment": format!("judgment:{id}"), "gate": "later", "subject": subject, "evaluations": [], "outcome": "block",
            "checks": [],
        }),
    )
}

fn judged(id: &str, verdict: &str) -> Value {
    let judge = json!({ "kind": "rule", "name": "format", "version": "1" });
    event(
        id,
        "cairn.judgment.recorded.v1",
        json!({ "judgment": format!("judgment:{id}"), "subject": MODEL, "criterion": "format", "judge": judge, "verdict": verdict }),
    )
}

fn listed(id: &str, step: u64, more: Value) -> Value {
    let mut data = json!({ "run": CHILD, "step": step, "location": format!("https://models.example/{id}") });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event(id, "cairn.training.checkpoint_listed.v1", data)
}

/// What is there before: something of everything that is asked for.
fn before() -> Vec<Value> {
    let mut events = history();
    events.extend([
        evaluated("on-run", &format!("run:{RUN}"), 0.5),
        gated("on-run-gate", &format!("run:{RUN}")),
        judged("first", "pass"),
        listed("list/1", 10, json!({})),
    ]);
    events
}

/// Later events about all of it.
fn later() -> Vec<Value> {
    let metrics = json!([{ "name": "loss", "value": 0.01 }, { "name": "late", "value": 1.0 }]);
    vec![
        event(
            "resumed",
            "cairn.training.run_resumed.v1",
            json!({ "run": RUN, "attempt": 2, "from_step": 20, "checkpoint": artifact("c9") }),
        ),
        event(
            "late-step",
            "cairn.training.step_logged.v2",
            json!({ "run": RUN, "attempt": 2, "step": 61, "tokens": 1, "metrics": metrics }),
        ),
        event(
            "late-child-step",
            "cairn.training.step_logged.v2",
            json!({ "run": CHILD, "step": 1, "tokens": 1, "metrics": metrics }),
        ),
        checkpoint("late-checkpoint", RUN, 2, 61),
        listed("list/2", 10, json!({ "tokens": 77 })),
        evaluated("late-on-run", &format!("run:{RUN}"), 0.7),
        evaluated("late-on-model", MODEL, 0.7),
        event(
            "wrong",
            "cairn.evaluation.superseded.v1",
            json!({ "evaluation": "eval:exam/1", "reason": "the answers leaked" }),
        ),
        gated("late-gate-run", &format!("run:{RUN}")),
        gated("late-gate-model", MODEL),
        judged("second", "fail"),
        event(
            "late-model",
            "cairn.model.version_registered.v1",
            json!({ "model": LATER_MODEL, "run": RUN, "weights": artifact("e5"), "weights_digest": digest("e6") }),
        ),
        event("alias", "cairn.model.alias_assigned.v1", json!({ "alias": "production", "model": MODEL })),
        event(
            "late-page",
            "cairn.dataset.documents_added.v1",
            json!({ "dataset": DATASET, "page": 2, "documents": [late_document()] }),
        ),
        event(
            "late-promotion",
            "cairn.deployment.promoted.v1",
            json!({ "deployment": "deployment:math", "model": LATER_MODEL, "weights_digest": digest("e6"), "reason": "later" }),
        ),
        event(
            "note",
            "cairn.annotation.recorded.v1",
            json!({ "subject": format!("run:{RUN}"), "tags": { "late": "yes" }, "note": "late" }),
        ),
    ]
}

const LINEAGE: &str =
    "lineage(direction: BOTH) { nodes { ref kind depth } edges { from to eventType position } truncated }";

/// Everything that hangs from a thing, by a name for each.
fn asked(as_of: &str) -> Vec<(&'static str, String)> {
    let run = format!(
        "state tags notes {{ note }} progress attributes updatedPosition models {{ ref aliases }}
         checkpoints {{ step attempt tokens position }} metrics metricSummaries {{ name points last {{ step value }} }}
         curves(metrics: [\"lo*\"], points: 50) {{ metric totalPoints points {{ step value attempt position }} }}
         results {{ metric value position superseded {{ reason }} }} gates {{ gate outcome position }}
         reproducible {{ complete recorded {{ what value }} missing {{ what why }} }} {LINEAGE}"
    );
    let child = "checkpoints { step tokens location position } metrics metricSummaries { name points }";
    let model = format!(
        "aliases results {{ metric value position superseded {{ reason }} }} gates {{ gate outcome }}
         judgments {{ criterion passed failed }} {LINEAGE} run {{ state checkpoints {{ step attempt }} metrics }}"
    );
    let dataset = format!(
        "documentCount documents(first: 10) {{ nodes {{ ref state author createdPosition }} pageInfo {{ hasNextPage }} }} {LINEAGE}"
    );
    let deployment = format!(
        "state history {{ type position model }} weightsDigest previous {LINEAGE} model {{ ref aliases judgments {{ passed failed }} run {{ metrics }} }}"
    );
    vec![
        ("run", format!(r#"run(id: "{RUN}"{as_of}) {{ {run} }}"#)),
        ("runs", format!(r#"runs(filter: "name = 'base'"{as_of}) {{ totalCount nodes {{ {run} }} }}"#)),
        ("child", format!(r#"run(id: "{CHILD}"{as_of}) {{ {child} parent {{ {run} }} }}"#)),
        ("model", format!(r#"model(ref: "{MODEL}"{as_of}) {{ {model} }}"#)),
        ("models", format!(r#"models(newestFirst: false{as_of}) {{ nodes {{ ref {model} }} }}"#)),
        ("dataset", format!(r#"dataset(ref: "{DATASET}"{as_of}) {{ {dataset} }}"#)),
        ("deployment", format!(r#"deployment(name: "math"{as_of}) {{ {deployment} }}"#)),
        (
            "evaluation",
            format!(
                r#"evaluation(ref: "eval:exam/1"{as_of}) {{ state metrics {{ name value }} dataset {{ {dataset} }} }}"#
            ),
        ),
    ]
}

fn covered(server: &TestServer, last: u64) {
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
}

/// Places in which two answers differ, by the names on the way; of lists only that they do.
fn differing(a: &Value, b: &Value, path: &str, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().for_each(|(name, a)| differing(a, &b[name], &format!("{path}.{name}"), found));
        }
        _ if a != b => found.push(path.to_owned()),
        _ => {}
    }
}

#[test]
fn every_field_is_as_of_what_it_hangs_from() {
    let server = TestServer::start();
    let last = server.record(&before());
    covered(&server, last);
    let then = format!(", asOf: {last}");
    let answers = |as_of: &str| -> Vec<(&'static str, Value)> {
        asked(as_of).into_iter().map(|(name, question)| (name, server.query(&format!("{{ {question} }}")))).collect()
    };
    let (first, now_then) = (answers(&then), answers(""));
    assert_eq!(first, now_then, "the past at the head is the present");
    let end = server.record(&later());
    covered(&server, end);
    let again = answers(&then);
    for ((name, was), (_, is)) in first.iter().zip(&again) {
        let mut found = Vec::new();
        differing(was, is, name, &mut found);
        assert_eq!(was, is, "changed: {found:?}");
    }
    // The test can fail: each of these is another now.
    let mut found = Vec::new();
    for ((name, was), (_, is)) in first.iter().zip(&answers("")) {
        differing(was, is, name, &mut found);
    }
    for expected in [
        "run.run.checkpoints",
        "run.run.metrics",
        "run.run.metricSummaries",
        "run.run.curves",
        "run.run.results",
        "run.run.gates",
        "run.run.reproducible.missing",
        "run.run.lineage.nodes",
        "run.run.models",
        "run.run.notes",
        "child.run.checkpoints",
        "child.run.metrics",
        "child.run.parent.checkpoints",
        "model.model.results",
        "model.model.gates",
        "model.model.judgments",
        "model.model.run.metrics",
        "dataset.dataset.documentCount",
        "dataset.dataset.documents.nodes",
        "dataset.dataset.lineage.nodes",
        "deployment.deployment.history",
        "deployment.deployment.lineage.nodes",
        "deployment.deployment.model.ref",
        "runs.runs.nodes",
        "models.models.nodes",
        "evaluation.evaluation.state",
    ] {
        assert!(found.iter().any(|path| path == expected), "{expected} is not in {found:?}");
    }
}

#[test]
fn a_field_may_be_asked_as_of_an_earlier_state_and_of_no_later_one() {
    let server = TestServer::start();
    let last = server.record(&before());
    let end = server.record(&later());
    covered(&server, end);
    let steps = |as_of: &str, own: &str| {
        let found =
            server.query(&format!(r#"{{ run(id: "{RUN}"{as_of}) {{ metrics{own} checkpoints{own} {{ step }} }} }}"#));
        found["run"].clone()
    };
    let then = json!({ "metrics": ["loss"], "checkpoints": [{ "step": 60 }] });
    assert_eq!(steps("", &format!("(asOf: {last})")), then);
    assert_eq!(steps(&format!(", asOf: {end}"), &format!("(asOf: {last})")), then);
    assert_eq!(steps(&format!(", asOf: {last}"), "(asOf: 4)"), json!({ "metrics": [], "checkpoints": [] }));
    let (code, message) =
        server.refusal(&format!(r#"{{ run(id: "{RUN}", asOf: {last}) {{ metrics(asOf: {end}) }} }}"#));
    assert_eq!(code, "malformed-request");
    assert!(message.contains(&format!("position {end} is later than {last}")), "{message}");
    // A metric that was not logged by then is refused then and later alike.
    let late = format!(r#"{{ curves(runs: ["{RUN}"], metrics: ["late"], asOf: {last}) {{ metric }} }}"#);
    assert!(server.refusal(&late).1.contains("none of these runs has a metric `late`; they have `loss`"));
}

#[test]
fn an_answer_about_the_past_covers_no_more_than_that() {
    let server = TestServer::start();
    let last = server.record(&before());
    covered(&server, last);
    let position = |query: &str| {
        let answer = server.graphql(query, json!({}));
        assert!(answer.get("errors").is_none(), "{answer}");
        let coverage = answer["extensions"]["coverage"].clone();
        assert!(coverage["checkpoint"]["size"].as_u64() >= coverage["position"].as_u64(), "{coverage}");
        coverage["position"].as_u64().unwrap()
    };
    let run = |more: &str| format!(r#"run(id: "{RUN}"{more}) {{ state }}"#);
    assert_eq!(position(&format!("{{ {} }}", run(""))), last);
    assert_eq!(position(&format!("{{ {} }}", run(", asOf: 9"))), 9);
    assert_eq!(position(&format!("{{ {} then: {} first: {} }}", run(""), run(", asOf: 9"), run(", asOf: 5"))), 5);
    assert_eq!(position("{ runs(asOf: 7) { totalCount } }"), 7);
    // Each request is for itself.
    assert_eq!(position(&format!("{{ {} }}", run(""))), last);
}

#[test]
fn documents_of_a_dataset_come_page_by_page_whether_or_not_they_were_ingested() {
    let server = TestServer::start();
    let mut events = history();
    let named: Vec<String> = (0..7).map(|n| format!("doc:{}", digest(&format!("a{n}")))).collect();
    events.push(event(
        "more",
        "cairn.dataset.documents_added.v1",
        json!({ "dataset": DATASET, "page": 2, "documents": named }),
    ));
    let last = server.record(&events);
    covered(&server, last);
    let (mut after, mut found, mut pages) = (Value::Null, Vec::new(), 0);
    loop {
        let query = format!(
            "query($after: String) {{ dataset(ref: \"{DATASET}\") {{ documentCount documents(first: 3, after: $after) {{
                nodes {{ ref state createdPosition }} pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }} }}"
        );
        let answer = server.graphql(&query, json!({ "after": after }));
        assert!(answer.get("errors").is_none(), "{answer}");
        let dataset = &answer["data"]["dataset"];
        assert_eq!(dataset["documentCount"], 8);
        let page = &dataset["documents"];
        assert_eq!(page["pageInfo"]["hasPreviousPage"], pages > 0);
        found.extend(page["nodes"].as_array().unwrap().clone());
        pages += 1;
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!((pages, found.len()), (3, 8));
    assert_eq!((&found[0]["ref"], &found[0]["state"]), (&json!(format!("doc:{}", digest("d0"))), &json!("ingested")));
    for (document, reference) in found[1..].iter().zip(named) {
        assert_eq!(*document, json!({ "ref": reference, "state": "named", "createdPosition": last }));
    }
    let cursor = after.as_str().unwrap();
    let (_, message) = server.refusal(&format!(r#"{{ runs(after: "{cursor}") {{ totalCount }} }}"#));
    assert!(message.contains(&format!("belongs to `documents of {DATASET}`")), "{message}");
}
