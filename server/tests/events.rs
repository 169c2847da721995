//! Producers' API over real HTTP: the three modes, repeats, conflicts, and an error for each way to be wrong.

mod common;

use common::{TestServer, custom, event, eventually};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn every_mode_records_and_a_repeat_is_the_same_event() {
    let server = TestServer::start();
    let first = server.send(&custom("1", "one"));
    assert_eq!(first.status, 201, "{}", first.text);
    let receipt = first.json();
    assert_eq!(receipt["events"][0]["position"], 1);
    assert_eq!(receipt["events"][0]["duplicate"], false);
    assert_eq!(
        (receipt["events"][0]["source"].as_str(), receipt["events"][0]["id"].as_str()),
        (Some("urn:test"), Some("1"))
    );

    let again = server.send(&custom("1", "one"));
    assert_eq!((again.status, &again.json()["events"][0]["position"]), (200, &json!(1)), "{}", again.text);
    assert_eq!(again.json()["events"][0]["duplicate"], true);

    assert_eq!(server.record(&[custom("2", "two"), custom("3", "three")]), 3);
    let plain = server.post("/v1/events", &[JSON], custom("4", "four").to_string());
    assert_eq!((plain.status, &plain.json()["events"][0]["position"]), (201, &json!(4)));
    let plain_batch = server.post("/v1/events", &[JSON], json!([custom("5", "five")]).to_string());
    assert_eq!((plain_batch.status, &plain_batch.json()["events"][0]["position"]), (201, &json!(5)));

    let binary = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-type", "cairn.custom.recorded.v1"),
        ("ce-source", "urn:test"),
        ("ce-id", "six%20%C3%A9"),
    ];
    let answer = server.post("/v1/events", &binary, r#"{"kind":"acme.noted","data":{"text":"six"}}"#);
    assert_eq!((answer.status, &answer.json()["events"][0]["id"]), (201, &json!("six é")), "{}", answer.text);
}

#[test]
fn conflicts_name_what_is_recorded() {
    let server = TestServer::start();
    server.record(&[custom("1", "one")]);
    let other = server.send(&custom("1", "another")).problem(409, "conflicting-event", "with other content");
    assert_eq!((&other["position"], &other["event_id"]), (&json!(1), &json!("1")));

    let partly = server.post("/v1/events", &[BATCH], json!([custom("1", "one"), custom("2", "two")]).to_string());
    let partly = partly.problem(409, "partly-repeated-batch", "recorded before");
    assert_eq!(partly["repeated"], json!([{ "index": 0, "position": 1 }]));

    let twice = server.post("/v1/events", &[BATCH], json!([custom("7", "a"), custom("7", "b")]).to_string());
    twice.problem(409, "conflicting-event", "have the same source");

    let mut expecting = custom("8", "eight");
    expecting["expectedversion"] = json!(5);
    let wrong =
        server.send(&expecting).problem(409, "wrong-stream-version", "version 1, not at the expected version 5");
    assert_eq!((&wrong["actual_version"], &wrong["expected_version"]), (&json!(1), &json!(5)));
    expecting["expectedversion"] = json!(1);
    assert_eq!(server.send(&expecting).status, 201);
}

#[test]
fn each_malformed_event_is_refused_by_name_and_nothing_is_recorded() {
    let server = TestServer::start();
    let without = |name: &str| {
        let mut event = custom("1", "one");
        event.as_object_mut().unwrap().remove(name);
        event
    };
    let with = |name: &str, value: Value| {
        let mut event = custom("1", "one");
        event[name] = value;
        event
    };
    for (wrong, said) in [
        (without("id"), "`id` is missing"),
        (without("source"), "`source` is missing"),
        (without("specversion"), "`specversion` is missing"),
        (without("type"), "`type` is missing"),
        (without("data"), "`data` is missing"),
        (with("specversion", json!("0.3")), "use 1.0"),
        (with("time", json!("yesterday")), "RFC 3339"),
        (with("expectedversion", json!("many")), "whole number"),
        (with("project", json!("No Such")), "a-z"),
        (with("datacontenttype", json!("text/xml")), "application/json"),
        (with("data", json!({ "kind": "acme.noted" })), "missing field `data`"),
        (with("data", json!({ "kind": "acme.noted", "data": {}, "colour": 1 })), "colour"),
        (with("subject", json!(["x"])), "`subject` must be"),
        (
            event(
                "1",
                "cairn.training.step_logged.v2",
                json!({ "run": "seven", "step": 1, "tokens": 1, "metrics": [] }),
            ),
            "run",
        ),
    ] {
        server.send(&wrong).problem(400, "malformed-event", said);
    }
    server.send(&with("type", json!("cairn.training.stepped.v1"))).problem(
        400,
        "unknown-event-type",
        "nearest known types",
    );
    server.post("/v1/events", &[STRUCTURED], "{").problem(400, "malformed-event", "not a JSON object");
    server.post("/v1/events", &[STRUCTURED], [0xff, 0xfe]).problem(400, "malformed-event", "not a JSON object");
    server.post("/v1/events", &[BATCH], "[]").problem(400, "malformed-event", "1 to");
    let second = server.post("/v1/events", &[BATCH], json!([custom("1", "one"), without("id")]).to_string());
    assert_eq!(second.problem(400, "malformed-event", "event 1 of the batch")["index"], 1);
    let bare = [JSON, ("ce-specversion", "1.0"), ("ce-type", "cairn.custom.recorded.v1")];
    server.post("/v1/events", &bare, "{}").problem(400, "malformed-event", "`source` is missing");

    assert_eq!(server.query("{ log { size } }")["log"]["size"], 0);
}

#[test]
fn media_types_sizes_routes_and_methods_have_problems_of_their_own() {
    let server = TestServer::start();
    server.post("/v1/events", &[("content-type", "text/plain")], "x").problem(
        415,
        "unsupported-media-type",
        "cloudevents+json",
    );
    server.post("/v1/events", &[("content-type", "application/xml")], "x").problem(
        415,
        "unsupported-media-type",
        "application/xml",
    );
    let huge = vec![b' '; (8 << 20) + 1];
    server.post("/v1/events", &[STRUCTURED], &huge).problem(413, "too-large", "8388609 bytes, at most 8388608");
    let long = custom("1", &"x".repeat(1 << 20));
    server.send(&long).problem(413, "too-large", "at most");
    server.get("/v2/events").problem(404, "not-found", "no route /v2/events");
    server.get("/v1/inference/chat").problem(405, "method-not-allowed", "POST");
}

#[test]
fn a_reader_pages_through_events_by_cursor() {
    let server = TestServer::start();
    let empty = server.get("/v1/events");
    assert_eq!((empty.status, empty.text.as_str(), empty.header("cairn-head")), (200, "[]", "0"));
    let events: Vec<Value> = (1..=25).map(|n| custom(&n.to_string(), "x")).collect();
    server.record(&events);
    server.record(&[event(
        "other",
        "cairn.custom.schema_registered.v1",
        json!({ "kind": "acme.noted", "schema": {} }),
    )]);

    let mut from = "1".to_owned();
    let mut seen = Vec::new();
    for length in [10, 10, 6, 0] {
        let page = server.get(&format!("/v1/events?from={from}&limit=10"));
        assert_eq!(page.header("content-type"), "application/cloudevents-batch+json");
        assert_eq!(page.header("cairn-head"), "26");
        let batch = page.json();
        assert_eq!(batch.as_array().unwrap().len(), length);
        seen.extend(batch.as_array().unwrap().iter().map(|event| event["position"].as_str().unwrap().to_owned()));
        from = page.header("cairn-cursor").to_owned();
    }
    assert_eq!(seen, (1..=26).map(|n| n.to_string()).collect::<Vec<_>>());

    let filtered = server.get("/v1/events?type=cairn.custom.schema_registered&limit=1").json();
    assert_eq!((filtered.as_array().unwrap().len(), &filtered[0]["id"]), (1, &json!("other")));
    assert_eq!(server.get("/v1/events?type=cairn.custom.*&limit=1000").json().as_array().unwrap().len(), 26);
    // What is read can be sent again: it is the same event.
    let mut back = server.get("/v1/events?limit=1").json()[0].clone();
    for added in ["position", "recordedtime", "streamversion"] {
        back.as_object_mut().unwrap().remove(added);
    }
    assert_eq!(server.send(&back).status, 200);

    server.get("/v1/events?type=cairn.customs.*").problem(400, "unknown-event-type", "the families are");
    server.get("/v1/events?limit=0").problem(400, "malformed-request", "from 1 to 1000");
    server.get("/v1/events?from=0").problem(400, "malformed-request", "from 1");
    server.get("/v1/events?from=zzz").problem(400, "malformed-request", "not a cursor");
    server.get("/v1/events?since=1").problem(400, "malformed-request", "the parameters are from");
}

#[test]
fn many_producers_at_once_lose_nothing() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for producer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for n in 0..10 {
                    let answer = server.send(&custom(&format!("{producer}/{n}"), "x"));
                    assert_eq!(answer.status, 201, "{}", answer.text);
                }
            });
        }
    });
    let mut positions: Vec<u64> = server
        .get("/v1/events?limit=1000")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["position"].as_str().unwrap().parse().unwrap())
        .collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=80).collect::<Vec<_>>());
}

/// A batch may rest on streams that it only read: it is recorded only if they are as they were.
#[test]
fn a_batch_rests_on_streams_that_it_does_not_write() {
    let server = TestServer::start();
    let mut first = custom("1", "one");
    first["subject"] = json!("read only");
    server.record(&[first]);
    let send = |id: &str, expected: &str| {
        let headers = [("content-type", "application/cloudevents+json"), ("cairn-expect", expected)];
        let mut event = custom(id, "x");
        event["subject"] = json!("elsewhere");
        server.post("/v1/events", &headers, event.to_string())
    };
    let wrong = send("2", "read%20only=0").problem(409, "wrong-stream-version", "that the batch rests on");
    assert_eq!((&wrong["actual_version"], &wrong["expected_version"]), (&json!(1), &json!(0)));
    assert_eq!(send("2", "read%20only=1").status, 201);
    assert_eq!(send("3", "never%20seen=0").status, 201);
    send("4", "nothing").problem(400, "malformed-request", "<stream>=<version>");
}

#[test]
fn a_producer_waits_for_room_as_long_as_it_likes_and_is_then_told_to_come_back() {
    let server = TestServer::start();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 8388608\r\n\r\n{";
    // Each begins a body and does not end it: together they take all of the 64 MiB there is room for.
    let slow: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut n = 0;
    let mut send = || {
        n += 1;
        let headers = [("content-type", "application/cloudevents+json"), ("prefer", "wait=1")];
        server.post("/v1/events", &headers, custom(&n.to_string(), "x").to_string())
    };
    let busy = eventually(|| Some(send()).filter(|answer| answer.status != 201));
    busy.problem(429, "busy", "64 MiB of appends are in flight");
    assert_eq!(busy.header("retry-after"), "1");
    assert_eq!(server.get("/healthz").status, 200);
    drop(slow);
    eventually(|| Some(send()).filter(|answer| answer.status == 201));
}
