//! One run of a backup.

use super::check::LogCheck;
use super::manifest::{Kind, LOG_TEXTS, Listed, Manifest, read_file};
use super::{BackedUpLog, BackupOptions, BackupReport, copy, manifest};
use crate::checkpoint::SignedCheckpoint;
use crate::error::{Error, Mismatch};
use crate::layout::{Layout, LogId, SegmentPart};
use crate::ledger::Ledger;
use crate::log::Log;
use crate::scan::LogFiles;
use crate::segment::frames::FramesFile;
use crate::segment::{Files, list};
use crate::storage::{Access, Storage, StoredFile, TEMPORARY_SUFFIX, list_if_any};
use cairn_schemas::{Blake3, TenantId};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often a log is listed anew because a segment was sealed, or its payloads replaced, while it was copied.
const ATTEMPTS_MAX: usize = 50;
/// How long a reader waits for the writer's checkpoint to cover what was durable when the backup began.
const SIGNED_WAITS_MAX: usize = 40;
const SIGNED_WAIT: Duration = Duration::from_millis(50);
const TWO_HISTORIES: &str = "these are two histories of one ledger; name another directory";

struct Run<'a> {
    ledger: &'a Ledger,
    source: Arc<dyn Storage>,
    disk: Arc<dyn Storage>,
    dest: &'a Path,
    full: bool,
    old: Manifest,
    new: Manifest,
    report: BackupReport,
    /// Paths that this run copied or added to.
    fresh: BTreeSet<String>,
}

pub(super) fn run(ledger: &Ledger, dest: &Path, options: &BackupOptions) -> Result<BackupReport, Error> {
    let disk = options.storage.clone();
    let (layout, marker) = (ledger.layout(), ledger.marker().encode());
    check_apart(&layout.dir, dest)?;
    disk.create_dirs(dest).map_err(Error::io("creating", dest))?;
    let lock = dest.join("lock");
    let held = disk.lock(&lock).map_err(Error::io("locking", &lock))?;
    let _held = held.ok_or_else(|| refused(dest, "another backup into it is going on; wait for its end"))?;
    let taken = options.clock.now();
    let old = begin(&*disk, dest, taken)?;
    if old.texts.get("ledger").is_some_and(|text| *text != marker) {
        return Err(refused(dest, "it holds a backup of another ledger; name a directory of its own"));
    }
    let report = BackupReport {
        origin: ledger.marker().origin.clone(),
        taken,
        logs: Vec::new(),
        files: 0,
        bytes: 0,
        copied_files: 0,
        copied_bytes: 0,
        removed_files: 0,
        repaired: Vec::new(),
    };
    let (source, full) = (ledger.storage(), options.full);
    let (new, fresh) = (Manifest::begun(taken), BTreeSet::new());
    Run { ledger, source, disk, dest, full, old, new, report, fresh }.all(marker)
}

/// The list that is there, or a first one that names nothing.
fn begin(disk: &dyn Storage, dest: &Path, taken: cairn_schemas::Timestamp) -> Result<Manifest, Error> {
    if let Some(old) = Manifest::read(disk, dest)? {
        return Ok(old);
    }
    let names = disk.list(dest).map_err(Error::io("listing", dest))?;
    if names.iter().any(|name| name != "lock" && !name.ends_with(TEMPORARY_SUFFIX)) {
        return Err(refused(dest, "it holds other files and no backup; name an empty or a new directory"));
    }
    let begun = Manifest::begun(taken);
    begun.write(disk, dest)?;
    Ok(begun)
}

/// A backup inside the ledger would be lost with it, and copied into itself.
pub(super) fn check_apart(dir: &Path, dest: &Path) -> Result<(), Error> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (dir, dest_whole) = (whole(dir), whole(dest));
    match dest_whole.starts_with(&dir) || dir.starts_with(&dest_whole) {
        true => Err(refused(dest, "it lies inside the ledger, or around it; name a directory apart, on another disk")),
        false => Ok(()),
    }
}

fn refused(dir: &Path, why: &str) -> Error {
    Error::Backup { dir: dir.to_owned(), why: why.to_owned() }
}

impl Run<'_> {
    fn all(mut self, marker: String) -> Result<BackupReport, Error> {
        self.new.texts.insert("ledger".into(), marker);
        for log in self.ledger.logs() {
            self.log(&log)?;
        }
        let tenants = list_if_any(&*self.source, &self.layout().all_artifacts())?;
        for tenant in tenants.iter().filter_map(|name| name.parse::<TenantId>().ok()) {
            self.artifacts(&tenant)?;
        }
        self.new.write(&*self.disk, self.dest)?;
        self.prune()?;
        self.ledger.register_checkpoints(&self.report.logs)?;
        self.report.files = self.new.files.len() as u64;
        self.report.bytes = self.new.bytes();
        Ok(self.report)
    }

    fn layout(&self) -> Layout {
        self.ledger.layout().clone()
    }

    /// Copies a log up to its checkpoint. Where its files changed meanwhile, begins again with a newer one.
    fn log(&mut self, log: &Arc<Log>) -> Result<(), Error> {
        let durable = log.head().map_or(0, cairn_schemas::Position::get);
        let mut outcome = Ok(false);
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 && !self.ledger.is_writable() {
                std::thread::sleep(SIGNED_WAIT);
            }
            let signed = self.signed(log, durable)?;
            let before = self.new.files.clone();
            outcome = self.log_at(log, &signed, durable);
            match &outcome {
                Ok(true) => return Ok(()),
                // A segment was sealed with events past the checkpoint.
                Ok(false) => {}
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(_) => break,
            }
            self.new.files = before;
        }
        outcome?;
        Err(refused(self.dest, &format!("log {} changed at every look; try again", log.id)))
    }

    fn signed(&self, log: &Arc<Log>, durable: u64) -> Result<SignedCheckpoint, Error> {
        let mut signed = self.ledger.signed(log)?;
        for _ in 0..SIGNED_WAITS_MAX {
            if signed.checkpoint.size >= durable || self.ledger.is_writable() {
                break;
            }
            std::thread::sleep(SIGNED_WAIT);
            signed = self.ledger.signed(log)?;
        }
        Ok(signed)
    }

    /// `Ok(false)` where a sealed segment goes past the checkpoint.
    fn log_at(&mut self, log: &Log, signed: &SignedCheckpoint, durable: u64) -> Result<bool, Error> {
        let size = signed.checkpoint.size;
        let folder = format!("logs/{}", log.id);
        let listing = list(&*self.source, &log.files.site, &log.files.root, &log.files.layout)?;
        let old = self.old_promise(&log.id)?;
        self.check_not_older(log, size, old)?;
        let mut kept = Vec::new();
        let mut ends: Vec<u64> = listing.segments.iter().skip(1).map(|next| (next.first - 1).min(size)).collect();
        ends.push(size);
        let covered = listing.segments.into_iter().zip(ends).filter(|(files, _)| files.first <= size);
        for (files, end) in covered {
            let name = |part: SegmentPart| format!("{folder}/segments/{}", part.file_name(files.first));
            match files {
                Files { entries: true, generation: Some(generation), .. } => {
                    self.file(&name(SegmentPart::Entries))?;
                    self.file(&name(SegmentPart::Payloads { generation }))?;
                    kept.push(Files { frames: false, ..files });
                }
                Files { entries: false, frames: true, .. } => {
                    self.frames(log, files.first, end, &name(SegmentPart::Frames))?;
                    kept.push(Files { generation: None, ..files });
                }
                _ => return Err(Error::io("opening", Path::new(&folder))(io::ErrorKind::NotFound.into())),
            }
        }
        let texts = self.texts(log, &folder, signed)?;
        if !self.check(log, signed, &kept, old)? {
            return Ok(false);
        }
        self.new.texts.extend(texts);
        let later_events = durable.saturating_sub(size);
        self.report.logs.push(BackedUpLog { log: log.id.to_string(), checkpoint: signed.clone(), later_events });
        Ok(true)
    }

    /// A backup is never replaced by less than it holds.
    fn check_not_older(&self, log: &Log, size: u64, old: Option<super::check::Promise>) -> Result<(), Error> {
        let Some((known, _)) = old.filter(|(known, _)| *known > size) else { return Ok(()) };
        let why = format!(
            "of log {} it holds {known} events and the ledger {size}: the ledger is older than its backup; \
             name another directory",
            log.id
        );
        Err(refused(self.dest, &why))
    }

    fn texts(&self, log: &Log, folder: &str, signed: &SignedCheckpoint) -> Result<Vec<(String, String)>, Error> {
        let mut texts = Vec::new();
        for name in LOG_TEXTS {
            let path = log.files.layout.dir.join(name);
            let text = match name {
                "checkpoint" => Some(signed.note.clone()),
                _ => match read_file(&*self.source, &path)? {
                    None => None,
                    Some(bytes) => Some(String::from_utf8(bytes).map_err(|_| {
                        log.files.at(path.clone()).damage(None, 0, Mismatch::new(0, "UTF-8 text", "other bytes"))
                    })?),
                },
            };
            texts.extend(text.map(|text| (format!("{folder}/{name}"), text)));
        }
        Ok(texts)
    }

    /// The size and root that the backup before this one has of a log.
    fn old_promise(&self, id: &LogId) -> Result<Option<super::check::Promise>, Error> {
        let Some(note) = self.old.texts.get(&format!("logs/{id}/checkpoint")) else { return Ok(None) };
        let checkpoint = crate::checkpoint::Checkpoint::of_note(note)
            .map_err(|expected| manifest::damaged(manifest::NAME, 0, expected, "another note"))?;
        Ok(Some((checkpoint.size, checkpoint.root)))
    }

    /// Reads back what is new of a log, and that it continues what the backup had. `Ok(false)`: it goes past the size.
    fn check(
        &self,
        log: &Log,
        signed: &SignedCheckpoint,
        segments: &[Files],
        old: Option<super::check::Promise>,
    ) -> Result<bool, Error> {
        let layout = Layout::new(self.dest);
        let files = LogFiles::new(self.disk.clone(), self.dest, &log.id.to_string(), layout.log(&log.id));
        let size = signed.checkpoint.size;
        if let Some(last) = segments.last().filter(|last| last.entries) {
            let site = files.at(files.layout.segment(last.first, SegmentPart::Entries));
            let entries = crate::segment::entries::SealedEntries::open(&*self.disk, site)?;
            if entries.footer.first + entries.footer.count - 1 > size {
                return Ok(false);
            }
        }
        let promises: Vec<_> = old.into_iter().chain([(size, signed.checkpoint.root)]).collect();
        let fresh = |first: u64| {
            let of = |path: &String| matches!(Kind::of(path), Some(Kind::Segment { log: of, first: at, .. }) if of == log.id && at == first);
            self.full || self.fresh.iter().any(of)
        };
        let (id, origin) = (&log.id, log.verifier.origin());
        LogCheck { files: &files, id, origin, promises: &promises }.run(segments, &fresh)?;
        Ok(true)
    }

    /// What an earlier run copied under this path, if it is there still.
    fn kept(&mut self, path: &str) -> Result<Option<Listed>, Error> {
        let Some(&listed) = self.old.files.get(path) else { return Ok(None) };
        let grows = Kind::of(path).is_some_and(|kind| kind.grows());
        let there = match self.full {
            true => copy::holds(&*self.disk, self.dest, path, listed, grows)?,
            false => self
                .disk
                .open(&self.dest.join(path))
                .and_then(|file| file.bytes())
                .is_ok_and(|bytes| if grows { bytes >= listed.bytes } else { bytes == listed.bytes }),
        };
        if !there && !self.report.repaired.iter().any(|known| known == path) {
            self.report.repaired.push(path.to_owned());
        }
        Ok(there.then_some(listed))
    }

    /// A file whose content never changes.
    fn file(&mut self, path: &str) -> Result<Listed, Error> {
        if let Some(&listed) = self.new.files.get(path) {
            return Ok(listed);
        }
        let from = self.layout().dir.join(path);
        let file = self.source.open(&from).map_err(Error::io("opening", &from))?;
        let bytes = file.bytes().map_err(Error::io("measuring", &from))?;
        match self.kept(path)? {
            Some(listed) if listed.bytes == bytes => {
                self.new.files.insert(path.to_owned(), listed);
                return Ok(listed);
            }
            Some(listed) => {
                let why = format!("{path} is {} bytes long there and {bytes} here: {TWO_HISTORIES}", listed.bytes);
                return Err(refused(self.dest, &why));
            }
            None => {}
        }
        let to = self.dest.join(path);
        let listed = copy::whole(&*file, &from, bytes, (&*self.disk, &to), Access::Default)?;
        self.took(path, listed, bytes)?;
        Ok(listed)
    }

    fn took(&mut self, path: &str, listed: Listed, copied: u64) -> Result<(), Error> {
        copy::check(&*self.disk, self.dest, path, listed, false)?;
        self.report.copied_files += 1;
        self.report.copied_bytes += copied;
        self.fresh.insert(path.to_owned());
        // A further look at a log that changed meanwhile builds on this copy.
        self.old.files.insert(path.to_owned(), listed);
        self.new.files.insert(path.to_owned(), listed);
        Ok(())
    }

    /// A frames file, up to the end of the frame that ends at position `last`.
    fn frames(&mut self, log: &Log, first: u64, last: u64, path: &str) -> Result<(), Error> {
        let site = log.files.at(log.files.layout.segment(first, SegmentPart::Frames));
        let from = site.path().to_owned();
        let file = self.source.open(&from).map_err(Error::io("opening", &from))?;
        let end = end_at(&FramesFile { site, file: file.clone(), first }, last)?;
        let to = self.dest.join(path);
        let kept = self.kept(path)?.filter(|listed| listed.bytes <= end);
        let Some(listed) = kept else {
            let listed = copy::whole(&*file, &from, end, (&*self.disk, &to), Access::Default)?;
            return self.took(path, listed, end);
        };
        let (before, blake3) = digests(&*file, &from, listed.bytes, end)?;
        if before != listed.blake3 {
            let why = format!("{path} does not begin there as it does here: {TWO_HISTORIES}");
            return Err(refused(self.dest, &why));
        }
        let whole = Listed { bytes: end, blake3 };
        let there = self.disk.open(&to).and_then(|file| file.bytes()).map_err(Error::io("measuring", &to))?;
        if end == listed.bytes && there == end {
            self.new.files.insert(path.to_owned(), whole);
            return Ok(());
        }
        copy::grow(&*file, &from, listed.bytes, end, (&*self.disk, &to))?;
        self.took(path, whole, end - listed.bytes)
    }

    fn artifacts(&mut self, tenant: &TenantId) -> Result<(), Error> {
        for digest in self.ledger.artifacts(tenant).iter()? {
            let name = digest.to_hex();
            let path = format!("artifacts/{tenant}/{}/{name}", &name[..2]);
            let listed = match self.file(&path) {
                // Erased since it was listed.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if listed.blake3 != digest {
                let expected = format!("content with BLAKE3 {digest}");
                return Err(manifest::damaged(path, 0, expected, &listed.blake3.to_hex()));
            }
        }
        Ok(())
    }

    /// Removes what the new list does not name: segments since sealed or redacted, artifacts since erased.
    fn prune(&mut self) -> Result<(), Error> {
        let mut folders: Vec<String> = vec!["logs".into(), "artifacts".into()];
        while let Some(folder) = folders.pop() {
            let mut removed = false;
            for name in list_if_any(&*self.disk, &self.dest.join(&folder))? {
                let path = format!("{folder}/{name}");
                if self.new.files.contains_key(&path) {
                    continue;
                }
                match self.disk.list(&self.dest.join(&path)) {
                    Ok(_) => folders.push(path),
                    Err(_) => {
                        let at = self.dest.join(&path);
                        self.disk.remove(&at).map_err(Error::io("removing", &at))?;
                        self.report.removed_files += u64::from(Kind::of(&path).is_some());
                        removed = true;
                    }
                }
            }
            if removed {
                let at = self.dest.join(&folder);
                self.disk.sync_dir(&at).map_err(Error::io("syncing", &at))?;
            }
        }
        Ok(())
    }
}

/// Offset after the frame that ends at position `size`.
fn end_at(file: &FramesFile, size: u64) -> Result<u64, Error> {
    let (mut end, mut head) = (0, file.first - 1);
    let walked = file.walk(|at, frame| {
        let last = at.first + u64::from(frame.header.count) - 1;
        if last <= size {
            (end, head) = (at.offset + u64::from(at.bytes), last);
        }
        Ok(())
    })?;
    if head == size {
        return Ok(end);
    }
    let mismatch = match walked.broken {
        Some(broken) => broken.mismatch,
        None => Mismatch::new(0, format!("a frame that ends at position {size}"), format!("one at {head}")),
    };
    Err(file.damage_at(end, head + 1, mismatch))
}

/// Digest of the first `kept` bytes, and of the first `bytes`.
fn digests(file: &dyn StoredFile, path: &Path, kept: u64, bytes: u64) -> Result<(Blake3, Blake3), Error> {
    let mut hasher = blake3::Hasher::new();
    let mut feed = |from, to| {
        copy::pieces(file, path, from, to, |piece, _| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok::<_, Error>(Blake3::from_bytes(*hasher.finalize().as_bytes()))
    };
    Ok((feed(0, kept)?, feed(kept, bytes)?))
}
