//! The entry: what is hashed, published and kept for ever. It holds no personal and no free text.

use crate::error::Mismatch;
use crate::wire::Reader;
use cairn_schemas::{Blake3, Position, Timestamp, TypeCode};

const VERSION: u8 = 1;
/// Set on the first entry of a frame, which carries the chain head before the frame.
const FLAG_FIRST_OF_FRAME: u8 = 1;
/// Set where the payload first stored holds fields that are sealed under people's keys.
const FLAG_SEALED_FIELDS: u8 = 2;

/// Number of a stream inside its log, from 1 in order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamNumber(pub(crate) u64);

/// 16-byte MAC of (project, source, id): a plain digest would be a permanent, guessable identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 16]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) recorded_at: Timestamp,
    pub(crate) event_type: TypeCode,
    pub(crate) stream: StreamNumber,
    /// Events of the stream up to and with this one.
    pub(crate) stream_version: u64,
    /// Length of the payload first stored; a replacement may have another.
    pub(crate) payload_bytes: u32,
    pub(crate) commitment: Blake3,
    pub(crate) identity: Identity,
    /// Whether fields of the payload first stored are sealed under people's keys.
    pub(crate) has_sealed: bool,
    /// `Some` on the first entry of a frame: the chain head before that frame.
    pub(crate) chain_before: Option<Blake3>,
}

impl Entry {
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.push(&mut out);
        out
    }

    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let first = if self.chain_before.is_some() { FLAG_FIRST_OF_FRAME } else { 0 };
        out.push(first | if self.has_sealed { FLAG_SEALED_FIELDS } else { 0 });
        out.extend_from_slice(&self.position.get().to_be_bytes());
        out.extend_from_slice(&self.recorded_at.as_micros().to_be_bytes());
        out.extend_from_slice(&self.event_type.code.to_be_bytes());
        out.extend_from_slice(&self.event_type.version.to_be_bytes());
        out.extend_from_slice(&self.stream.0.to_be_bytes());
        out.extend_from_slice(&self.stream_version.to_be_bytes());
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(self.commitment.as_bytes());
        out.extend_from_slice(&self.identity.0);
        if let Some(head) = &self.chain_before {
            out.extend_from_slice(head.as_bytes());
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.expect("entry version", &[VERSION])?;
        let flags = from.u8()?;
        if flags & !(FLAG_FIRST_OF_FRAME | FLAG_SEALED_FIELDS) != 0 {
            return Err(Mismatch::new(1, "entry flags 0 to 3", flags));
        }
        let position = from.u64()?;
        let position = Position::new(position).ok_or_else(|| Mismatch::new(2, "a position from 1", position))?;
        let micros = from.i64()?;
        let recorded_at = Timestamp::from_micros(micros);
        if recorded_at.as_micros() != micros {
            return Err(Mismatch::new(10, "a time within the years 1 to 9999", format!("{micros} µs")));
        }
        let entry = Entry {
            position,
            recorded_at,
            event_type: TypeCode { code: from.u16()?, version: from.u16()? },
            stream: StreamNumber(from.u64()?),
            stream_version: from.u64()?,
            payload_bytes: from.u32()?,
            commitment: Blake3::from_bytes(from.array()?),
            identity: Identity(from.array()?),
            has_sealed: flags & FLAG_SEALED_FIELDS != 0,
            chain_before: match flags & FLAG_FIRST_OF_FRAME {
                0 => None,
                _ => Some(Blake3::from_bytes(from.array()?)),
            },
        };
        from.end()?;
        if entry.stream.0 == 0 || entry.stream_version == 0 {
            let found = format!("number {}, version {}", entry.stream.0, entry.stream_version);
            return Err(Mismatch::new(22, "a stream number and version from 1", found));
        }
        Ok(entry)
    }
}

/// Decodes the entry that must stand at `position`.
pub(crate) fn decode_at(position: u64, bytes: &[u8]) -> Result<Entry, Mismatch> {
    let entry = Entry::decode(bytes)?;
    match entry.position.get() == position {
        true => Ok(entry),
        false => Err(Mismatch::new(2, format!("position {position}"), entry.position)),
    }
}

/// The identity in an entry's bytes, without decoding the rest.
pub(crate) fn identity_of(entry: &[u8]) -> Result<Identity, Mismatch> {
    const AT: usize = 74;
    let bytes = entry.get(AT..AT + 16).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Identity).ok_or_else(|| Mismatch::new(AT, "16 bytes of an identity", format!("{} bytes", entry.len())))
}

/// Whether these entry bytes are the first of a frame, without decoding the rest.
pub(crate) fn begins_frame(entry: &[u8]) -> bool {
    entry.get(1).is_some_and(|flags| flags & FLAG_FIRST_OF_FRAME != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The entry of the worked example in docs/format.md.
    pub(crate) fn example() -> Entry {
        Entry {
            position: Position::new(7).unwrap(),
            recorded_at: Timestamp::from_micros(1_767_225_600_000_001),
            event_type: TypeCode { code: 0x0301, version: 2 },
            stream: StreamNumber(3),
            stream_version: 5,
            payload_bytes: 11,
            commitment: Blake3::from_bytes([0xc0; 32]),
            identity: Identity([0x1d; 16]),
            has_sealed: false,
            chain_before: Some(Blake3::from_bytes([0xba; 32])),
        }
    }

    #[test]
    fn comes_back_from_its_bytes_with_and_without_a_chain_head() {
        let first = example();
        assert_eq!(Entry::decode(&first.encode()).unwrap(), first);
        assert_eq!(first.encode().len(), 122);
        let sealed = Entry { has_sealed: true, ..first.clone() };
        assert_eq!((Entry::decode(&sealed.encode()).unwrap(), sealed.encode()[1]), (sealed, 3));
        let later = Entry { chain_before: None, ..first };
        assert_eq!(Entry::decode(&later.encode()).unwrap(), later);
        assert_eq!(later.encode().len(), 90);
        assert!(begins_frame(&example().encode()) && !begins_frame(&later.encode()));
    }

    #[test]
    fn refuses_every_truncation_extension_and_unknown_version_or_flag() {
        let bytes = example().encode();
        for length in 0..bytes.len() {
            Entry::decode(&bytes[..length]).unwrap_err();
        }
        Entry::decode(&[&bytes[..], &[0]].concat()).unwrap_err();
        for (at, value) in [(0, 2), (1, 4), (1, 0)] {
            let mut other = bytes.clone();
            other[at] = value;
            Entry::decode(&other).unwrap_err();
        }
    }
}
