//! The frame: the write unit, whole or absent. It holds one batch or several, each of them wholly.

use crate::error::Mismatch;
use crate::wire::Reader;
use cairn_schemas::Position;

pub(crate) const MAGIC: [u8; 8] = *b"CAIRNFRM";
const END_MARK: [u8; 8] = *b"ENDFRAME";
const VERSION: u8 = 1;
pub(crate) const HEADER_BYTES: usize = 48;
const TRAILER_BYTES: usize = 4 + END_MARK.len();
/// No frame is longer; a batch of the greatest allowed size fits with room for its entries and source offsets.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) count: u32,
    pub(crate) first: Position,
    /// Events known to be durable when this frame was written; 0 for none.
    pub(crate) durable_before: u64,
    pub(crate) offsets_bytes: u32,
    pub(crate) entries_bytes: u32,
    pub(crate) payloads_bytes: u32,
}

/// A frame whose checksum and end mark were right. What the sections hold is not yet checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    /// Where a consumer of a partitioned source stood; empty in an embedded ledger.
    pub(crate) source_offsets: &'a [u8],
    pub(crate) entries: &'a [u8],
    pub(crate) payloads: &'a [u8],
}

impl FrameHeader {
    /// Length of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes() + TRAILER_BYTES
    }
    /// Offset of the first payload record inside the frame.
    pub(crate) fn payloads_at(&self) -> usize {
        self.entries_at() + self.entries_bytes as usize
    }
    /// Offset of the first entry inside the frame.
    pub(crate) fn entries_at(&self) -> usize {
        HEADER_BYTES + self.offsets_bytes as usize
    }
    fn body_bytes(&self) -> usize {
        self.offsets_bytes as usize + self.entries_bytes as usize + self.payloads_bytes as usize
    }

    /// Begins a frame; its sections follow, and [`end_frame`].
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.first.get().to_be_bytes());
        out.extend_from_slice(&self.durable_before.to_be_bytes());
        out.extend_from_slice(&self.offsets_bytes.to_be_bytes());
        out.extend_from_slice(&self.entries_bytes.to_be_bytes());
        out.extend_from_slice(&self.payloads_bytes.to_be_bytes());
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_be_bytes());
    }

    /// Decodes the first [`HEADER_BYTES`] of a frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.expect("frame magic", &MAGIC)?;
        from.expect("frame version", &[VERSION, 0, 0, 0])?;
        let (count, first, durable_before) = (from.u32()?, from.u64()?, from.u64()?);
        let (offsets_bytes, entries_bytes, payloads_bytes) = (from.u32()?, from.u32()?, from.u32()?);
        let at = from.at();
        let (expected, found) = (crc32c::crc32c(&bytes[..at]), from.u32()?);
        if expected != found {
            return Err(checksum_mismatch(at, "frame header", expected, found));
        }
        let first = Position::new(first).ok_or_else(|| Mismatch::new(16, "a position from 1", first))?;
        let header = Self { count, first, durable_before, offsets_bytes, entries_bytes, payloads_bytes };
        if count == 0 || header.frame_bytes() > FRAME_BYTES_MAX {
            let found = format!("{count} entries in {} bytes", header.frame_bytes());
            return Err(Mismatch::new(12, format!("entries in at most {FRAME_BYTES_MAX} bytes"), found));
        }
        Ok(header)
    }
}

impl<'a> Frame<'a> {
    /// Appends a whole frame. The lengths in `header` are taken from the sections.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let length = |section: &[u8]| u32::try_from(section.len()).expect("a frame is at most 16 MiB");
        let header = FrameHeader {
            offsets_bytes: length(self.source_offsets),
            entries_bytes: length(self.entries),
            payloads_bytes: length(self.payloads),
            ..self.header
        };
        header.push(out);
        for section in [self.source_offsets, self.entries, self.payloads] {
            out.extend_from_slice(section);
        }
        end_frame(out, start);
    }

    /// Decodes a whole frame of exactly these bytes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Mismatch> {
        let header = FrameHeader::decode(bytes)?;
        let frame = Self::split(header, bytes)?;
        let at = HEADER_BYTES + header.body_bytes();
        let mut trailer = Reader::new(&bytes[at..]);
        let (expected, found) = (crc32c::crc32c(&bytes[..at]), trailer.u32()?);
        if expected != found {
            return Err(checksum_mismatch(at, "frame", expected, found));
        }
        trailer.expect("frame end mark", &END_MARK).map_err(|m| m.shifted(at))?;
        trailer.end().map_err(|m| m.shifted(at))?;
        Ok(frame)
    }

    /// The sections as the header places them, whether or not the checksum is right; for saying where damage is.
    pub(crate) fn split(header: FrameHeader, bytes: &'a [u8]) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.bytes(HEADER_BYTES)?;
        let frame = Self {
            header,
            source_offsets: from.bytes(header.offsets_bytes as usize)?,
            entries: from.bytes(header.entries_bytes as usize)?,
            payloads: from.bytes(header.payloads_bytes as usize)?,
        };
        from.bytes(TRAILER_BYTES)?;
        Ok(frame)
    }
}

/// Ends the frame that begins at `start`.
pub(crate) fn end_frame(out: &mut Vec<u8>, start: usize) {
    let checksum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(&END_MARK);
}

pub(crate) fn checksum_mismatch(at: usize, what: &str, expected: u32, found: u32) -> Mismatch {
    Mismatch::new(at, format!("{what} checksum {expected:08x} (of the bytes as they are)"), format!("{found:08x}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The frame of the worked example in docs/format.md.
    pub(crate) fn example() -> Vec<u8> {
        let (mut entries, mut payloads, mut out) = (Vec::new(), Vec::new(), Vec::new());
        crate::bundle::push(&mut entries, &crate::entry::tests::example().encode());
        let kind = crate::payload::RecordKind::Original;
        crate::payload::Record { kind, salt: [0x5a; 32], bytes: b"hello cairn" }.push(&mut payloads);
        let header = FrameHeader {
            count: 1,
            first: Position::new(7).unwrap(),
            durable_before: 6,
            offsets_bytes: 0,
            entries_bytes: 0,
            payloads_bytes: 0,
        };
        Frame { header, source_offsets: &[], entries: &entries, payloads: &payloads }.push(&mut out);
        out
    }

    #[test]
    fn comes_back_from_its_bytes() {
        let bytes = example();
        let frame = Frame::decode(&bytes).unwrap();
        assert_eq!((frame.header.count, frame.header.first.get(), frame.header.durable_before), (1, 7, 6));
        assert_eq!(frame.header.frame_bytes(), bytes.len());
        assert_eq!(&bytes[frame.header.payloads_at()..][..frame.payloads.len()], frame.payloads);
        assert_eq!(&bytes[frame.header.entries_at()..][..frame.entries.len()], frame.entries);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let bytes = example();
        for length in 0..bytes.len() {
            Frame::decode(&bytes[..length]).unwrap_err();
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                Frame::decode(&other).unwrap_err();
            }
        }
    }
}
