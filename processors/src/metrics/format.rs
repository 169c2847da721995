//! Whether an answer has the required form, and the final number it gives, as GSM8K marks it (`#### 42`).

use regex::Regex;
use std::sync::LazyLock;

/// The form a GSM8K answer must have: its last line is `####` and a number.
pub const GSM8K_FORM: &str = r"(?m)^#### -?\$?[0-9][0-9,]*(?:\.[0-9]+)?\s*\z";

/// The official pattern (Cobbe et al. 2021, `grade-school-math/dataset.py`), which takes the first match.
static FINAL_ANSWER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"#### (\-?[0-9\.\,]+)").expect("the pattern is tested"));

/// A form that answers must have: valid where the pattern matches anywhere in the answer (anchor it to match the whole).
#[derive(Clone, Debug)]
pub struct Form(Regex);

/// A pattern that is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a regular expression: {source}")]
pub struct Error {
    pattern: String,
    source: Box<regex::Error>,
}

impl Form {
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let failed = |source| Error { pattern: pattern.to_owned(), source: Box::new(source) };
        Regex::new(pattern).map(Self).map_err(failed)
    }

    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// 1 where the answer has the form, else 0.
    pub fn validity(&self, answer: &str) -> f64 {
        f64::from(u8::from(self.0.is_match(answer)))
    }
}

/// The final answer as the official script extracts it: what follows the first `#### `, without commas.
pub fn final_answer(text: &str) -> Option<String> {
    FINAL_ANSWER.captures(text).map(|found| found[1].replace(',', ""))
}

/// 1 where prediction and reference give the same final answer, as text, which is how the official script decides;
/// `None` where the reference gives none, and the sample is unscored.
pub fn final_answer_match(prediction: &str, gold: &str) -> Option<f64> {
    let gold = final_answer(gold)?;
    Some(f64::from(u8::from(final_answer(prediction) == Some(gold))))
}

/// A decimal number in one spelling, so that `1,000.0`, `1000` and `$1000` are equal: sign, digits without leading
/// zeros, fraction without trailing ones. `None` where the text, white space, a leading `$` and a closing `.` or `%`
/// aside, is no plain decimal.
pub fn canonical_number(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(['.', '%']);
    let (negative, rest) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = rest.strip_prefix('$').unwrap_or(rest).replace(',', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && (whole, fraction) != ("0", "") { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_answer_is_extracted_as_officially() {
        for (text, expected) in [
            ("48/2 = 24\n#### 72", Some("72")),
            ("#### -1,234.50 dollars", Some("-1234.50")),
            ("#### 1\n#### 2", Some("1")),
            ("#### 12.", Some("12.")),
            ("####72", None),
            ("#### $5", None),
            ("the answer is 5", None),
        ] {
            assert_eq!(final_answer(text).as_deref(), expected, "{text}");
        }
        assert_eq!(final_answer_match("so\n#### 1,000", "#### 1000"), Some(1.0));
        assert_eq!(final_answer_match("1000", "#### 1000"), Some(0.0));
        assert_eq!(final_answer_match("#### 5", "no mark"), None);
    }

    #[test]
    fn the_required_form_is_checked() {
        let form = Form::new(GSM8K_FORM).unwrap();
        for (answer, valid) in [
            ("2+2=4\n#### 4", 1.0),
            ("#### 1,234.5\n", 1.0),
            ("#### -3", 1.0),
            ("#### 4 apples", 0.0),
            ("2+2=4", 0.0),
            ("#### 4\nand more", 0.0),
            ("x #### 4", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(form.validity(answer), valid, "{answer}");
        }
        assert!(Form::new("(").unwrap_err().to_string().contains("`(` is not a regular expression"));
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (text, expected) in [
            ("1,000.0", Some("1000")),
            ("$1000.", Some("1000")),
            ("-$0.50", Some("-0.5")),
            ("-0.0", Some("0")),
            ("007", Some("7")),
            (".5", Some("0.5")),
            ("50%", Some("50")),
            ("1e5", None),
            ("1.2.3", None),
            ("", None),
            ("-", None),
            ("ten", None),
        ] {
            assert_eq!(canonical_number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn every_reference_answer_of_the_test_split_has_the_form_and_a_number() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gsm8k/test.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let form = Form::new(GSM8K_FORM).unwrap();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let answer = record["answer"].as_str().unwrap();
            assert_eq!((form.validity(answer), final_answer_match(answer, answer)), (1.0, Some(1.0)), "{answer}");
            assert!(canonical_number(&final_answer(answer).unwrap()).is_some(), "{answer}");
        }
    }
}
