//! What a redaction leaves of a payload: who reported what and when, its refs, and its data without free text.
//!
//! Made again from the same payload and request it is the same, byte for byte, so that a redaction that a crash cut
//! short is finished as it was announced.

use crate::entry::Entry;
use crate::error::Error;
use crate::payload::{MacKeys, Record, RecordKind, SALT_BYTES};
use crate::reader::assembled;
use cairn_schemas::{Blake3, BorrowedPayload, Event, Recorded, StoredPayload, TypeCode};

/// The extension attribute of a replacement that names the request on which it was made.
pub(crate) const REDACTED_BY: &str = "redactedby";

/// A record that takes the place of another.
pub(crate) struct Replaced {
    salt: [u8; SALT_BYTES],
    bytes: Vec<u8>,
}

impl Replaced {
    /// What is left of a payload. Its data begins with the version of the type that the rest is written in: the
    /// entry's own may be an old one.
    pub(crate) fn of(keys: &MacKeys, request: &str, entry: &Entry, stored: StoredPayload) -> Result<Self, Error> {
        let event = Event::decode(entry.event_type, &stored.data)?.redacted();
        let mut data = event.type_code().version.to_be_bytes().to_vec();
        data.extend_from_slice(&event.encode());
        let left = StoredPayload {
            extensions: [(REDACTED_BY.to_owned(), request.to_owned())].into(),
            // With it, who holds the tenant's key could test what the content was.
            content_mac: [0; 32],
            sealed: Vec::new(),
            data,
            ..stored
        };
        Ok(Self { salt: keys.replacement_salt(entry.position.get(), request), bytes: left.encode() })
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record { kind: RecordKind::Replacement, salt: self.salt, bytes: &self.bytes }
    }

    pub(crate) fn commitment(&self) -> Blake3 {
        self.record().commitment()
    }
}

/// Whether a payload names the request on which it took another's place.
pub(crate) fn is_replacement(payload: &[u8]) -> bool {
    StoredPayload::decode(payload).is_ok_and(|left| left.extensions.contains_key(REDACTED_BY))
}

/// A redacted event as readers get it.
pub(crate) fn recorded(entry: &Entry, record: &Record<'_>) -> Result<Recorded, Error> {
    let (mut stored, _) = BorrowedPayload::decode(record.bytes)?;
    let wrong =
        || cairn_schemas::Error::Stored { what: "a replacement", why: "it does not begin with a version".into() };
    let (version, data) = stored.data.split_first_chunk::<2>().ok_or_else(wrong)?;
    let event_type = TypeCode { code: entry.event_type.code, version: u16::from_be_bytes(*version) };
    let event = Event::decode(event_type, data)?;
    let redacted_by = Some(stored.extensions.remove(REDACTED_BY).unwrap_or_default());
    Ok(Recorded { redacted_by, ..assembled(entry, event, stored) })
}
