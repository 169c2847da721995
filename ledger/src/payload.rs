//! The payload beside its entry: a record of kind, length, salt and bytes, and the MACs made under a tenant's key.

use crate::entry::{Entry, Identity};
use crate::error::Mismatch;
use crate::index::StreamKey;
use crate::wire::Reader;
use cairn_schemas::{Blake3, TypeCode};
use std::collections::BTreeMap;

pub(crate) const COMMITMENT_TAG: &[u8] = b"cairn/v1/payload-commitment\0";
const IDENTITY_KEY_CONTEXT: &str = "cairn v1 identity mac key";
const CONTENT_KEY_CONTEXT: &str = "cairn v1 content mac key";
const STREAM_KEY_CONTEXT: &str = "cairn v1 stream mac key";
const ERASURE_KEY_CONTEXT: &str = "cairn v1 erasure mac key";

pub(crate) const SALT_BYTES: usize = 32;
/// Kind, length and salt, before a record's payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 1 + 4 + SALT_BYTES;

/// Whether a record holds what the entry committed to, or what was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Original = 0,
    /// Left by a redaction; its commitment stands in the redaction event, not in the entry.
    Replacement = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.bytes.len()).expect("a payload is at most 1 MiB");
        out.push(self.kind as u8);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(self.bytes);
    }

    /// The payload first stored must be the one its entry committed to. What authorises a replacement stands elsewhere
    /// in the log: verification looks for it.
    pub(crate) fn check(&self, entry: &Entry) -> Result<(), Mismatch> {
        if self.kind == RecordKind::Replacement {
            return Ok(());
        }
        if self.bytes.len() != entry.payload_bytes as usize {
            return Err(Mismatch::new(1, format!("{} payload bytes", entry.payload_bytes), self.bytes.len()));
        }
        let found = self.commitment();
        match found == entry.commitment {
            true => Ok(()),
            false => Err(Mismatch::new(0, format!("payload commitment {}", entry.commitment), found)),
        }
    }

    pub(crate) fn commitment(&self) -> Blake3 {
        commitment(&self.salt, self.bytes)
    }
}

/// What a record begins with. Its length is still to be set, by [`set_record_length`].
pub(crate) fn record_header(kind: RecordKind, salt: &[u8; SALT_BYTES]) -> [u8; RECORD_HEADER_BYTES] {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[0] = kind as u8;
    header[5..].copy_from_slice(salt);
    header
}

/// Sets the length of a record whose payload now follows its header.
pub(crate) fn set_record_length(record: &mut [u8]) {
    let length = u32::try_from(record.len() - RECORD_HEADER_BYTES).expect("a payload is at most 1 MiB");
    record[1..5].copy_from_slice(&length.to_be_bytes());
}

/// Walks records; each comes with its offset.
pub(crate) struct Records<'a>(Reader<'a>);

impl<'a> Records<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }
    fn one(&mut self) -> Result<(usize, Record<'a>), Mismatch> {
        let at = self.0.at();
        let kind = match self.0.u8()? {
            0 => RecordKind::Original,
            1 => RecordKind::Replacement,
            other => return Err(Mismatch::new(at, "payload kind 0 or 1", other)),
        };
        let length = self.0.u32()? as usize;
        let salt = self.0.array()?;
        Ok((at, Record { kind, salt, bytes: self.0.bytes(length)? }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, Record<'a>), Mismatch>;
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_at_end()).then(|| self.one())
    }
}

/// One field of what [`FieldMac`] takes.
pub(crate) fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u64).to_be_bytes());
    out.extend_from_slice(field);
}

/// BLAKE3 over tag, salt and stored bytes: without the salt, nobody can test a guess against the entry.
pub(crate) fn commitment(salt: &[u8; SALT_BYTES], stored: &[u8]) -> Blake3 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(COMMITMENT_TAG).update(salt).update(stored);
    Blake3::from_bytes(*hasher.finalize().as_bytes())
}

/// The keys that one tenant's MACs are made under, derived from its stored MAC key.
#[derive(Clone)]
pub(crate) struct MacKeys {
    identity: [u8; 32],
    content: [u8; 32],
    stream: [u8; 32],
    erasure: [u8; 32],
}

/// What a register calls an artifact: a plain digest would be one of personal content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ArtifactMac(pub(crate) [u8; 16]);

/// What two deliveries of one event must agree on to be the same event. Times are not part of it: SDKs add them.
pub(crate) struct Content<'a> {
    pub(crate) event_type: TypeCode,
    pub(crate) stream: &'a str,
    pub(crate) causation: Option<&'a str>,
    pub(crate) extensions: &'a BTreeMap<String, String>,
    pub(crate) data: &'a [u8],
    /// In place of each value taken out of extensions and data, its MAC under its person's key.
    pub(crate) personal: &'a [[u8; 32]],
}

impl MacKeys {
    pub(crate) fn derive(mac_key: &[u8; 32]) -> Self {
        Self {
            identity: blake3::derive_key(IDENTITY_KEY_CONTEXT, mac_key),
            content: blake3::derive_key(CONTENT_KEY_CONTEXT, mac_key),
            stream: blake3::derive_key(STREAM_KEY_CONTEXT, mac_key),
            erasure: blake3::derive_key(ERASURE_KEY_CONTEXT, mac_key),
        }
    }

    pub(crate) fn identity(&self, project: &str, source: &str, id: &str) -> Identity {
        let mut whole = Vec::with_capacity(3 * 8 + project.len() + source.len() + id.len());
        for field in [project, source, id] {
            push_field(&mut whole, field.as_bytes());
        }
        self.identity_of_fields(&whole)
    }

    /// The same, of the fields as [`push_field`] puts them: hashed at once, which short inputs gain from.
    pub(crate) fn identity_of_fields(&self, fields: &[u8]) -> Identity {
        Identity(blake3::keyed_hash(&self.identity, fields).as_bytes()[..16].try_into().expect("16 of 32 bytes"))
    }

    /// What stands for a stream's name in the index.
    pub(crate) fn stream(&self, name: &str) -> StreamKey {
        let mut mac = FieldMac::new(&self.stream);
        mac.field(name.as_bytes());
        StreamKey(mac.finish()[..16].try_into().expect("16 of 32 bytes"))
    }

    pub(crate) fn content(&self, content: &Content<'_>) -> [u8; 32] {
        let mut mac = FieldMac::new(&self.content);
        mac.field(&content.event_type.code.to_be_bytes());
        mac.field(&content.event_type.version.to_be_bytes());
        mac.field(content.stream.as_bytes());
        mac.field(content.causation.map_or(&[][..], |_| &[1]));
        mac.field(content.causation.unwrap_or_default().as_bytes());
        mac.field(&(content.extensions.len() as u64).to_be_bytes());
        for (name, value) in content.extensions {
            mac.field(name.as_bytes());
            mac.field(value.as_bytes());
        }
        mac.field(content.data);
        for value in content.personal {
            mac.field(value);
        }
        mac.finish()
    }
}

impl MacKeys {
    /// The salt of a replacement: nobody without the key can guess it, and it is the same when a redaction is repeated.
    pub(crate) fn replacement_salt(&self, position: u64, request: &str) -> [u8; SALT_BYTES] {
        self.of_erasure(&[b"salt", &position.to_be_bytes(), request.as_bytes()])
    }

    /// The check of a register's line, over the check of the line before.
    pub(crate) fn register_line(&self, before: &[u8], body: &[u8]) -> [u8; 32] {
        self.of_erasure(&[b"line", before, body])
    }

    pub(crate) fn artifact(&self, digest: &Blake3) -> ArtifactMac {
        let whole = self.of_erasure(&[b"artifact", digest.as_bytes()]);
        ArtifactMac(whole[..16].try_into().expect("16 of 32 bytes"))
    }

    fn of_erasure(&self, fields: &[&[u8]]) -> [u8; 32] {
        let mut mac = FieldMac::new(&self.erasure);
        fields.iter().for_each(|field| mac.field(field));
        mac.finish()
    }
}

/// A keyed BLAKE3 over length-prefixed fields, so that no two lists of fields give the same input.
struct FieldMac(blake3::Hasher);

impl FieldMac {
    fn new(key: &[u8; 32]) -> Self {
        Self(blake3::Hasher::new_keyed(key))
    }
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
    }
    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_every_truncation_is_refused() {
        let mut bytes = Vec::new();
        let one = Record { kind: RecordKind::Original, salt: [3; 32], bytes: b"hello" };
        let two = Record { kind: RecordKind::Replacement, salt: [4; 32], bytes: b"" };
        one.push(&mut bytes);
        two.push(&mut bytes);
        let back: Vec<_> = Records::new(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(back, [(0, one), (42, two)]);
        for length in 0..bytes.len() {
            let whole = length == 0 || length == 42;
            assert_eq!(Records::new(&bytes[..length]).all(|record| record.is_ok()), whole, "length {length}");
        }
    }

    #[test]
    fn field_boundaries_are_part_of_a_mac() {
        let keys = MacKeys::derive(&[9; 32]);
        assert_ne!(keys.identity("p", "ab", "c"), keys.identity("p", "a", "bc"));
        assert_ne!(keys.identity("p", "a", "b"), MacKeys::derive(&[8; 32]).identity("p", "a", "b"));
    }
}
