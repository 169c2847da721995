//! What readers see of a log: its durable head and its segments, read by position and checked on the way.

use crate::bundle::{self, BUNDLE_ENTRIES, Entries};
use crate::checkpoint::SignedCheckpoint;
use crate::entry::{self, Entry};
use crate::error::{Error, Mismatch};
use crate::frame::{Frame, FrameHeader};
use crate::log::Log;
use crate::lru::Owner;
use crate::payload::{Record, RecordKind, Records};
use crate::personal;
use crate::records::Batch;
use crate::redact::form;
use crate::scan::check_record;
use crate::segment::frames::{FrameAt, FramesFile};
use crate::segment::writer::SegmentStart;
use crate::segment::{FoundRecord, Sealed, SealedSlot};
use crate::site::Site;
use crate::tree::Tree;
use crate::vault::Vault;
use cairn_schemas::{Blake3, BorrowedPayload, Event, KeyId, Position, Recorded, StoredPayload};
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Payload bytes after which a read stops short of its count.
const READ_BYTES_MAX: usize = 16 << 20;
/// Positions of one [`SealedPage`].
const SEALED_PAGE_MAX: usize = 10_000;

/// A segment as readers hold it.
pub(crate) enum LiveSegment {
    Frames { file: FramesFile, frames: RwLock<Vec<FrameAt>>, start: SegmentStart, owner: Owner },
    Sealed(SealedSlot),
}

impl LiveSegment {
    pub(crate) fn first(&self) -> u64 {
        match self {
            LiveSegment::Frames { file, .. } => file.first,
            LiveSegment::Sealed(slot) => slot.first(),
        }
    }
}

/// The durable part of a log.
pub(crate) struct View {
    /// In order; never empty.
    pub(crate) segments: Vec<Arc<LiveSegment>>,
    pub(crate) head: u64,
    pub(crate) chain: Blake3,
    /// Its size is the head.
    pub(crate) tree: Tree,
    pub(crate) checkpoint: SignedCheckpoint,
}

/// Called with each entry and its record; answers whether to go on.
type Each<'a> = &'a mut dyn FnMut(Entry, &Record<'_>) -> Result<bool, Error>;
/// The same, before the record is checked.
type EachFound<'a> = &'a mut dyn FnMut(FoundRecord<'_>) -> Result<bool, Error>;

impl View {
    /// The segment that holds a position, and the position after its last; `None` past the head.
    fn segment(&self, position: u64) -> Option<(Arc<LiveSegment>, u64)> {
        if position == 0 || position > self.head {
            return None;
        }
        let index = self.segments.partition_point(|segment| segment.first() <= position).checked_sub(1)?;
        let end = self.segments.get(index + 1).map_or(self.head + 1, |next| next.first());
        Some((self.segments[index].clone(), end))
    }
}

/// Reads events from a position on, up to `count_max` and a bound on bytes.
pub(crate) fn read(log: &Log, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
    let (mut events, mut batch, mut bytes) = (Vec::new(), Batch::default(), 0);
    if count_max == 0 {
        return Ok(events);
    }
    let walked = walk_unchecked(&log.view, from.get(), &mut |found| {
        if batch.ends_before(&found) {
            decode(&mut batch, &log.vault, &mut events)?;
        }
        bytes += found.record.bytes.len();
        batch.take(&found);
        Ok(events.len() + batch.len() < count_max && bytes < READ_BYTES_MAX)
    });
    // What stands before a finding of the walk is checked first.
    decode(&mut batch, &log.vault, &mut events)?;
    walked.map(|()| events)
}

/// Checks a batch's records, adds their events, and leaves it empty.
fn decode(batch: &mut Batch, vault: &Vault, events: &mut Vec<Recorded>) -> Result<(), Error> {
    batch.hash();
    events.reserve(batch.len());
    batch.check(&mut |found, _| {
        events.push(recorded(&found.entry, &found.record, vault)?);
        Ok(())
    })?;
    *batch = std::mem::take(batch).emptied();
    Ok(())
}

/// One entry with its stored payload, and whether that is the one first stored. `None` past the head.
pub(crate) fn one(
    view: &RwLock<View>,
    position: Position,
) -> Result<Option<(Entry, RecordKind, StoredPayload)>, Error> {
    let mut found = None;
    walk(view, position.get(), &mut |entry, record| {
        found = Some((entry, record.kind, StoredPayload::decode(record.bytes)?));
        Ok(false)
    })?;
    Ok(found)
}

/// Positions whose events hold fields sealed under certain keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedPage {
    /// In order; at most 10,000.
    pub positions: Vec<Position>,
    /// Where to go on; `None` at the head.
    pub next: Option<Position>,
}

/// Reads from a position on until a page is full or the head is reached.
pub(crate) fn sealed_under(view: &RwLock<View>, keys: &BTreeSet<KeyId>, from: Position) -> Result<SealedPage, Error> {
    let mut page = SealedPage::default();
    walk(view, from.get(), &mut |entry, record| {
        if !entry.has_sealed || record.kind == RecordKind::Replacement {
            return Ok(true);
        }
        if StoredPayload::decode(record.bytes)?.sealed.iter().any(|field| keys.contains(&field.key)) {
            page.positions.push(entry.position);
        }
        page.next = entry.position.next().filter(|_| page.positions.len() == SEALED_PAGE_MAX);
        Ok(page.next.is_none())
    })?;
    Ok(page)
}

/// The first `width` entries of a published bundle, laid out as it is. They must be durable.
///
/// Of frames, only the entries are read: what comes of them is checked against the signed tree, not by a frame's CRC.
pub(crate) fn bundle_entries(view: &RwLock<View>, number: u64, width: usize) -> Result<Vec<u8>, Error> {
    let first = number * BUNDLE_ENTRIES + 1;
    let (mut position, after) = (first, first + width as u64);
    let mut out = Vec::new();
    while position < after {
        let (segment, end) = view.read().segment(position).expect("asked for what is durable");
        let mut take = |position: &mut u64, site: &Site, base: u64, entries: &[u8], skipped: u64| {
            for item in Entries::new(entries).skip(skipped as usize) {
                let damage = |m| site.damage(Some(*position), base, m);
                let (at, raw) = item.map_err(damage)?;
                entry::decode_at(*position, raw).map_err(|m| damage(m.shifted(at + 2)))?;
                bundle::push(&mut out, raw);
                *position += 1;
                if *position == after.min(end) {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        let begun = position;
        match &*segment {
            LiveSegment::Sealed(slot) => {
                let sealed = slot.open()?;
                let entries = &sealed.entries;
                let index = entries.bundle_index(position);
                let (offset, bytes) = entries.bundle(index).map_err(|fault| sealed.explain(fault))?;
                take(&mut position, &entries.site, offset, &bytes, begun - entries.bundle_first(index))?;
            }
            LiveSegment::Frames { file, frames, .. } => {
                let at = frame_of(frames, position);
                let (offset, bytes) = file.read_entries(at)?;
                take(&mut position, &file.site, offset, &bytes, begun - at.first)?;
            }
        }
        if position == begun {
            let at = segment.first();
            let site = match &*segment {
                LiveSegment::Sealed(slot) => slot.open()?.entries.site.clone(),
                LiveSegment::Frames { file, .. } => file.site.clone(),
            };
            let mismatch = Mismatch::new(0, format!("position {position}"), format!("none in the segment from {at}"));
            return Err(site.damage(Some(position), 0, mismatch));
        }
    }
    Ok(out)
}

/// The frame that holds a position of a frames file.
fn frame_of(frames: &RwLock<Vec<FrameAt>>, position: u64) -> FrameAt {
    let frames = frames.read();
    let index = frames.partition_point(|frame| frame.first <= position).saturating_sub(1);
    frames[index]
}

fn recorded(entry: &Entry, record: &Record<'_>, vault: &Vault) -> Result<Recorded, Error> {
    if record.kind == RecordKind::Replacement {
        return form::recorded(entry, record);
    }
    let (mut stored, sealed) = BorrowedPayload::decode(record.bytes)?;
    let mut event = Event::decode(entry.event_type, stored.data)?;
    let (erased, sealed) = personal::restore(vault, &entry.identity, &sealed, &mut event, &mut stored.extensions)?;
    Ok(Recorded { erased, sealed, ..assembled(entry, event, stored) })
}

/// An event as readers get it, before anything is said of what it lacks.
pub(crate) fn assembled(entry: &Entry, event: Event, stored: BorrowedPayload<'_>) -> Recorded {
    Recorded {
        position: entry.position,
        recorded_at: entry.recorded_at,
        stream_version: entry.stream_version,
        event,
        source: stored.source.to_owned(),
        id: stored.id.to_owned(),
        stream: stored.stream.to_owned(),
        project: stored.project.to_owned(),
        occurred_at: stored.occurred_at,
        causation: stored.causation.map(str::to_owned),
        extensions: stored.extensions,
        used: stored.used,
        produced: stored.produced,
        erased: Vec::new(),
        sealed: Vec::new(),
        redacted_by: None,
    }
}

/// Walks from a position towards the head. Locks are held only while places are looked up, never while reading.
pub(crate) fn walk(view: &RwLock<View>, from: u64, each: Each<'_>) -> Result<(), Error> {
    walk_unchecked(view, from, &mut |found| {
        check_record(&found)?;
        each(found.entry, &found.record)
    })
}

/// The same, for who checks records himself, many at once.
fn walk_unchecked(view: &RwLock<View>, from: u64, each: EachFound<'_>) -> Result<(), Error> {
    let mut position = from;
    loop {
        let Some((segment, end)) = view.read().segment(position) else { return Ok(()) };
        let more = match &*segment {
            LiveSegment::Frames { file, frames, owner, .. } => walk_frames(file, frames, owner, position, end, each)?,
            LiveSegment::Sealed(slot) => walk_sealed(&*slot.open()?, position, end, each)?,
        };
        if !more {
            return Ok(());
        }
        position = end;
    }
}

/// A frame that was read and checked, with the place of each entry and record in it.
pub(crate) struct DecodedFrame {
    bytes: Vec<u8>,
    /// Offsets of each entry, after its length, and of its record.
    places: Vec<(u32, u32)>,
}

impl DecodedFrame {
    fn read(file: &FramesFile, at: FrameAt) -> Result<Self, Error> {
        let bytes = file.read(at)?;
        let damage = |m| file.site.damage(Some(at.first), at.offset, m);
        let header = FrameHeader::decode(&bytes).map_err(damage)?;
        let frame = Frame::split(header, &bytes).map_err(damage)?;
        let (entries_at, records_at) = (frame.header.entries_at(), frame.header.payloads_at());
        let entries = Entries::new(frame.entries).map(|item| item.map(|(at, _)| (entries_at + at + 2) as u32));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(damage)?;
        let records = Records::new(frame.payloads).map(|item| item.map(|(at, _)| (records_at + at) as u32));
        let records = records.collect::<Result<Vec<_>, _>>().map_err(damage)?;
        let (count, found) = (frame.header.count as usize, (entries.len(), records.len()));
        if found != (count, count) {
            return Err(damage(Mismatch::new(12, format!("{count} entries and payloads"), format!("{found:?}"))));
        }
        Ok(Self { places: entries.into_iter().zip(records).collect(), bytes })
    }

    /// An entry and its record, each checked, and the record's offset.
    fn get(&self, index: usize, position: u64) -> Result<(Entry, usize, Record<'_>), Mismatch> {
        let (entry_at, record_at) = self.places[index];
        let (entry_at, record_at) = (entry_at as usize, record_at as usize);
        let length = u16::from_be_bytes([self.bytes[entry_at - 2], self.bytes[entry_at - 1]]);
        let raw = &self.bytes[entry_at..][..usize::from(length)];
        let entry = entry::decode_at(position, raw).map_err(|m| m.shifted(entry_at))?;
        let (_, record) = Records::new(&self.bytes[record_at..]).next().expect("read() found a record here")?;
        Ok((entry, record_at, record))
    }
}

fn walk_frames(
    file: &FramesFile,
    frames: &RwLock<Vec<FrameAt>>,
    owner: &Owner,
    from: u64,
    end: u64,
    each: EachFound<'_>,
) -> Result<bool, Error> {
    let (cache, mut position) = (&owner.caches.frames, from);
    while position < end {
        let at = frame_of(frames, position);
        let frame = match cache.get(owner.key(at.offset)) {
            Some(frame) => frame,
            None => Arc::new(DecodedFrame::read(file, at)?),
        };
        let skipped = (position - at.first) as usize;
        for index in skipped..frame.places.len() {
            let damage = |m| file.site.damage(Some(position), at.offset, m);
            let (entry, record_at, record) = frame.get(index, position).map_err(damage)?;
            let found = FoundRecord { entry, record, site: &file.site, at: at.offset + record_at as u64 };
            position += 1;
            if !each(found)? {
                // Whoever reads on from here need not read and decode the frame again.
                cache.put(owner.key(at.offset), frame.bytes.len(), frame.clone());
                return Ok(false);
            }
        }
        cache.remove(owner.key(at.offset));
        if frame.places.len() <= skipped {
            let mismatch = Mismatch::new(0, format!("position {position}"), "none in its frame");
            return Err(file.site.damage(Some(position), at.offset, mismatch));
        }
    }
    Ok(true)
}

fn walk_sealed(sealed: &Sealed, from: u64, end: u64, each: EachFound<'_>) -> Result<bool, Error> {
    let (entries, mut cursor) = (&sealed.entries, sealed.payloads.cursor());
    if entries.footer.after() != end {
        let mismatch = Mismatch::new(16, format!("entries up to position {}", end - 1), entries.footer.after() - 1);
        return Err(entries.site.damage(Some(end.min(entries.footer.after())), entries.footer.body_bytes, mismatch));
    }
    let mut position = from;
    while position < end {
        let index = entries.bundle_index(position);
        let (offset, bundle) = entries.bundle(index).map_err(|fault| sealed.explain(fault))?;
        let skipped = (position - entries.bundle_first(index)) as usize;
        for item in Entries::new(&bundle).skip(skipped) {
            let (at, raw) = item.map_err(|m| entries.site.damage(Some(position), offset, m))?;
            let damage = |m: Mismatch| entries.site.damage(Some(position), offset, m.shifted(at + 2));
            let entry = entry::decode_at(position, raw).map_err(damage)?;
            let (record_at, record) = cursor.get(position).map_err(|fault| sealed.explain(fault))?;
            let found = FoundRecord { entry, record, site: &sealed.payloads.site, at: record_at };
            position += 1;
            if !each(found)? {
                return Ok(false);
            }
        }
        if position <= entries.bundle_first(index) + skipped as u64 {
            let mismatch = Mismatch::new(0, format!("position {position}"), "none in its bundle");
            return Err(entries.site.damage(Some(position), offset, mismatch));
        }
    }
    Ok(true)
}
