//! What readers see of a log: its durable head and its segments, read by position and checked on the way.

use crate::bundle::{self, BUNDLE_ENTRIES, Entries};
use crate::checkpoint::SignedCheckpoint;
use crate::entry::{self, Entry};
use crate::error::{Error, Mismatch};
use crate::frame::Frame;
use crate::payload::{Record, RecordKind};
use crate::redact::form;
use crate::scan::check_record;
use crate::segment::frames::{FrameAt, FramesFile};
use crate::segment::writer::SegmentStart;
use crate::segment::{FoundRecord, Sealed, found_records};
use crate::site::Site;
use crate::tree::Tree;
use cairn_schemas::{Blake3, Event, Position, Recorded, StoredPayload};
use parking_lot::RwLock;
use std::sync::Arc;

/// Payload bytes after which a read stops short of its count.
const READ_BYTES_MAX: usize = 16 << 20;

/// A segment as readers hold it.
pub(crate) enum LiveSegment {
    Frames { file: FramesFile, frames: RwLock<Vec<FrameAt>>, start: SegmentStart },
    Sealed(Box<Sealed>),
}

impl LiveSegment {
    pub(crate) fn first(&self) -> u64 {
        match self {
            LiveSegment::Frames { file, .. } => file.first,
            LiveSegment::Sealed(sealed) => sealed.entries.footer.first,
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
pub(crate) fn read(view: &RwLock<View>, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    if count_max == 0 {
        return Ok(events);
    }
    walk(view, from.get(), &mut |entry, record| {
        bytes += record.bytes.len();
        events.push(recorded(&entry, record)?);
        Ok(events.len() < count_max && bytes < READ_BYTES_MAX)
    })?;
    Ok(events)
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
            LiveSegment::Sealed(sealed) => {
                let entries = &sealed.entries;
                let index = entries.bundle_index(position);
                let (offset, bytes) =
                    entries.bundle(&*entries.file()?, index).map_err(|fault| sealed.explain(fault))?;
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
                LiveSegment::Sealed(sealed) => &sealed.entries.site,
                LiveSegment::Frames { file, .. } => &file.site,
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

fn recorded(entry: &Entry, record: &Record<'_>) -> Result<Recorded, Error> {
    if record.kind == RecordKind::Replacement {
        return form::recorded(entry, record);
    }
    let stored = StoredPayload::decode(record.bytes)?;
    Ok(Recorded {
        redacted_by: None,
        position: entry.position,
        recorded_at: entry.recorded_at,
        stream_version: entry.stream_version,
        event: Event::decode(entry.event_type, &stored.data)?,
        source: stored.source,
        id: stored.id,
        stream: stored.stream,
        project: stored.project,
        occurred_at: stored.occurred_at,
        causation: stored.causation,
        extensions: stored.extensions,
        used: stored.used,
        produced: stored.produced,
        erased: Vec::new(),
        sealed: Vec::new(),
    })
}

/// Walks from a position towards the head. Locks are held only while places are looked up, never while reading.
pub(crate) fn walk(view: &RwLock<View>, from: u64, each: Each<'_>) -> Result<(), Error> {
    let mut position = from;
    loop {
        let Some((segment, end)) = view.read().segment(position) else { return Ok(()) };
        let more = match &*segment {
            LiveSegment::Frames { file, frames, .. } => walk_frames(file, frames, position, end, each)?,
            LiveSegment::Sealed(sealed) => walk_sealed(sealed, position, end, each)?,
        };
        if !more {
            return Ok(());
        }
        position = end;
    }
}

fn walk_frames(
    file: &FramesFile,
    frames: &RwLock<Vec<FrameAt>>,
    from: u64,
    end: u64,
    each: Each<'_>,
) -> Result<bool, Error> {
    let mut position = from;
    while position < end {
        let at = frame_of(frames, position);
        let bytes = file.read(at)?;
        let frame = Frame::decode(&bytes).expect("read() decoded it");
        for found in found_records(&file.site, at.offset, &frame, |_| true)? {
            if found.entry.position.get() < position {
                continue;
            }
            check_record(&found)?;
            position = found.entry.position.get() + 1;
            if !each(found.entry, &found.record)? {
                return Ok(false);
            }
        }
        if position < at.first + u64::from(frame.header.count) {
            let mismatch = Mismatch::new(0, format!("position {position}"), "none in its frame");
            return Err(file.site.damage(Some(position), at.offset, mismatch));
        }
    }
    Ok(true)
}

fn walk_sealed(sealed: &Sealed, from: u64, end: u64, each: Each<'_>) -> Result<bool, Error> {
    let (entries, mut cursor) = (&sealed.entries, sealed.payloads.cursor_or_newer()?);
    let payloads_site = cursor.site().clone();
    let file = entries.file()?;
    let mut position = from;
    while position < end {
        let index = entries.bundle_index(position);
        let (offset, bundle) = entries.bundle(&*file, index).map_err(|fault| sealed.explain(fault))?;
        let skipped = (position - entries.bundle_first(index)) as usize;
        for item in Entries::new(&bundle).skip(skipped) {
            let (at, raw) = item.map_err(|m| entries.site.damage(Some(position), offset, m))?;
            let damage = |m: Mismatch| entries.site.damage(Some(position), offset, m.shifted(at + 2));
            let entry = entry::decode_at(position, raw).map_err(damage)?;
            let (record_at, record) = cursor.get(position).map_err(|fault| sealed.explain(fault))?;
            let found = FoundRecord { entry, record, site: &payloads_site, at: record_at };
            check_record(&found)?;
            position += 1;
            if !each(found.entry, &found.record)? {
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
