//! Where the index is built from again: the entries of a sealed segment, and the payloads that name its streams.

use super::Part;
use super::{StreamKey, StreamState};
use crate::chain;
use crate::entry::Entry;
use crate::error::{Error, Mismatch};
use crate::payload::MacKeys;
use crate::scan::{LogFiles, check_record};
use crate::segment::{Sealed, SealedSlot};
use cairn_schemas::{Blake3, StoredPayload};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The segments that the index is derived from.
pub(crate) trait Source: Send + Sync {
    /// What the sealed segment that begins at `first` adds. `Err` where its bytes are not what was sealed.
    fn part(&self, first: u64, streams_before: u64) -> Result<Part, Error>;
    /// The chain heads before and after it.
    fn chain(&self, first: u64) -> Result<(Blake3, Blake3), Error>;
}

pub(crate) struct LogSource {
    pub(crate) files: LogFiles,
    pub(crate) mac_keys: MacKeys,
}

impl LogSource {
    /// Opens the segment as it stands now: its payloads may have been replaced since the log was opened.
    fn sealed(&self, first: u64) -> Result<Arc<Sealed>, Error> {
        let files = &self.files;
        match files.listing()?.segments.into_iter().find(|segment| segment.first == first && segment.is_sealed()) {
            Some(found) => SealedSlot::new(files, found).open(),
            None => {
                let site = files.at(files.layout.segments());
                Err(site.damage(Some(first), 0, Mismatch::new(0, "a sealed segment that begins here", "none")))
            }
        }
    }
}

impl Source for LogSource {
    fn part(&self, first: u64, streams_before: u64) -> Result<Part, Error> {
        let sealed = self.sealed(first)?;
        let footer = &sealed.entries.footer;
        let mut builder = PartBuilder::new(Part::new(first, footer.chain_before, streams_before));
        let (mut chain, mut next, mut named) = (footer.chain_before, first, HashSet::new());
        sealed.walk(&mut |entry| named.insert(entry.stream.0), |found| {
            let mut entries = Vec::new();
            for item in crate::bundle::Entries::new(found.entries) {
                let damage = |m| found.entries_site.damage(Some(next), found.entries_at, m);
                let (at, raw) = item.map_err(damage)?;
                entries.push(crate::entry::decode_at(next, raw).map_err(|m| damage(m.shifted(at + 2)))?);
                next += 1;
            }
            chain = chain::next(&chain, found.entries);
            found.records.iter().try_for_each(check_record)?;
            for record in &found.records {
                builder.name(&record.entry, &StoredPayload::decode(record.record.bytes)?.stream, &self.mac_keys);
            }
            entries.iter().try_for_each(|entry| {
                builder
                    .entry(entry)
                    .map_err(|m| found.entries_site.damage(Some(entry.position.get()), found.entries_at, m))
            })
        })?;
        if chain != footer.chain_after {
            let mismatch = Mismatch::new(64, format!("chain head {chain} after its entries"), footer.chain_after);
            return Err(sealed.entries.site.damage(Some(next - 1), footer.body_bytes, mismatch));
        }
        Ok(builder.part.frozen(next - 1, chain))
    }

    fn chain(&self, first: u64) -> Result<(Blake3, Blake3), Error> {
        let sealed = self.sealed(first)?;
        Ok((sealed.entries.footer.chain_before, sealed.entries.footer.chain_after))
    }
}

/// Builds parts from entries: each stream is named before its first entry is put.
pub(crate) struct PartBuilder {
    pub(crate) part: Part,
    /// By stream number: its key, and its version where an entry of it was put.
    streams: HashMap<u64, (StreamKey, Option<u64>)>,
    /// Streams whose first event was put, in order, each with that position.
    pub(crate) born: Vec<(u64, u64)>,
}

impl PartBuilder {
    pub(crate) fn new(part: Part) -> Self {
        Self { part, streams: HashMap::new(), born: Vec::new() }
    }

    /// Whether the stream still lacks its name.
    pub(crate) fn lacks(&self, entry: &Entry) -> bool {
        !self.streams.contains_key(&entry.stream.0)
    }

    pub(crate) fn name(&mut self, entry: &Entry, stream: &str, keys: &MacKeys) {
        self.streams.entry(entry.stream.0).or_insert((keys.stream(stream), None));
    }

    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Mismatch> {
        if !self.part.insert(entry.identity, entry.position) {
            return Err(Mismatch::new(0, "an event not recorded before", "a repeat of an identity"));
        }
        let (number, version) = (entry.stream.0, entry.stream_version);
        let (key, before) = self.streams.get_mut(&number).expect("its stream was named before");
        if let Some(other) = self.part.stream(key).filter(|other| other.number != number) {
            return Err(Mismatch::new(0, format!("another name than that of stream {}", other.number), "the same"));
        }
        if let Some(before) = before.filter(|before| before + 1 != version) {
            return Err(Mismatch::new(30, format!("version {} of stream {number}", before + 1), version));
        }
        *before = Some(version);
        if version == 1 {
            self.born.push((number, entry.position.get()));
        }
        self.part.insert_stream(*key, StreamState { number, version });
        Ok(())
    }

    /// Goes on with the next segment.
    pub(crate) fn next_part(&mut self, next: Part) -> Part {
        std::mem::replace(&mut self.part, next)
    }
}
