//! The metadata that every document must have: source URI, timestamp, author, access policy, content type, language.
//!
//! Each is taken from the record itself, else from the job's defaults, else from the file; what none of them gives is
//! named, and the document is not ingested.

use crate::language::{self, Language};
use cairn_schemas::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Member names under which a record gives each value, its own name first; also looked for inside its `metadata`.
const SOURCE_URI_NAMES: [&str; 4] = ["source_uri", "source_url", "uri", "url"];
const TIMESTAMP_NAMES: [&str; 6] = ["timestamp", "created_at", "published_at", "updated_at", "date", "datetime"];
const AUTHOR_NAMES: [&str; 4] = ["author", "authors", "source", "publisher"];
const ACCESS_POLICY_NAMES: [&str; 2] = ["access_policy", "access_policy_tag"];
const CONTENT_TYPE_NAMES: [&str; 2] = ["content_type", "mime_type"];
const LANGUAGE_NAMES: [&str; 2] = ["language", "lang"];
/// Longest value that is taken as metadata.
const VALUE_BYTES_MAX: usize = 2_048;

/// The six values, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    pub source_uri: String,
    pub timestamp: Timestamp,
    pub author: String,
    pub access_policy: String,
    pub content_type: String,
    pub language: Language,
}

/// What a job says of all documents that do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    pub timestamp: Option<String>,
    pub author: Option<String>,
    pub access_policy: Option<String>,
    pub content_type: Option<String>,
    pub language: Option<String>,
}

/// What is known from the file that the document stands in.
#[derive(Clone, Copy, Debug)]
pub struct FileFacts<'a> {
    pub source_uri: &'a str,
    pub content_type: &'a str,
    pub modified: Timestamp,
}

/// What is missing or wrong, all of it. As a rejection's rule: `missing_metadata` or `invalid_metadata`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(missing, invalid))]
pub struct Error {
    pub missing: Vec<&'static str>,
    /// The value's name and what is wrong with it; never the value.
    pub invalid: Vec<(&'static str, String)>,
}

impl Error {
    pub fn rule(&self) -> &'static str {
        if self.invalid.is_empty() { "missing_metadata" } else { "invalid_metadata" }
    }
}

fn describe(missing: &[&'static str], invalid: &[(&'static str, String)]) -> String {
    let mut parts = Vec::new();
    if !missing.is_empty() {
        let names = missing.join(", ");
        parts.push(format!("required metadata is missing: {names}; give it in the record or as a default of the job"));
    }
    parts.extend(invalid.iter().map(|(name, why)| format!("{name} {why}")));
    parts.join("; ")
}

/// Assembles a document's metadata from its record, the job's defaults and the file, in this order.
///
/// The language is detected from `text` where nobody gives it.
pub fn assemble(
    fields: &Map<String, Value>,
    text: &str,
    defaults: &Defaults,
    file: FileFacts<'_>,
) -> Result<Metadata, Error> {
    let mut problems = Error { missing: Vec::new(), invalid: Vec::new() };
    let mut text_of = |names: &[&'static str], default: Option<&str>, fallback: Option<&str>| {
        let value = match given(fields, names, plain_text) {
            Some(Ok(value)) => Some(value),
            Some(Err(why)) => {
                problems.invalid.push((names[0], why));
                return String::new();
            }
            None => default.or(fallback).map(str::to_owned),
        };
        let value = value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        value.unwrap_or_else(|| {
            problems.missing.push(names[0]);
            String::new()
        })
    };
    let source_uri = text_of(&SOURCE_URI_NAMES, None, Some(file.source_uri));
    let author = text_of(&AUTHOR_NAMES, defaults.author.as_deref(), None);
    let access_policy = text_of(&ACCESS_POLICY_NAMES, defaults.access_policy.as_deref(), None);
    let content_type = text_of(&CONTENT_TYPE_NAMES, defaults.content_type.as_deref(), Some(file.content_type));
    let default_time = || defaults.timestamp.as_deref().map_or(Ok(file.modified), parse_time);
    let timestamp = given(fields, &TIMESTAMP_NAMES, time).unwrap_or_else(default_time);
    let default_language = || defaults.language.as_deref().map_or_else(|| Ok(language::detect(text)), language_of);
    let language = given(fields, &LANGUAGE_NAMES, language_value).unwrap_or_else(default_language);
    let timestamp = timestamp.map_err(|why| problems.invalid.push(("timestamp", why)));
    let language = language.map_err(|why| problems.invalid.push(("language", why)));
    match (timestamp, language) {
        (Ok(timestamp), Ok(language)) if problems.missing.is_empty() && problems.invalid.is_empty() => {
            Ok(Metadata { source_uri, timestamp, author, access_policy, content_type, language })
        }
        _ => Err(problems),
    }
}

/// What the record, or its `metadata` object, gives under one of the names.
///
/// The first name can mean nothing else, so that a value that does not fit is wrong; under another (`date`, `source`) it
/// is something else and passed over.
/// The author that a record names.
pub(crate) fn author_of(fields: &Map<String, Value>) -> Option<String> {
    given(fields, &AUTHOR_NAMES, plain_text)?.ok().map(|author| author.trim().to_owned())
}

fn given<T>(
    fields: &Map<String, Value>,
    names: &[&str],
    parse: fn(&Value) -> Result<T, String>,
) -> Option<Result<T, String>> {
    let nested = fields.get("metadata").and_then(Value::as_object);
    let present = |value: &&Value| !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
    [Some(fields), nested].into_iter().flatten().find_map(|map| {
        names.iter().enumerate().find_map(|(at, name)| {
            let parsed = parse(map.get(*name).filter(present)?);
            (parsed.is_ok() || at == 0).then_some(parsed)
        })
    })
}

/// A string, or a list of strings joined by commas (several authors).
fn plain_text(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) if !parts.is_empty() && parts.iter().all(Value::is_string) => {
            parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        _ => return Err("is not a string".to_owned()),
    };
    if text.len() > VALUE_BYTES_MAX {
        return Err(format!("has {} bytes; at most {VALUE_BYTES_MAX} are taken", text.len()));
    }
    Ok(text)
}

fn time(value: &Value) -> Result<Timestamp, String> {
    match value {
        Value::String(text) => parse_time(text),
        Value::Number(number) => number.as_i64().map(from_epoch).ok_or_else(time_expected),
        _ => Err(time_expected()),
    }
}

fn time_expected() -> String {
    "is not a time; expected RFC 3339 such as 2026-01-31T12:00:00Z, a date, or seconds since 1970".to_owned()
}

/// RFC 3339, a date, or `2026-01-31 12:00:00`, which is taken as UTC.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let parsed = text.parse::<Timestamp>().or_else(|e| match text.split_once([' ', 'T']) {
        Some((date, time)) if !time.contains(['Z', '+', '-']) => format!("{date}T{time}Z").parse(),
        _ => Err(e),
    });
    parsed.map_err(|_| time_expected())
}

/// Seconds, milliseconds or microseconds since 1970, told apart by size: each covers the years 1973 to 5138.
fn from_epoch(number: i64) -> Timestamp {
    let micros = match number.unsigned_abs() {
        0..100_000_000_000 => number.saturating_mul(1_000_000),
        100_000_000_000..100_000_000_000_000 => number.saturating_mul(1_000),
        _ => number,
    };
    Timestamp::from_micros(micros)
}

fn language_value(value: &Value) -> Result<Language, String> {
    value.as_str().ok_or_else(|| "is not a string".to_owned()).and_then(language_of)
}

fn language_of(tag: &str) -> Result<Language, String> {
    let expected = || "is not a BCP 47 language tag such as en or pt-BR".to_owned();
    Ok(Language { tag: language::parse_tag(tag.trim()).ok_or_else(expected)?, confidence: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn modified() -> Timestamp {
        Timestamp::from_micros(1)
    }

    fn file() -> FileFacts<'static> {
        FileFacts { source_uri: "a.jsonl#L1", content_type: "application/jsonl", modified: modified() }
    }

    fn of(record: Value, defaults: &Defaults) -> Result<Metadata, Error> {
        let fields = record.as_object().unwrap().clone();
        assemble(&fields, "Short text", defaults, file())
    }

    #[test]
    fn the_record_comes_before_the_job_and_the_job_before_the_file() {
        let defaults = Defaults {
            author: Some("job".into()),
            access_policy: Some("public".into()),
            language: Some("de".into()),
            ..Defaults::default()
        };
        let found =
            of(json!({"author": "Ada", "metadata": {"language": "EN", "date": "2024-05-01"}}), &defaults).unwrap();
        assert_eq!(found.author, "Ada");
        assert_eq!(found.access_policy, "public");
        assert_eq!(found.language, Language { tag: "en".into(), confidence: None });
        assert_eq!(found.timestamp.to_string(), "2024-05-01T00:00:00.000000Z");
        assert_eq!((found.source_uri.as_str(), found.content_type.as_str()), (file().source_uri, file().content_type));
        assert_eq!(of(json!({}), &defaults).unwrap().timestamp, modified());
    }

    #[test]
    fn everything_missing_or_wrong_is_named() {
        let error = of(json!({"timestamp": "yesterday", "language": 7}), &Defaults::default()).unwrap_err();
        assert_eq!(error.missing, ["author", "access_policy"]);
        assert_eq!(error.invalid.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["timestamp", "language"]);
        assert_eq!(error.rule(), "invalid_metadata");
        let text = error.to_string();
        assert!(text.contains("author, access_policy") && text.contains("RFC 3339"), "{text}");
        assert!(!text.contains("yesterday"), "{text}");
    }

    #[test]
    fn what_another_name_holds_is_metadata_only_where_it_fits() {
        let defaults = Defaults { access_policy: Some("public".into()), ..Defaults::default() };
        let record = json!({"date": "5/1/24", "source": {"id": 1}, "authors": ["Ada", "Bo"], "lang": "not a tag"});
        let found = of(record, &defaults).unwrap();
        assert_eq!((found.timestamp, found.author.as_str()), (modified(), "Ada, Bo"));
        assert_eq!(found.language.tag, "und");
    }

    #[test]
    fn times_come_in_several_forms() {
        for (given, expected) in [
            (json!("2024-05-01T10:00:00+02:00"), "2024-05-01T08:00:00.000000Z"),
            (json!("2024-05-01 10:00:00"), "2024-05-01T10:00:00.000000Z"),
            (json!(1_714_557_600), "2024-05-01T10:00:00.000000Z"),
            (json!(1_714_557_600_000_i64), "2024-05-01T10:00:00.000000Z"),
            (json!(1_714_557_600_000_000_i64), "2024-05-01T10:00:00.000000Z"),
        ] {
            assert_eq!(time(&given).unwrap().to_string(), expected);
        }
    }
}
