//! What is about people is taken out of every type of event without a trace, and comes back byte for byte.

mod samples;

use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::personal::{ATTRIBUTE, Opened, PERSONAL_FIELDS_MAX, TakenField, put_back, take};
use cairn_schemas::{Event, KeyId, RawJson, SealedField, StoredPayload, Timestamp, text_fields};
use proptest::prelude::*;
use samples::Samples;
use std::collections::BTreeMap;

const CANARY: &str = "canary-7391";

fn extensions(attribute: bool) -> BTreeMap<String, String> {
    let mut extensions = BTreeMap::from([("traceparent".to_owned(), "00-ab".to_owned())]);
    if attribute {
        extensions.insert(ATTRIBUTE.to_owned(), format!("{CANARY} carol"));
    }
    extensions
}

/// Whether a type lists a field: `/checks/1/detail` by `/checks/*/detail`.
fn is_listed(of: &str, pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').collect();
    let (_, fields) = text_fields().into_iter().find(|(name, _)| *name == of).unwrap();
    fields.iter().any(|field| {
        let pattern: Vec<&str> = field.pointer.split('/').collect();
        pattern.len() == parts.len() && pattern.iter().zip(&parts).all(|(p, part)| *p == "*" || p == part)
    })
}

/// Every type, a canary in each text that may be personal and two marks in all free-form JSON.
fn samples(optional: bool) -> Vec<(Event, String)> {
    let mut n = 0;
    let text = &mut |of: &str, pointer: &str| {
        n += 1;
        if is_listed(of, pointer) { format!("{CANARY} text {n}") } else { format!("word {n}") }
    };
    let json = &mut |_: &str, _: &str| {
        format!(
            r#"{{"list":[ 1.50, {{ "$data_subject" : "bob {CANARY}","value":{{"b":1e3,"a":"{CANARY}"}} }}],
              "other":{{"value": "{CANARY}", "$data_subject":"dan"}},"rest":"open"}}"#
        )
    };
    Samples { optional, text, json }.all()
}

fn values(taken: &[TakenField]) -> Vec<(String, Opened)> {
    taken.iter().map(|field| (field.pointer.clone(), Opened::Value(field.value.clone()))).collect()
}

#[test]
fn every_type_gives_up_what_is_personal_and_gets_it_back() {
    for (optional, attribute) in [(true, true), (true, false), (false, true), (false, false)] {
        for (original, _) in samples(optional) {
            let name = original.type_name();
            let (mut event, mut outside) = (original.clone(), extensions(attribute));
            let taken = take(&mut event, &mut outside).unwrap();
            if attribute {
                assert!(!String::from_utf8_lossy(&event.encode()).contains(CANARY), "{name}: {}", event.to_json());
                assert_eq!(outside, extensions(false), "{name}");
                assert!(taken.iter().any(|field| field.subject == format!("{CANARY} carol")));
            }
            for field in &taken {
                assert!(!event.to_json().contains(&field.value), "{name}: {} is still there", field.pointer);
            }
            assert_eq!(event.default_stream(), original.default_stream(), "{name}: what is personal names its stream");
            assert_eq!(event.links(), original.links(), "{name}");
            assert_eq!(Event::decode(event.type_code(), &event.encode()).unwrap(), event, "{name}");
            put_back(&mut event, &mut outside, &values(&taken));
            assert_eq!((event, outside), (original, extensions(attribute)), "{name}");
        }
    }
}

#[test]
fn every_free_form_field_is_looked_through() {
    let (mut seen, text) = (Vec::new(), &mut |_: &str, _: &str| "x".to_owned());
    let json = &mut |of: &str, pointer: &str| {
        seen.push((of.to_owned(), pointer.to_owned()));
        "{}".to_owned()
    };
    Samples { optional: true, text, json }.all();
    assert!(seen.len() > 15, "{seen:?}");
    for (of, pointer) in seen {
        assert!(is_listed(&of, &pointer), "{pointer} of {of} holds free-form JSON and is in no list of texts");
    }
}

#[test]
fn persons_name_themselves_and_others_fields_follow_them() {
    let subjects: BTreeMap<String, Vec<(String, String)>> = samples(true)
        .into_iter()
        .map(|(mut event, _)| {
            let taken = take(&mut event, &mut extensions(false)).unwrap();
            let own = taken.into_iter().filter(|field| !field.subject.contains("bob") && field.subject != "dan");
            (event.type_name().to_owned(), own.map(|field| (field.pointer, field.subject)).collect())
        })
        .collect();
    let pointers = |name: &str| subjects[name].iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>();
    assert_eq!(pointers("cairn.data.document_ingested.v1"), ["/source_uri", "/author"]);
    assert_eq!(subjects["cairn.data.document_ingested.v1"][0].1, subjects["cairn.data.document_ingested.v1"][1].1);
    assert_eq!(pointers("cairn.data.source_registered.v1"), ["/uri", "/owner"]);
    assert_eq!(pointers("cairn.judgment.recorded.v1"), ["/judge/name"]);
    assert_eq!(pointers("cairn.governance.key_issued.v1"), ["/holder"]);
    assert_eq!(pointers("cairn.governance.access_denied.v1"), ["/actor"]);
    assert_eq!(pointers("cairn.deployment.response_generated.v1"), [""; 0], "nobody is named");
}

#[test]
fn a_rules_name_is_no_persons() {
    let (event, _) = samples(true).into_iter().find(|(event, _)| matches!(event, Event::JudgmentRecorded(_))).unwrap();
    let Event::JudgmentRecorded(mut judgment) = event else { unreachable!() };
    judgment.judge.kind = cairn_schemas::events::judgment::JudgeKind::Rule;
    let original = Event::from(judgment);
    let mut event = original.clone();
    assert_eq!(take(&mut event, &mut extensions(false)).unwrap(), []);
    assert_eq!(event, original);
}

#[test]
fn what_is_erased_or_sealed_is_shown_as_such_and_the_rest_stays() {
    let json = r#"{"a":{"$data_subject":"alice","value":1},"b":{"$data_subject":"bob","value":[2]},"c":{"$data_subject":"carol","value":3}}"#;
    let mut event = custom(json);
    let taken = take(&mut event, &mut BTreeMap::new()).unwrap();
    assert_eq!(
        taken.iter().map(|t| (&*t.pointer, &*t.subject)).collect::<Vec<_>>(),
        [("/data/a", "alice"), ("/data/b", "bob"), ("/data/c", "carol")]
    );
    assert_eq!(data(&event), r#"{"a":{"$data_subject":null},"b":{"$data_subject":null},"c":{"$data_subject":null}}"#);
    let fields = [
        ("/data/a".to_owned(), Opened::Erased),
        ("/data/b".to_owned(), Opened::Value(taken[1].value.clone())),
        ("/data/c".to_owned(), Opened::Sealed),
    ];
    put_back(&mut event, &mut BTreeMap::new(), &fields);
    assert_eq!(
        data(&event),
        r#"{"a":{"$data_subject":null,"erased":true},"b":{"$data_subject":"bob","value":[2]},"c":{"$data_subject":null,"sealed":true}}"#
    );
    // What a reader was shown may be sent again: it is no mark.
    let shown = event.clone();
    assert_eq!(take(&mut event, &mut BTreeMap::new()).unwrap().len(), 1);
    put_back(&mut event, &mut BTreeMap::new(), &[("/data/b".to_owned(), Opened::Value(taken[1].value.clone()))]);
    assert_eq!(event, shown);
    for (mut event, _) in samples(true) {
        let mut outside = extensions(true);
        let taken = take(&mut event, &mut outside).unwrap();
        let gone: Vec<_> = taken.into_iter().map(|field| (field.pointer, Opened::Erased)).collect();
        put_back(&mut event, &mut outside, &gone);
        assert!(!event.to_json().contains(CANARY) && outside[ATTRIBUTE] == "[erased]", "{}", event.to_json());
        Event::from_json(event.type_name(), &event.to_json()).unwrap();
    }
}

#[test]
fn marks_that_could_not_be_erased_one_by_one_are_refused() {
    for (json, expected) in [
        (r#"{"$data_subject":"a","value":{"x":{"$data_subject":"b","value":1}}}"#, "side by side"),
        (r#"{"x":{"$data_subject":"a","value":1},"x":{"$data_subject":"b","value":1}}"#, "stands twice"),
        (r#"{"x":{"$data_subject":"a","value":1},"x":{"$data_subject":null}}"#, "stands twice"),
        (r#"{"x":{"$data_subject":7,"value":1}}"#, "/data/x"),
        (r#"{"x":{"\u0024data_subject":"a"}}"#, "`value`"),
    ] {
        let error = take(&mut custom(json), &mut BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
    let mark = r#"{"$data_subject":"a","value":1}"#;
    let many = |count| custom(&format!("[{}]", vec![mark; count].join(",")));
    assert_eq!(take(&mut many(PERSONAL_FIELDS_MAX), &mut BTreeMap::new()).unwrap().len(), PERSONAL_FIELDS_MAX);
    take(&mut many(PERSONAL_FIELDS_MAX + 1), &mut BTreeMap::new()).unwrap_err();
    let mut long = BTreeMap::from([(ATTRIBUTE.to_owned(), "x".repeat(1025))]);
    take(&mut custom("{}"), &mut long).unwrap_err();
}

#[test]
fn a_redacted_event_holds_no_text() {
    for (event, _) in samples(true) {
        let redacted = event.redacted();
        assert!(!redacted.to_json().contains(CANARY), "{}", redacted.to_json());
        assert_eq!((redacted.default_stream(), redacted.links()), (event.default_stream(), event.links()));
        assert_eq!(Event::decode(redacted.type_code(), &redacted.encode()).unwrap(), redacted);
    }
}

#[test]
fn sealed_fields_follow_a_stored_payload() {
    let mut stored = StoredPayload {
        source: "s".into(),
        id: "1".into(),
        stream: "t".into(),
        project: "default".into(),
        occurred_at: Timestamp::from_micros(-7),
        causation: None,
        extensions: extensions(false),
        used: vec![],
        produced: vec![],
        content_mac: [9; 32],
        data: vec![1, 2, 3],
        sealed: vec![],
    };
    let plain = stored.encode();
    assert_eq!(StoredPayload::decode(&plain).unwrap(), stored);
    let key = "00112233445566778899aabbccddeeff".parse::<KeyId>().unwrap();
    stored.sealed = vec![SealedField { pointer: "/author".into(), key, nonce: [5; 24], ciphertext: vec![7; 20] }];
    let sealed = stored.encode();
    assert!(sealed.starts_with(&plain));
    assert_eq!(StoredPayload::decode(&sealed).unwrap(), stored);
    for length in 0..sealed.len() {
        let outcome = StoredPayload::decode(&sealed[..length]);
        assert_eq!(outcome.is_ok(), length == plain.len(), "{length} bytes");
    }
    StoredPayload::decode(&[&plain[..], &[0]].concat()).unwrap_err();
    StoredPayload::decode(&[&sealed[..], &[0]].concat()).unwrap_err();
}

fn custom(json: &str) -> Event {
    let data = RawJson::parse(json).unwrap();
    CustomRecorded { kind: "a.b".into(), about: None, used: vec![], produced: vec![], data }.into()
}

fn data(event: &Event) -> &str {
    match event {
        Event::CustomRecorded(event) => event.data.as_str(),
        other => panic!("{other:?}"),
    }
}

/// JSON text of any shape and spacing, with marks and things that look like them.
fn json() -> impl Strategy<Value = String> {
    let space = || prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
    let text = prop_oneof!["[a-z]{0,4}", "\\PC{0,3}", Just("a\"\\/~\u{1}".to_owned())];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("-1.50e+03".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("\"\\u0024data_subject\"".to_owned()),
        Just(r#"{"$data_subject":null,"erased":true}"#.to_owned()),
        text.prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let plain = scalar.clone().prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(" ,")))
    });
    let mark =
        (plain, "[a-c]{1,2}", space(), any::<bool>(), any::<bool>()).prop_map(|(value, subject, s, first, escaped)| {
            let name = if escaped { "\\u0024data\\u005fsubject" } else { "$data_subject" };
            match first {
                true => format!(r#"{{{s}"{name}"{s}:{s}"{subject}",{s}"value":{value}{s}}}"#),
                false => format!(r#"{{"value"{s}:{value}{s},"{name}":"{subject}"}}"#),
            }
        });
    prop_oneof![2 => scalar, 1 => mark].prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},{s}")))),
            (prop::collection::btree_map("[a-z/~ ]{0,3}", inner, 0..4), space()).prop_map(|(members, s)| {
                let members = members.into_iter().map(|(name, value)| format!("{s}\"{name}\"{s}:{value}"));
                format!("{{{}{s}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_comes_back_byte_for_byte(json in json(), attribute: bool) {
        let (original, mut outside) = (custom(&json), extensions(attribute));
        let mut event = original.clone();
        let taken = take(&mut event, &mut outside).unwrap();
        prop_assert!(!data(&event).contains("data_subject\":\"") && !data(&event).contains("u005f"), "{}", data(&event));
        put_back(&mut event, &mut outside, &values(&taken));
        prop_assert_eq!(data(&event), data(&original));
        prop_assert_eq!(outside, extensions(attribute));
    }
}
