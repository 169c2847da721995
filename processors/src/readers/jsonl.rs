//! JSON Lines: one JSON object a line. A bad line is rejected by its number and the others are read.

use super::input::{Input, Line};
use super::{Broken, Options, Output, non_utf8_detail};
use serde_json::Value;

pub(super) fn read(input: &mut Input, options: &Options, output: &mut Output<'_, '_>) -> Result<(), Broken> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        let found = input.read_line(&mut line, options.line_bytes_max)?;
        number += 1;
        match found {
            Line::End => break,
            Line::TooLong { bytes } => {
                let detail = format!("line {number} has {bytes} bytes; at most {} are read", options.line_bytes_max);
                output.reject("line_too_long", Some(number), None, detail)?;
            }
            Line::Whole { offset } => read_line(&line, number, offset, output)?,
        }
    }
    if number > 1 && output.records + output.rejected == 0 {
        output.reject("empty_file", None, None, "the file has only blank lines".to_owned())?;
    }
    Ok(())
}

fn read_line(line: &[u8], number: u64, offset: u64, output: &mut Output<'_, '_>) -> Result<(), Broken> {
    if line.iter().all(|b| b.is_ascii_whitespace()) {
        return Ok(());
    }
    if let Err(e) = std::str::from_utf8(line) {
        let at = offset + e.valid_up_to() as u64;
        let start: &[u8] = if offset == 0 { line } else { &[] };
        let detail = format!("line {number}: {}", non_utf8_detail(at, start));
        return output.reject("non_utf8", Some(number), Some(at), detail);
    }
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(fields)) => output.record(&format!("#L{number}"), fields, None),
        Ok(other) => {
            let detail = format!("line {number} holds {}; expected one JSON object a line", name_of(&other));
            output.reject("not_an_object", Some(number), None, detail)
        }
        Err(e) => {
            let cut = if e.is_eof() { ": the line is cut off" } else { "" };
            let detail = format!("line {number}, column {}: {}{cut}", e.column(), bare(&e));
            output.reject("invalid_json", Some(number), None, detail)
        }
    }
}

/// The message without the place, which is given in the file's own lines.
pub(super) fn bare(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    whole.split(" at line ").next().unwrap_or(&whole).to_owned()
}

pub(super) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
