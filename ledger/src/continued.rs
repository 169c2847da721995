//! A restored log that goes on under a new origin: its first event names the log before, then each old event follows
//! with its time, stream, payload and salt. Positions grow by one; entries, chain, tree and signing key are new.
//!
//! The keys of the MACs stay, so that a repeat of an old event is still a repeat.

use crate::bundle::{self, Entries};
use crate::chain;
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, StreamNumber};
use crate::error::{Error, Mismatch};
use crate::keys::{self, Marker};
use crate::layout::{Layout, LogId, SegmentPart};
use crate::ledger::Ledger;
use crate::log::{read_checkpoint, start_state};
use crate::options::{Options, Random};
use crate::payload::RecordKind;
use crate::restored::Behind;
use crate::scan::LogFiles;
use crate::segment::frames::FramesFile;
use crate::segment::writer::{SegmentStart, SegmentWriter};
use crate::segment::{FoundFrame, found_records};
use crate::storage::{Access, Storage, write_whole};
use crate::tree::Tree;
use crate::verify::{decode, verify_entries};
use cairn_schemas::events::Fact;
use cairn_schemas::events::governance::{LogContinued, Replacement};
use cairn_schemas::{Clock, NewEvent, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Who reports that a log goes on.
const SOURCE: &str = "cairn://ledger";
const REASON: &str = "restored behind what was known of it";
const SEGMENT_BYTES: u64 = 64 << 20;

/// One log as it goes on.
pub(crate) struct Continue<'a> {
    pub(crate) storage: &'a Arc<dyn Storage>,
    pub(crate) random: &'a Arc<dyn Random>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    /// The restored ledger, and the one that is to stand in its place; its marker and MAC keys stand there already.
    pub(crate) old: &'a Layout,
    pub(crate) new: &'a Layout,
    pub(crate) old_marker: &'a Marker,
    pub(crate) new_marker: &'a Marker,
}

/// A replaced payload that the new log needs an authority of its own for: who asked, and what stands there now.
type Replaced = BTreeMap<String, Vec<Replacement>>;

/// The first event's time: no later than that of the event after it.
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

impl Continue<'_> {
    /// Writes the log anew. Nothing of it is believed before the restore has ended, so nothing needs to be undone.
    pub(crate) fn log(&self, id: &LogId, behind: Option<&Behind>) -> Result<(), Error> {
        if *id != LogId::main(&id.tenant) {
            let why = format!("log {id} holds no events of producers; only such logs can go on under a new origin");
            return Err(Error::Backup { dir: self.new.dir.clone(), why });
        }
        let old = LogFiles::new(self.storage.clone(), &self.old.dir, &id.to_string(), self.old.log(id));
        let origin = self.old_marker.log_origin(id);
        let path = self.old.log(id).verifier_key();
        let verifier = keys::read_verifier(&**self.storage, self.old, &path)?
            .ok_or_else(|| keys::damaged(self.old, &path, "the log's public key".into(), "no file"))?;
        let signed = read_checkpoint(&old, &verifier)?;
        let first = LogContinued {
            origin,
            size: signed.checkpoint.size,
            root: signed.checkpoint.root,
            known_size: behind.map(|behind| behind.known_size),
            known_root: behind.map(|behind| behind.known_root),
            reason: REASON.into(),
        };
        let begun = self.first_time(&old, &verifier, &signed)?;
        self.begin(id, &first, begun)?;
        let mut writer = LogWriter::open(self.storage, self.new, id, &self.new_marker.log_origin(id), &first)?;
        verify_entries(&old, start_state(&verifier, &signed), &signed, &mut |found| writer.frame(found))?;
        let (end, replaced) = writer.finish()?;
        self.sign(id, &end)?;
        self.authorise(id, replaced)
    }

    /// Time of the old log's first event.
    fn first_time(
        &self,
        old: &LogFiles,
        verifier: &crate::checkpoint::LogVerifier,
        signed: &crate::checkpoint::SignedCheckpoint,
    ) -> Result<Timestamp, Error> {
        let mut first = None;
        if signed.checkpoint.size > 0 {
            verify_entries(old, start_state(verifier, signed), signed, &mut |found| {
                if first.is_none()
                    && let Some(Ok((_, raw))) = Entries::new(found.entries).next()
                {
                    first = Entry::decode(raw).ok().map(|entry| entry.recorded_at);
                }
                Ok(())
            })?;
        }
        Ok(first.unwrap_or_else(|| self.clock.now()))
    }

    fn options(&self, clock: Arc<dyn Clock>) -> Options {
        Options {
            note: "restore".into(),
            storage: self.storage.clone(),
            random: self.random.clone(),
            clock,
            ..Options::default()
        }
    }

    /// Creates the log with its first event and its keys, as any log is created.
    fn begin(&self, id: &LogId, first: &LogContinued, at: Timestamp) -> Result<(), Error> {
        let ledger = Ledger::open_restoring(&self.new.dir, self.options(Arc::new(At(at))))?;
        let mut event = NewEvent::new(SOURCE, &format!("continued:{}:{}", first.origin, first.size), first.clone());
        event.envelope.occurred_at = Some(self.clock.now());
        ledger.append(&id.tenant, vec![event]).map(drop)
    }

    fn sign(&self, id: &LogId, end: &SegmentStart) -> Result<(), Error> {
        let path = self.new.signing_key(id);
        let signer = keys::read_signer(&**self.storage, self.new, id)?
            .ok_or_else(|| keys::damaged(self.new, &path, "a key".into(), "no file"))?;
        let origin = self.new_marker.log_origin(id);
        let signed = Checkpoint { origin, size: end.tree.size(), root: end.tree.root() }.sign(&signer);
        write_whole(&**self.storage, &self.new.log(id).checkpoint(), Access::Default, signed.note.as_bytes())
    }

    /// What authorised the old log's replacements names positions of that log; here they are named anew.
    fn authorise(&self, id: &LogId, replaced: Replaced) -> Result<(), Error> {
        if replaced.is_empty() {
            return Ok(());
        }
        let ledger = Ledger::open_restoring(&self.new.dir, self.options(self.clock.clone()))?;
        for (request, replacements) in replaced {
            let basis = format!("redacted in {}", self.old_marker.log_origin(id));
            ledger.record_redacted(&id.tenant, &request, &basis, &replacements)?;
        }
        Ok(())
    }
}

/// Writes a log that was just begun anew, in sealed segments, from its first event on.
struct LogWriter<'a> {
    disk: &'a dyn Storage,
    layout: &'a Layout,
    id: &'a LogId,
    /// `None` only while one segment follows another.
    writer: Option<SegmentWriter<'a>>,
    /// Name of the stream that the first event is on.
    first_stream: String,
    /// The old number of that stream, if the old log had it.
    had: Option<u64>,
    replaced: Replaced,
}

impl<'a> LogWriter<'a> {
    /// Takes the first event over from the frames that it was appended to, which it removes.
    fn open(
        storage: &'a Arc<dyn Storage>,
        layout: &'a Layout,
        id: &'a LogId,
        origin: &str,
        first: &LogContinued,
    ) -> Result<Self, Error> {
        let disk = &**storage;
        let log = layout.log(id);
        let start = SegmentStart { first: 1, chain: chain::genesis(origin), tree: Tree::default() };
        let mut writer = SegmentWriter::create(disk, &log, start)?;
        let files = LogFiles::new(storage.clone(), &layout.dir, &id.to_string(), log.clone());
        let site = files.at(log.segment(1, SegmentPart::Frames));
        let file = FramesFile { file: disk.open(site.path()).map_err(site.io("opening"))?, site, first: 1 };
        file.walk(|at, frame| {
            writer.frame(frame.entries, frame.source_offsets)?;
            let records = found_records(&file.site, at.offset, frame, &mut |_| true)?;
            records.iter().try_for_each(|found| writer.record(&found.record))
        })?;
        remove_all_but_texts(disk, layout, id)?;
        let (first_stream, had) = (first.stream(), None);
        Ok(Self { disk, layout, id, writer: Some(writer), first_stream, had, replaced: Replaced::new() })
    }

    fn current(&mut self) -> Result<&mut SegmentWriter<'a>, Error> {
        if self.writer.as_ref().is_some_and(|writer| writer.bytes() >= SEGMENT_BYTES) {
            let full = self.writer.take().expect("just looked at");
            let next = full.finish()?.end;
            self.writer = Some(SegmentWriter::create(self.disk, &self.layout.log(self.id), next)?);
        }
        Ok(self.writer.as_mut().expect("there is always one"))
    }

    fn frame(&mut self, found: &FoundFrame<'_>) -> Result<(), Error> {
        let (mut entries, mut chain_before) = (Vec::new(), Some(self.current()?.chain()));
        for record in &found.records {
            let old = &record.entry;
            let stored = decode(record)?;
            if old.stream_version == 1 && stored.stream == self.first_stream {
                self.had = Some(old.stream.0);
            }
            let too_long = || {
                let mismatch = Mismatch::new(0, "a position with one after it", old.position);
                record.site.damage(Some(old.position.get()), record.at, mismatch)
            };
            let position = old.position.next().ok_or_else(too_long)?;
            if record.record.kind == RecordKind::Replacement {
                let request = stored.extensions.get(crate::redact::form::REDACTED_BY).cloned().unwrap_or_default();
                let put = Replacement { position: position.get(), commitment: record.record.commitment() };
                self.replaced.entry(request).or_default().push(put);
            }
            let (stream, stream_version) = self.placed(old.stream.0, old.stream_version);
            let entry = Entry { position, stream, stream_version, chain_before: chain_before.take(), ..old.clone() };
            let mut raw = Vec::new();
            entry.push(&mut raw);
            bundle::push(&mut entries, &raw);
        }
        let writer = self.current()?;
        writer.frame(&entries, found.source_offsets)?;
        found.records.iter().try_for_each(|record| writer.record(&record.record))
    }

    /// Streams are numbered as they first appear, and the first event's is the first.
    fn placed(&self, number: u64, version: u64) -> (StreamNumber, u64) {
        match self.had {
            Some(had) if number == had => (StreamNumber(1), version + 1),
            Some(had) if number > had => (StreamNumber(number), version),
            _ => (StreamNumber(number + 1), version),
        }
    }

    fn finish(self) -> Result<(SegmentStart, Replaced), Error> {
        let writer = self.writer.expect("there is always one");
        Ok((writer.finish()?.end, self.replaced))
    }
}

/// Frames and what is derived from them would speak of a log of one event.
fn remove_all_but_texts(disk: &dyn Storage, layout: &Layout, id: &LogId) -> Result<(), Error> {
    let log = layout.log(id);
    let remove = |path: &Path| disk.remove(path).map_err(Error::io("removing", path));
    for name in disk.list(&log.dir).map_err(Error::io("listing", &log.dir))? {
        let path = log.dir.join(&name);
        if disk.open(&path).is_ok() && !crate::backup::manifest::LOG_TEXTS.contains(&name.as_str()) {
            remove(&path)?;
        }
    }
    for name in disk.list(&log.segments()).map_err(Error::io("listing", &log.segments()))? {
        if !name.ends_with(crate::storage::TEMPORARY_SUFFIX) {
            remove(&log.segments().join(name))?;
        }
    }
    Ok(())
}
