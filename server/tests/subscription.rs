//! Events over a real WebSocket, by the graphql-transport-ws protocol.

mod common;

use common::{CHILD, RUN, TestServer, custom, event};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(server: &TestServer) -> Self {
        let mut request = format!("ws://{}/graphql/ws", server.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let (socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "graphql-transport-ws");
        let mut socket = Self(socket);
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
    }
    async fn subscribe(&mut self, query: &str) {
        self.send(json!({ "type": "subscribe", "id": "s", "payload": { "query": query } })).await;
    }
    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }
    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(30), self.0.next())
                .await
                .expect("a message in time")
                .unwrap()
                .unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
    async fn event(&mut self) -> Value {
        self.data("events").await
    }
    async fn data(&mut self, field: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"][field].clone()
    }
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_subscriber_gets_what_is_there_then_what_comes_and_misses_nothing_on_return() {
    let server = TestServer::start();
    server.record(&[custom("1", "one"), custom("2", "two")]);
    block_on(async {
        let mut socket = Socket::open(&server).await;
        socket.subscribe("subscription { events(fromStart: true) { id position cursor } }").await;
        assert_eq!(socket.event().await["id"], "1");
        let second = socket.event().await;
        assert_eq!(second["position"], 2);
        server.record(&[custom("3", "three")]);
        assert_eq!(socket.event().await["id"], "3");
        drop(socket);

        server.record(&[custom("4", "four")]);
        let mut socket = Socket::open(&server).await;
        let query = format!("subscription {{ events(from: {}) {{ id }} }}", second["cursor"]);
        socket.subscribe(&query).await;
        assert_eq!(socket.event().await["id"], "3");
        assert_eq!(socket.event().await["id"], "4");
    });
}

#[test]
fn filters_choose_and_without_a_cursor_only_new_events_come() {
    let server = TestServer::start();
    server.record(&[custom("old", "one")]);
    block_on(async {
        let mut socket = Socket::open(&server).await;
        socket.subscribe(r#"subscription { events(types: ["cairn.cost.*"]) { id type } }"#).await;
        let cost = json!({ "subject": "deployment:math", "category": "inference", "quantity": 1, "unit": "token" });
        let record = |id: &str| {
            server.record(&[custom(&format!("{id}-other"), "x"), event(id, "cairn.cost.recorded.v1", cost.clone())])
        };
        // Nothing says when the subscription has begun, so events are recorded until one comes.
        let mut n = 0;
        let first = loop {
            n += 1;
            record(&format!("c{n}"));
            if let Ok(first) = tokio::time::timeout(Duration::from_millis(100), socket.event()).await {
                break first;
            }
        };
        assert_eq!(first["type"], "cairn.cost.recorded.v1");
        for known in first["id"].as_str().unwrap()[1..].parse::<u32>().unwrap() + 1..=n {
            assert_eq!(socket.event().await["id"], format!("c{known}"));
        }
        record("last");
        assert_eq!(socket.event().await["id"], "last");
    });
}

/// A step of a run, with a loss and, at even steps, an accuracy.
fn step(run: &str, step: u64) -> Value {
    let mut metrics =
        vec![json!({ "name": "loss", "value": if step == 3 { json!("NaN") } else { json!(1.0 / step as f64) } })];
    if step.is_multiple_of(2) {
        metrics.push(json!({ "name": "accuracy", "value": 0.5 }));
    }
    let data = json!({ "run": run, "step": step, "tokens": step * 10, "metrics": metrics });
    event(&format!("{run}/{step}"), "cairn.training.step_logged.v2", data)
}

#[test]
fn the_steps_behind_a_curve_come_without_a_gap_or_a_repeat() {
    let server = TestServer::start();
    let last = server.record(&(1..=4).map(|n| step(RUN, n)).collect::<Vec<_>>());
    // What is drawn, and what it covers: at least those four.
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    let drawn = server
        .graphql(&format!(r#"{{ curves(runs: ["{RUN}"], metrics: ["loss"]) {{ points {{ step }} }} }}"#), json!({}));
    let covered = drawn["extensions"]["coverage"]["position"].as_u64().unwrap();
    assert!(drawn["data"]["curves"][0]["points"].as_array().unwrap().len() == 4 && covered == last, "{drawn}");
    server.record(&[step(RUN, 5), step(CHILD, 1), custom("x", "x"), step(RUN, 6)]);
    block_on(async {
        let mut socket = Socket::open(&server).await;
        let of = |more: &str| {
            format!(
                r#"subscription {{ steps(runs: ["run:{RUN}"]{more}) {{ run attempt step tokens cursor position metrics {{ name value }} }} }}"#
            )
        };
        socket.subscribe(&of(&format!(", after: {covered}"))).await;
        let five = socket.data("steps").await;
        assert_eq!((&five["step"], &five["tokens"], &five["run"]), (&json!(5), &json!(50), &json!(RUN)));
        assert_eq!(five["metrics"], json!([{ "name": "loss", "value": 0.2 }]));
        assert_eq!(socket.data("steps").await["step"], 6);
        server.record(&[step(RUN, 7), step(RUN, 8)]);
        assert_eq!(socket.data("steps").await["step"], 7);
        drop(socket);

        let mut socket = Socket::open(&server).await;
        socket.subscribe(&of(&format!(r#", metrics: ["accuracy"], from: {}"#, five["cursor"]))).await;
        for expected in [6, 8] {
            let step = socket.data("steps").await;
            assert_eq!((&step["step"], step["metrics"].as_array().unwrap().len()), (&json!(expected), 1));
        }
        drop(socket);

        // As in `curves`, a star stands for any text.
        for (metrics, expected) in [(r#"["acc*"]"#, [6, 8]), (r#"["nothing", "*o*s"]"#, [6, 7])] {
            let mut socket = Socket::open(&server).await;
            socket.subscribe(&of(&format!(", metrics: {metrics}, from: {}", five["cursor"]))).await;
            for expected in expected {
                let step = socket.data("steps").await;
                assert_eq!((&step["step"], step["metrics"].as_array().unwrap().len()), (&json!(expected), 1));
            }
        }
        let mut socket = Socket::open(&server).await;
        socket.subscribe(&of(", metrics: []")).await;
        let refused = socket.next().await.to_string();
        assert!(refused.contains("metrics names none"), "{refused}");
        drop(socket);

        let mut socket = Socket::open(&server).await;
        socket.subscribe(&of(", fromStart: true")).await;
        for expected in 1..=8 {
            let step = socket.data("steps").await;
            assert_eq!(step["step"], expected);
            assert_eq!(step["metrics"][0]["value"] == "NaN", expected == 3, "{step}");
        }
    });
}

#[test]
fn the_progress_of_projections_is_told_as_it_changes() {
    let server = TestServer::start();
    block_on(async {
        let mut socket = Socket::open(&server).await;
        socket.subscribe("subscription { projections { name watermark lag state } }").await;
        let first = socket.data("projections").await;
        let names: Vec<&str> = first.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["curves", "evals", "catalog", "lineage"]);
        let last = server.record(&(0..50).map(|n| custom(&n.to_string(), "x")).collect::<Vec<_>>());
        // Whatever comes between, in the end all stand at the head.
        loop {
            let now = socket.data("projections").await;
            let all = now.as_array().unwrap();
            if all.iter().all(|projection| projection["watermark"] == last && projection["lag"] == 0) {
                assert!(all.iter().all(|projection| projection["state"] == "FOLLOWING"), "{now}");
                break;
            }
        }
    });
}

#[test]
fn a_wrong_subscription_and_a_wrong_protocol_are_refused() {
    let server = TestServer::start();
    block_on(async {
        let mut socket = Socket::open(&server).await;
        socket.subscribe(r#"subscription { events(types: ["nothing"]) { id } }"#).await;
        let message = socket.next().await;
        let text = message.to_string();
        assert!(text.contains("unknown-event-type") && text.contains("the families are"), "{text}");
        for (arguments, said) in [
            ("events(after: 7)", "position 7 does not exist yet; the last one is 0"),
            ("events(after: 7, fromStart: true)", "from, after and fromStart exclude each other; give one"),
            ("events(from: \"!\")", "not a cursor"),
            ("steps(runs: [])", "0 runs; give 1 to 1000"),
            ("steps(runs: [\"seven\"])", "a run id is a UUID"),
        ] {
            let mut socket = Socket::open(&server).await;
            socket.subscribe(&format!("subscription {{ {arguments} {{ position }} }}")).await;
            let text = socket.next().await.to_string();
            assert!(text.contains(said), "{arguments}: {text}");
        }

        let mut request = format!("ws://{}/graphql/ws", server.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("soap"));
        let Err(Error::Http(response)) = connect_async(request).await else { panic!("it was let in") };
        assert_eq!(response.status(), 400);

        let mut foreign = format!("ws://{}/graphql/ws", server.address).into_client_request().unwrap();
        foreign.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        foreign.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
        let Err(Error::Http(response)) = connect_async(foreign).await else { panic!("it was let in") };
        assert_eq!(response.status(), 403);
    });
}
