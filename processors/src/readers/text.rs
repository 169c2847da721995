//! Plain text: the file is the document.

use super::input::{Document, Input};
use super::{Broken, Options, Output, non_utf8_detail};
use serde_json::Map;

pub(super) fn read(input: &mut Input, options: &Options, output: &mut Output<'_, '_>) -> Result<(), Broken> {
    match document(input, options, output)? {
        Some(text) => output.record("", Map::new(), Some(text)),
        None => Ok(()),
    }
}

/// The file's text; `None` where it was rejected, or is empty and the caller says so.
pub(super) fn document(
    input: &mut Input,
    options: &Options,
    output: &mut Output<'_, '_>,
) -> Result<Option<String>, Broken> {
    let bytes = match input.read_document(options.document_bytes_max)? {
        Document::Whole(bytes) => bytes,
        Document::TooLarge { bytes } => {
            let detail = format!("the file has {bytes} bytes; at most {} are read", options.document_bytes_max);
            output.reject("document_too_large", None, None, detail)?;
            return Ok(None);
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => {
            output.reject("empty_file", None, None, "the file has only white space".to_owned())?;
            Ok(None)
        }
        Ok(text) => Ok(Some(text)),
        Err(e) => {
            let at = e.utf8_error().valid_up_to() as u64;
            output.reject("non_utf8", None, Some(at), non_utf8_detail(at, e.as_bytes()))?;
            Ok(None)
        }
    }
}
