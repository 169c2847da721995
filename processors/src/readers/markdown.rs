//! Markdown: the file is the document, and YAML front matter between `---` lines is its metadata.

use super::input::Input;
use super::{Broken, Options, Output, text};
use serde_json::{Map, Value};

pub(super) fn read(input: &mut Input, options: &Options, output: &mut Output<'_, '_>) -> Result<(), Broken> {
    let Some(whole) = text::document(input, options, output)? else { return Ok(()) };
    let Some((yaml, body)) = split_front_matter(&whole) else {
        return output.record("", Map::new(), Some(whole));
    };
    match parse(yaml) {
        Ok(_) if body.trim().is_empty() => {
            output.reject("empty_file", None, None, "the file has front matter and no text".to_owned())
        }
        Ok(fields) => output.record("", fields, Some(body.to_owned())),
        Err((line, detail)) => output.reject("bad_front_matter", line, None, detail),
    }
}

/// The YAML and the text after it, where the first line is `---` and a later one is `---` or `...`.
fn split_front_matter(whole: &str) -> Option<(&str, &str)> {
    let mut lines = whole.split_inclusive('\n');
    let opening = lines.next().filter(|line| line.trim_end() == "---")?;
    let mut at = opening.len();
    for line in lines {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((&whole[opening.len()..at], &whole[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

/// The front matter as an object, or the line of the file and what is wrong there.
fn parse(yaml: &str) -> Result<Map<String, Value>, (Option<u64>, String)> {
    let expected = "expected `key: value` lines between the two `---`";
    if yaml.trim().is_empty() {
        return Ok(Map::new());
    }
    // YAML 1.2: `no` and `y` are words, not booleans.
    let options = serde_saphyr::options! { strict_booleans: true };
    match serde_saphyr::from_str_with_options::<Value>(yaml, options) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err((Some(2), format!("front matter is {}; {expected}", super::jsonl::name_of(&other)))),
        Err(e) => {
            // Line 1 of the file is the opening `---`.
            let place = e.location().map(|l| (l.line() + 1, l.column()));
            let at = place.map(|(line, column)| format!(" at line {line}, column {column}")).unwrap_or_default();
            Err((place.map(|(line, _)| line), format!("front matter is not valid YAML{at}; {expected}")))
        }
    }
}
