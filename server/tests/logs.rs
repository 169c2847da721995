//! What the server's log says of requests: route, status and latency; never a body, a prompt or a query string. Alone in
//! its process, because the log has one subscriber for all.

mod common;

use common::{TestServer, custom};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn requests_are_logged_without_what_they_carry() {
    let written = Written::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_writer(written.clone()).with_max_level(tracing::Level::DEBUG);
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let server = TestServer::start();
    let secret = "jane.doe@example.org";
    server.record(&[custom("1", secret)]);
    server.send(&json!({ "specversion": "1.0", "id": secret, "source": secret }));
    server.get(&format!("/v1/events?from={secret}"));
    server.get(&format!("/{secret}"));
    let prompt = json!({ "deployment_id": "none", "messages": [{ "role": "user", "content": secret }] });
    server.post("/v1/inference/chat", &[("content-type", "application/json")], prompt.to_string());
    server.query(&format!("# {secret}\n{{ log {{ size }} }}"));
    server.refusal(&format!(r#"{{ run(id: "{secret}") {{ id }} }}"#));
    server.stop().unwrap();

    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains(secret), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<&serde_json::Value> =
        lines.iter().map(|line| &line["fields"]).filter(|fields| fields["message"] == "request").collect();
    let seen: Vec<(&str, u64)> =
        requests.iter().map(|r| (r["route"].as_str().unwrap(), r["status"].as_u64().unwrap())).collect();
    let expected = [
        ("/v1/events", 201),
        ("/v1/events", 400),
        ("/v1/events", 400),
        ("(none)", 404),
        ("/v1/inference/chat", 404),
        ("/graphql", 200),
        ("/graphql", 200),
    ];
    assert_eq!(seen, expected);
    assert!(requests.iter().all(|r| r["latency_ms"].as_f64() > Some(0.0)), "{requests:?}");
}
