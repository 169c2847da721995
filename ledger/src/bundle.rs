//! Entries one after another as C2SP entry bundles lay them out: a big-endian u16 length, then the bytes.
//!
//! Source: C2SP tlog-tiles, "Log entries". A published bundle is 256 neighbours of this sequence.

use crate::error::Mismatch;
use crate::wire::Reader;

/// Longest entry, fixed by the u16 length.
pub(crate) const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Entries of one published bundle.
pub(crate) const BUNDLE_ENTRIES: u64 = 256;

pub(crate) fn push(out: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry is at most 65,535 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
}

/// Sets the length of an entry that now follows the room left for it.
pub(crate) fn set_length(entry: &mut [u8]) {
    let length = u16::try_from(entry.len() - 2).expect("an entry is at most 65,535 bytes");
    entry[..2].copy_from_slice(&length.to_be_bytes());
}

/// Walks the entries; each comes with the offset of its length field.
pub(crate) struct Entries<'a>(Reader<'a>);

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }
    fn one(&mut self) -> Result<(usize, &'a [u8]), Mismatch> {
        let at = self.0.at();
        let length = self.0.u16()?;
        Ok((at, self.0.bytes(usize::from(length))?))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(usize, &'a [u8]), Mismatch>;
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_at_end()).then(|| self.one())
    }
}
