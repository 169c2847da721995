//! Reads every stored byte and checks it against what vouches for it. Opens nothing for writing, takes no lock.

pub(crate) mod authority;
mod checks;
mod people;
mod records;

pub use authority::Erased;
pub(crate) use checks::{StreamNames, decode};

use crate::absent::{ABSENT_MAX, Absent, AbsentFinder};
use crate::artifacts::Artifacts;
use crate::backup::vault_backups;
use crate::checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint};
use crate::error::{Damage, Error};
use crate::keys::{self, read_marker};
use crate::layout::Layout;
use crate::ledger::{beside_writer, find_logs, no_marker};
use crate::log::{FoundLog, Mode, read_identity, read_second_secret, read_secrets, start_state};
use crate::repeats::Repeats;
use crate::restored::Restored;
use crate::scan::{LogFiles, Scan, check_record};
use crate::segment::{FoundFrame, FoundRecord, Segment};
use crate::storage::{FileSystem, Storage, behind, list_if_any};
use crate::vault;
use crate::witnessed::read_witnessed;
use authority::Authority;
use cairn_schemas::{Blake3, BorrowedPayload, Sha256, TenantId, Timestamp};
use checks::{check_identity, check_sealed, undecodable};
use people::{DestroyedIds, NamedKeys};
use std::path::Path;
use std::sync::Arc;

/// What to verify.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Whether to read the artifacts too.
    pub artifacts: bool,
    pub depth: Depth,
    pub storage: Arc<dyn Storage>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { artifacts: true, depth: Depth::Everything, storage: Arc::new(FileSystem) }
    }
}

/// How much of a log is checked. Every stored byte is read in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Chain, tree, checkpoint, commitments, MACs, streams, repeats, and by whose word what is gone is gone.
    #[default]
    Everything,
    /// A scrub that finds what a disk did: checksums of frames, bundles and blocks, the chain, positions, times and
    /// versions, and that all is there up to the signed size. The tree is not computed, no payload is hashed, and nothing
    /// is said of tampering or of what was erased.
    Chain,
}

/// What verification found. `damage` holds the first finding of each log and each damaged artifact.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    pub depth: Depth,
    /// Logs that are intact.
    pub logs: Vec<VerifiedLog>,
    pub artifacts: u64,
    pub artifact_bytes: u64,
    /// Artifacts that events of intact logs name and that are not stored: the first 1,000. Looked for with the
    /// artifacts. No damage by itself, since a producer may keep them elsewhere; that is for the caller to judge.
    pub absent: Vec<Absent>,
    /// How many there are in all.
    pub absent_count: u64,
    pub damage: Vec<Damage>,
}

/// What verification says of a log, or of a whole ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Checksums and the chain are right. Tampering and erasure were not looked for.
    ChainIntact,
    /// Every byte is as it was first stored.
    Intact,
    /// What is not is gone with authority: an event of the log, or the register, says so.
    ErasedWithAuthority,
    /// Something is not as it was stored, and nothing authorises that.
    Tampered,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::ChainIntact => "chain intact",
            Verdict::Intact => "intact",
            Verdict::ErasedWithAuthority => "erased with authority",
            Verdict::Tampered => "tampered",
        }
    }
}

impl VerifyReport {
    /// Whether nothing was found that is not as it should be; erasure with authority is.
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }
    pub fn verdict(&self) -> Verdict {
        match self.is_intact() {
            true => self.logs.iter().map(VerifiedLog::verdict).max().unwrap_or(Verdict::Intact),
            false => Verdict::Tampered,
        }
    }
}

impl VerifiedLog {
    /// A log with damage is not among those that were verified.
    pub fn verdict(&self) -> Verdict {
        match self.root {
            None => Verdict::ChainIntact,
            Some(_) if self.erased.is_nothing() => Verdict::Intact,
            Some(_) => Verdict::ErasedWithAuthority,
        }
    }
}

/// A log whose every stored byte was checked.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// `tenant/kind/shard`.
    pub log: String,
    pub origin: String,
    pub verifier_key: String,
    pub events: u64,
    pub frames: u64,
    pub segments: usize,
    /// Bytes of entries and payloads.
    pub bytes: u64,
    pub chain_head: Blake3,
    /// Root of the tree over all entries; `None` where it was not computed.
    pub root: Option<Sha256>,
    /// Always there: a log without one is damaged.
    pub checkpoint: Option<SignedCheckpoint>,
    /// What is gone from it, and by whose word.
    pub erased: Erased,
    /// Bytes after the last whole frame, left by a write that never ended; opening for writing puts them aside.
    pub unfinished_bytes: u64,
}

/// Verifies a ledger's directory. `Err` means that it could not be read; what is wrong in it is in the report.
pub fn verify(dir: &Path, options: &VerifyOptions) -> Result<VerifyReport, Error> {
    let (layout, mut report) = (Layout::new(dir), VerifyReport { depth: options.depth, ..VerifyReport::default() });
    let storage = behind(dir, options.storage.clone(), Mode::ReadOnly);
    if let Err(e) = storage.and_then(|storage| verify_all(&layout, storage, options, &mut report)) {
        note(&mut report, e.or_damage(dir, "-"))?;
    }
    Ok(report)
}

/// Whether this disk alone, without an object store, holds all logs of the ledger in `dir`.
pub(crate) fn is_whole_on(disk: Arc<dyn Storage>, dir: &Path) -> Result<bool, Error> {
    let (layout, mut report) = (Layout::new(dir), VerifyReport::default());
    let options = VerifyOptions { artifacts: false, ..VerifyOptions::default() };
    match verify_all(&layout, disk, &options, &mut report).map_err(|e| e.or_damage(dir, "-")) {
        Ok(()) => Ok(report.is_intact()),
        Err(Error::Damaged(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

fn verify_all(
    layout: &Layout,
    storage: Arc<dyn Storage>,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let (disk, options) = (&storage, &VerifyOptions { storage: storage.clone(), ..options.clone() });
    let marker = read_marker(&**disk, layout)?.ok_or_else(|| without_marker(&**disk, layout))?;
    for found in find_logs(&**disk, layout, Mode::Write)? {
        let (log, origin) = (found.id.to_string(), marker.log_origin(&found.id));
        let read = || verify_log(layout, options, &found, &origin).map_err(|e| e.or_damage(&layout.dir, &log));
        match beside_writer(read) {
            Ok(verified) => verified.into_iter().for_each(|(log, absent)| take(report, log, absent)),
            Err(e) => note(report, e)?,
        }
    }
    let restored = Restored::read(&**disk, layout)?;
    for tenant in vault::tenants(&**disk, layout)? {
        let check = || vault::check(disk, layout, &tenant, restored.without_keys);
        let checked = beside_writer(|| check().map_err(|e| e.or_damage(&layout.dir, "-")));
        checked.map(drop).or_else(|e| note(report, e))?;
    }
    // Expired ones are read too.
    let backups = vault_backups(&**disk, &layout.dir, Timestamp::from_micros(0));
    backups.map(drop).or_else(|e| note(report, e.or_damage(&layout.dir, "-")))?;
    if options.artifacts {
        for tenant in artifact_tenants(&**disk, layout)? {
            verify_artifacts(disk, layout, &tenant, report)?;
        }
    }
    Ok(())
}

fn take(report: &mut VerifyReport, log: VerifiedLog, absent: AbsentFinder) {
    report.logs.push(log);
    report.absent_count += absent.count;
    let room = ABSENT_MAX - report.absent.len();
    report.absent.extend(absent.first.into_iter().take(room));
}

/// A folder that holds both keys and logs is a ledger that lost its marker, any other is none.
fn without_marker(disk: &dyn Storage, layout: &Layout) -> Error {
    match disk.list(&layout.keys()).is_ok() && disk.list(&layout.logs()).is_ok() {
        true => keys::damaged(layout, &layout.marker(), "the file that says what ledger this is".into(), "no file"),
        false => no_marker(&layout.dir),
    }
}

/// Damage goes into the report; what kept us from reading is an error.
fn note(report: &mut VerifyReport, error: Error) -> Result<(), Error> {
    match error {
        Error::Damaged(damage) => {
            report.damage.push(*damage);
            Ok(())
        }
        other => Err(other),
    }
}

/// What is known of a log before its entries are read.
struct Opened {
    files: LogFiles,
    log: String,
    origin: String,
    verifier: LogVerifier,
    checkpoint: SignedCheckpoint,
}

impl Opened {
    fn verified(self, scan: &Scan, bytes: u64, root: Option<Sha256>, erased: Erased) -> VerifiedLog {
        VerifiedLog {
            erased,
            log: self.log,
            origin: self.origin,
            verifier_key: self.verifier.encode(),
            events: scan.state.head,
            frames: scan.state.frames,
            segments: scan.segments.len(),
            bytes,
            chain_head: scan.state.chain,
            root,
            checkpoint: Some(self.checkpoint),
            unfinished_bytes: scan.tail.as_ref().map_or(0, |tail| tail.file_bytes - tail.end),
        }
    }
}

type Verified = (VerifiedLog, AbsentFinder);

fn verify_log(
    layout: &Layout,
    options: &VerifyOptions,
    found: &FoundLog,
    origin: &str,
) -> Result<Option<Verified>, Error> {
    let (disk, id, log) = (&options.storage, &found.id, found.id.to_string());
    let files = LogFiles::new(disk.clone(), &layout.dir, &log, layout.log(id));
    let Some((verifier, checkpoint)) = read_identity(layout, found, origin, &files)? else { return Ok(None) };
    let stored = Artifacts::new(disk.clone(), &layout.dir, layout.artifacts(&id.tenant), false);
    let absent = AbsentFinder::new(&log, stored);
    let opened = Opened { files, log, origin: origin.to_owned(), verifier, checkpoint };
    match options.depth {
        Depth::Everything => verify_everything(layout, options, found, opened, absent).map(Some),
        Depth::Chain => Ok(Some((verify_chain(opened)?, absent))),
    }
}

fn verify_everything(
    layout: &Layout,
    options: &VerifyOptions,
    found: &FoundLog,
    opened: Opened,
    mut absent: AbsentFinder,
) -> Result<Verified, Error> {
    let (disk, files, signed) = (&options.storage, &opened.files, &opened.checkpoint);
    // Where a restore had no keys to give, identities are taken as they are.
    let without_keys = Restored::read(&**disk, layout)?.without_keys;
    let mac_keys = match without_keys && !found.has_signer {
        true => None,
        false => Some(read_secrets(&**disk, layout, &found.id, &opened.verifier)?.0),
    };
    if mac_keys.is_some() {
        let second = keys::read_second_verifier(&**disk, layout, &found.id)?;
        read_second_secret(&**disk, layout, &found.id, second.as_ref())?;
    }
    let mut authority = Authority::new(&opened.origin);
    let (mut names, mut fields, mut named) = (StreamNames::default(), Vec::new(), NamedKeys::default());
    let mut check = |record: &FoundRecord<'_>, is_first: bool| {
        if is_first {
            authority.file(record);
        }
        let (stored, sealed) = BorrowedPayload::decode(record.record.bytes).map_err(|e| undecodable(record, e))?;
        if let Some(mac_keys) = &mac_keys {
            check_identity(record, &stored, mac_keys, &mut fields)?;
        }
        authority.look(record, stored.data)?;
        check_sealed(record, !sealed.is_empty())?;
        named.look(record.entry.position, &sealed);
        names.check(record, stored.stream)?;
        if options.artifacts {
            absent.look(record.entry.position, &stored);
        }
        Ok(())
    };
    let mut state = start_state(&opened.verifier, signed);
    if let Some(witnessed) = read_witnessed(files, &opened.verifier, signed)? {
        let Checkpoint { size, root, .. } = witnessed.signed.checkpoint;
        state = state.promised(size, root);
    }
    let (scan, bytes) = records::scan_beside(files, state, signed.checkpoint.size, &mut check)?;
    authority::check_superseded(files, &scan.leftover)?;
    let (erased, destroyed) = match &mac_keys {
        Some(mac_keys) => authority.settle(&**disk, layout, found, mac_keys)?,
        // A register cannot be read without the key of its checks.
        None => (authority.settle_alone()?, DestroyedIds::new()),
    };
    if !without_keys {
        named.check(disk, layout, found, &destroyed)?;
    }
    absent.forget(&erased.artifacts);
    let root = Some(scan.state.tree.root());
    Ok((opened.verified(&scan, bytes, root, erased), absent))
}

fn verify_chain(opened: Opened) -> Result<VerifiedLog, Error> {
    let (files, size) = (&opened.files, opened.checkpoint.checkpoint.size);
    let (state, mut bytes) = (start_state(&opened.verifier, &opened.checkpoint).chain_alone(), 0);
    let scan = files.scan(state, size, &mut |_| false, &mut |_, found| {
        bytes += (found.entries.len() + found.payloads_bytes) as u64;
        Ok(())
    })?;
    for scanned in &scan.segments {
        if let Segment::Sealed(slot) = &scanned.segment {
            let sealed = slot.open()?;
            sealed.check_blocks()?;
            bytes += sealed.payloads.footer.body_bytes;
        }
    }
    authority::check_superseded(files, &scan.leftover)?;
    Ok(opened.verified(&scan, bytes, None, Erased::default()))
}

/// Reads all entries and all payloads of a log, of a ledger or of a bundle. No event may be recorded twice.
pub(crate) fn verify_entries(
    files: &LogFiles,
    state: crate::continuity::Continuity,
    signed: &SignedCheckpoint,
    each: &mut dyn FnMut(&FoundFrame<'_>) -> Result<(), Error>,
) -> Result<Scan, Error> {
    let mut repeats = Repeats::default();
    let scan = files.scan(state, signed.checkpoint.size, &mut |_| true, &mut |entries, found| {
        entries.iter().for_each(|entry| repeats.add(&entry.identity));
        found.records.iter().try_for_each(check_record)?;
        each(found)
    })?;
    repeats.find(files)?;
    Ok(scan)
}

fn artifact_tenants(disk: &dyn Storage, layout: &Layout) -> Result<Vec<TenantId>, Error> {
    let dir = layout.all_artifacts();
    let parse = |name: &String| {
        let wrong = |_| keys::damaged(layout, &dir.join(name), "a folder named after a tenant".into(), "another name");
        name.parse().map_err(wrong)
    };
    list_if_any(disk, &dir)?.iter().map(parse).collect()
}

fn verify_artifacts(
    disk: &Arc<dyn Storage>,
    layout: &Layout,
    tenant: &TenantId,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let artifacts = Artifacts::new(disk.clone(), &layout.dir, layout.artifacts(tenant), false);
    let digests = match artifacts.iter() {
        Ok(digests) => digests,
        Err(e) => return note(report, e.or_damage(&layout.dir, "-")),
    };
    for digest in digests {
        match artifacts.check(&digest) {
            Ok(artifact) => {
                report.artifacts += 1;
                report.artifact_bytes += artifact.bytes;
            }
            Err(e) => note(report, e.or_damage(&layout.dir, "-"))?,
        }
    }
    Ok(())
}
