//! Gives batches their places in the log, in memory only: repeats, versions, entries, frames. No I/O of its own.

use crate::batch::Expectation;
use crate::bundle;
use crate::chain;
use crate::continuity::Continuity;
use crate::entry::{Entry, Identity, StreamNumber};
use crate::error::Error;
use crate::event::{Prepared, PreparedBatch};
use crate::frame::{FrameHeader, HEADER_BYTES, end_frame};
use crate::index::{Index, MacMap, StreamKey, StreamState};
use crate::segment::frames::FrameAt;
use crate::tree::Tree;
use cairn_schemas::{Blake3, Position, Sha256, Timestamp};
use std::collections::HashMap;

/// A frame takes in the batches that wait together while it is no longer than this. A longer batch goes alone.
const FRAME_BYTES: usize = 1 << 20;

/// What `append` says of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub position: Position,
    /// The event's number in its stream, from 1.
    pub stream_version: u64,
    /// Whether the event had been recorded before; the rest then describes that first time.
    pub duplicate: bool,
    pub recorded_at: Timestamp,
}

/// What is known of an event that was recorded before.
pub(crate) struct First {
    pub(crate) appended: Appended,
    /// Whether the new event has the same content; `true` where the first was redacted.
    pub(crate) same_content: bool,
}

/// Looks an event up that stands at a position before the head.
pub(crate) type Lookup<'a> = &'a dyn Fn(Position, &Prepared) -> Result<First, Error>;

/// Where a log ends: what the next entry and the next frame go on from.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) head: u64,
    pub(crate) recorded_at_micros: i64,
    pub(crate) chain: Blake3,
    pub(crate) tree: Tree,
    /// Streams of the log, which are numbered from 1.
    pub(crate) streams: u64,
}

impl Edge {
    pub(crate) fn of(state: &Continuity, streams: u64) -> Self {
        Self {
            head: state.head,
            recorded_at_micros: state.recorded_at_micros,
            chain: state.chain,
            tree: state.tree.clone(),
            streams,
        }
    }
}

/// Batches of one log that become durable together: their frames, and what they change once they are.
pub(crate) struct Group<'a> {
    /// Whole frames, after [`Group::finish`].
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<FrameAt>,
    /// The log's end after the group.
    pub(crate) edge: Edge,
    /// Roots over the bundles of 256 entries that the group completes.
    pub(crate) bundle_roots: Vec<Sha256>,
    identities: MacMap<Identity, (Appended, [u8; 32])>,
    /// Streams that the group looked up, by name; each with its state after what was placed so far.
    slots: HashMap<&'a str, usize>,
    streams: Vec<(StreamKey, StreamState)>,
    /// The frame that is being filled.
    entries: Vec<u8>,
    events: Vec<&'a Prepared>,
    payloads_bytes: usize,
    /// Offset in the file at which the group will be written.
    at: u64,
    /// Head that is durable before the group.
    durable_before: u64,
    recorded_at: Timestamp,
}

impl<'a> Group<'a> {
    /// `buffer` is used for the frames' bytes; `at` is where they will be written.
    pub(crate) fn new(edge: Edge, at: u64, now: Timestamp, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            bytes: buffer,
            frames: Vec::new(),
            bundle_roots: Vec::new(),
            identities: MacMap::default(),
            slots: HashMap::new(),
            streams: Vec::new(),
            entries: Vec::new(),
            events: Vec::new(),
            payloads_bytes: 0,
            at,
            durable_before: edge.head,
            recorded_at: now.max(Timestamp::from_micros(edge.recorded_at_micros)),
            edge,
        }
    }

    /// Places a batch wholly inside one frame, or nothing of it: a refused batch leaves no trace. Repeats are
    /// recognised before versions are compared.
    pub(crate) fn place(
        &mut self,
        batch: &'a PreparedBatch,
        index: &Index,
        lookup: Lookup<'_>,
    ) -> Result<Vec<Appended>, Error> {
        let events = &batch.events;
        if let Some(firsts) = self.repeats(events, index, lookup)? {
            return Ok(firsts);
        }
        self.check_expectations(&batch.expectations, index)?;
        let slots = events.iter().map(|event| self.slot(&event.stream, index)).collect::<Result<Vec<_>, _>>()?;
        self.check_versions(events, &slots)?;
        let payloads_bytes = events.iter().map(|event| event.record.len()).sum::<usize>();
        let entries_bytes = events.len() * ENTRY_BYTES;
        if self.payloads_bytes + self.entries.len() + payloads_bytes + entries_bytes > FRAME_BYTES {
            self.end_frame();
        }
        self.payloads_bytes += payloads_bytes;
        Ok(events.iter().zip(slots).map(|(event, slot)| self.push(event, slot)).collect())
    }

    /// `Some` if every event of the batch was recorded before, with the same content.
    fn repeats(&self, batch: &[Prepared], index: &Index, lookup: Lookup<'_>) -> Result<Option<Vec<Appended>>, Error> {
        let mut firsts = Vec::new();
        for (at, event) in batch.iter().enumerate() {
            let Some(first) = self.first(event, index, lookup)? else { continue };
            if !first.same_content {
                let (event_source, id) = event.names();
                return Err(Error::Conflict { index: at, event_source, id, position: first.appended.position });
            }
            firsts.push((at, Appended { duplicate: true, ..first.appended }));
        }
        match firsts.len() {
            0 => Ok(None),
            repeated if repeated == batch.len() => Ok(Some(firsts.into_iter().map(|(_, first)| first).collect())),
            _ => {
                let repeated = firsts.into_iter().map(|(at, first)| (at, first.position)).collect();
                Err(Error::PartlyRepeated { events: batch.len(), repeated })
            }
        }
    }

    fn first(&self, event: &Prepared, index: &Index, lookup: Lookup<'_>) -> Result<Option<First>, Error> {
        if let Some((appended, content_mac)) = self.identities.get(&event.identity) {
            return Ok(Some(First { appended: *appended, same_content: *content_mac == event.content_mac }));
        }
        index.position(&event.identity)?.map(|position| lookup(position, event)).transpose()
    }

    /// Which of the group's streams bears this name.
    fn slot(&mut self, name: &'a str, index: &Index) -> Result<usize, Error> {
        if let Some(slot) = self.slots.get(name) {
            return Ok(*slot);
        }
        let slot = self.streams.len();
        let key = index.key(name);
        self.streams.push((key, index.stream(&key)?.unwrap_or_default()));
        self.slots.insert(name, slot);
        Ok(slot)
    }

    fn check_expectations(&mut self, expectations: &'a [Expectation], index: &Index) -> Result<(), Error> {
        for Expectation { stream, version } in expectations {
            let slot = self.slot(stream, index)?;
            let actual = self.streams[slot].1.version;
            if actual != *version {
                return Err(Error::Unexpected { stream: stream.clone(), expected: *version, actual });
            }
        }
        Ok(())
    }

    fn check_versions(&self, batch: &[Prepared], slots: &[usize]) -> Result<(), Error> {
        if batch.iter().all(|event| event.expected_version.is_none()) {
            return Ok(());
        }
        let mut added: HashMap<usize, u64> = HashMap::new();
        for (index, (event, slot)) in batch.iter().zip(slots).enumerate() {
            let added = added.entry(*slot).or_insert(0);
            let actual = self.streams[*slot].1.version + *added;
            match event.expected_version {
                Some(expected) if expected != actual => {
                    return Err(Error::WrongVersion { index, stream: event.stream.clone(), expected, actual });
                }
                _ => *added += 1,
            }
        }
        Ok(())
    }

    fn push(&mut self, event: &'a Prepared, slot: usize) -> Appended {
        let state = &mut self.streams[slot].1;
        if state.number == 0 {
            self.edge.streams += 1;
            state.number = self.edge.streams;
        }
        state.version += 1;
        let entry = Entry {
            position: Position::new(self.edge.head + 1).expect("one after another is not zero"),
            recorded_at: self.recorded_at,
            event_type: event.event_type,
            stream: StreamNumber(state.number),
            stream_version: state.version,
            payload_bytes: u32::try_from(event.payload().len()).expect("a payload is at most 1 MiB"),
            commitment: event.commitment,
            identity: event.identity,
            has_sealed: event.has_sealed,
            chain_before: self.events.is_empty().then_some(self.edge.chain),
        };
        self.push_entry(&entry);
        self.events.push(event);
        let Entry { position, recorded_at, stream_version, .. } = entry;
        let appended = Appended { position, stream_version, duplicate: false, recorded_at };
        self.identities.insert(event.identity, (appended, event.content_mac));
        appended
    }

    fn push_entry(&mut self, entry: &Entry) {
        let at = self.entries.len();
        self.entries.extend_from_slice(&[0; 2]);
        entry.push(&mut self.entries);
        bundle::set_length(&mut self.entries[at..]);
        let bytes = &self.entries[at + 2..];
        assert_eq!(Entry::decode(bytes).as_ref(), Ok(entry), "an entry must come back from its bytes");
        self.bundle_roots.extend(self.edge.tree.push(bytes));
        self.edge.head += 1;
    }

    /// Ends the frame that is being filled, if it holds anything.
    fn end_frame(&mut self) {
        let Some(count) = u32::try_from(self.events.len()).ok().filter(|count| *count > 0) else { return };
        let first = self.edge.head + 1 - u64::from(count);
        let length = |bytes: usize| u32::try_from(bytes).expect("a frame is at most 16 MiB");
        let header = FrameHeader {
            count,
            first: Position::new(first).expect("positions begin at 1"),
            durable_before: self.durable_before,
            offsets_bytes: 0,
            entries_bytes: length(self.entries.len()),
            payloads_bytes: length(self.payloads_bytes),
        };
        let start = self.bytes.len();
        self.bytes.reserve(header.frame_bytes());
        header.push(&mut self.bytes);
        let pushed = FrameHeader::decode(&self.bytes[start..start + HEADER_BYTES]);
        assert_eq!(pushed.as_ref(), Ok(&header), "a frame's header must come back from its bytes");
        self.bytes.extend_from_slice(&self.entries);
        self.events.drain(..).for_each(|event| self.bytes.extend_from_slice(&event.record));
        end_frame(&mut self.bytes, start);
        assert_eq!(self.bytes.len() - start, header.frame_bytes(), "a frame must be as long as its header says");
        self.frames.push(FrameAt { first, offset: self.at + start as u64, bytes: length(header.frame_bytes()) });
        self.edge.chain = chain::next(&self.edge.chain, &self.entries);
        self.edge.recorded_at_micros = self.recorded_at.as_micros();
        self.entries.clear();
        self.payloads_bytes = 0;
    }

    /// Ends the last frame. Nothing may be placed any more.
    pub(crate) fn finish(&mut self) {
        self.end_frame();
    }

    /// Puts what became durable into the index.
    pub(crate) fn absorb_into(&self, index: &mut Index) {
        let identities = self.identities.iter().map(|(identity, (appended, _))| (*identity, appended.position));
        index.absorb(identities, self.streams.iter().copied().filter(|(_, state)| state.number > 0));
    }
}

/// Room that an entry takes in a frame: its length and, at most, 122 bytes.
const ENTRY_BYTES: usize = 124;
