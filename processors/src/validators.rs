//! Rule-based judges: each looks at one answer and passes it, fails it with a reason, or says why it cannot score it.
//!
//! A judge is data: a name, a version and one rule, whose digest stands in every judgment it makes.

use crate::metrics::format::{canonical_number, final_answer};
use crate::redact::{self, Kind};
use cairn_schemas::Blake3;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Separates a rule's digest from every other digest.
const DIGEST_TAG: &str = "cairn.validator.v1";
const NAME_BYTES_MAX: usize = 63;

/// A judge as it is written in YAML or JSON:
///
/// ```yaml
/// - name: final-answer
///   version: 1
///   rule:
///     regex: { pattern: '(?m)^#### -?[0-9]+$' }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// 1 to 63 of `a-z 0-9 - _ .`.
    pub name: String,
    /// From 1; another rule under the same name takes the next.
    pub version: u32,
    pub rule: Rule,
}

/// What is asked of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// The pattern matches somewhere in the answer.
    Regex { pattern: String },
    /// The whole answer is one JSON value; with `required`, an object that has these members.
    Json {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        required: Vec<String>,
    },
    /// Characters (Unicode scalar values) and words (runs of what is not white space); at least one limit.
    Length {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chars_min: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chars_max: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words_min: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words_max: Option<usize>,
    },
    /// All of the texts occur in the answer.
    Contains {
        all: Vec<String>,
        #[serde(default)]
        ignore_case: bool,
    },
    /// None of the texts occurs in the answer.
    Forbids {
        any: Vec<String>,
        #[serde(default)]
        ignore_case: bool,
    },
    /// The answer's final number (`#### 42`) is the reference's.
    NumericAnswer {},
    /// Nothing of these kinds is found in the answer; all kinds where none is named.
    NoPii {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<Kind>>,
    },
}

/// A judgment on one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail {
        reason: String,
    },
    /// The rule does not apply to this sample; it counts neither for nor against.
    Unscored {
        reason: String,
    },
}

/// What a judge looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    pub answer: &'a str,
    /// The reference answer, where the data has one.
    pub expected: Option<&'a str>,
}

/// Why a judge cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the validators are not valid: {0}")]
    Malformed(String),
    #[error("validator `{name}`: {what}")]
    Rule { name: String, what: String },
    #[error("validator `{name}` version {version} is given twice; give one of them another name or version")]
    Twice { name: String, version: u32 },
}

/// A judge that is ready to judge.
#[derive(Clone, Debug)]
pub struct Validator {
    spec: Spec,
    digest: Blake3,
    pattern: Option<Regex>,
}

/// Reads a YAML (or JSON) list of judges; unknown keys are refused with their place.
pub fn parse(yaml: &str) -> Result<Vec<Validator>, Error> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let specs: Vec<Spec> =
        serde_saphyr::from_str_with_options(yaml, options).map_err(|e| Error::Malformed(e.to_string()))?;
    let mut validators: Vec<Validator> = Vec::new();
    for spec in specs {
        if validators.iter().any(|v| v.spec.name == spec.name && v.spec.version == spec.version) {
            return Err(Error::Twice { name: spec.name, version: spec.version });
        }
        validators.push(Validator::new(spec)?);
    }
    Ok(validators)
}

impl Validator {
    /// Checks the rule to be one that some answer can pass and some can fail.
    pub fn new(spec: Spec) -> Result<Self, Error> {
        let refused = |what: String| Error::Rule { name: spec.name.clone(), what };
        check_name(&spec.name).map_err(&refused)?;
        if spec.version == 0 {
            return Err(refused("version is 0; versions count from 1".to_owned()));
        }
        let pattern = check_rule(&spec.rule).map_err(&refused)?;
        // serde_json writes a struct's members in their declared order, so that equal rules give equal bytes.
        let written = serde_json::to_string(&spec).expect("a rule is plain data");
        let digest = Blake3::of(format!("{DIGEST_TAG}\n{written}").as_bytes());
        Ok(Self { spec, digest, pattern })
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }
    pub fn version(&self) -> u32 {
        self.spec.version
    }
    pub fn rule(&self) -> &Rule {
        &self.spec.rule
    }
    /// BLAKE3 over name, version and rule.
    pub fn digest(&self) -> Blake3 {
        self.digest
    }

    pub fn judge(&self, sample: Sample<'_>) -> Verdict {
        let answer = sample.answer;
        let outcome = match &self.spec.rule {
            Rule::Regex { pattern } => {
                let regex = self.pattern.as_ref().expect("compiled when the validator was made");
                held(regex.is_match(answer), || format!("the answer does not match `{pattern}`"))
            }
            Rule::Json { required } => json(answer, required),
            Rule::Length { chars_min, chars_max, words_min, words_max } => {
                let chars = ("characters", answer.chars().count(), *chars_min, *chars_max);
                let words = ("words", answer.split_whitespace().count(), *words_min, *words_max);
                length(chars).and_then(|()| length(words))
            }
            Rule::Contains { all, ignore_case } => {
                let missing = all.iter().find(|text| !contains(answer, text, *ignore_case));
                missing.map_or(Ok(()), |text| Err(format!("the answer does not contain `{text}`")))
            }
            Rule::Forbids { any, ignore_case } => {
                let present = any.iter().find(|text| contains(answer, text, *ignore_case));
                present.map_or(Ok(()), |text| Err(format!("the answer contains `{text}`")))
            }
            Rule::NumericAnswer {} => return numeric(sample),
            Rule::NoPii { kinds } => no_pii(answer, kinds.as_deref().unwrap_or(&Kind::ALL)),
        };
        match outcome {
            Ok(()) => Verdict::Pass,
            Err(reason) => Verdict::Fail { reason },
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!("its name is not 1 to {NAME_BYTES_MAX} of a-z, 0-9, `-`, `_`, `.`"))
}

/// The compiled pattern, where the rule has one.
fn check_rule(rule: &Rule) -> Result<Option<Regex>, String> {
    match rule {
        Rule::Regex { pattern } => {
            return Regex::new(pattern).map(Some).map_err(|e| format!("rule.regex.pattern: {e}"));
        }
        Rule::Length { chars_min, chars_max, words_min, words_max } => {
            let limits = [("chars", chars_min, chars_max), ("words", words_min, words_max)];
            if limits.iter().all(|(_, min, max)| min.is_none() && max.is_none()) {
                return Err("rule.length has no limit; give chars_min, chars_max, words_min or words_max".to_owned());
            }
            for (what, min, max) in limits {
                if let (Some(min), Some(max)) = (min, max)
                    && min > max
                {
                    return Err(format!("rule.length: {what}_min is {min} and {what}_max is {max}; nothing can pass"));
                }
            }
        }
        Rule::Contains { all: texts, .. } if texts.is_empty() || texts.iter().any(String::is_empty) => {
            return Err("rule.contains.all needs at least one text, and none may be empty".to_owned());
        }
        Rule::Forbids { any: texts, .. } if texts.is_empty() || texts.iter().any(String::is_empty) => {
            return Err("rule.forbids.any needs at least one text, and none may be empty".to_owned());
        }
        Rule::NoPii { kinds: Some(kinds) } if kinds.is_empty() => {
            return Err("rule.no_pii.kinds is empty; name kinds or leave it out for all".to_owned());
        }
        _ => {}
    }
    Ok(None)
}

fn held(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

fn json(answer: &str, required: &[String]) -> Result<(), String> {
    let value: Value = serde_json::from_str(answer.trim()).map_err(|e| format!("the answer is not JSON: {e}"))?;
    if required.is_empty() {
        return Ok(());
    }
    let object = value.as_object().ok_or("the answer is JSON but not an object")?;
    let missing: Vec<&str> = required.iter().map(String::as_str).filter(|key| !object.contains_key(*key)).collect();
    held(missing.is_empty(), || format!("the answer's object lacks {}", missing.join(", ")))
}

fn length((what, measured, min, max): (&str, usize, Option<usize>, Option<usize>)) -> Result<(), String> {
    if let Some(min) = min.filter(|min| measured < *min) {
        return Err(format!("the answer has {measured} {what}; at least {min} are asked for"));
    }
    match max.filter(|max| measured > *max) {
        Some(max) => Err(format!("the answer has {measured} {what}; at most {max} are allowed")),
        None => Ok(()),
    }
}

fn contains(answer: &str, text: &str, ignore_case: bool) -> bool {
    if ignore_case { answer.to_lowercase().contains(&text.to_lowercase()) } else { answer.contains(text) }
}

fn numeric(sample: Sample<'_>) -> Verdict {
    let unscored = |reason: &str| Verdict::Unscored { reason: reason.to_owned() };
    let Some(expected) = sample.expected else {
        return unscored("the sample has no reference answer");
    };
    // A reference may be the bare number.
    let expected = final_answer(expected).unwrap_or_else(|| expected.to_owned());
    let Some(expected) = canonical_number(&expected) else {
        return unscored("the reference answer gives no number");
    };
    match final_answer(sample.answer).as_deref().map(canonical_number) {
        None => Verdict::Fail { reason: "the answer has no final number after `#### `".to_owned() },
        Some(None) => Verdict::Fail { reason: "what follows `#### ` in the answer is no number".to_owned() },
        Some(Some(given)) if given == expected => Verdict::Pass,
        Some(Some(given)) => Verdict::Fail { reason: format!("the final number is {given}; expected {expected}") },
    }
}

/// The reason counts what was found and never quotes it.
fn no_pii(answer: &str, kinds: &[Kind]) -> Result<(), String> {
    let found = redact::find_kinds(answer, kinds);
    let counts = Kind::ALL.into_iter().filter_map(|kind| match found.iter().filter(|f| f.kind == kind).count() {
        0 => None,
        count => Some(format!("{count} {}", kind.name())),
    });
    let counts: Vec<String> = counts.collect();
    held(counts.is_empty(), || format!("the answer holds personal data: {}", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rule: &str) -> Result<Validator, Error> {
        Ok(parse(&format!("- name: v\n  version: 1\n  rule:\n    {rule}\n"))?.remove(0))
    }

    fn judge(rule: &str, answer: &str, expected: Option<&str>) -> Verdict {
        one(rule).unwrap().judge(Sample { answer, expected })
    }

    fn fails(rule: &str, answer: &str, expected: Option<&str>, part: &str) {
        match judge(rule, answer, expected) {
            Verdict::Fail { reason } => assert!(reason.contains(part), "{rule}: {reason}"),
            other => panic!("{rule} on {answer}: {other:?}"),
        }
    }

    fn passes(rule: &str, answer: &str, expected: Option<&str>) {
        assert_eq!(judge(rule, answer, expected), Verdict::Pass, "{rule} on {answer}");
    }

    #[test]
    fn each_rule_passes_and_fails_with_its_reason() {
        let regex = "regex: { pattern: '(?m)^#### -?[0-9]+$' }";
        passes(regex, "so\n#### 4", None);
        fails(regex, "four", None, "does not match");
        passes("json: {}", " [1, 2] ", None);
        fails("json: {}", "{\"a\": ", None, "not JSON");
        passes("json: { required: [a, b] }", "{\"a\": 1, \"b\": null}", None);
        fails("json: { required: [a, b, c] }", "{\"a\": 1}", None, "lacks b, c");
        fails("json: { required: [a] }", "[1]", None, "not an object");
        passes("length: { chars_max: 3, words_min: 1 }", "äöü", None);
        fails("length: { chars_max: 3 }", "four", None, "4 characters; at most 3");
        fails("length: { words_min: 2 }", "one", None, "1 words; at least 2");
        passes("contains: { all: [Yes, no] }", "Yes and no", None);
        fails("contains: { all: [yes] }", "YES", None, "`yes`");
        passes("contains: { all: [yes], ignore_case: true }", "YES", None);
        passes("forbids: { any: [as an AI] }", "Sure", None);
        fails("forbids: { any: [as an ai], ignore_case: true }", "As an AI model", None, "contains");
        passes("numeric_answer: {}", "#### 1,000.0", Some("x\n#### 1000"));
        passes("numeric_answer: {}", "#### 7", Some("7"));
        fails("numeric_answer: {}", "#### 8", Some("#### 7"), "is 8; expected 7");
        fails("numeric_answer: {}", "7", Some("#### 7"), "no final number");
        fails("numeric_answer: {}", "#### .,.", Some("#### 7"), "no number");
        passes("no_pii: {}", "nothing here", None);
        fails("no_pii: {}", "a@b.de and c@d.de", None, "2 email");
        passes("no_pii: { kinds: [phone] }", "a@b.de", None);
    }

    #[test]
    fn what_cannot_be_scored_is_not_a_failure() {
        for expected in [None, Some("no number")] {
            assert!(matches!(judge("numeric_answer: {}", "#### 7", expected), Verdict::Unscored { .. }));
        }
    }

    #[test]
    fn personal_data_is_not_quoted_in_the_reason() {
        match judge("no_pii: {}", "mail a@b.de", None) {
            Verdict::Fail { reason } => assert!(!reason.contains("a@b.de"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules_that_are_wrong_are_refused_by_name() {
        for (rule, part) in [
            ("regex: { pattern: '(' }", "pattern"),
            ("length: {}", "no limit"),
            ("length: { words_min: 3, words_max: 2 }", "words_min is 3"),
            ("contains: { all: [] }", "at least one text"),
            ("forbids: { any: [''] }", "none may be empty"),
            ("no_pii: { kinds: [] }", "kinds is empty"),
            ("no_pii: { kinds: [emails] }", "emails"),
            ("regex: { pattern: x, flags: i }", "flags"),
            ("shape: {}", "shape"),
        ] {
            let error = one(rule).unwrap_err().to_string();
            assert!(error.contains(part), "{rule}: {error}");
        }
        let located = one("length: { word_min: 1 }").unwrap_err().to_string();
        assert!(located.contains("line 4"), "{located}");
        let twice = "- {name: v, version: 1, rule: {json: {}}}\n- {name: v, version: 1, rule: {no_pii: {}}}\n";
        assert!(parse(twice).unwrap_err().to_string().contains("given twice"));
        for (name, version) in [("", 1), ("Upper", 1), ("fine", 0)] {
            let spec = Spec { name: name.into(), version, rule: Rule::NumericAnswer {} };
            assert!(Validator::new(spec).is_err(), "{name} {version}");
        }
    }

    #[test]
    fn the_digest_covers_name_version_and_rule() {
        let digest = |yaml: &str| parse(yaml).unwrap()[0].digest();
        let base = digest("- {name: v, version: 1, rule: {length: {chars_max: 3}}}");
        assert_eq!(base, digest("- rule:\n    length:\n      chars_max: 3\n  version: 1\n  name: v\n"));
        for other in [
            "- {name: w, version: 1, rule: {length: {chars_max: 3}}}",
            "- {name: v, version: 2, rule: {length: {chars_max: 3}}}",
            "- {name: v, version: 1, rule: {length: {chars_max: 4}}}",
            "- {name: v, version: 1, rule: {length: {words_max: 3}}}",
        ] {
            assert_ne!(base, digest(other), "{other}");
        }
    }
}
