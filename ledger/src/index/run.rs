//! A run: the identities and streams of consecutive sealed segments in one immutable file.

use super::part::Part;
use super::table::{KEY_BYTES, PartitionAt, Table, TableWriter};
use super::{StreamKey, StreamState};
use crate::entry::Identity;
use crate::error::{Error, Mismatch};
use crate::lru::Owner;
use crate::scan::LogFiles;
use crate::segment::object::{ObjectWriter, read_footer};
use crate::storage::StoredFile;
use crate::wire::Reader;
use cairn_schemas::{Blake3, Position};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

const MAGIC: [u8; 8] = *b"CAIRNIDX";
const VERSION: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
/// MAC, then the position less the run's first.
const IDENTITY_BYTES: usize = KEY_BYTES + 4;
/// MAC, number, version.
const STREAM_BYTES: usize = KEY_BYTES + 16;
/// A run is merged into no longer one than this. Offsets and the guide's length stay far below 4 GiB.
pub(crate) const RUN_EVENTS_MAX: u64 = 1 << 24;

/// Why a run could not answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Its bytes are not what was written; it is to be built again.
    Unsound(String),
    /// It could not be read.
    Failed(Error),
}

impl From<Error> for Fault {
    /// What is damaged in a derived file is built again.
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged(damage) => Fault::Unsound(damage.to_string()),
            Error::Io { source, .. }
                if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) =>
            {
                Fault::Unsound(source.to_string())
            }
            other => Fault::Failed(other),
        }
    }
}

/// What a run covers, and where its parts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunMeta {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) chain_before: Blake3,
    pub(crate) chain_after: Blake3,
    /// Streams of the log up to and with `last`.
    pub(crate) streams: u64,
    /// First positions of the segments that it covers.
    pub(crate) segments: Vec<u64>,
    guide_at: u64,
    guide_bytes: u64,
    guide_checksum: u32,
    identity_table: Vec<PartitionAt>,
    stream_table: Vec<PartitionAt>,
}

impl RunMeta {
    fn of(first: u64, last: u64, chain: (Blake3, Blake3), streams: u64, segments: Vec<u64>) -> Self {
        let (chain_before, chain_after) = chain;
        let (identity_table, stream_table) = (Vec::new(), Vec::new());
        let (guide_at, guide_bytes, guide_checksum) = (0, 0, 0);
        Self {
            first,
            last,
            chain_before,
            chain_after,
            streams,
            segments,
            guide_at,
            guide_bytes,
            guide_checksum,
            identity_table,
            stream_table,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_vec();
        for number in [self.first, self.last] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.chain_before.as_bytes());
        out.extend_from_slice(self.chain_after.as_bytes());
        for number in [self.streams, self.guide_at, self.guide_bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.guide_checksum.to_be_bytes());
        for length in [self.segments.len(), self.identity_table.len(), self.stream_table.len()] {
            out.extend_from_slice(&u32::try_from(length).expect("a run is bounded").to_be_bytes());
        }
        self.segments.iter().for_each(|first| out.extend_from_slice(&first.to_be_bytes()));
        self.identity_table.iter().chain(&self.stream_table).for_each(|at| at.encode(&mut out));
        out
    }

    fn decode(bytes: &[u8], body_bytes: u64) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.expect("run footer version", &VERSION)?;
        let (first, last) = (from.u64()?, from.u64()?);
        let chain_before = Blake3::from_bytes(from.array()?);
        let chain_after = Blake3::from_bytes(from.array()?);
        let (streams, guide_at, guide_bytes) = (from.u64()?, from.u64()?, from.u64()?);
        let guide_checksum = from.u32()?;
        let (segments, identities, names) = (from.u32()?, from.u32()?, from.u32()?);
        let segments = (0..segments).map(|_| from.u64()).collect::<Result<_, _>>()?;
        let mut table = |count| (0..count).map(|_| PartitionAt::decode(&mut from)).collect::<Result<Vec<_>, _>>();
        let (identity_table, stream_table) = (table(identities)?, table(names)?);
        from.end()?;
        let meta = Self {
            first,
            last,
            chain_before,
            chain_after,
            streams,
            segments,
            guide_at,
            guide_bytes,
            guide_checksum,
            identity_table,
            stream_table,
        };
        let tables = [(&meta.identity_table, IDENTITY_BYTES), (&meta.stream_table, STREAM_BYTES)];
        let inside = tables.iter().all(|(table, width)| table.iter().all(|at| at.guide_end(*width) <= guide_bytes));
        let whole = guide_at.checked_add(guide_bytes) == Some(body_bytes);
        match inside && whole && first > 0 && last >= first {
            true => Ok(meta),
            false => Err(Mismatch::new(0, format!("the parts of a body of {body_bytes} bytes"), format!("{meta:?}"))),
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Name of the run that covers these positions.
pub(crate) fn file_name(first: u64, last: u64) -> String {
    format!("{first:020}-{last:020}.run")
}

/// The inverse of [`file_name`].
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".run")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (file_name(first, last) == name).then_some((first, last))
}

/// A run whose footer is in memory; filters and fences are loaded when it is first asked.
pub(crate) struct Run {
    files: LogFiles,
    path: PathBuf,
    owner: Owner,
    pub(crate) meta: RunMeta,
    guide: OnceLock<Vec<u8>>,
}

impl Run {
    /// Reads the footer; the rest is read, and checked, when it is needed.
    pub(crate) fn open(files: &LogFiles, first: u64, last: u64) -> Result<Self, Fault> {
        let path = files.layout.index().join(file_name(first, last));
        let site = files.at(path.clone());
        let file = files.disk.open(&path).map_err(site.io("opening"))?;
        let footer = read_footer(&*file, &site, MAGIC)?;
        let meta = RunMeta::decode(&footer.bytes, footer.at).map_err(|m| site.damage(None, footer.at, m))?;
        match (meta.first, meta.last) == (first, last) {
            true => Ok(Self::new(files, path, meta, OnceLock::new())),
            false => Err(Fault::Unsound("it covers other positions than its name says".into())),
        }
    }

    fn new(files: &LogFiles, path: PathBuf, meta: RunMeta, guide: OnceLock<Vec<u8>>) -> Self {
        Self { files: files.clone(), path, owner: Owner::new(&files.caches), meta, guide }
    }

    /// Writes the run of one segment and gives it its name, durably.
    pub(crate) fn write(files: &LogFiles, part: &Part) -> Result<Self, Error> {
        let (last, chain_after) = part.end.expect("only full segments are indexed");
        let chain = (part.chain_before, chain_after);
        let mut writer = Writer::create(files, RunMeta::of(part.first, last, chain, part.streams(), vec![part.first]))?;
        let mut identities: Vec<_> = part.identities.iter().map(|(key, at)| (key.0, at.get())).collect();
        identities.sort_unstable();
        identities.into_iter().try_for_each(|(key, position)| writer.identity(&Identity(key), position))?;
        writer.end_identities()?;
        let mut streams: Vec<_> = part.streams.iter().map(|(key, state)| (*key, *state)).collect();
        streams.sort_unstable_by_key(|(key, _)| *key);
        streams.into_iter().try_for_each(|(key, state)| writer.stream(&key, state))?;
        writer.finish()
    }

    /// Merges runs that follow one another.
    pub(crate) fn merge(files: &LogFiles, runs: &[Arc<Run>]) -> Result<Self, Fault> {
        let (first, last) = (&runs[0].meta, &runs[runs.len() - 1].meta);
        let segments = runs.iter().flat_map(|run| run.meta.segments.iter().copied()).collect();
        let chain = (first.chain_before, last.chain_after);
        let mut writer = Writer::create(files, RunMeta::of(first.first, last.last, chain, last.streams, segments))?;
        let mut identities = Merge::new(runs, Run::identities)?;
        while let Some((run, record)) = identities.next()? {
            let offset = u32::from_be_bytes(record[KEY_BYTES..].try_into().expect("4 bytes"));
            let key = record[..KEY_BYTES].try_into().expect("16 bytes");
            writer.identity(&Identity(key), runs[run].meta.first + u64::from(offset))?;
        }
        writer.end_identities()?;
        let mut streams = Merge::new(runs, Run::streams)?.keep_newest();
        while let Some((_, record)) = streams.next()? {
            writer.stream(
                &StreamKey(record[..KEY_BYTES].try_into().expect("16 bytes")),
                state_of(&record[KEY_BYTES..]),
            )?;
        }
        Ok(writer.finish()?)
    }

    pub(crate) fn position(&self, identity: &Identity) -> Result<Option<Position>, Fault> {
        let found = self.identities(self.guide()?).find(&identity.0, &|at, length| self.read(at, length))?;
        let Some(value) = found else { return Ok(None) };
        let offset = u32::from_be_bytes(value.try_into().expect("4 bytes"));
        Ok(Position::new(self.meta.first + u64::from(offset)))
    }

    pub(crate) fn stream(&self, key: &StreamKey) -> Result<Option<StreamState>, Fault> {
        let found = self.streams(self.guide()?).find(&key.0, &|at, length| self.read(at, length))?;
        Ok(found.map(|value| state_of(&value)))
    }

    fn identities<'a>(&'a self, guide: &'a [u8]) -> Table<'a> {
        Table { width: IDENTITY_BYTES, partitions: &self.meta.identity_table, guide }
    }

    fn streams<'a>(&'a self, guide: &'a [u8]) -> Table<'a> {
        Table { width: STREAM_BYTES, partitions: &self.meta.stream_table, guide }
    }

    /// Filters, fences and checksums of the blocks: some 1.2 bytes an event.
    fn guide(&self) -> Result<&[u8], Fault> {
        if let Some(guide) = self.guide.get() {
            return Ok(guide);
        }
        let guide = self.read(self.meta.guide_at, self.meta.guide_bytes as usize)?;
        match crc32c::crc32c(&guide) == self.meta.guide_checksum {
            true => Ok(self.guide.get_or_init(|| guide)),
            false => Err(Fault::Unsound("its filters have another checksum".into())),
        }
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length];
        let read = self.file()?.read_exact_at(&mut bytes, offset);
        read.map_err(Error::io("reading", &self.path))?;
        Ok(bytes)
    }

    fn file(&self) -> Result<Arc<dyn StoredFile>, Fault> {
        let cache = &self.files.caches.runs;
        if let Some(file) = cache.get(self.owner.key(0)) {
            return Ok(file);
        }
        let file = self.files.disk.open(&self.path).map_err(Error::io("opening", &self.path))?;
        cache.put(self.owner.key(0), 1, file.clone());
        Ok(file)
    }

    /// Removes the file of a run that another one replaces. What a crash leaves is removed when the log is opened.
    pub(crate) fn remove(&self) {
        if let Err(e) = self.files.disk.remove(&self.path) {
            tracing::warn!(file = %self.path.display(), error = %e, "a run that was merged could not be removed");
        }
    }
}

fn state_of(value: &[u8]) -> StreamState {
    let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("8 bytes"));
    StreamState { number: number(0), version: number(8) }
}

/// Writes a run under a temporary name: identities in order, then streams in order.
struct Writer<'a> {
    files: &'a LogFiles,
    path: PathBuf,
    object: ObjectWriter<'a>,
    meta: RunMeta,
    guide: Vec<u8>,
    identities: TableWriter,
    streams: TableWriter,
}

impl<'a> Writer<'a> {
    fn create(files: &'a LogFiles, meta: RunMeta) -> Result<Self, Error> {
        let path = files.layout.index().join(file_name(meta.first, meta.last));
        let object = ObjectWriter::create(&*files.disk, &path)?;
        let (identities, streams) = (TableWriter::new(IDENTITY_BYTES), TableWriter::new(STREAM_BYTES));
        Ok(Self { files, path, object, meta, guide: Vec::new(), identities, streams })
    }

    fn identity(&mut self, key: &Identity, position: u64) -> Result<(), Error> {
        let mut record = [0; IDENTITY_BYTES];
        record[..KEY_BYTES].copy_from_slice(&key.0);
        let offset = u32::try_from(position - self.meta.first).expect("a run is bounded");
        record[KEY_BYTES..].copy_from_slice(&offset.to_be_bytes());
        self.identities.push(&mut self.object, &mut self.guide, &record)
    }

    fn end_identities(&mut self) -> Result<(), Error> {
        self.identities.close_partition(&mut self.object, &mut self.guide)
    }

    fn stream(&mut self, key: &StreamKey, state: StreamState) -> Result<(), Error> {
        let mut record = [0; STREAM_BYTES];
        record[..KEY_BYTES].copy_from_slice(&key.0);
        record[KEY_BYTES..KEY_BYTES + 8].copy_from_slice(&state.number.to_be_bytes());
        record[KEY_BYTES + 8..].copy_from_slice(&state.version.to_be_bytes());
        self.streams.push(&mut self.object, &mut self.guide, &record)
    }

    fn finish(mut self) -> Result<Run, Error> {
        self.streams.close_partition(&mut self.object, &mut self.guide)?;
        self.meta.guide_at = self.object.bytes();
        self.meta.guide_bytes = self.guide.len() as u64;
        self.meta.guide_checksum = crc32c::crc32c(&self.guide);
        self.meta.identity_table = self.identities.partitions;
        self.meta.stream_table = self.streams.partitions;
        self.object.put(&self.guide)?;
        self.object.finish(&self.meta.encode(), MAGIC)?;
        self.object.publish()?;
        Ok(Run::new(self.files, self.path, self.meta, OnceLock::from(self.guide)))
    }
}

/// Walks the tables of several runs in order of their keys; of a key that several hold, one run's record is given.
struct Merge<'a> {
    heads: Vec<Head<'a>>,
    newest: bool,
}

struct Head<'a> {
    run: &'a Run,
    table: Table<'a>,
    next_block: (usize, usize),
    block: Vec<u8>,
    at: usize,
}

impl<'a> Merge<'a> {
    fn new(runs: &'a [Arc<Run>], table: fn(&'a Run, &'a [u8]) -> Table<'a>) -> Result<Self, Fault> {
        let mut heads = Vec::new();
        for run in runs {
            let table = table(run, run.guide()?);
            let mut head = Head { run, table, next_block: (0, 0), block: Vec::new(), at: 0 };
            head.load()?;
            heads.push(head);
        }
        Ok(Self { heads, newest: false })
    }

    /// Of a key that several runs hold, the last run's record is given, not the first's.
    fn keep_newest(self) -> Self {
        Self { newest: true, ..self }
    }

    /// The next record and the index of the run that holds it.
    fn next(&mut self) -> Result<Option<(usize, Vec<u8>)>, Fault> {
        let mut chosen: Option<usize> = None;
        for (index, head) in self.heads.iter().enumerate() {
            let Some(key) = head.key() else { continue };
            let best = chosen.map(|chosen| self.heads[chosen].key().expect("it was chosen by its key"));
            let better = match best {
                None => true,
                Some(best) => key < best || (self.newest && key == best),
            };
            if better {
                chosen = Some(index);
            }
        }
        let Some(chosen) = chosen else { return Ok(None) };
        let record = self.heads[chosen].record().to_vec();
        for head in &mut self.heads {
            if head.key() == Some(&record[..KEY_BYTES]) {
                head.step()?;
            }
        }
        Ok(Some((chosen, record)))
    }
}

impl Head<'_> {
    fn record(&self) -> &[u8] {
        &self.block[self.at..][..self.table.width]
    }

    fn key(&self) -> Option<&[u8]> {
        (self.at < self.block.len()).then(|| &self.block[self.at..][..KEY_BYTES])
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.at += self.table.width;
        if self.at == self.block.len() { self.load() } else { Ok(()) }
    }

    fn load(&mut self) -> Result<(), Fault> {
        let run = self.run;
        let block = self.table.block_after(&mut self.next_block, &|at, length| run.read(at, length))?;
        self.block = block.unwrap_or_default();
        self.at = 0;
        Ok(())
    }
}
