//! Quality gates: a document outside a limit is turned away, with the rule, what was measured and the limit.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;

/// The limits. Each that is absent is not applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Unicode scalar values.
    pub chars_min: Option<usize>,
    pub chars_max: Option<usize>,
    /// Runs of what is not white space.
    pub words_min: Option<usize>,
    pub words_max: Option<usize>,
    /// Part of the characters, 0 to 1, that are controls other than line end and tab, U+FFFD, private or no characters.
    pub unprintable_fraction_max: Option<f64>,
    /// Part of the lines that are not blank, 0 to 1, that repeat an earlier one.
    pub repeated_line_fraction_max: Option<f64>,
    /// BCP 47 tags; `en` allows `en-GB` too, and `und` what could not be told.
    pub languages: Option<Vec<String>>,
}

/// One limit that a document is outside of.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub rule: &'static str,
    pub measured: String,
    pub limit: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}; allowed: {}",
            self.rule.trim_end_matches("_min").trim_end_matches("_max"),
            self.measured,
            self.limit
        )
    }
}

/// A set of limits that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("quality gate {what}_min is {min} and {what}_max is {max}; no document can pass both")]
    Crossed { what: &'static str, min: usize, max: usize },
    #[error("quality gate {rule} is {given}; expected a fraction from 0 to 1")]
    NoFraction { rule: &'static str, given: String },
    #[error("quality gate languages holds `{given}`; expected BCP 47 tags such as en or pt-BR, at least one")]
    Language { given: String },
}

impl Gates {
    /// Whether some document can pass.
    pub fn validate(&self) -> Result<(), Error> {
        for (what, min, max) in [("chars", self.chars_min, self.chars_max), ("words", self.words_min, self.words_max)] {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(Error::Crossed { what, min, max });
            }
        }
        for (rule, given) in [
            ("unprintable_fraction_max", self.unprintable_fraction_max),
            ("repeated_line_fraction_max", self.repeated_line_fraction_max),
        ] {
            if let Some(given) = given.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(Error::NoFraction { rule, given: given.to_string() });
            }
        }
        let tags = self.languages.as_deref();
        match tags.map(|tags| tags.iter().find(|tag| crate::language::parse_tag(tag).is_none())) {
            Some(Some(tag)) => Err(Error::Language { given: tag.clone() }),
            Some(None) if tags.is_some_and(<[String]>::is_empty) => Err(Error::Language { given: String::new() }),
            _ => Ok(()),
        }
    }

    /// Every limit that the document is outside of, in the order of the fields; none where it passes.
    pub fn check(&self, text: &str, language: &str) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |rule, measured: String, limit: String| refusals.push(Refusal { rule, measured, limit });
        let least = |limit: usize| format!("at least {limit}");
        let most = |limit: usize| format!("at most {limit}");
        let chars = text.chars().count();
        let words = text.split_whitespace().count();
        for (rule, limit, measured) in [("chars_min", self.chars_min, chars), ("words_min", self.words_min, words)] {
            if let Some(limit) = limit.filter(|limit| measured < *limit) {
                refuse(rule, measured.to_string(), least(limit));
            }
        }
        for (rule, limit, measured) in [("chars_max", self.chars_max, chars), ("words_max", self.words_max, words)] {
            if let Some(limit) = limit.filter(|limit| measured > *limit) {
                refuse(rule, measured.to_string(), most(limit));
            }
        }
        let fractions = [
            ("unprintable_fraction_max", self.unprintable_fraction_max, unprintable_fraction as fn(&str) -> f64),
            ("repeated_line_fraction_max", self.repeated_line_fraction_max, repeated_line_fraction),
        ];
        for (rule, limit, measure) in fractions {
            let Some(limit) = limit else { continue };
            let measured = measure(text);
            if measured > limit {
                refuse(rule, format!("{measured:.4}"), format!("at most {limit}"));
            }
        }
        if let Some(allowed) = &self.languages
            && !allowed.iter().any(|tag| covers(tag, language))
        {
            refuse("languages", language.to_owned(), allowed.join(", "));
        }
        refusals
    }
}

/// Whether `allowed` is `tag` or a prefix of it that ends at a `-` (RFC 4647, basic filtering).
fn covers(allowed: &str, tag: &str) -> bool {
    let (allowed, tag) = (allowed.replace('_', "-").to_ascii_lowercase(), tag.to_ascii_lowercase());
    tag.strip_prefix(&allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Part of the characters that are not for reading, 0 to 1.
pub fn unprintable_fraction(text: &str) -> f64 {
    let unprintable = |c: char| match c {
        '\n' | '\r' | '\t' => false,
        '\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{f0000}'.. => true,
        c => c.is_control() || matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff),
    };
    let (mut all, mut found) = (0_usize, 0_usize);
    for c in text.chars() {
        all += 1;
        found += usize::from(unprintable(c));
    }
    if all == 0 { 0.0 } else { found as f64 / all as f64 }
}

/// Part of the lines that are not blank, 0 to 1, that repeat an earlier one (white space at their ends aside).
pub fn repeated_line_fraction(text: &str) -> f64 {
    let mut distinct = HashSet::new();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (all, repeated) =
        lines.fold((0, 0), |(all, repeated), line| (all + 1, repeated + usize::from(!distinct.insert(line))));
    if all == 0 { 0.0 } else { f64::from(repeated as u32) / f64::from(all as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(gates: &Gates, text: &str, language: &str) -> Vec<&'static str> {
        gates.check(text, language).iter().map(|r| r.rule).collect()
    }

    #[test]
    fn each_gate_names_rule_measure_and_limit() {
        let gates = Gates { chars_min: Some(10), words_min: Some(3), ..Gates::default() };
        let refusals = gates.check("short", "en");
        assert_eq!(
            refusals,
            [
                Refusal { rule: "chars_min", measured: "5".into(), limit: "at least 10".into() },
                Refusal { rule: "words_min", measured: "1".into(), limit: "at least 3".into() },
            ]
        );
        assert_eq!(refusals[0].to_string(), "chars is 5; allowed: at least 10");
        let gates = Gates { chars_max: Some(4), words_max: Some(1), ..Gates::default() };
        assert_eq!(rules(&gates, "a b c", "en"), ["chars_max", "words_max"]);
    }

    #[test]
    fn limits_are_inclusive() {
        let gates = Gates { chars_min: Some(3), chars_max: Some(3), words_max: Some(1), ..Gates::default() };
        assert!(rules(&gates, "äöü", "en").is_empty());
    }

    #[test]
    fn unprintable_and_repeated_parts_are_measured() {
        assert_eq!(unprintable_fraction("ab\n\t"), 0.0);
        assert_eq!(unprintable_fraction("a\0\u{fffd}\u{e000}"), 0.75);
        assert_eq!(repeated_line_fraction("a\n\nb\n a \na"), 0.5);
        assert_eq!((unprintable_fraction(""), repeated_line_fraction("\n\n")), (0.0, 0.0));
        let gates =
            Gates { unprintable_fraction_max: Some(0.1), repeated_line_fraction_max: Some(0.3), ..Gates::default() };
        assert_eq!(rules(&gates, "\0\0\nx\nx", "en"), ["unprintable_fraction_max", "repeated_line_fraction_max"]);
    }

    #[test]
    fn languages_match_by_prefix() {
        let gates = Gates { languages: Some(vec!["en".into(), "pt-BR".into()]), ..Gates::default() };
        for (tag, passes) in
            [("en", true), ("en-GB", true), ("pt-br", true), ("pt", false), ("und", false), ("eng", false)]
        {
            assert_eq!(rules(&gates, "x", tag).is_empty(), passes, "{tag}");
        }
    }

    #[test]
    fn gates_that_nothing_can_pass_are_refused() {
        let crossed = Gates { words_min: Some(5), words_max: Some(4), ..Gates::default() };
        assert!(crossed.validate().unwrap_err().to_string().contains("words_min is 5"));
        let fraction = Gates { unprintable_fraction_max: Some(1.5), ..Gates::default() };
        assert!(fraction.validate().unwrap_err().to_string().contains("1.5"));
        let language = Gates { languages: Some(vec!["english please".into()]), ..Gates::default() };
        assert!(language.validate().unwrap_err().to_string().contains("english please"));
        assert!(Gates { languages: Some(vec![]), ..Gates::default() }.validate().is_err());
        assert!(Gates::default().validate().is_ok());
        assert!(serde_saphyr::from_str::<Gates>("chars_minimum: 3").is_err());
    }
}
