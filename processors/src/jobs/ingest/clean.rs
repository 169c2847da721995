//! From a record to a document or a rejection. Pure: no disk, no clock.

use crate::dedup::{Deduplicator, Novelty};
use crate::metadata::{self, FileFacts, Metadata};
use crate::pipeline::{Dedup, IngestSpec};
use crate::quality::Gates;
use crate::readers::Record;
use crate::redact::{self, Kind};
use crate::template::Templates;
use crate::{Error, dedup};
use cairn_schemas::{Blake3, Ref};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// The one template of a cleaner.
const TEXT: &str = "text";
/// Most refusals of one document that its rejection names.
const REFUSALS_NAMED_MAX: usize = 4;

/// A document that was kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cleaned {
    pub(crate) document: Blake3,
    pub(crate) text: String,
    pub(crate) fields: Map<String, Value>,
    pub(crate) metadata: Metadata,
    pub(crate) fingerprint: Blake3,
    /// Personal data replaced, by kind.
    pub(crate) redactions: BTreeMap<&'static str, u64>,
}

/// Why a record became no document. Holds measures and places, never text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turned {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
    pub(crate) duplicate_of: Option<Ref>,
    pub(crate) jaccard: Option<f64>,
    pub(crate) offset: Option<u64>,
    pub(crate) match_digest: Option<Blake3>,
}

impl Turned {
    fn by(rule: &'static str, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            rule,
            detail: detail.into(),
            duplicate_of: None,
            jaccard: None,
            offset: None,
            match_digest: None,
        })
    }
}

/// The rules of one ingestion, and what it has kept so far.
pub(crate) struct Cleaner {
    template: Option<Templates>,
    redact: bool,
    /// Under which matches are digested.
    match_key: [u8; 32],
    gates: Gates,
    defaults: metadata::Defaults,
    seen: Option<Deduplicator>,
    /// The document that each kept fingerprint belongs to.
    documents: HashMap<Blake3, Blake3>,
}

impl Cleaner {
    pub(crate) fn new(spec: &IngestSpec, match_key: [u8; 32]) -> Result<Self, Error> {
        let template = spec.text.as_deref().map(|text| Templates::new([(TEXT, text)])).transpose()?;
        let gates = spec.quality.gates().map_err(|why| Error::refused("`quality`", why))?;
        let seen = match spec.dedup {
            Dedup::Off => None,
            Dedup::Above { jaccard } => {
                Some(Deduplicator::new(jaccard).map_err(|e| Error::refused("`dedup`", e.to_string()))?)
            }
        };
        let defaults = metadata::Defaults {
            timestamp: spec.timestamp.clone(),
            author: spec.author.clone(),
            access_policy: spec.access_policy.clone(),
            content_type: None,
            language: spec.language.clone(),
        };
        Ok(Self { template, redact: spec.redact, match_key, gates, defaults, seen, documents: HashMap::new() })
    }

    pub(crate) fn clean(&mut self, record: Record) -> Result<Cleaned, Box<Turned>> {
        let Record { mut fields, mut text, source_uri, content_type, modified } = record;
        let mut redactions = BTreeMap::new();
        // Who wrote it is stored sealed, so that they can be found and erased: an address must stay one.
        let author = metadata::author_of(&fields);
        if self.redact {
            fields.values_mut().for_each(|value| redact_value(value, &mut redactions));
            text.iter_mut().for_each(|text| redact_text(text, &mut redactions));
        }
        let text = self.text_of(&fields, text)?;
        self.refuse_residue(&text)?;
        let file = FileFacts { source_uri: &source_uri, content_type, modified };
        let mut metadata = metadata::assemble(&fields, &text, &self.defaults, file)
            .map_err(|e| Turned::by(e.rule(), e.to_string()))?;
        if let Some(author) = author {
            metadata.author = author;
        }
        self.check_quality(&text, &metadata)?;
        let document = Blake3::of(text.as_bytes());
        let fingerprint = self.check_novelty(&text, document)?;
        Ok(Cleaned { document, text, fields, metadata, fingerprint, redactions })
    }

    fn text_of(&self, fields: &Map<String, Value>, text: Option<String>) -> Result<String, Box<Turned>> {
        if let Some(template) = &self.template {
            return template.render(TEXT, fields, text.as_deref()).map_err(|e| Turned::by("template", e.to_string()));
        }
        if let Some(text) = text {
            return Ok(text);
        }
        match fields.get(TEXT) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Turned::by("no_text", "field `text` is not a string; give the job a `text` template")),
            None => {
                let there = fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let why =
                    format!("the record has no field `text`; its fields are {there}; give the job a `text` template");
                Err(Turned::by("no_text", why))
            }
        }
    }

    /// Fields that are clean alone can make personal data together.
    fn refuse_residue(&self, text: &str) -> Result<(), Box<Turned>> {
        let found = if self.redact { redact::find(text).into_iter().next() } else { None };
        let Some(finding) = found else { return Ok(()) };
        let detail = format!("{} of {} bytes is left after redaction", finding.kind.name(), finding.length);
        let mut turned = Turned::by("personal_data", detail);
        turned.offset = Some(finding.offset as u64);
        turned.match_digest = Some(redact::keyed_digest(&self.match_key, finding.matched(text)));
        Err(turned)
    }

    fn check_quality(&self, text: &str, metadata: &Metadata) -> Result<(), Box<Turned>> {
        let refusals = self.gates.check(text, &metadata.language.tag);
        let Some(first) = refusals.first() else { return Ok(()) };
        let named: Vec<String> = refusals.iter().take(REFUSALS_NAMED_MAX).map(ToString::to_string).collect();
        Err(Turned::by(setting_of(first.rule), named.join("; ")))
    }

    fn check_novelty(&mut self, text: &str, document: Blake3) -> Result<Blake3, Box<Turned>> {
        let Some(seen) = &mut self.seen else { return Ok(dedup::fingerprint(text)) };
        let checked = seen.check(text);
        let of = |fingerprint: &Blake3| self.documents.get(fingerprint).copied().map(Ref::Doc);
        match checked.novelty {
            Novelty::New => {
                self.documents.insert(checked.fingerprint, document);
                Ok(checked.fingerprint)
            }
            Novelty::Exact => Err(repeats(
                "exact_duplicate",
                of(&checked.fingerprint),
                1.0,
                "the normalised text is that of an earlier document",
            )),
            Novelty::Near { of: earlier, jaccard } => {
                let detail = format!("Jaccard similarity {jaccard:.3} to an earlier document");
                Err(repeats("near_duplicate", of(&earlier), jaccard, detail))
            }
        }
    }
}

fn repeats(rule: &'static str, of: Option<Ref>, jaccard: f64, detail: impl Into<String>) -> Box<Turned> {
    let mut turned = Turned::by(rule, detail);
    (turned.duplicate_of, turned.jaccard) = (of, Some(jaccard));
    turned
}

/// The gate's name as pipelines write it.
fn setting_of(rule: &'static str) -> &'static str {
    match rule {
        "chars_min" => "min_chars",
        "chars_max" => "max_chars",
        "words_min" => "min_words",
        "words_max" => "max_words",
        "unprintable_fraction_max" => "max_unprintable",
        "repeated_line_fraction_max" => "max_repeated_lines",
        other => other,
    }
}

fn redact_text(text: &mut String, counts: &mut BTreeMap<&'static str, u64>) {
    let findings = redact::find(text);
    if findings.is_empty() {
        return;
    }
    findings.iter().for_each(|finding| *counts.entry(Kind::name(finding.kind)).or_default() += 1);
    *text = redact::redact(text, &findings);
}

fn redact_value(value: &mut Value, counts: &mut BTreeMap<&'static str, u64>) {
    match value {
        Value::String(text) => redact_text(text, counts),
        Value::Array(values) => values.iter_mut().for_each(|value| redact_value(value, counts)),
        Value::Object(members) => members.values_mut().for_each(|value| redact_value(value, counts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::Timestamp;
    use serde_json::json;

    fn cleaner(spec: Value) -> Cleaner {
        let mut whole = json!({"paths": ["x"], "author": "a", "access_policy": "public"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Cleaner::new(&serde_json::from_value(whole).unwrap(), [7; 32]).unwrap()
    }

    fn record(fields: Value, text: Option<&str>) -> Record {
        Record {
            fields: fields.as_object().unwrap().clone(),
            text: text.map(str::to_owned),
            source_uri: "a.jsonl#L1".into(),
            content_type: "application/jsonl",
            modified: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn personal_data_is_replaced_in_text_and_fields_alike() {
        let mut cleaner = cleaner(json!({"text": "{{ q }} {{ m.b[0] }}"}));
        let cleaned =
            cleaner.clean(record(json!({"q": "write to ada@example.com now", "m": {"b": ["bob@example.com"]}}), None));
        let cleaned = cleaned.unwrap();
        assert_eq!(cleaned.text, "write to [EMAIL] now [EMAIL]");
        assert_eq!(cleaned.fields["q"], "write to [EMAIL] now");
        assert_eq!(cleaned.redactions, BTreeMap::from([("email", 2)]));
        assert_eq!(cleaned.document, Blake3::of(cleaned.text.as_bytes()));
    }

    #[test]
    fn what_only_the_template_joins_is_turned_away_without_its_text() {
        let fields = json!({"name": "ada", "host": "example.com"});
        let turned = cleaner(json!({"text": "{{ name }}@{{ host }}"})).clean(record(fields.clone(), None)).unwrap_err();
        assert_eq!((turned.rule, turned.offset), ("personal_data", Some(0)));
        assert_eq!(turned.match_digest, Some(redact::keyed_digest(&[7; 32], "ada@example.com")));
        assert!(!turned.detail.contains("example"), "{}", turned.detail);
        let kept =
            cleaner(json!({"text": "{{ name }}@{{ host }}", "redact": false})).clean(record(fields, None)).unwrap();
        assert_eq!(kept.text, "ada@example.com");
    }

    #[test]
    fn duplicates_name_the_document_they_repeat() {
        let mut cleaner = cleaner(json!({}));
        let words: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
        let first = cleaner.clean(record(json!({}), Some(&words.join(" ")))).unwrap();
        let exact = cleaner.clean(record(json!({}), Some(&format!("{}\n", words.join("  "))))).unwrap_err();
        assert_eq!((exact.rule, exact.duplicate_of), ("exact_duplicate", Some(Ref::Doc(first.document))));
        let near = cleaner.clean(record(json!({}), Some(&words[..55].join(" ")))).unwrap_err();
        assert_eq!((near.rule, near.duplicate_of), ("near_duplicate", Some(Ref::Doc(first.document))));
        assert!(near.jaccard.unwrap() > 0.8);
    }

    #[test]
    fn every_rule_says_what_would_be_right() {
        for (spec, fields, rule, said) in [
            (json!({}), json!({"question": "q", "answer": "a"}), "no_text", "its fields are question, answer"),
            (json!({}), json!({"text": 3}), "no_text", "not a string"),
            (json!({"text": "{{ prompt }}"}), json!({"question": "q"}), "template", "no field `prompt`"),
            (json!({"quality": {"min_chars": 9}}), json!({"text": "short"}), "min_chars", "at least 9"),
            (json!({"author": null}), json!({"text": "some text"}), "missing_metadata", "author"),
            (json!({}), json!({"text": ""}), "min_chars", "at least 1"),
        ] {
            let turned = cleaner(spec).clean(record(fields, None)).unwrap_err();
            assert_eq!(turned.rule, rule);
            assert!(turned.detail.contains(said), "{}", turned.detail);
        }
    }
}
