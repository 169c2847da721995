//! Payload records that follow one another, so that their commitments are computed side by side.

use crate::entry::Entry;
use crate::error::Error;
use crate::many::Many;
use crate::payload::{COMMITMENT_TAG, Record, RecordKind, SALT_BYTES};
use crate::scan::check_record;
use crate::segment::FoundRecord;
use crate::site::Site;
use std::ops::Range;

/// Bytes after which a batch is full.
const BATCH_BYTES: usize = 256 << 10;
/// What stands before a payload in what its commitment is made over.
const BEFORE_PAYLOAD: usize = COMMITMENT_TAG.len() + SALT_BYTES;

/// Records of one file that follow one another.
#[derive(Default)]
pub(crate) struct Batch {
    site: Option<Site>,
    records: Vec<Kept>,
    /// Tag, salt and payload of each record: what commitments are made over, in one piece.
    bytes: Vec<u8>,
    /// Whether the commitments were found to be right.
    is_hashed: bool,
}

struct Kept {
    entry: Entry,
    kind: RecordKind,
    salt: [u8; SALT_BYTES],
    at: u64,
    /// Of its tag, salt and payload.
    range: Range<usize>,
}

impl Kept {
    fn record<'a>(&self, bytes: &'a [u8]) -> Record<'a> {
        let payload = &bytes[self.range.start + BEFORE_PAYLOAD..self.range.end];
        Record { kind: self.kind, salt: self.salt, bytes: payload }
    }
}

impl Batch {
    pub(crate) fn take(&mut self, found: &FoundRecord<'_>) {
        let FoundRecord { entry, record, site, at } = found;
        self.site.get_or_insert_with(|| (*site).clone());
        let start = self.bytes.len();
        [COMMITMENT_TAG, &record.salt, record.bytes].iter().for_each(|part| self.bytes.extend_from_slice(part));
        let range = start..self.bytes.len();
        self.records.push(Kept { entry: entry.clone(), kind: record.kind, salt: record.salt, at: *at, range });
        self.is_hashed = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether a record begins another batch.
    pub(crate) fn ends_before(&self, found: &FoundRecord<'_>) -> bool {
        let is_other = self.site.as_ref().is_some_and(|site| site.path() != found.site.path());
        self.bytes.len() >= BATCH_BYTES || is_other
    }

    /// Computes all commitments. Whoever checks the records in order names the first that is wrong.
    pub(crate) fn hash(&mut self) {
        if self.is_hashed {
            return;
        }
        let mut many = Many::new();
        for kept in self.records.iter().filter(|kept| kept.kind == RecordKind::Original) {
            if kept.record(&self.bytes).bytes.len() != kept.entry.payload_bytes as usize {
                return;
            }
            many.expect(&self.bytes[kept.range.clone()], &kept.entry.commitment);
        }
        self.is_hashed = many.all_right();
    }

    /// Shows the records in order, each checked, with whether it is the first.
    pub(crate) fn check(&self, each: &mut dyn FnMut(&FoundRecord<'_>, bool) -> Result<(), Error>) -> Result<(), Error> {
        let Some(site) = &self.site else { return Ok(()) };
        for (index, kept) in self.records.iter().enumerate() {
            let (entry, record) = (kept.entry.clone(), kept.record(&self.bytes));
            let found = FoundRecord { entry, record, site, at: kept.at };
            if !self.is_hashed {
                check_record(&found)?;
            }
            each(&found, index == 0)?;
        }
        Ok(())
    }

    pub(crate) fn emptied(mut self) -> Self {
        self.records.clear();
        self.bytes.clear();
        Self { site: None, is_hashed: false, ..self }
    }
}
