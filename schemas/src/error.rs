//! The one error of this crate: input that is not an event, a ref or an identifier.

/// Why something is not what it should be. Every message names what was given and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{given}` is not a {what}: {why}")]
    Malformed { what: &'static str, given: String, why: String },
    #[error("unknown event type `{given}`; {hint}")]
    UnknownType { given: String, hint: String },
    #[error("unknown event type code {code:#06x} version {version}: this program is older than the ledger")]
    UnknownTypeCode { code: u16, version: u16 },
    #[error("data of `{event_type}` is wrong at `{path}`: {why}")]
    Data { event_type: String, path: String, why: String },
    #[error("what is about a person is wrong at `{pointer}`: {why}")]
    Personal { pointer: String, why: String },
    #[error("CloudEvent is wrong: {0}")]
    CloudEvent(String),
    #[error("event {index} of the batch: {source}")]
    InBatch { index: usize, source: Box<Error> },
    #[error("stored bytes of {what} do not decode: {why}")]
    Stored { what: &'static str, why: String },
}

/// Shortens what is quoted back in a message, so that an error never carries a megabyte.
pub(crate) fn quoted(given: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    if given.chars().count() <= SHOWN_CHARS {
        return given.to_owned();
    }
    let mut short: String = given.chars().take(SHOWN_CHARS).collect();
    short.push('…');
    short
}
