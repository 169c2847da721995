//! Exact match and F1 as the official SQuAD v1.1 evaluation script defines them (Rajpurkar et al. 2016,
//! `evaluate-v1.1.py`), to the last bit: vectors from a Python reimplementation of it, beside its script, hold that.

use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Python's `\w` in text: letters and numbers of all scripts, and `_`; marks are not part of it.
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("the pattern is tested"));

/// `normalize_answer`: lower case, ASCII punctuation out, the articles `a`, `an`, `the` out, white space to one space.
pub fn normalize(answer: &str) -> String {
    let plain: String = answer.to_lowercase().chars().filter(|c| !PUNCTUATION.contains(*c)).collect();
    let without_articles = WORD.replace_all(&plain, |found: &regex::Captures<'_>| match &found[0] {
        "a" | "an" | "the" => " ".to_owned(),
        word => word.to_owned(),
    });
    tokens(&without_articles).collect::<Vec<_>>().join(" ")
}

/// Python's `str.split()`, which also splits at the four ASCII separators.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)).filter(|token| !token.is_empty())
}

/// 1 where the normalised answers are equal, else 0.
pub fn exact_match(prediction: &str, gold: &str) -> f64 {
    f64::from(u8::from(normalize(prediction) == normalize(gold)))
}

/// Harmonic mean of precision and recall over the normalised answers' tokens as multisets, 0 to 1.
///
/// As in the script, answers that normalise to nothing have F1 0 even when both do.
pub fn f1(prediction: &str, gold: &str) -> f64 {
    let (prediction, gold) = (normalize(prediction), normalize(gold));
    let mut left: HashMap<&str, usize> = HashMap::new();
    tokens(&gold).for_each(|token| *left.entry(token).or_default() += 1);
    let mut common = 0_usize;
    for token in tokens(&prediction) {
        if let Some(count) = left.get_mut(token).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let precision = common as f64 / tokens(&prediction).count() as f64;
    let recall = common as f64 / tokens(&gold).count() as f64;
    (2.0 * precision * recall) / (precision + recall)
}

/// A metric's largest value over the reference answers; `None` where there are none, and the sample is unscored.
pub fn best_over_golds<S: AsRef<str>>(metric: fn(&str, &str) -> f64, prediction: &str, golds: &[S]) -> Option<f64> {
    golds.iter().map(|gold| metric(prediction, gold.as_ref())).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_vectors_computed_by_hand() {
        assert_eq!(normalize("  The  Cat's, (an) hat! "), "cats hat");
        assert_eq!(normalize("a-the-an"), "athean");
        assert_eq!(normalize("theatre Ann"), "theatre ann");
        assert_eq!(
            (exact_match("The Eiffel Tower.", "eiffel tower"), exact_match("tower", "eiffel tower")),
            (1.0, 0.0)
        );
        // 2 of 3 predicted tokens are among 2: precision 2/3, recall 1.
        assert_eq!(f1("the eiffel tower paris", "Eiffel Tower"), 0.8);
        // Multisets: of "b b b" only one `b` counts.
        assert_eq!(f1("b b b", "b c"), 2.0 * (1.0 / 3.0) * 0.5 / (1.0 / 3.0 + 0.5));
        assert_eq!((f1("", ""), exact_match("", "the")), (0.0, 1.0));
        assert_eq!(f1("x", "y"), 0.0);
    }

    #[test]
    fn the_best_gold_counts() {
        assert_eq!(best_over_golds(f1, "eiffel tower", &["Paris", "the Eiffel Tower"]), Some(1.0));
        assert_eq!(best_over_golds(exact_match, "x", &[] as &[&str]), None);
    }

    #[test]
    fn agrees_bit_for_bit_with_the_definition_in_python() {
        let golden = include_str!("../../tests/data/squad_golden.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() > 500, "{} cases", cases.len());
        for case in cases {
            let prediction = case["prediction"].as_str().unwrap();
            let golds: Vec<&str> = case["golds"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
            assert_eq!(normalize(prediction), case["normalized"].as_str().unwrap(), "{prediction:?}");
            let exact = best_over_golds(exact_match, prediction, &golds).unwrap();
            assert_eq!(exact, case["exact_match"].as_f64().unwrap(), "{prediction:?} {golds:?}");
            let best = best_over_golds(f1, prediction, &golds).unwrap();
            let expected: f64 = case["f1"].as_str().unwrap().parse().unwrap();
            assert_eq!(best.to_bits(), expected.to_bits(), "{prediction:?} {golds:?}");
        }
    }
}
