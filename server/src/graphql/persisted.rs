//! Automatic persisted queries: a client sends the SHA-256 of a query in place of its text, and the text with it once,
//! when the server answers that it does not know it. What is kept is bounded; the least recently used goes first.

use async_graphql::{Request, ServerError, from_value};
use cairn_schemas::Sha256;
use serde::Deserialize;
use sha2::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Texts that are kept.
const TEXTS_MAX: usize = 1_000;
/// Bytes of all texts that are kept.
const TEXTS_BYTES_MAX: usize = 8 << 20;
/// The member of a request's `extensions`.
const NAME: &str = "persistedQuery";
/// What clients of this protocol look for, letter by letter; they send the text then.
const NOT_FOUND: (&str, &str) = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND");

/// What a client says of a query.
#[derive(Deserialize)]
struct Named {
    version: u32,
    #[serde(rename = "sha256Hash")]
    sha256: String,
}

/// The texts that clients have sent with their digests.
#[derive(Default)]
pub(crate) struct Persisted(Mutex<Texts>);

#[derive(Default)]
struct Texts {
    by_digest: HashMap<Sha256, Text>,
    bytes: usize,
    uses: u64,
}

struct Text {
    text: Arc<str>,
    used: u64,
}

impl Persisted {
    /// Puts the text in the place of its digest, or keeps it for the next time.
    pub(crate) fn resolve(&self, mut request: Request) -> Result<Request, ServerError> {
        let Some(value) = request.extensions.remove(NAME) else { return Ok(request) };
        let named: Named = from_value(value).map_err(|_| {
            refused("extensions.persistedQuery is not of the form {\"version\": 1, \"sha256Hash\": \"<64 hexadecimal digits>\"}")
        })?;
        if named.version != 1 {
            return Err(refused(format!("extensions.persistedQuery.version is {}; 1 is supported", named.version)));
        }
        let digest: Sha256 =
            named.sha256.parse().map_err(|e| refused(format!("extensions.persistedQuery.sha256Hash: {e}")))?;
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if request.query.is_empty() {
            request.query = texts.get(&digest).ok_or_else(not_found)?.to_string();
            return Ok(request);
        }
        let actual = Sha256::from_bytes(sha2::Sha256::digest(request.query.as_bytes()).into());
        if actual != digest {
            return Err(refused(format!(
                "the query's SHA-256 is {actual}, extensions.persistedQuery says {digest}; digest the text as it is sent"
            )));
        }
        texts.keep(digest, &request.query);
        Ok(request)
    }
}

impl Texts {
    fn get(&mut self, digest: &Sha256) -> Option<Arc<str>> {
        self.uses += 1;
        let text = self.by_digest.get_mut(digest)?;
        text.used = self.uses;
        Some(text.text.clone())
    }

    fn keep(&mut self, digest: Sha256, text: &str) {
        if self.get(&digest).is_some() {
            return;
        }
        while !self.by_digest.is_empty()
            && (self.by_digest.len() >= TEXTS_MAX || self.bytes + text.len() > TEXTS_BYTES_MAX)
        {
            let oldest = self.by_digest.iter().min_by_key(|(_, text)| text.used).map(|(digest, _)| *digest);
            if let Some(gone) = oldest.and_then(|digest| self.by_digest.remove(&digest)) {
                self.bytes -= gone.text.len();
            }
        }
        self.bytes += text.len();
        self.by_digest.insert(digest, Text { text: text.into(), used: self.uses });
    }
}

fn refused(message: impl Into<String>) -> ServerError {
    ServerError::new(message, None)
}

fn not_found() -> ServerError {
    let (message, code) = NOT_FOUND;
    let mut error = ServerError::new(message, None);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code);
    extensions.set("hint", "send the query's text beside its digest once");
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u32) -> Sha256 {
        Sha256::from_bytes(sha2::Sha256::digest(n.to_be_bytes()).into())
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let mut texts = Texts::default();
        for n in 0..3 * TEXTS_MAX as u32 {
            texts.keep(digest(n), "{ log { size } }");
            assert!(texts.get(&digest(0)).is_some(), "{n}");
        }
        assert_eq!(texts.by_digest.len(), TEXTS_MAX);
        assert!(texts.get(&digest(1)).is_none());
        let long = "x".repeat(TEXTS_BYTES_MAX / 4);
        for n in 10_000..10_008 {
            texts.keep(digest(n), &long);
        }
        let bytes: usize = texts.by_digest.values().map(|text| text.text.len()).sum();
        assert!(bytes == texts.bytes && bytes <= TEXTS_BYTES_MAX, "{bytes}");
        assert!(texts.get(&digest(10_007)).is_some());
    }
}
