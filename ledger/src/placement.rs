//! Gives a batch its place in the log, in memory only: repeats, expected versions, entries, frame. No I/O of its own.

use crate::bundle;
use crate::continuity::Continuity;
use crate::entry::{Entry, Identity, StreamNumber};
use crate::error::Error;
use crate::event::Prepared;
use crate::frame::{Frame, FrameHeader};
use crate::index::Index;
use crate::payload::{Record, RecordKind};
use crate::segment::frames::FrameAt;
use crate::tree::Tree;
use cairn_schemas::{Blake3, Position, Timestamp};
use std::collections::HashMap;

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

/// Frames placed but not yet written, and what goes into the index once they are durable.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<FrameAt>,
    identities: HashMap<Identity, (Appended, [u8; 32])>,
    streams: HashMap<String, u64>,
}

impl Pending {
    /// Puts what became durable into the index.
    pub(crate) fn absorb_into(self, index: &mut Index) {
        for (identity, (appended, _)) in self.identities {
            index.insert(identity, appended.position);
        }
        for (name, number) in self.streams {
            index.insert_stream(name, number);
        }
    }
}

/// The log's state before a group of frames, to go back to when they cannot be written.
pub(crate) struct Snapshot {
    head: u64,
    recorded_at_micros: i64,
    chain: Blake3,
    tree: Tree,
    frames: u64,
    streams: usize,
    bundle_roots: usize,
}

impl Snapshot {
    pub(crate) fn of(state: &Continuity) -> Self {
        Self {
            head: state.head,
            recorded_at_micros: state.recorded_at_micros,
            chain: state.chain,
            tree: state.tree.clone(),
            frames: state.frames,
            streams: state.stream_versions.len(),
            bundle_roots: state.bundle_roots.len(),
        }
    }

    /// Undoes what `pending` did to the state. Each placed entry had raised its stream's version by one.
    pub(crate) fn restore(self, state: &mut Continuity, pending: &Pending) {
        for frame in &pending.frames {
            let frame = &pending.bytes[(frame.offset - pending.frames[0].offset) as usize..][..frame.bytes as usize];
            let frame = Frame::decode(frame).expect("this program encoded the frame");
            for item in bundle::Entries::new(frame.entries) {
                let (_, entry) = item.expect("this program encoded the entries");
                let entry = Entry::decode(entry).expect("this program encoded the entry");
                state.stream_versions[entry.stream.0 as usize - 1] -= 1;
            }
        }
        state.stream_versions.truncate(self.streams);
        state.head = self.head;
        state.recorded_at_micros = self.recorded_at_micros;
        state.chain = self.chain;
        state.tree = self.tree;
        state.frames = self.frames;
        state.bundle_roots.truncate(self.bundle_roots);
    }
}

/// Where a group of batches is placed.
pub(crate) struct Placement<'a> {
    pub(crate) state: &'a mut Continuity,
    pub(crate) index: &'a Index,
    pub(crate) pending: &'a mut Pending,
    /// Offset in the file at which the group will be written.
    pub(crate) group_at: u64,
    /// Streams of the log before the group.
    pub(crate) streams_before: usize,
    /// Head that is durable before the group.
    pub(crate) durable_before: u64,
    pub(crate) now: Timestamp,
}

impl Placement<'_> {
    /// Places a whole batch as one frame, or nothing of it. Repeats are recognised before versions are compared.
    pub(crate) fn place(&mut self, batch: &[Prepared], lookup: Lookup<'_>) -> Result<Vec<Appended>, Error> {
        if let Some(firsts) = self.repeats(batch, lookup)? {
            return Ok(firsts);
        }
        self.check_versions(batch)?;
        Ok(self.push_frame(batch))
    }

    /// `Some` if every event of the batch was recorded before, with the same content.
    fn repeats(&self, batch: &[Prepared], lookup: Lookup<'_>) -> Result<Option<Vec<Appended>>, Error> {
        let mut seen: HashMap<&Identity, usize> = HashMap::new();
        let mut firsts = Vec::new();
        for (index, event) in batch.iter().enumerate() {
            let names = || (event.source.clone(), event.id.clone());
            if let Some(first_index) = seen.insert(&event.identity, index) {
                let (event_source, id) = names();
                return Err(Error::RepeatedInBatch { index, first_index, event_source, id });
            }
            let Some(first) = self.first(event, lookup)? else { continue };
            if !first.same_content {
                let (event_source, id) = names();
                return Err(Error::Conflict { index, event_source, id, position: first.appended.position });
            }
            firsts.push((index, Appended { duplicate: true, ..first.appended }));
        }
        match firsts.len() {
            0 => Ok(None),
            repeated if repeated == batch.len() => Ok(Some(firsts.into_iter().map(|(_, first)| first).collect())),
            _ => {
                let repeated = firsts.into_iter().map(|(index, first)| (index, first.position)).collect();
                Err(Error::PartlyRepeated { events: batch.len(), repeated })
            }
        }
    }

    fn first(&self, event: &Prepared, lookup: Lookup<'_>) -> Result<Option<First>, Error> {
        if let Some((appended, content_mac)) = self.pending.identities.get(&event.identity) {
            return Ok(Some(First { appended: *appended, same_content: *content_mac == event.content_mac }));
        }
        self.index.position(&event.identity).map(|position| lookup(position, event)).transpose()
    }

    fn stream_number(&self, name: &str) -> Option<u64> {
        self.pending.streams.get(name).copied().or_else(|| self.index.stream(name))
    }

    fn stream_version(&self, number: u64) -> u64 {
        self.state.stream_versions.get(number as usize - 1).copied().unwrap_or(0)
    }

    fn check_versions(&self, batch: &[Prepared]) -> Result<(), Error> {
        let mut added: HashMap<&str, u64> = HashMap::new();
        for (index, event) in batch.iter().enumerate() {
            let added = added.entry(&event.stream).or_insert(0);
            let stored = self.stream_number(&event.stream).map_or(0, |number| self.stream_version(number));
            let actual = stored + *added;
            match event.expected_version {
                Some(expected) if expected != actual => {
                    return Err(Error::WrongVersion { index, stream: event.stream.clone(), expected, actual });
                }
                _ => *added += 1,
            }
        }
        Ok(())
    }

    fn push_frame(&mut self, batch: &[Prepared]) -> Vec<Appended> {
        let first = Position::new(self.state.head + 1).expect("one after another is not zero");
        let recorded_at = self.now.max(Timestamp::from_micros(self.state.recorded_at_micros));
        let (mut entries, mut payloads, mut appended) = (Vec::new(), Vec::new(), Vec::with_capacity(batch.len()));
        let mut added: HashMap<u64, u64> = HashMap::new();
        let mut position = first;
        for (index, event) in batch.iter().enumerate() {
            let stream = self.number_of(&event.stream);
            let added = added.entry(stream).or_insert(0);
            *added += 1;
            let entry = Entry {
                position,
                recorded_at,
                event_type: event.event_type,
                stream: StreamNumber(stream),
                stream_version: self.stream_version(stream) + *added,
                payload_bytes: u32::try_from(event.payload.len()).expect("a payload is at most 1 MiB"),
                commitment: event.commitment,
                identity: event.identity,
                chain_before: (index == 0).then_some(self.state.chain),
            };
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry), "an entry must come back from its bytes");
            bundle::push(&mut entries, &bytes);
            Record { kind: RecordKind::Original, salt: event.salt, bytes: &event.payload }.push(&mut payloads);
            let stream_version = entry.stream_version;
            let placed = Appended { position, stream_version, duplicate: false, recorded_at };
            self.pending.identities.insert(event.identity, (placed, event.content_mac));
            appended.push(placed);
            position = position.next().expect("no log has 2^64 events");
        }
        self.finish_frame(first, batch.len(), &entries, &payloads);
        appended
    }

    fn finish_frame(&mut self, first: Position, count: usize, entries: &[u8], payloads: &[u8]) {
        let header = FrameHeader {
            count: u32::try_from(count).expect("a batch is bounded"),
            first,
            durable_before: self.durable_before,
            offsets_bytes: 0,
            entries_bytes: 0,
            payloads_bytes: 0,
        };
        let start = self.pending.bytes.len();
        Frame { header, source_offsets: &[], entries, payloads }.push(&mut self.pending.bytes);
        let whole = Frame::decode(&self.pending.bytes[start..]).expect("a frame must come back from its bytes");
        self.state.frame(whole.entries, |_, _| ()).expect("a new frame must continue the log");
        let bytes = u32::try_from(self.pending.bytes.len() - start).expect("a frame is at most 16 MiB");
        self.pending.frames.push(FrameAt { first: first.get(), offset: self.group_at + start as u64, bytes });
    }

    /// The stream's number; a new stream gets the next one.
    fn number_of(&mut self, name: &str) -> u64 {
        if let Some(number) = self.stream_number(name) {
            return number;
        }
        let number = (self.streams_before + self.pending.streams.len()) as u64 + 1;
        self.pending.streams.insert(name.to_owned(), number);
        number
    }
}
