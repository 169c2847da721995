//! Personal data and secrets: found by form, checked where the form has a check (Luhn, mod 97, address parsing), and
//! replaced. A finding holds where and how long, never what.
//!
//! Every pattern's repetitions are bounded, so that finding all matches takes time linear in the text. Forms that
//! arithmetic shares (`500-200-1000`) count only outside of arithmetic: see `is_arithmetic`.

mod checks;

use cairn_schemas::Blake3;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// What was found, by form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Secret,
    Email,
    Iban,
    CreditCard,
    Ssn,
    IpAddress,
    Phone,
}

impl Kind {
    /// All kinds; where two findings overlap, the earlier kind here is kept.
    pub const ALL: [Kind; 7] =
        [Kind::Secret, Kind::Email, Kind::Iban, Kind::CreditCard, Kind::Ssn, Kind::IpAddress, Kind::Phone];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::Email => "email",
            Kind::Iban => "iban",
            Kind::CreditCard => "credit_card",
            Kind::Ssn => "ssn",
            Kind::IpAddress => "ip_address",
            Kind::Phone => "phone",
        }
    }

    /// What stands in the text instead.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Secret => "[SECRET]",
            Kind::Email => "[EMAIL]",
            Kind::Iban => "[IBAN]",
            Kind::CreditCard => "[CREDIT_CARD]",
            Kind::Ssn => "[SSN]",
            Kind::IpAddress => "[IP_ADDRESS]",
            Kind::Phone => "[PHONE]",
        }
    }
}

/// Where something was found: byte offset and length in the text as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub offset: usize,
    pub length: usize,
    pub kind: Kind,
}

impl Finding {
    /// The matched text, for digesting; it must not be stored.
    pub fn matched<'a>(&self, text: &'a str) -> &'a str {
        &text[self.offset..self.offset + self.length]
    }
}

/// Everything found in `text`, in order, without overlaps.
pub fn find(text: &str) -> Vec<Finding> {
    find_kinds(text, &Kind::ALL)
}

/// What is found of the kinds named.
pub fn find_kinds(text: &str, kinds: &[Kind]) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let spans = match kind {
            Kind::Secret => secrets(text),
            Kind::Email => emails(text),
            Kind::Iban => ibans(text),
            Kind::CreditCard => checks::credit_cards(text),
            Kind::Ssn => ssns(text),
            Kind::IpAddress => ip_addresses(text),
            Kind::Phone => phones(text),
        };
        let mut spans = spans;
        spans.sort_unstable();
        let before = std::mem::take(&mut kept);
        let mut earlier = before.into_iter().peekable();
        let mut end = 0;
        for (offset, length) in spans {
            while let Some(finding) = earlier.next_if(|f| f.offset < offset + length) {
                end = end.max(finding.offset + finding.length);
                kept.push(finding);
            }
            // Whatever was kept before this point and reaches into the span wins.
            if offset >= end {
                end = offset + length;
                kept.push(Finding { offset, length, kind });
            }
        }
        kept.extend(earlier);
        kept.sort_unstable();
    }
    kept
}

/// `text` with each finding replaced by its placeholder. The findings are of this text, in order, without overlaps.
pub fn redact(text: &str, findings: &[Finding]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for finding in findings {
        out.push_str(&text[at..finding.offset]);
        out.push_str(finding.kind.placeholder());
        at = finding.offset + finding.length;
    }
    out.push_str(&text[at..]);
    out
}

/// Digest of what was matched under a secret key (BLAKE3, keyed): tells whether two matches are the same, and cannot be
/// guessed back by whoever lacks the key, as a plain digest of a phone number could.
pub fn keyed_digest(key: &[u8; 32], matched: &str) -> Blake3 {
    Blake3::from_bytes(*blake3::keyed_hash(key, matched.as_bytes()).as_bytes())
}

/// Byte offset and length.
type Span = (usize, usize);

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is written here and tested")
}

/// The character before and after a span; white space counts.
fn around(text: &str, (offset, length): Span) -> (Option<char>, Option<char>) {
    (text[..offset].chars().next_back(), text[offset + length..].chars().next())
}

/// Whether a span of digits stands in a calculation: next to it, spaces aside, is an operator, an amount or a
/// calculator mark (`<<500-200-100=200>>`).
fn is_arithmetic(text: &str, (offset, length): Span) -> bool {
    let before = text[..offset].trim_end_matches(' ').chars().next_back();
    let after = text[offset + length..].trim_start_matches(' ').chars().next();
    let operator = |c: char| matches!(c, '=' | '+' | '*' | '/' | '<' | '>' | '^' | '×' | '÷' | '−');
    let before_is = |c: char| operator(c) || matches!(c, '$' | '€' | '£' | '-');
    let after_is = |c: char| operator(c) || matches!(c, '%' | '-' | '$' | '€' | '£');
    before.is_some_and(before_is) || after.is_some_and(after_is)
}

static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i-u)\b[a-z0-9][a-z0-9._%+'-]{0,63}@[a-z0-9](?:[a-z0-9-]{0,62}\.){1,8}[a-z]{2,24}\b"));

fn emails(text: &str) -> Vec<Span> {
    if !text.contains('@') {
        return Vec::new();
    }
    EMAIL.find_iter(text).map(|m| (m.start(), m.len())).collect()
}

static IBAN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?-u)\b[A-Z]{2}[0-9]{2}"));

fn ibans(text: &str) -> Vec<Span> {
    let starts = IBAN.find_iter(text).map(|m| m.start());
    starts.filter_map(|start| checks::iban_length(&text[start..]).map(|length| (start, length))).collect()
}

static SSN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?-u)\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"));

/// United States social security numbers, in the ranges that are issued.
fn ssns(text: &str) -> Vec<Span> {
    let issued = |number: &str| {
        let (area, group, serial) = (&number[..3], &number[4..6], &number[7..]);
        area != "000" && area != "666" && !area.starts_with('9') && group != "00" && serial != "0000"
    };
    let spans = SSN.find_iter(text).filter(|m| issued(m.as_str())).map(|m| (m.start(), m.len()));
    spans.filter(|span| !is_arithmetic(text, *span)).collect()
}

static IPV4: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?-u)\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"));
static IPV6: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i-u)[0-9a-f]{2,4}:[0-9a-f:]{2,35}(?:\.[0-9.]{1,11})?"));

/// IPv4 and IPv6 addresses that can belong to someone: not loopback, unspecified or broadcast.
fn ip_addresses(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for found in IPV4.find_iter(text) {
        let span = (found.start(), found.len());
        let address = found.as_str().parse::<std::net::Ipv4Addr>();
        let owned = address.is_ok_and(|a| !a.is_loopback() && !a.is_unspecified() && !a.is_broadcast());
        if owned && !is_version(text, span) && !is_arithmetic_around_dots(text, span) {
            spans.push(span);
        }
    }
    if text.contains(':') {
        let addresses = IPV6.find_iter(text).map(|m| (m.start(), m.as_str().trim_end_matches([':', '.']).len()));
        spans.extend(addresses.filter(|span| is_ipv6(text, *span)));
    }
    spans
}

/// `v1.2.3.4`, `version 1.2.3.4`, or part of a longer dotted number.
fn is_version(text: &str, span: Span) -> bool {
    let (before, _) = around(text, span);
    let ahead = text[..span.0].trim_end().to_ascii_lowercase();
    let dotted = |c: char| c == '.' || c == '-' || c == '_' || c.is_alphanumeric();
    let continues =
        text[span.0 + span.1..].strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    before.is_some_and(dotted)
        || continues
        || ["version", "release", "section", "chapter"].iter().any(|w| ahead.ends_with(w))
}

/// A slash may follow an address (`10.0.0.1/24`) or precede it (`//10.0.0.1`), so that only these tell a calculation.
fn is_arithmetic_around_dots(text: &str, span: Span) -> bool {
    let (before, after) = around(text, span);
    before.is_some_and(|c| matches!(c, '$' | '€' | '£')) || after == Some('%')
}

fn is_ipv6(text: &str, span: Span) -> bool {
    let (before, after) = around(text, span);
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let address = &text[span.0..span.0 + span.1];
    let first_group = address.split(':').next().unwrap_or_default();
    // `face::add` in source code parses as an address: one with few groups must begin with a group that has a digit.
    let likely = address.matches(':').count() >= 4 || first_group.bytes().any(|b| b.is_ascii_digit());
    let parsed = address.parse::<std::net::Ipv6Addr>();
    !joined(before) && before != Some(':') && !joined(after) && likely && parsed.is_ok_and(|a| !a.is_loopback())
}

/// An international number, after a `+`.
static PHONE_INTERNATIONAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?-u)\+[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,5}\)[ .-]?)?[0-9]{1,5}(?:[ .-]?[0-9]{2,5}){1,5}\b")
});
/// A North American number with an area code in parentheses, or all of it joined by `-` or `.`.
static PHONE_NATIONAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?-u)(?:\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-][0-9]{4}|\b[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}|\b[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4})\b",
    )
});
/// Digits that are a number only because the text says so.
static PHONE_NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i-u)\b(?:tel|phone|telephone|mobile|cell|fax|call|text|dial|whatsapp)(?: ?(?:no|number|us|me|him|her|them|at|on|is))?[ .:]{1,3}(\(?[0-9]{2,5}\)?(?:[ ./-]?[0-9]{2,5}){1,5})\b",
    )
});
const PHONE_DIGITS_MIN: usize = 8;
const PHONE_DIGITS_MAX: usize = 15;

fn phones(text: &str) -> Vec<Span> {
    let digits = |(offset, length): Span| text[offset..offset + length].bytes().filter(u8::is_ascii_digit).count();
    let sized = |span: &Span| (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits(*span));
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    let national = PHONE_NATIONAL.find_iter(text).map(|m| (m.start(), m.len()));
    let mut spans: Vec<Span> = national.filter(|span| !is_arithmetic(text, *span) && !decimal(text, *span)).collect();
    let international = PHONE_INTERNATIONAL.find_iter(text).map(|m| (m.start(), m.len()));
    spans.extend(international.filter(sized).filter(|span| {
        let before = text[..span.0].trim_end_matches(' ').chars().next_back();
        let summand = before.is_some_and(|c| c.is_ascii_digit() || matches!(c, ')' | ']' | '>' | '=' | '%' | '$'));
        let (_, after) = around(text, *span);
        !summand && !joined(around(text, *span).0) && !joined(after) && !is_arithmetic(text, *span)
    }));
    let named = PHONE_NAMED.captures_iter(text).filter_map(|c| c.get(1)).map(|m| (m.start(), m.len()));
    spans.extend(named.filter(sized).filter(|span| !is_arithmetic(text, *span) && !decimal(text, *span)));
    spans.sort_unstable();
    spans.dedup_by(|next, kept| next.0 < kept.0 + kept.1);
    spans
}

/// Whether the digits go on as a number with `.` or `,`.
fn decimal(text: &str, (offset, length): Span) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    let behind = text[..offset].strip_suffix(['.', ',']).is_some_and(|rest| rest.ends_with(digit));
    let ahead = text[offset + length..].strip_prefix(['.', ',']).is_some_and(|rest| rest.starts_with(digit));
    behind || ahead
}

/// Keys whose issuers gave them a form of their own.
static SECRET_FORMS: LazyLock<Regex> = LazyLock::new(|| {
    let forms = [
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{36,255}",
        r"\bgithub_pat_[A-Za-z0-9_]{22,255}",
        r"\bglpat-[A-Za-z0-9_-]{20,64}",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}",
        r"\bsk-[A-Za-z0-9_-]{20,250}",
        r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,128}",
        r"\bAIza[0-9A-Za-z_-]{35}",
        r"\bhf_[A-Za-z0-9]{30,64}",
        r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}",
    ];
    pattern(&format!("(?-u){}", forms.join("|")))
});
/// A private key in PEM form; its body is at most 16 KiB.
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_BYTES_MAX: usize = 16 << 10;
/// A value that the text itself calls a secret.
static SECRET_NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i-u)\b(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?key|access[_-]?token|auth[_-]?token|token|password|passwd)["']?[ ]{0,4}(?::|=|=>)[ ]{0,4}["']?([a-z0-9_+/=.-]{16,256})"#,
    )
});
/// Bits a character below which a named value is taken for a word or a placeholder.
const ENTROPY_BITS_MIN: f64 = 3.0;

fn secrets(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = SECRET_FORMS.find_iter(text).map(|m| (m.start(), m.len())).collect();
    spans.extend(private_keys(text));
    let named = SECRET_NAMED.captures_iter(text).filter_map(|c| c.get(1));
    spans.extend(named.filter(|m| is_random(m.as_str())).map(|m| (m.start(), m.len())));
    spans.sort_unstable();
    spans.dedup_by(|next, kept| next.0 < kept.0 + kept.1);
    spans
}

fn private_keys(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(PEM_BEGIN) {
        let start = at + found;
        at = start + PEM_BEGIN.len();
        let label = text[at..].split("-----").next().unwrap_or_default();
        if label.len() > 40 || !label.ends_with("PRIVATE KEY") {
            continue;
        }
        let end_mark = format!("-----END {label}-----");
        let bound = checks::floor_char_boundary(text, start + PEM_BYTES_MAX);
        // A key that is cut off is a secret all the same.
        let end = text[at..bound].find(&end_mark).map_or(at + label.len() + "-----".len(), |e| at + e + end_mark.len());
        spans.push((start, end - start));
        at = end;
    }
    spans
}

/// Letters and digits both, and as uneven as keys are.
fn is_random(value: &str) -> bool {
    let has = |test: fn(&u8) -> bool| value.bytes().any(|b| test(&b));
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|b| counts[usize::from(b)] += 1);
    let total = value.len() as f64;
    let entropy: f64 = counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / total).map(|p| -p * p.log2()).sum();
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && entropy >= ENTROPY_BITS_MIN
}

#[cfg(test)]
mod tests;
