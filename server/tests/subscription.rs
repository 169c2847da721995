//! Events over a real WebSocket, by the graphql-transport-ws protocol.

mod common;

use common::{TestServer, custom, event};
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
        let message = self.next().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"]["events"].clone()
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

#[test]
fn a_wrong_subscription_and_a_wrong_protocol_are_refused() {
    let server = TestServer::start();
    block_on(async {
        let mut socket = Socket::open(&server).await;
        socket.subscribe(r#"subscription { events(types: ["nothing"]) { id } }"#).await;
        let message = socket.next().await;
        let text = message.to_string();
        assert!(text.contains("unknown-event-type") && text.contains("the families are"), "{text}");

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
