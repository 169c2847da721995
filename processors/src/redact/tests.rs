use super::*;
use proptest::prelude::*;
use std::path::Path;

fn kinds(text: &str) -> Vec<(Kind, &str)> {
    find(text).iter().map(|f| (f.kind, f.matched(text))).collect()
}

fn redacted(text: &str) -> String {
    redact(text, &find(text))
}

/// Joined here, so that no scanner takes this file for a leak.
fn key(parts: [&str; 2]) -> String {
    parts.concat()
}

#[test]
fn each_kind_is_found_and_replaced() {
    for (text, expected) in [
        ("Write to jane.o'neil+lists@mail.example.co.uk today.", "Write to [EMAIL] today."),
        ("<bob@example.com>, (ann@example.org)", "<[EMAIL]>, ([EMAIL])"),
        ("Call +49 30 901820, or +1 (415) 555-2671.", "Call [PHONE], or [PHONE]."),
        ("Reach me at 415-555-2671 or (415) 555-2671", "Reach me at [PHONE] or [PHONE]"),
        ("Phone: 030 901 820 11; call 4155552671 now", "Phone: [PHONE]; call [PHONE] now"),
        ("Card 4111 1111 1111 1111 exp 12/30", "Card [CREDIT_CARD] exp 12/30"),
        ("5500-0000-0000-0004, 378282246310005", "[CREDIT_CARD], [CREDIT_CARD]"),
        ("IBAN DE89 3704 0044 0532 0130 00 AND more", "IBAN [IBAN] AND more"),
        ("GB29NWBK60161331926819.", "[IBAN]."),
        ("SSN 536-90-4399", "SSN [SSN]"),
        ("from 203.0.113.7:8080 to 10.1.2.3/24", "from [IP_ADDRESS]:8080 to [IP_ADDRESS]/24"),
        ("at 2001:db8::8a2e:370:7334, fe80::1.", "at [IP_ADDRESS], [IP_ADDRESS]."),
        ("ünï 😀 a@b.de", "ünï 😀 [EMAIL]"),
    ] {
        assert_eq!(redacted(text), expected);
    }
}

#[test]
fn secrets_are_found_by_form_or_by_name() {
    let long = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
    for text in [
        key(["AKIA", "IOSFODNN7EXAMPLE"]),
        key(["ghp_", long]),
        key(["xoxb-", "123456789012-abcdefABCDEF"]),
        key(["sk-", long]),
        key(["sk_live_", "4eC39HqLyjWDarjtT1zdp7dc"]),
        key(["hf_", long]),
        key(["eyJhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"]),
    ] {
        assert_eq!(redacted(&format!("use {text} here")), "use [SECRET] here", "{text}");
    }
    assert_eq!(redacted("API_KEY = \"9f8e7d6c5b4a39281706\""), "API_KEY = \"[SECRET]\"");
    assert_eq!(redacted("password: correcthorsebatterystaple"), "password: correcthorsebatterystaple");
    let pem = key(["-----BEGIN RSA PRIVATE", " KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"]);
    assert_eq!(redacted(&format!("k:\n{pem}\nend")), "k:\n[SECRET]\nend");
}

#[test]
fn what_only_looks_alike_stays() {
    for text in [
        "4111 1111 1111 1112 fails the check",
        "1234567890123456 is no issuer's",
        "DE89 3704 0044 0532 0130 01 fails the check",
        "000-12-3456 and 666-12-3456 and 912-34-5678 are never issued",
        "500-200-1000 = -700, and x = 415-555-2671",
        "<<500-200-1000=-700>> leaves $300-200-1000",
        "3.14159265358979 and 1,000,000,000 and 2024-05-01T10:00:00Z at 12:30:45",
        "version 1.2.3.4 and v2.0.0.1 and 1.2.3.4.5 and 999.1.1.1",
        "localhost is 127.0.0.1 and ::1",
        "std::fmt::Display, face::add, a::b, dead::beef",
        "5 +1000000000 = 1000000005; (2) +12345678",
        "me@home and @user and a@b",
        "pages 100 200 3000; 12 345 678 90; ratio 3:4:5",
        "token: <your-token-goes-here>",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
}

#[test]
fn kinds_can_be_chosen_and_findings_hold_places_only() {
    let text = "a@b.de 203.0.113.7";
    assert_eq!(find_kinds(text, &[Kind::IpAddress]), [Finding { offset: 7, length: 11, kind: Kind::IpAddress }]);
    assert_eq!(find(text).len(), 2);
    let json = serde_json::to_string(&Kind::CreditCard).unwrap();
    assert_eq!(json, "\"credit_card\"");
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}

#[test]
fn the_digest_depends_on_text_and_key() {
    let (one, other) = ([1; 32], [2; 32]);
    assert_eq!(keyed_digest(&one, "a@b.de"), keyed_digest(&one, "a@b.de"));
    assert_ne!(keyed_digest(&one, "a@b.de"), keyed_digest(&one, "b@b.de"));
    assert_ne!(keyed_digest(&one, "a@b.de"), keyed_digest(&other, "a@b.de"));
    assert_ne!(keyed_digest(&one, "a@b.de"), Blake3::of(b"a@b.de"));
}

#[test]
fn patterns_stay_linear_on_hostile_text() {
    // Each of these makes a backtracking or rescanning matcher quadratic; at 1 MB that would take minutes.
    for unit in ["a", "1", "1-", "a@", "a.", "+1 ", "1:", "AA00", "eyJaaaaaaaaaaa.", "tel 11 ", "-----BEGIN ", "12 "] {
        let text = unit.repeat((1 << 20) / unit.len());
        let found = find(&text);
        assert_eq!(redact(&text, &found).is_empty(), text.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn findings_are_ordered_apart_and_gone_after_redaction(
        parts in prop::collection::vec(prop::sample::select(vec![
            "a@b.de", "x", " ", "4111111111111111", "536-90-4399", "+49 30 901820", "é", "-", "7", ".", ":",
            "DE89370400440532013000", "203.0.113.7", "2001:db8::1", "tel ", "415-555-2671", "[", "\n",
        ]), 0..12)
    ) {
        let text = parts.concat();
        let found = find(&text);
        for pair in found.windows(2) {
            prop_assert!(pair[0].offset + pair[0].length <= pair[1].offset);
        }
        for finding in &found {
            prop_assert!(finding.length > 0 && !finding.matched(&text).is_empty());
        }
        let clean = redact(&text, &found);
        prop_assert!(found.is_empty() == (clean == text));
    }
}

/// Grade-school arithmetic must come through untouched. The project's copy of the test split is used.
#[test]
fn arithmetic_problems_are_left_alone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gsm8k/test.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut problems = 0;
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        for field in ["question", "answer"] {
            let text = record[field].as_str().unwrap();
            assert_eq!(kinds(text), [], "{text}");
        }
        problems += 1;
    }
    assert!(problems > 100, "{problems} problems are too few to tell");
}
