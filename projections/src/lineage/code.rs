//! Which commits and digests a run's code names: whatever producers call the field, a commit is hexadecimal.

use serde_json::Value;

/// The shortest beginning of a commit that is taken for one.
pub(super) const CODE_CHARS_MIN: usize = 7;
/// The longest: BLAKE3, SHA-256.
const CODE_CHARS_MAX: usize = 64;
/// Commits and digests of one run that are filed.
const CODES_MAX: usize = 64;
/// Lengths of whole digests, which are found inside other text too.
const WHOLE: [usize; 2] = [40, 64];

/// Commits and digests anywhere in a run's `code`: in lower case, sorted, each once.
pub fn codes(code: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(code, &mut found);
    found.sort();
    found.dedup();
    found.truncate(CODES_MAX);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if is_code(text) {
                found.push(text.to_ascii_lowercase());
                return;
            }
            let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
            let whole = parts.filter(|part| WHOLE.contains(&part.len()) && is_code(part));
            found.extend(whole.map(str::to_ascii_lowercase));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(members) => members.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Whether a text may be a commit or a digest, or the beginning of one.
pub(super) fn is_code(text: &str) -> bool {
    (CODE_CHARS_MIN..=CODE_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Vec<String> {
        codes(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn commits_and_digests_are_found_under_any_name() {
        let (commit, digest) = ("0123456789abcdef0123456789abcdef01234567", "ab".repeat(32));
        let json = format!(
            r#"{{"git": {{"commit": "{}", "dirty": false}}, "image": "registry/x@sha256:{digest}", "n": 1,
                "version": "1.2.3", "short": ["deadbee", "deadbee"], "word": "decade"}}"#,
            commit.to_ascii_uppercase()
        );
        assert_eq!(of(&json), [commit.to_owned(), digest, "deadbee".to_owned()]);
        assert!(of("{}").is_empty());
        assert!(of(r#"{"version": "main", "name": "trainer"}"#).is_empty());
    }
}
