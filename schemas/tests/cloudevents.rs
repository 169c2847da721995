//! CloudEvents in all three modes, and what each refuses.

use cairn_schemas::{Event, NewEvent, Position, Recorded, Timestamp};

const RUN: &str = "018f4e9a-7c3b-7def-8123-456789abcdef";

fn structured(change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> Vec<u8> {
    let mut event = serde_json::json!({
        "specversion": "1.0", "type": "cairn.training.step_logged.v2", "source": "//lab/loop", "id": "a/1",
        "time": "2026-01-31T12:00:00.5+01:00", "project": "math", "expectedversion": 4, "traceparent": "00-ab",
        "data": { "run": RUN, "step": 1, "tokens": 2048, "metrics": [{ "name": "loss", "value": 1.5 }] }
    });
    change(event.as_object_mut().unwrap());
    serde_json::to_vec(&event).unwrap()
}

#[test]
fn a_structured_event_keeps_every_attribute() {
    let new = NewEvent::from_cloudevent(&structured(|_| {})).unwrap();
    assert_eq!(new.envelope.source, "//lab/loop");
    assert_eq!(new.envelope.expected_version, Some(4));
    assert_eq!(new.envelope.project.as_deref(), Some("math"));
    assert_eq!(new.envelope.occurred_at.unwrap().to_string(), "2026-01-31T11:00:00.500000Z");
    assert_eq!(new.envelope.extensions["traceparent"], "00-ab");
    assert_eq!(new.stream(), format!("run:{RUN}"));
    assert!(matches!(new.event, Event::StepLogged(_)));
}

#[test]
fn the_binary_mode_gives_the_same_event() {
    let data = format!(r#"{{"run":"{RUN}","step":1,"tokens":2048,"metrics":[{{"name":"loss","value":1.5}}]}}"#);
    let headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("Ce-Type", "cairn.training.step_logged.v2"),
        ("ce-source", "//lab/loop"),
        ("ce-id", "a%2F1"),
        ("ce-time", "2026-01-31T11:00:00.5Z"),
        ("ce-project", "math"),
        ("ce-expectedversion", "4"),
        ("ce-traceparent", "00-ab"),
    ];
    let binary = NewEvent::from_binary(headers, data.as_bytes()).unwrap();
    assert_eq!(binary, NewEvent::from_cloudevent(&structured(|_| {})).unwrap());
}

#[test]
fn each_fault_is_named() {
    type Change = fn(&mut serde_json::Map<String, serde_json::Value>);
    let cases: [(Change, &str); 14] = [
        (|e| drop(e.remove("id")), "`id` is missing"),
        (|e| drop(e.insert("source".into(), "".into())), "`source` is empty"),
        (|e| drop(e.insert("specversion".into(), "0.3".into())), "use 1.0"),
        (|e| drop(e.insert("type".into(), "cairn.training.step".into())), "cairn.training.step_logged.v2"),
        (|e| drop(e.insert("time".into(), "yesterday".into())), "RFC 3339"),
        (|e| drop(e.insert("expectedversion".into(), (-1).into())), "whole number"),
        (|e| drop(e["data"].as_object_mut().unwrap().insert("lr".into(), 1.into())), "unknown field `lr`"),
        (|e| e["data"]["metrics"][0]["value"] = "high".into(), "metrics[0].value"),
        (|e| drop(e.remove("data")), "`data` is missing"),
        (|e| drop(e.insert("position".into(), "1".into())), "`position` is the ledger's to give"),
        (|e| drop(e.insert("redactedby".into(), "r1".into())), "`redactedby` is the ledger's to give"),
        (|e| drop(e.insert("type".into(), "cairn.governance.payloads_redacted.v1".into())), "by Cairn alone"),
        (|e| drop(e.insert("source".into(), "cairn://processors/train".into())), "reserved"),
        (
            |e| drop(e.insert("subject".into(), "run:018f4e9a-7c3b-7def-8123-000000000000".into())),
            "not what the data is about",
        ),
    ];
    for (change, expected) in cases {
        let error = NewEvent::from_cloudevent(&structured(change)).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_batch_names_the_event_that_is_wrong() {
    let good = String::from_utf8(structured(|_| {})).unwrap();
    let bad = String::from_utf8(structured(|e| drop(e.remove("type")))).unwrap();
    assert_eq!(NewEvent::batch_from_cloudevents(format!("[{good},{good}]").as_bytes()).unwrap().len(), 2);
    let error = NewEvent::batch_from_cloudevents(format!("[{good},{bad}]").as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("event 1 of the batch: "), "{error}");
}

#[test]
fn free_form_json_keeps_its_own_text_on_the_way_through() {
    let config = r#"{"b": 1.10, "a": 1e3, "big": 123456789012345678901234567890}"#;
    let json = format!(
        r#"{{"specversion":"1.0","type":"cairn.training.run_started.v1","source":"s","id":"1",
            "data":{{"run":"{RUN}","method":"sft","config":{config}}}}}"#
    );
    let new = NewEvent::from_cloudevent(json.as_bytes()).unwrap();
    let stored = Event::decode(new.event.type_code(), &new.event.encode()).unwrap();
    assert_eq!(stored, new.event);
    let out = Recorded {
        position: Position::FIRST,
        recorded_at: Timestamp::from_micros(0),
        stream_version: 1,
        source: "s".into(),
        id: "1".into(),
        stream: new.stream(),
        project: "default".into(),
        occurred_at: Timestamp::from_micros(0),
        causation: None,
        extensions: [("traceparent".to_owned(), "00".to_owned())].into(),
        used: vec![],
        produced: vec![],
        redacted_by: None,
        event: stored,
        erased: vec![],
        sealed: vec![],
    }
    .to_cloudevent();
    assert!(out.contains(config), "{out}");
    serde_json::from_str::<serde_json::Value>(&out).unwrap();
}
