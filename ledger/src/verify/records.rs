//! Checks payload records on a thread of their own, in order, while the next frames are read and chained.
//!
//! Hashing is most of the work: where the other thread falls behind, the reading one takes a batch's hashes over. What is
//! in between is bounded, whatever the log's length.

use crate::continuity::Continuity;
use crate::error::Error;
use crate::records::Batch;
use crate::repeats::Repeats;
use crate::scan::{LogFiles, Scan};
use crate::segment::FoundRecord;
use parking_lot::Mutex;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Batches that may wait.
const BATCHES_MAX: usize = 4;

/// Sees records in order, with whether one is the first of several that stand in the same file.
pub(super) type EachRecord<'a> = &'a mut (dyn FnMut(&FoundRecord<'_>, bool) -> Result<(), Error> + Send);

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
                batch.hash();
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
            if found.records.first().is_some_and(|first| batch.ends_before(first)) {
                belt.hand_over(&mut batch)?;
            }
            found.records.iter().for_each(|found| batch.take(found));
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
