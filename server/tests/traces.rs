//! Traces as a collector gets them: OTLP over HTTP, decoded here by the protocol's own messages. The server runs in a
//! process of its own, because the environment and the subscriber are the process's.

mod common;

use common::{TestServer, custom, history};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use tracing_subscriber::prelude::*;

const INNER: &str = "CAIRN_TEST_TRACED";
const SECRET: &str = "jane.doe@example.org";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Takes what is posted to /v1/traces.
fn collector() -> (String, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, tell) = (socket.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                loop {
                    let (mut head, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        let lower = line.to_ascii_lowercase();
                        if let Some(bytes) = lower.strip_prefix("content-length:") {
                            length = bytes.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                        head.push_str(&lower);
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
                    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
                    assert!(head.contains("x-team: search"), "{head}");
                    tell.send(ExportTraceServiceRequest::decode(&*body).unwrap()).unwrap();
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    (&socket).write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (address, told)
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let one = |pair: &KeyValue| Some((pair.key.clone(), text(pair.value.as_ref()?.value.as_ref()?)));
    list.iter().filter_map(one).collect()
}

/// The process that is traced.
fn traced() {
    let traces = cairn_server::Traces::from_env().unwrap().expect("the environment names a collector");
    tracing_subscriber::registry().with(traces.layer()).init();
    let server = TestServer::start();
    let last = server.record(&history());
    server.record(&[custom("secret", SECRET)]);
    let query =
        format!("query Board {{ coverage(atLeast: {last}) {{ position }} events(first: 3) {{ nodes {{ id }} }} }}");
    let body = serde_json::json!({ "query": query, "variables": { "x": SECRET } }).to_string();
    let parent = ("traceparent", &*format!("00-{TRACE}-00f067aa0ba902b7-01"));
    server.post("/graphql", &[("content-type", "application/json"), parent], body);
    server.get("/v1/runs.arrow");
    server.get(&format!("/{SECRET}"));
    server.stop().unwrap();
    drop(traces);
}

#[test]
fn a_collector_gets_a_span_for_each_request_query_field_and_read() {
    if std::env::var_os(INNER).is_some() {
        return traced();
    }
    let (address, told) = collector();
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_collector_gets_a_span_for_each_request_query_field_and_read", "--nocapture"]);
        command.env(INNER, "1").envs(variables.iter().copied()).output().unwrap()
    };
    let output = run(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=search"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let exports: Vec<ExportTraceServiceRequest> = told.try_iter().collect();
    let resource = attributes(&exports[0].resource_spans[0].resource.as_ref().unwrap().attributes);
    assert_eq!((&*resource["service.name"], &*resource["deployment.environment.name"]), ("cairn", "test"));
    let spans: Vec<&Span> = exports
        .iter()
        .flat_map(|export| &export.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    let named = |name: &str| -> &Span {
        spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name}: {:?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>()))
    };
    // The caller's trace goes on: request, query, fields, reads.
    let http = named("POST /graphql");
    assert_eq!(http.trace_id, hex(TRACE));
    assert_eq!(http.parent_span_id, hex("00f067aa0ba902b7"));
    let of = attributes(&http.attributes);
    assert_eq!((&*of["http.route"], &*of["http.request.method"]), ("/graphql", "POST"));
    assert!(of["http.response.status_code"].contains("200"), "{of:?}");
    let graphql = named("graphql");
    assert_eq!((&graphql.parent_span_id, &graphql.trace_id), (&http.span_id, &http.trace_id));
    assert_eq!(attributes(&graphql.attributes)["graphql.operation.name"], "Board");
    let field = |name: &str| -> &Span {
        let is = |span: &&&Span| {
            span.name == "field"
                && attributes(&span.attributes).get("graphql.field.name").is_some_and(|field| field == name)
        };
        spans.iter().find(is).unwrap_or_else(|| panic!("no field {name}"))
    };
    for name in ["coverage", "events"] {
        assert_eq!(field(name).parent_span_id, graphql.span_id);
    }
    let reads = spans.iter().filter(|span| span.name == "read" && span.parent_span_id == field("events").span_id);
    assert_eq!(reads.count(), 1);
    let bulk = named("bulk read");
    assert_eq!(attributes(&bulk.attributes)["table"], "runs");
    assert_eq!(bulk.trace_id, named("GET /v1/runs.arrow").trace_id);
    assert!(spans.iter().all(|span| span.end_time_unix_nano >= span.start_time_unix_nano));
    // Nothing of what was asked, recorded or answered is in them.
    assert!(!format!("{exports:?}").contains(SECRET));

    for (variables, said) in [
        ([("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"), ("X", "")], "is not http://"),
        (
            [("OTEL_EXPORTER_OTLP_ENDPOINT", &*address), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "`grpc` is not spoken here",
        ),
        (
            [("OTEL_EXPORTER_OTLP_ENDPOINT", &*address), ("OTEL_SDK_DISABLED", "true")],
            "the environment names a collector",
        ),
        ([("X", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")], "the environment names a collector"),
    ] {
        let output = run(&variables);
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(said), "{text}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
