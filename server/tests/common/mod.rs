//! A real server on a free port over a real ledger in a temporary folder, and a client without any of our own code.
#![allow(dead_code, reason = "each test file uses its part")]

use cairn_processors::Context;
use cairn_server::{ServerOptions, bind};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) ctx: Context,
    folder: TempDir,
    agent: ureq::Agent,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), cairn_server::Error>>>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers)).to_str().unwrap()
    }
    /// Asserts that this is a problem of a kind whose detail says something, and gives its body.
    pub(crate) fn problem(&self, status: u16, kind: &str, said: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["type"], format!("urn:cairn:problem:{kind}"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(said), "`{said}` is not in {body}");
        body
    }
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    /// With options that `change` chose, which is given the context too.
    pub(crate) fn start_with(change: impl FnOnce(&Context, &mut ServerOptions)) -> Self {
        let folder = TempDir::new().unwrap();
        let ctx = Context::open(&folder.path().join("data")).unwrap();
        let mut options = ServerOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            pipeline_dir: folder.path().to_owned(),
            ..ServerOptions::default()
        };
        change(&ctx, &mut options);
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let serving = ctx.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = bind(serving, options).await?;
                tell.send(server.local_addr()).unwrap();
                server.run(async { stopped.await.unwrap_or(()) }).await
            })
        });
        let address = told.recv_timeout(PATIENCE).unwrap();
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).max_redirects(0);
        let agent = config.build().into();
        Self { address, ctx, folder, agent, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }
    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call().unwrap())
    }
    pub(crate) fn head(&self, path: &str) -> Answer {
        answer(self.agent.head(self.url(path)).call().unwrap())
    }
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body.as_ref()).unwrap())
    }

    /// One event in structured mode.
    pub(crate) fn send(&self, event: &Value) -> Answer {
        self.post("/v1/events", &[("content-type", "application/cloudevents+json")], event.to_string())
    }
    /// A batch that must be taken; gives the position of its last event.
    pub(crate) fn record(&self, events: &[Value]) -> u64 {
        let answer = self.post(
            "/v1/events",
            &[("content-type", "application/cloudevents-batch+json")],
            json!(events).to_string(),
        );
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["events"].as_array().unwrap().last().unwrap()["position"].as_u64().unwrap()
    }

    /// The whole response of a GraphQL request.
    pub(crate) fn graphql(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let answer = self.post("/graphql", &[("content-type", "application/json")], body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
    /// The data of a query that must succeed.
    pub(crate) fn query(&self, query: &str) -> Value {
        let response = self.graphql(query, json!({}));
        assert!(response.get("errors").is_none(), "{response}");
        response["data"].clone()
    }
    /// The code and message of the first error of a query that must fail.
    pub(crate) fn refusal(&self, query: &str) -> (String, String) {
        let response = self.graphql(query, json!({}));
        let error = &response["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{response}")).to_owned();
        (text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(mut self) -> Result<(), cairn_server::Error> {
        self.end()
    }
    fn end(&mut self) -> Result<(), cairn_server::Error> {
        let _ = self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.body_mut().read_to_vec().unwrap();
    Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes }
}

/// Looks until `look` gives something.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A CloudEvent.
pub(crate) fn event(id: &str, event_type: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "type": event_type, "source": "urn:test", "id": id, "project": "team", "data": data })
}

/// An event of a producer's own kind.
pub(crate) fn custom(id: &str, text: &str) -> Value {
    event(id, "cairn.custom.recorded.v1", json!({ "kind": "acme.noted", "data": { "text": text } }))
}

pub(crate) const RUN: &str = "018f4e9a-7c3b-7def-8123-456789abcdef";
pub(crate) const CHILD: &str = "018f4e9a-7c3b-7def-8123-456789abcdf0";
pub(crate) const DATASET: &str = "ds://team/web@1.0.0";
pub(crate) const MODEL: &str = "model://team/chat@1";

pub(crate) fn digest(byte: &str) -> String {
    byte.repeat(32)
}

/// The short history of a model: documents, a dataset, a run with its child, a model, its evaluation, a deployment.
pub(crate) fn history() -> Vec<Value> {
    let run = json!({ "run": RUN });
    let with = |more: Value| {
        let mut data = run.clone();
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let doc = format!("doc:{}", digest("d0"));
    let split = json!({ "name": "train", "rows": 40, "shards": [format!("artifact:{}", digest("a1"))], "digest": digest("d2") });
    let measure = |name: &str, value: f64| json!({ "name": name, "value": value, "n": 200, "standard_error": 0.02, "higher_is_better": true });
    let mut events = vec![
        event(
            "doc",
            "cairn.data.document_ingested.v1",
            json!({
                "run": "018f4e9a-7c3b-7def-8123-000000000001", "source": "files", "document": doc, "sha256": digest("d1"),
                "source_uri": "file.jsonl#1", "timestamp": "2026-01-01T00:00:00Z", "author": "A", "access_policy": "public",
                "content_type": "text/plain", "language": "en", "bytes": 10, "fingerprint": digest("d3"),
            }),
        ),
        event("page", "cairn.dataset.documents_added.v1", json!({ "dataset": DATASET, "page": 1, "documents": [doc] })),
        event(
            "version",
            "cairn.dataset.version_committed.v1",
            json!({
                "dataset": DATASET, "manifest": format!("artifact:{}", digest("a0")), "splits": [split], "rows": 40, "pages": 1,
            }),
        ),
        event(
            "run",
            "cairn.training.run_started.v1",
            with(json!({
                "method": "pretrain", "name": "base", "dataset": DATASET, "config": { "learning_rate": 0.004 }, "seed": 17,
            })),
        ),
    ];
    for step in 1..=60u64 {
        let loss = if step == 33 { json!("NaN") } else { json!(8.0 / step as f64) };
        events.push(event(
            &format!("step/{step}"),
            "cairn.training.step_logged.v2",
            with(json!({
                "step": step, "tokens": step * 2048, "metrics": [{ "name": "loss", "value": loss }],
            })),
        ));
    }
    events.extend([
        event("checkpoint", "cairn.training.checkpoint_saved.v1", with(json!({
            "step": 60, "tokens": 122880, "checkpoint": format!("artifact:{}", digest("c0")), "state_digest": digest("c1"),
            "weights_digest": digest("e0"),
        }))),
        event("completed", "cairn.training.run_completed.v1", with(json!({
            "steps": 60, "tokens": 122880, "duration_ms": 5000, "weights": format!("artifact:{}", digest("e1")), "weights_digest": digest("e0"),
        }))),
        event("child", "cairn.training.run_started.v1", json!({ "run": CHILD, "method": "sft", "name": "tuned", "parent": RUN, "dataset": DATASET })),
        event("model", "cairn.model.version_registered.v1", json!({
            "model": MODEL, "run": RUN, "weights": format!("artifact:{}", digest("e1")), "weights_digest": digest("e0"),
            "dataset": DATASET, "parameters": 1070000,
        })),
        event("evaluation", "cairn.evaluation.completed.v1", json!({
            "evaluation": "eval:exam/1", "subject": MODEL, "suite": "gsm8k", "task": "answers", "dataset": DATASET, "slice": "all",
            "metrics": [measure("format_validity", 0.95), measure("f1", 0.2)], "protocol_digest": digest("f0"),
        })),
        event("gate", "cairn.judgment.gate_evaluated.v1", json!({
            "judgment": "judgment:gate/1", "gate": "form", "subject": MODEL, "evaluations": ["eval:exam/1"], "outcome": "pass",
            "checks": [{ "condition": "answers.format_validity >= 0.8", "outcome": "pass", "observed": 0.95, "threshold": 0.8, "detail": "0.95 of 200" }],
        })),
        event("created", "cairn.deployment.created.v1", json!({ "deployment": "deployment:math", "target": "local" })),
        event("promoted", "cairn.deployment.promoted.v1", json!({
            "deployment": "deployment:math", "model": MODEL, "weights_digest": digest("e0"), "gate": "judgment:gate/1", "reason": "first",
        })),
    ]);
    events
}
