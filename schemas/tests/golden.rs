//! The stored form of payloads is ours to keep: these bytes never change while their versions live.

use cairn_schemas::events::{data::DocumentIngested, governance::*, training::*};
use cairn_schemas::*;

const RUN: &str = "018f4e9a-7c3b-7def-8123-456789abcdef";

fn step() -> Event {
    Event::from(StepLogged {
        run: RUN.parse().unwrap(),
        attempt: 2,
        step: 300,
        tokens: 614_400,
        time: Some(Timestamp::from_micros(1_769_860_800_000_000)),
        metrics: vec![MetricValue { name: "loss".into(), value: Real(f64::NAN) }],
    })
}

fn document() -> Event {
    let digest = Blake3::of(b"text");
    Event::from(DocumentIngested {
        run: RUN.parse().unwrap(),
        source: "s".into(),
        document: Ref::Doc(digest),
        sha256: Sha256::from_bytes([7; 32]),
        source_uri: "a.jsonl#1".into(),
        timestamp: Timestamp::from_micros(0),
        author: "A".into(),
        access_policy: "public".into(),
        content_type: "text/plain".into(),
        language: "en".into(),
        bytes: 4,
        fingerprint: digest,
        redactions: None,
    })
}

/// What verification rests on: who authorised which replacement, and what was destroyed.
fn redacted() -> Event {
    Event::from(PayloadsRedacted {
        request: "r1".into(),
        basis: "mistake".into(),
        origin: "log.example.com/default/main/0".into(),
        page: 1,
        pages: 2,
        replacements: vec![Replacement { position: 300, commitment: Blake3::of(b"text") }],
        artifacts: vec![Ref::Artifact(Blake3::of(b"text"))],
    })
}

fn erased() -> Event {
    Event::from(SubjectErased {
        request: "r1".into(),
        data_subject: Blake3::of(b"text"),
        basis: "Art. 17".into(),
        page: 1,
        pages: 1,
        keys: vec!["00ff".into()],
        models: vec![],
        documents: vec![Ref::Doc(Blake3::of(b"text"))],
        artifacts: vec![],
        events: 7,
        artifact_count: 0,
        vault_backups_expire_at: Some(Timestamp::from_micros(0)),
    })
}

#[test]
fn stored_bytes_are_as_they_were() {
    for (event, expected) in [
        (step(), include_str!("golden/step_logged.v2.hex")),
        (document(), include_str!("golden/document_ingested.v1.hex")),
        (redacted(), include_str!("golden/payloads_redacted.v1.hex")),
        (erased(), include_str!("golden/subject_erased.v2.hex")),
    ] {
        let bytes = event.encode();
        assert_eq!(hex::encode(&bytes), expected.trim(), "{}", event.type_name());
        assert_eq!(Event::decode(event.type_code(), &bytes).unwrap(), event);
    }
}

#[test]
fn bytes_after_a_payload_and_bytes_missing_are_refused() {
    let (event, code) = (step(), step().type_code());
    let mut bytes = event.encode();
    bytes.push(0);
    assert!(Event::decode(code, &bytes).unwrap_err().to_string().contains("1 bytes follow"));
    for length in 0..bytes.len() - 1 {
        assert!(Event::decode(code, &bytes[..length]).is_err(), "{length} bytes decoded");
    }
}

#[test]
fn codes_and_names_are_unique_and_names_are_well_formed() {
    let names: std::collections::BTreeSet<_> = TYPE_NAMES.iter().collect();
    assert_eq!(names.len(), TYPE_NAMES.len());
    for name in TYPE_NAMES {
        let parts: Vec<&str> = name.split('.').collect();
        assert!(parts.len() == 4 && parts[0] == "cairn" && parts[3].starts_with('v'), "{name}");
    }
}
