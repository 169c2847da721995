//! Checks payload records on a thread of their own, in order, while the next frames are read and chained.
//!
//! Hashing is most of the work: where the other thread falls behind, the reading one takes a batch's hashes over. What is
//! in between is bounded, whatever the log's length.

use super::many::Many;
use crate::continuity::Continuity;
use crate::entry::Entry;
use crate::error::Error;
use crate::payload::{COMMITMENT_TAG, Record, RecordKind, SALT_BYTES};
use crate::repeats::Repeats;
use crate::scan::{LogFiles, Scan, check_record};
use crate::segment::{FoundFrame, FoundRecord};
use crate::site::Site;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Bytes of payloads that are handed over at once, in whole frames.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait.
const BATCHES_MAX: usize = 4;
/// What stands before a payload in what its commitment is made over.
const BEFORE_PAYLOAD: usize = COMMITMENT_TAG.len() + SALT_BYTES;

/// Sees records in order, with whether one is the first of several that stand in the same file.
pub(super) type EachRecord<'a> = &'a mut (dyn FnMut(&FoundRecord<'_>, bool) -> Result<(), Error> + Send);

/// Records of neighbouring frames of one file.
#[derive(Default)]
struct Batch {
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
    fn take(&mut self, found: &FoundFrame<'_>) {
        let Some(first) = found.records.first() else { return };
        self.site.get_or_insert_with(|| first.site.clone());
        for FoundRecord { entry, record, at, .. } in &found.records {
            let start = self.bytes.len();
            [COMMITMENT_TAG, &record.salt, record.bytes].iter().for_each(|part| self.bytes.extend_from_slice(part));
            let range = start..self.bytes.len();
            self.records.push(Kept { entry: entry.clone(), kind: record.kind, salt: record.salt, at: *at, range });
        }
    }

    /// Whether a frame's records begin another batch.
    fn ends_before(&self, found: &FoundFrame<'_>) -> bool {
        let is_other =
            |first: &FoundRecord<'_>| self.site.as_ref().is_some_and(|site| site.path() != first.site.path());
        self.bytes.len() >= BATCH_BYTES || found.records.first().is_some_and(is_other)
    }

    /// Computes all commitments. Whoever checks the records in order names the first that is wrong.
    fn hash(&mut self) {
        let mut many = Many::new();
        for kept in self.records.iter().filter(|kept| kept.kind == RecordKind::Original) {
            if kept.record(&self.bytes).bytes.len() != kept.entry.payload_bytes as usize {
                return;
            }
            many.expect(&self.bytes[kept.range.clone()], &kept.entry.commitment);
        }
        self.is_hashed = many.all_right();
    }

    fn check(&self, each: EachRecord<'_>) -> Result<(), Error> {
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

    fn emptied(mut self) -> Self {
        self.records.clear();
        self.bytes.clear();
        Self { site: None, is_hashed: false, ..self }
    }
}

/// Where batches go, and where empty ones come from.
struct Belt<'a> {
    to_check: SyncSender<Batch>,
    empty: &'a Mutex<Vec<Batch>>,
}

impl Belt<'_> {
    /// Fails once the other thread has ended, which it does at a finding of its own.
    fn hand_over(&self, batch: &mut Batch) -> Result<(), Error> {
        let next = self.empty.lock().pop().unwrap_or_default();
        let ended = || Error::WriterEnded { why: "a payload is not as it should be".into() };
        match self.to_check.try_send(std::mem::replace(batch, next)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(mut full)) => {
                full.hash();
                self.to_check.send(full).map_err(|_| ended())
            }
            Err(TrySendError::Disconnected(_)) => Err(ended()),
        }
    }
}

/// Scans a log, and gives the bytes of entries and payloads too. `each` sees all records. No event may come twice.
pub(super) fn scan_beside(
    files: &LogFiles,
    state: Continuity,
    size: u64,
    each: EachRecord<'_>,
) -> Result<(Scan, u64), Error> {
    let (mut repeats, mut bytes, empty) = (Repeats::default(), 0, Mutex::new(Vec::new()));
    let (scanned, checked) = std::thread::scope(|scope| {
        let (to_check, batches) = sync_channel::<Batch>(BATCHES_MAX);
        let (belt, empty) = (Belt { to_check, empty: &empty }, &empty);
        let checker = scope.spawn(move || {
            batches.into_iter().try_for_each(|mut batch| {
                if !batch.is_hashed {
                    batch.hash();
                }
                batch.check(each)?;
                empty.lock().push(batch.emptied());
                Ok::<(), Error>(())
            })
        });
        let mut batch = Batch::default();
        let scanned = files.scan(state, size, &mut |_| true, &mut |entries, found| {
            bytes += found.entries.len() as u64;
            bytes += found.records.iter().map(|found| found.record.bytes.len() as u64).sum::<u64>();
            entries.iter().for_each(|entry| repeats.add(&entry.identity));
            if batch.ends_before(found) {
                belt.hand_over(&mut batch)?;
            }
            batch.take(found);
            Ok(())
        });
        // What stands before a finding of the scan is checked first.
        let handed_over = belt.hand_over(&mut batch);
        drop(belt);
        (scanned.and_then(|scan| handed_over.map(|()| scan)), checker.join().expect("the checker does not panic"))
    });
    // All that the other thread saw stands before where the scan ended.
    checked?;
    let scan = scanned?;
    repeats.find(files)?;
    Ok((scan, bytes))
}
