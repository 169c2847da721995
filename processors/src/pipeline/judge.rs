//! Settings of a `judge` job: validators, each written flat with the keys of its kind.

use super::names::Target;
use crate::redact;
use crate::validators::{self, Rule, Validator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most validators of one job.
const VALIDATORS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSpec {
    /// An evaluate job, or `eval:<id>`.
    pub evaluation: Target,
    /// Its task whose samples are judged.
    pub task: String,
    /// Each checked to be one that some answer can pass and some can fail.
    #[serde(deserialize_with = "from_flat", serialize_with = "to_flat")]
    pub validators: Vec<validators::Spec>,
}

fn from_flat<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<validators::Spec>, D::Error> {
    Ok(Vec::<Checked>::deserialize(from)?.into_iter().map(|checked| checked.0).collect())
}

fn to_flat<S: Serializer>(specs: &[validators::Spec], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(specs.iter().map(ValidatorSpec::of))
}

/// One of a list, so that an error has its place.
struct Checked(validators::Spec);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ValidatorSpec::deserialize(from)?.spec().map(Checked).map_err(de::Error::custom)
    }
}

/// What a validator asks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValidatorKind {
    /// `pattern` matches somewhere.
    Regex,
    /// The whole answer is JSON; with `required`, an object that has these members.
    Json,
    /// At least one of `min_chars`, `max_chars`, `min_words`, `max_words`.
    Length,
    /// All of `all` occur.
    Contains,
    /// None of `any` occurs.
    Forbids,
    /// The final number is the reference's.
    NumericAnswer,
    /// No personal data, or none of `kinds`.
    NoPii,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorSpec {
    name: String,
    /// Another rule under the same name takes the next number.
    #[serde(default = "first_version")]
    version: u32,
    kind: ValidatorKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    required: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_chars: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_chars: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_words: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_words: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignore_case: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<redact::Kind>>,
}

fn first_version() -> u32 {
    1
}

impl ValidatorSpec {
    /// What it describes; refused where a key is missing or belongs to another kind.
    fn spec(&self) -> Result<validators::Spec, String> {
        self.refuse_strays().map_err(|why| format!("validator `{}`: {why}", self.name))?;
        let needed = |key: &str| format!("validator `{}`: `{key}` is missing", self.name);
        let rule = match self.kind {
            ValidatorKind::Regex => Rule::Regex { pattern: self.pattern.clone().ok_or_else(|| needed("pattern"))? },
            ValidatorKind::Json => Rule::Json { required: self.required.clone().unwrap_or_default() },
            ValidatorKind::Length => Rule::Length {
                chars_min: self.min_chars,
                chars_max: self.max_chars,
                words_min: self.min_words,
                words_max: self.max_words,
            },
            ValidatorKind::Contains => Rule::Contains {
                all: self.all.clone().ok_or_else(|| needed("all"))?,
                ignore_case: self.ignore_case.unwrap_or(false),
            },
            ValidatorKind::Forbids => Rule::Forbids {
                any: self.any.clone().ok_or_else(|| needed("any"))?,
                ignore_case: self.ignore_case.unwrap_or(false),
            },
            ValidatorKind::NumericAnswer => Rule::NumericAnswer {},
            ValidatorKind::NoPii => Rule::NoPii { kinds: self.kinds.clone() },
        };
        let spec = validators::Spec { name: self.name.clone(), version: self.version, rule };
        Validator::new(spec.clone()).map(|_| spec).map_err(|e| e.to_string())
    }

    /// The flat form of a rule.
    fn of(spec: &validators::Spec) -> Self {
        let validators::Spec { name, version, rule } = spec.clone();
        let mut flat = Self {
            name,
            version,
            kind: ValidatorKind::NumericAnswer,
            pattern: None,
            required: None,
            min_chars: None,
            max_chars: None,
            min_words: None,
            max_words: None,
            all: None,
            any: None,
            ignore_case: None,
            kinds: None,
        };
        match rule {
            Rule::Regex { pattern } => (flat.kind, flat.pattern) = (ValidatorKind::Regex, Some(pattern)),
            Rule::Json { required } => (flat.kind, flat.required) = (ValidatorKind::Json, Some(required)),
            Rule::Length { chars_min, chars_max, words_min, words_max } => {
                flat.kind = ValidatorKind::Length;
                (flat.min_chars, flat.max_chars, flat.min_words, flat.max_words) =
                    (chars_min, chars_max, words_min, words_max);
            }
            Rule::Contains { all, ignore_case } => {
                (flat.kind, flat.all, flat.ignore_case) = (ValidatorKind::Contains, Some(all), Some(ignore_case));
            }
            Rule::Forbids { any, ignore_case } => {
                (flat.kind, flat.any, flat.ignore_case) = (ValidatorKind::Forbids, Some(any), Some(ignore_case));
            }
            Rule::NumericAnswer {} => {}
            Rule::NoPii { kinds } => (flat.kind, flat.kinds) = (ValidatorKind::NoPii, kinds),
        }
        flat
    }

    fn refuse_strays(&self) -> Result<(), String> {
        use ValidatorKind as K;
        let given: [(&str, bool, &[K]); 10] = [
            ("pattern", self.pattern.is_some(), &[K::Regex]),
            ("required", self.required.is_some(), &[K::Json]),
            ("min_chars", self.min_chars.is_some(), &[K::Length]),
            ("max_chars", self.max_chars.is_some(), &[K::Length]),
            ("min_words", self.min_words.is_some(), &[K::Length]),
            ("max_words", self.max_words.is_some(), &[K::Length]),
            ("all", self.all.is_some(), &[K::Contains]),
            ("any", self.any.is_some(), &[K::Forbids]),
            ("ignore_case", self.ignore_case.is_some(), &[K::Contains, K::Forbids]),
            ("kinds", self.kinds.is_some(), &[K::NoPii]),
        ];
        match given.iter().find(|(_, given, of)| *given && !of.contains(&self.kind)) {
            Some((key, ..)) => Err(format!("`{key}` has no effect on a validator of this kind; remove it")),
            None => Ok(()),
        }
    }
}

impl JudgeSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.validators.is_empty() || self.validators.len() > VALIDATORS_MAX {
            return Err(format!("`validators` has {} entries; give 1 to {VALIDATORS_MAX}", self.validators.len()));
        }
        for (at, spec) in self.validators.iter().enumerate() {
            if self.validators[..at].iter().any(|other| other.name == spec.name) {
                return Err(format!("two validators are named `{}`; give each its own name", spec.name));
            }
        }
        Ok(())
    }
}
