//! Opening a log: where its sealed segments end, by their footers and the index; then what follows them, entry by entry.
//!
//! Sealed segments are not read. Whether their bytes are what was sealed shows when they are read, and by verification.

use crate::checkpoint::{LogVerifier, SignedCheckpoint};
use crate::continuity::Continuity;
use crate::error::{Error, Mismatch};
use crate::index::{Base, Index, LogSource, Part, PartBuilder, Shelf, vouched};
use crate::layout::SegmentPart;
use crate::log::start_state;
use crate::payload::MacKeys;
use crate::scan::{LogFiles, Scan, check_record};
use crate::segment::{Files, Listing, SealedSlot};
use cairn_schemas::{Blake3, StoredPayload};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a log's sealed segments end.
pub(crate) struct Opening {
    listing: Listing,
    /// First positions of the sealed segments that the log begins with.
    sealed: Vec<u64>,
    genesis: Blake3,
    /// The log after them.
    state: Continuity,
}

/// What the segments after the sealed ones add to the index.
pub(crate) struct Tail {
    /// By first position.
    parts: BTreeMap<u64, Part>,
    /// Numbers of the streams that began there, each with the position of its first event.
    born: Vec<(u64, u64)>,
}

impl Opening {
    /// Reads the footer of the last sealed segment, and the others where the index does not vouch for them.
    pub(crate) fn find(files: &LogFiles, verifier: &LogVerifier, signed: &SignedCheckpoint) -> Result<Self, Error> {
        let listing = files.listing()?;
        let begins = start_state(verifier, signed);
        let genesis = begins.chain;
        let sealed: Vec<Files> = listing.segments.iter().copied().take_while(Files::is_sealed).collect();
        let firsts: Vec<u64> = sealed.iter().map(|files| files.first).collect();
        let Some(last) = sealed.last() else {
            return Ok(Self { listing, sealed: firsts, genesis, state: begins.without_streams() });
        };
        let slot = SealedSlot::new(files, *last);
        let footer = &slot.open()?.entries.footer;
        let size = signed.checkpoint.size;
        let state = Continuity::after(footer).promised(size, signed.checkpoint.root);
        let base = Base { head: state.head, chain: state.chain };
        if !vouched(files, &firsts, genesis, base) {
            check_footers(files, &sealed, genesis)?;
        }
        let site = files.at(files.layout.segment(last.first, SegmentPart::Entries));
        state.check_promise().map_err(|m| site.damage(Some(state.head), footer.body_bytes, m))?;
        Ok(Self { listing, sealed: firsts, genesis, state })
    }

    /// Reads what follows the sealed segments.
    pub(crate) fn scan(&self, files: &LogFiles, checkpoint_size: u64) -> Result<Scan, Error> {
        let (listing, state) = (self.listing.clone(), self.state.clone());
        files.scan_after(self.sealed.len(), listing, state, checkpoint_size, &mut |_| false, &mut |_, _| Ok(()))
    }

    /// Reads what follows the sealed segments, and what it adds to the index.
    pub(crate) fn scan_tail(&self, files: &LogFiles, size: u64, mac_keys: &MacKeys) -> Result<(Scan, Tail), Error> {
        let (listing, state) = (self.listing.clone(), self.state.clone());
        let builder = RefCell::new(PartBuilder::new(Part::new(0, self.genesis, 0)));
        let mut parts = BTreeMap::new();
        let mut asked = std::collections::HashSet::new();
        let scan = files.scan_after(
            self.sealed.len(),
            listing,
            state,
            size,
            &mut |entry| builder.borrow().lacks(entry) && asked.insert(entry.stream.0),
            &mut |entries, found| {
                let builder = &mut *builder.borrow_mut();
                if builder.part.first != found.segment {
                    let full = builder.next_part(Part::new(found.segment, self.genesis, 0));
                    parts.insert(full.first, full);
                }
                for record in &found.records {
                    check_record(record)?;
                    let stored = StoredPayload::decode(record.record.bytes)?;
                    builder.name(&record.entry, &stored.stream, mac_keys);
                }
                entries.iter().try_for_each(|entry| {
                    let damage = |m| found.entries_site.damage(Some(entry.position.get()), found.entries_at, m);
                    builder.entry(entry).map_err(damage)
                })
            },
        )?;
        let PartBuilder { part, born, .. } = builder.into_inner();
        parts.insert(part.first, part);
        Ok((scan, Tail { parts, born }))
    }

    /// Opens the index over the sealed segments and puts the tail upon it.
    pub(crate) fn open_index(
        &self,
        files: &LogFiles,
        mut tail: Tail,
        scan: &Scan,
        mac_keys: &MacKeys,
    ) -> Result<Index, Error> {
        let base = Base { head: self.state.head, chain: self.state.chain };
        let source = Box::new(LogSource { files: files.clone(), mac_keys: mac_keys.clone() });
        let shelf = Arc::new(Shelf::open(files.clone(), source, &self.sealed, self.genesis, base)?);
        let mut streams = shelf.streams();
        for (expected, (number, position)) in (streams + 1..).zip(&tail.born) {
            if expected != *number {
                let site = files.at(files.layout.segments());
                let mismatch = Mismatch::new(0, format!("stream number {expected} for a new stream"), number);
                return Err(site.damage(Some(*position), 0, mismatch));
            }
        }
        let starts: Vec<_> = scan.segments.iter().filter_map(|scanned| scanned.start.as_ref()).collect();
        for (index, start) in starts.iter().enumerate() {
            let empty = || Part::new(start.first, start.chain, streams);
            let part = tail.parts.remove(&start.first).unwrap_or_else(empty);
            let part = part.after(start.chain, streams);
            streams = part.streams();
            let ends = match starts.get(index + 1) {
                Some(next) => (next.first - 1, next.chain),
                // A new file of frames will follow a sealed segment.
                None if !is_frames(scan, start.first) => (scan.state.head, scan.state.chain),
                None => return Ok(Index::new(mac_keys.clone(), shelf, part)),
            };
            shelf.take(part.frozen(ends.0, ends.1));
        }
        Ok(Index::new(mac_keys.clone(), shelf, Part::new(scan.state.head + 1, scan.state.chain, streams)))
    }
}

fn is_frames(scan: &Scan, first: u64) -> bool {
    let last = scan.segments.last().map(|scanned| &scanned.segment);
    matches!(last, Some(crate::segment::Segment::Frames(file)) if file.first == first)
}

/// Whether each sealed segment begins where the one before ends.
fn check_footers(files: &LogFiles, sealed: &[Files], genesis: Blake3) -> Result<(), Error> {
    let (mut next, mut chain) = (1, genesis);
    for found in sealed {
        let site = files.at(files.layout.segment(found.first, SegmentPart::Entries));
        if found.first != next {
            let expected = format!("a segment that begins at position {next}");
            let mismatch = Mismatch::new(0, expected, format!("position {}", found.first));
            return Err(site.damage(Some(next), 0, mismatch));
        }
        let slot = SealedSlot::new(files, *found);
        let footer = &slot.open()?.entries.footer;
        if footer.chain_before != chain {
            let mismatch = Mismatch::new(32, format!("chain head {chain} before the segment"), footer.chain_before);
            return Err(site.damage(Some(next), footer.body_bytes, mismatch));
        }
        (next, chain) = (footer.after(), footer.chain_after);
    }
    Ok(())
}
