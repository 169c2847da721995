//! From YAML text to typed values, with errors that say the place and what would be right.

use crate::Error;
use serde::de::DeserializeOwned;

/// Longest part of a line that is quoted back.
const QUOTED_CHARS_MAX: usize = 80;

/// Strict: unknown and repeated keys are refused.
pub(super) fn from_yaml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|e| {
        let (line, column) = e.location().map_or((1, 1), |place| (place.line(), place.column()));
        let message = e.without_snippet().to_string();
        let bare = message.split(&format!(" at line {line}, column")).next().unwrap_or(&message);
        wrong(origin, line, column, format!("{}{}", plainly(bare), quoted_line(text, line)))
    })
}

pub(super) fn wrong(origin: &str, line: impl Into<u64>, column: impl Into<u64>, why: String) -> Error {
    Error::Config { origin: origin.to_owned(), line: line.into(), column: column.into(), why }
}

/// The parser's words where they do not say what would be right.
fn plainly(message: &str) -> String {
    match message {
        "invalid floating point" => "expected a number, such as 0.8 or 4.0e-3".to_owned(),
        "unexpected end of input" => "the file is empty; `cairn init PATH` writes a pipeline to start from".to_owned(),
        "expected string scalar" => "expected a text".to_owned(),
        "expected sequence start" => "expected a list: lines that begin with `- `, or [a, b]".to_owned(),
        "expected mapping start" => "expected `key: value` lines".to_owned(),
        "invalid bool" | "invalid boolean" => "expected true or false".to_owned(),
        other if other.starts_with("invalid u") || other.starts_with("invalid i") => {
            "expected a whole number".to_owned()
        }
        other => match other.split_once(", set DuplicateKeyPolicy") {
            Some((found, _)) => {
                format!("{}; give it once", found.replace("duplicate mapping key: ", "a second `") + "`")
            }
            None => other.to_owned(),
        },
    }
}

fn quoted_line(text: &str, line: u64) -> String {
    let number = usize::try_from(line).unwrap_or(usize::MAX);
    match text.lines().nth(number.saturating_sub(1)).map(str::trim) {
        Some(found) if !found.is_empty() => {
            let short: String = found.chars().take(QUOTED_CHARS_MAX).collect();
            let cut = if found.chars().count() > QUOTED_CHARS_MAX { "…" } else { "" };
            format!(", in `{short}{cut}`")
        }
        _ => String::new(),
    }
}
