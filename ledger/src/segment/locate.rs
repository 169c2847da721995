//! Says which event is wrong where a checksum only says that one is.
//!
//! An entry vouches for its payload record, and the record for its entry. What neither tells of (a time, a type, a stream)
//! leaves the finding at the first event that the checksum covers.

use super::Sealed;
use crate::bundle::Entries;
use crate::continuity::At;
use crate::entry::{self, Entry};
use crate::error::{Error, Mismatch};
use crate::frame::Frame;
use crate::payload::{Record, RecordKind, Records};
use crate::redact::form;

/// Why a part of a sealed segment could not be read.
pub(crate) enum Fault {
    /// Entries whose checksum is wrong.
    Bundle(Unsound),
    /// Payload records whose checksum is wrong.
    Block(Unsound),
    Other(Error),
}

/// Bytes that do not match their checksum.
pub(crate) struct Unsound {
    /// The finding where no closer one can be made.
    pub(crate) error: Error,
    /// Position of their first event.
    pub(crate) first: u64,
    /// Where they stand in their file.
    pub(crate) offset: u64,
    /// The bytes; of a compressed block what they unpack to, nothing if they do not.
    pub(crate) bytes: Vec<u8>,
    /// Whether offsets inside `bytes` say nothing of the file.
    pub(crate) packed: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Other(error)
    }
}

/// What can be told of a record by itself. One that says it is a replacement, and was not made as one, is wrong.
fn check_alone(record: &Record<'_>, entry: &Entry) -> Result<(), Mismatch> {
    match record.kind == RecordKind::Replacement && !form::is_replacement(record.bytes) {
        true => Err(Mismatch::new(0, "payload kind 0, or a replacement", record.kind as u8)),
        false => record.check(entry),
    }
}

/// The first event of a frame whose entry or record is wrong; the offset is inside the frame.
pub(super) fn wrong_in_frame(frame: &Frame<'_>, first: u64) -> Option<At> {
    let (entries_at, payloads_at) = (frame.header.entries_at(), frame.header.payloads_at());
    let mut records = Records::new(frame.payloads);
    for (position, item) in (first..first + u64::from(frame.header.count)).zip(Entries::new(frame.entries)) {
        let entry = item.and_then(|(at, raw)| entry::decode_at(position, raw).map_err(|m| m.shifted(at + 2)));
        let entry = match entry {
            Ok(entry) => entry,
            Err(m) => return Some((position, m.shifted(entries_at))),
        };
        let checked = records.next()?.and_then(|(at, record)| check_alone(&record, &entry).map_err(|m| m.shifted(at)));
        if let Err(m) = checked {
            return Some((position, m.shifted(payloads_at)));
        }
    }
    None
}

impl Sealed {
    /// Turns a fault into a finding, at the very event that is wrong where that can be told.
    pub(crate) fn explain(&self, fault: Fault) -> Error {
        let (exact, unsound) = match fault {
            Fault::Other(error) => return error,
            Fault::Bundle(unsound) => (self.wrong_entry(&unsound), unsound),
            Fault::Block(unsound) => (self.wrong_record(&unsound), unsound),
        };
        exact.unwrap_or(unsound.error)
    }

    /// The first entry that does not decode, or that a payload whose own checksum is right speaks against.
    fn wrong_entry(&self, bundle: &Unsound) -> Option<Error> {
        let mut cursor = self.payloads.cursor();
        let after = self.entries.footer.first + self.entries.footer.count;
        (bundle.first..after).zip(Entries::new(&bundle.bytes)).find_map(|(position, item)| {
            let checked = item.and_then(|(at, raw)| {
                let entry = entry::decode_at(position, raw).map_err(|m| m.shifted(at + 2))?;
                match cursor.get(position) {
                    Ok((_, record)) if check_alone(&record, &entry).is_err() => {
                        let expected =
                            format!("{} payload bytes of commitment {}", record.bytes.len(), record.commitment());
                        let found = format!("{} of commitment {}", entry.payload_bytes, entry.commitment);
                        Err(Mismatch::new(at + 2, expected, found))
                    }
                    // A record that cannot be had says nothing about its entry.
                    _ => Ok(()),
                }
            });
            checked.err().map(|m| self.entries.site.damage(Some(position), bundle.offset, m))
        })
    }

    /// The first record that is not what its entry, whose own checksum is right, committed to.
    fn wrong_record(&self, block: &Unsound) -> Option<Error> {
        let (mut records, mut position) = (Records::new(&block.bytes), block.first);
        for index in self.entries.bundle_index(position)..self.entries.footer.bundles.len() {
            let (_, bundle) = self.entries.bundle(index).ok()?;
            for item in Entries::new(&bundle).skip((position - self.entries.bundle_first(index)) as usize) {
                let entry = entry::decode_at(position, item.ok()?.1).ok()?;
                let checked =
                    records.next()?.and_then(|(at, record)| check_alone(&record, &entry).map_err(|m| m.shifted(at)));
                if let Err(mut m) = checked {
                    if block.packed {
                        m.at = 0;
                    }
                    return Some(self.payloads.site.damage(Some(position), block.offset, m));
                }
                position += 1;
            }
        }
        None
    }
}
