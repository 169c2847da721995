//! `cairn serve`: one curl to emit, GraphQL to ask, chat with a deployment; others read beside it.

use crate::support::Place;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(place: &Place) -> Self {
        let mut child = place.start(&["serve", "--listen", "127.0.0.1:0"]);
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let url =
            first.split_whitespace().find(|w| w.starts_with("http://")).unwrap_or_else(|| panic!("{first}")).to_owned();
        assert!(first.contains("this machine only"), "{first}");
        Self { child, url }
    }
    fn stop(mut self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
    /// The status and the body, as curl has them.
    fn curl(&self, path: &str, args: &[&str]) -> (u16, String) {
        let url = format!("{}{path}", self.url);
        let output = Command::new("curl").args(["-sS", "-w", "\n%{http_code}"]).args(args).arg(url).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
    fn graphql(&self, query: &str) -> Value {
        let body = json!({ "query": query }).to_string();
        let (status, answer) = self.curl("/graphql", &["-H", "content-type: application/json", "-d", &body]);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"].clone()
    }
}

#[test]
fn a_served_ledger_takes_events_and_answers() {
    let place = Place::with_pipeline(10);
    place.cairn(&["run", "pipeline.yaml"]).ok();
    let served = Served::start(&place);

    let event = r#"{"specversion":"1.0","type":"cairn.training.step_logged.v2","source":"my-loop","id":"run-1/step-1","data":{"run":"018f4e9a-7c3b-7def-8123-456789abcdef","step":1,"tokens":2048,"metrics":[{"name":"loss","value":2.5}]}}"#;
    let media = ["-H", "content-type: application/cloudevents+json", "-d"];
    let (status, answer) = served.curl("/v1/events", &[&media[..], &[event]].concat());
    assert!((200..300).contains(&status), "{status} {answer}");
    let (status, answer) = served.curl("/v1/events", &[&media[..], &[&event.replace("2.5", "9.5")]].concat());
    assert_eq!(status, 409, "{answer}");
    let (status, answer) = served.curl("/v1/events", &[&media[..], &["{}"]].concat());
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("specversion"), "{answer}");

    let data = served.graphql(
        "{ log { size checkpoint } deployments(first: 5) { edges { node { name } } } \
           lineage(of: \"deployment:helper\", direction: UP, depth: 3) { nodes { ref kind } } }",
    );
    assert!(data["log"]["checkpoint"].as_str().unwrap().contains('\u{2014}'), "{data}");
    assert_eq!(data["deployments"]["edges"][0]["node"]["name"], "helper");
    assert!(data["lineage"]["nodes"].as_array().unwrap().len() > 3);

    let chat = json!({ "deployment_id": "helper", "messages": [{ "role": "user", "content": "How many?" }], "generation": { "max_tokens": 4 } });
    let (status, answer) =
        served.curl("/v1/inference/chat", &["-H", "content-type: application/json", "-d", &chat.to_string()]);
    assert_eq!(status, 200, "{answer}");
    assert!(serde_json::from_str::<Value>(&answer).unwrap().to_string().contains("small-tuned"), "{answer}");
    assert_eq!(served.curl("/healthz", &[]).0, 200);
    assert!(served.curl("/metrics", &[]).1.contains("cairn_"));
    assert!(served.curl("/graphql", &["-H", "accept: text/html"]).1.contains("graphiql"));

    as_the_server_has_them(&place, &served);

    place.cairn(&["append"]).refuses(6, &["already open", &served.url]);
    place.cairn(&["lineage", "helper"]).ok();
    assert!(place.cairn(&["log", "--type", "step_logged"]).ok().out.lines().count() > 1);
    served.stop();
    place.cairn(&["verify"]).ok();
}

/// Beside a server the stores are shown, and rebuilt, by the server.
fn as_the_server_has_them(place: &Place, served: &Served) {
    let of_server = served.graphql("{ log { size } projections { name version engine watermark } }");
    let status = place.json(&["status"]);
    assert_eq!((&status["held_by_another"], &status["head"]), (&json!(true), &of_server["log"]["size"]), "{status}");
    let rows = status["projections"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for (row, wanted) in rows.iter().zip(of_server["projections"].as_array().unwrap()) {
        // In memory it would be a replay of its own.
        assert!(row["engine"] == "sled" && row["state"] == "following" && row["answers"] == true, "{status}");
        assert_eq!((&row["name"], &row["version"]), (&wanted["name"], &wanted["version"]));
    }
    assert!(status["entities"]["deployment"]["newest"][0]["ref"] == "deployment:helper", "{status}");
    let shown = place.cairn(&["status"]).ok().out;
    assert!(shown.contains(&served.url) && shown.contains("following  (sled, version "), "{shown}");

    let rebuilt = place.json(&["rebuild", "curves", "--engine", "fjall"]);
    assert_eq!((&rebuilt[0]["name"], &rebuilt[0]["engine"]), (&json!("curves"), &json!("fjall")), "{rebuilt}");
    assert!(place.cairn(&["rebuild", "curves"]).ok().out.contains("rebuilt by the server at http://"));
    place.cairn(&["rebuild", "curve"]).refuses(4, &["there is no projection `curve`", "curves, evals"]);
}
