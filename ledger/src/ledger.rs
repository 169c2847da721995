//! The face of the crate: a directory of logs, open for appending by one process or for reading by any.

mod people;

use crate::artifacts::Artifacts;
use crate::batch::Batch;
use crate::checkpoint::SignedCheckpoint;
use crate::cosignature::CosignerKey;
use crate::error::Error;
use crate::event::{Preparing, prepare};
use crate::keys::{Marker, logs_with_signer, read_marker, write_marker};
use crate::layout::{Layout, LogId, LogKind};
use crate::log::{FoundLog, Log, Mode, read_checkpoint};
use crate::lru::Caches;
use crate::options::Options;
use crate::payload::MacKeys;
use crate::pending::Pending;
use crate::placement::Appended;
use crate::proof::{Consistency, ConsistencyProof, InclusionProof};
use crate::queue::Waiting;
use crate::reader;
use crate::register::{Line, Register};
use crate::reserve::Reserve;
use crate::restored::Restored;
use crate::seal::run_sealer;
use crate::sequencer::{Sequencer, Shared, WRITERS, writing};
use crate::signing::{run_signer, store_checkpoint};
use crate::storage::{
    OBJECT_STORE_FILE, Storage, StoredFile, TEMPORARY_SUFFIX, behind, is_full, list_if_any, read_small,
};
use crate::tiles::TilePath;
use crate::vault::Vaults;
use crate::writer::GroupFailure;
use cairn_schemas::{Blake3, NewEvent, Position, Recorded, Sha256, TenantId, Timestamp};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use people::DestroyedKeys;

/// How often a reader begins again because a segment was sealed while it listed files.
const READ_ATTEMPTS: usize = 20;

/// An open ledger. Clones share it; dropping the last one writes the checkpoints that are due and releases the lock.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    layout: Layout,
    options: Options,
    marker: Marker,
    /// Shared by all logs.
    caches: Arc<Caches>,
    logs: RwLock<BTreeMap<LogId, Arc<Log>>>,
    vaults: Vaults,
    /// Held while a log is being created.
    creating: Mutex<()>,
    /// Held while payloads are redacted and registers written.
    redacting: Mutex<()>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The locked file; `None` where the ledger is open read-only.
    lock: Option<Arc<dyn StoredFile>>,
    /// `None` where the ledger is open read-only.
    reserve: Option<Arc<Reserve>>,
}

impl Ledger {
    /// Opens a ledger for appending, creating it where the directory is absent or empty.
    ///
    /// After a crash, an incomplete last frame is cut and kept in `quarantine/`; any other damage is refused.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let opened = match Self::open_writable(dir, options.clone(), true) {
            // Recovery may use the room that is kept for it.
            Err(e) if e.is_full() && Reserve::release_at(&*options.storage, &Layout::new(dir).reserve())? => {
                Self::open_writable(dir, options, true)
            }
            other => other,
        };
        opened.map_err(|e| e.or_damage(dir, "-"))
    }

    /// Opens a ledger for appending that is there already.
    pub(crate) fn open_existing(dir: &Path, options: Options) -> Result<Self, Error> {
        read_marker(&*options.storage, &Layout::new(dir))?.ok_or_else(|| no_marker(dir))?;
        Self::open(dir, options)
    }

    /// Opens for writing what a restore has not ended: for the restore itself.
    pub(crate) fn open_restoring(dir: &Path, options: Options) -> Result<Self, Error> {
        Self::open_writable(dir, options, false).map_err(|e| e.or_damage(dir, "-"))
    }

    fn open_writable(dir: &Path, mut options: Options, restored: bool) -> Result<Self, Error> {
        let (layout, disk) = (Layout::new(dir), options.storage.clone());
        disk.create_dirs(dir).map_err(Error::io("creating", dir))?;
        check_is_ledger_or_empty(&*disk, &layout)?;
        let lock = take_lock(&*disk, &layout)?;
        if restored {
            Restored::read(&*disk, &layout)?.check_writable(dir)?;
        }
        match write_note(&*lock, &options.note) {
            // Whoever is refused then learns less; the ledger can be read, and appended to once there is room.
            Err(e) if is_full(&e) => {}
            other => other.map_err(Error::io("writing", &layout.lock()))?,
        }
        let marker = match read_marker(&*disk, &layout)? {
            Some(marker) => {
                // The process that wrote it may have been killed before its name was durable.
                disk.sync_dir(dir).map_err(Error::io("syncing", dir))?;
                marker
            }
            None => {
                let marker = Marker::new(options.origin.as_deref(), &*options.random)?;
                write_marker(&*disk, &layout, &marker)?;
                marker
            }
        };
        // After the marker, which tells the store whose it is.
        options.storage = behind(dir, disk.clone(), Mode::Write)?;
        let caches = Arc::default();
        let vaults = Vaults::new(disk, &layout, Mode::Write);
        let logs = open_logs(&layout, &marker, &options, &caches, &vaults)?;
        let ledger = Self::start(layout, options, marker, caches, logs, vaults, Some(lock));
        ledger.finish_redactions()?;
        ledger.finish_erasures()?;
        Ok(ledger)
    }

    /// Opens a ledger for reading, beside whoever writes it. It sees what was durable at the call, and stays there.
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        let (layout, mut options) = (Layout::new(dir), Options::default());
        options.storage = behind(dir, options.storage.clone(), Mode::ReadOnly)?;
        let caches = Arc::default();
        let read = || {
            let marker = read_marker(&*options.storage, &layout)?.ok_or_else(|| no_marker(dir))?;
            Restored::read(&*options.storage, &layout)?.check_readable(dir)?;
            let vaults = Vaults::new(options.storage.clone(), &layout, Mode::ReadOnly);
            let logs = beside_writer(|| open_logs(&layout, &marker, &options, &caches, &vaults))?;
            Ok((marker, logs, vaults))
        };
        let (marker, logs, vaults) = read().map_err(|e: Error| e.or_damage(dir, "-"))?;
        Ok(Self::start(layout, options, marker, caches, logs, vaults, None))
    }

    fn start(
        layout: Layout,
        options: Options,
        marker: Marker,
        caches: Arc<Caches>,
        logs: Vec<Log>,
        vaults: Vaults,
        lock: Option<Arc<dyn StoredFile>>,
    ) -> Self {
        let shared = Arc::new(Shared::new(options.queue_bytes_max));
        let logs: BTreeMap<_, _> = logs.into_iter().map(|log| (log.id.clone(), Arc::new(log))).collect();
        let reserve = lock
            .as_ref()
            .map(|_| Arc::new(Reserve::open(options.storage.clone(), layout.reserve(), options.reserve_bytes)));
        let threads = match &reserve {
            Some(reserve) => start_threads(&shared, &options, &logs, reserve),
            None => Vec::new(),
        };
        let (logs, threads) = (RwLock::new(logs), Mutex::new(threads));
        Self(Arc::new(Inner {
            layout,
            options,
            marker,
            caches,
            logs,
            vaults,
            creating: Mutex::new(()),
            redacting: Mutex::new(()),
            shared,
            threads,
            lock,
            reserve,
        }))
    }

    pub fn dir(&self) -> &Path {
        &self.0.layout.dir
    }

    /// Tenants that have a log, in order.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<_> = self.0.logs.read().keys().map(|id| id.tenant.clone()).collect();
        tenants.dedup();
        tenants
    }

    /// Records a batch of one tenant, whole or not at all, and returns once it is durable. Waits for room and for the
    /// disk as long as [`Options::deadline`] has it.
    ///
    /// A batch that was recorded before gives back the first positions, marked as duplicates.
    pub fn append(&self, tenant: &TenantId, batch: Vec<NewEvent>) -> Result<Vec<Appended>, Error> {
        self.append_by(tenant, batch, Instant::now() + self.0.options.deadline)
    }

    /// As [`Ledger::append`], until `deadline`: [`Error::Busy`] if there was no room till then, and nothing was
    /// recorded; [`Error::Deadline`] if there was no answer, and it is unknown whether anything was.
    pub fn append_by(
        &self,
        tenant: &TenantId,
        batch: impl Into<Batch>,
        deadline: Instant,
    ) -> Result<Vec<Appended>, Error> {
        self.0.submit(tenant, batch.into(), Some(deadline))?.wait_by(deadline)
    }

    /// Hands over a batch without waiting for the disk. [`Error::Busy`] where too much waits already.
    ///
    /// Batches that one caller submits are placed in the order in which it submitted them.
    pub fn submit(&self, tenant: &TenantId, batch: impl Into<Batch>) -> Result<Pending, Error> {
        self.0.submit(tenant, batch.into(), None)
    }

    /// Position of the tenant's last durable event.
    pub fn head(&self, tenant: &TenantId) -> Option<Position> {
        self.0.log(tenant)?.head()
    }

    /// Events from a position on: at most `count_max`, fewer where they are large or the head is near, none past it.
    pub fn read(&self, tenant: &TenantId, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
        match self.0.log(tenant) {
            Some(log) => reader::read(&log, from, count_max),
            None => Ok(Vec::new()),
        }
    }

    /// Waits until the tenant's head is past `head`, and gives the new head; `None` when the time is over.
    pub fn wait_past(&self, tenant: &TenantId, head: Option<Position>, timeout: Duration) -> Option<Position> {
        self.0.shared.advanced().wait(timeout, || self.head(tenant).filter(|now| Some(*now) > head))
    }

    /// The tenant's signed checkpoint, brought up to what is durable now. Read-only ledgers give the stored one.
    pub fn checkpoint(&self, tenant: &TenantId) -> Result<SignedCheckpoint, Error> {
        let log = self.0.existing(tenant)?;
        if self.0.lock.is_none() {
            return Ok(log.view.read().checkpoint.clone());
        }
        self.signed(&log)
    }

    /// A log's signed checkpoint: of what is durable now where the ledger is open for writing, else what is stored now.
    pub(crate) fn signed(&self, log: &Arc<Log>) -> Result<SignedCheckpoint, Error> {
        if self.0.lock.is_none() {
            return read_checkpoint(&log.files, &log.verifier);
        }
        match self.0.shared.refusal() {
            Some(refused) => Err(refused),
            None => store_checkpoint(log),
        }
    }

    /// The checkpoint to publish: that of all that is durable now, or, for a few seconds, the one before it that
    /// witnesses cosigned.
    pub fn published_checkpoint(&self, tenant: &TenantId) -> Result<SignedCheckpoint, Error> {
        let newest = self.checkpoint(tenant)?;
        Ok(self.0.existing(tenant)?.published(newest))
    }

    /// Proves that an event is in the log: to the checkpoint given, or to that of all that is durable now.
    pub fn prove(
        &self,
        tenant: &TenantId,
        position: Position,
        checkpoint: Option<&SignedCheckpoint>,
    ) -> Result<InclusionProof, Error> {
        let log = self.0.existing(tenant)?;
        log.prove_inclusion(position, &self.own(&log, tenant, checkpoint)?)
    }

    /// Proves that the tree of the first `old` events is the beginning of that of the checkpoint, by default of all that
    /// is durable now. Gives the root of the older tree too.
    pub fn prove_consistency(
        &self,
        tenant: &TenantId,
        old: u64,
        checkpoint: Option<&SignedCheckpoint>,
    ) -> Result<(Sha256, ConsistencyProof), Error> {
        let log = self.0.existing(tenant)?;
        log.prove_consistency(old, &self.own(&log, tenant, checkpoint)?)
    }

    /// Proves that one tree of this log is the beginning of another, and both of the one that `signed` is of.
    pub fn consistency(
        &self,
        tenant: &TenantId,
        old: u64,
        new: u64,
        signed: &SignedCheckpoint,
    ) -> Result<Consistency, Error> {
        let log = self.0.existing(tenant)?;
        log.consistency(old, new, &self.own(&log, tenant, Some(signed))?)
    }

    /// The bytes of a hash tile or an entry bundle of the tree that the latest checkpoint signs.
    pub fn tile(&self, tenant: &TenantId, path: &TilePath) -> Result<Vec<u8>, Error> {
        let log = self.0.existing(tenant)?;
        let size = log.view.read().checkpoint.checkpoint.size;
        log.tile(path, size)
    }

    /// A checkpoint that this log signed: the one given, or a new one.
    fn own(&self, log: &Log, tenant: &TenantId, given: Option<&SignedCheckpoint>) -> Result<SignedCheckpoint, Error> {
        let Some(given) = given else { return self.checkpoint(tenant) };
        SignedCheckpoint::parse(&given.note, &log.verifier)
            .map_err(|expected| Error::Proof { why: format!("the checkpoint lacks {expected}") })
    }

    /// Head of the chain over the tenant's frames.
    pub fn chain_head(&self, tenant: &TenantId) -> Blake3 {
        match self.0.log(tenant) {
            Some(log) => log.view.read().chain,
            None => crate::chain::genesis(&self.origin(tenant)),
        }
    }

    /// Name of the tenant's log, under which its checkpoints are signed.
    pub fn origin(&self, tenant: &TenantId) -> String {
        match self.0.log(tenant) {
            Some(log) => log.verifier.origin().to_owned(),
            None => self.0.marker.log_origin(&LogId::main(tenant)),
        }
    }

    /// What an outsider needs to check the tenant's checkpoints, in the form of C2SP signed notes.
    pub fn verifier_key(&self, tenant: &TenantId) -> Option<String> {
        self.0.log(tenant).map(|log| log.verifier.encode())
    }

    /// The key of the second signature on the tenant's checkpoints, ML-DSA-44, if its log was created with one.
    pub fn second_verifier_key(&self, tenant: &TenantId) -> Option<String> {
        self.0.log(tenant)?.second_verifier.as_ref().map(CosignerKey::encode)
    }

    /// The tenant's content-addressed artifacts.
    pub fn artifacts(&self, tenant: &TenantId) -> Artifacts {
        let writable = self.0.lock.is_some();
        let (disk, layout) = (self.0.options.storage.clone(), &self.0.layout);
        Artifacts::new(disk, &layout.dir, layout.artifacts(tenant), writable).beside(self.0.reserve.clone())
    }

    /// Whether there is room for what can be derived again: projections and artifacts stop first when a disk fills, while
    /// events can still be appended. Looks at the disk, takes microseconds.
    pub fn has_room_for_derived(&self) -> bool {
        self.0.reserve.as_ref().is_none_or(|reserve| reserve.has_room_for_derived(0))
    }

    /// Does what must go on when the disk is full, such as an erasure: where there is no room, the reserve is given up and
    /// it is done again from the start.
    pub fn with_reserve<T>(&self, mut act: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        match &self.0.reserve {
            Some(reserve) => reserve.with(act),
            None => act(),
        }
    }

    /// Replaces the note that others see who find the ledger locked, such as the address of its server.
    pub fn set_note(&self, note: &str) -> Result<(), Error> {
        match &self.0.lock {
            Some(lock) => write_note(&**lock, note).map_err(Error::io("writing", &self.0.layout.lock())),
            None => Err(Error::ReadOnly),
        }
    }

    pub(crate) fn redacting(&self) -> MutexGuard<'_, ()> {
        self.0.redacting.lock()
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Storage> {
        &self.0.options.storage
    }

    /// A tenant's erasure register.
    pub(crate) fn register(&self, tenant: &TenantId, keys: &MacKeys) -> Result<Register, Error> {
        Register::open(self.disk(), &self.0.layout, tenant, keys)
    }

    /// A log that exists, of a ledger that is open for writing.
    pub(crate) fn writable_log(&self, tenant: &TenantId) -> Result<Arc<Log>, Error> {
        match self.0.lock {
            None => Err(Error::ReadOnly),
            Some(_) => self.0.log(tenant).ok_or_else(|| Error::NoLog { tenant: tenant.clone() }),
        }
    }

    /// Begins a new segment, if the one being appended to holds a position up to `last`.
    pub(crate) fn rotate_past(&self, log: &Log, last: u64) -> Result<(), Error> {
        let writing = log.writing.as_ref().expect("open for writing");
        writing.writer.lock().rotate_past(log, last).map_err(|failure| match failure {
            GroupFailure::DiskFull { bytes, path } => Error::DiskFull { bytes, path },
            GroupFailure::Unknown { why } => {
                self.0.shared.end(&why);
                Error::OutcomeUnknown { why }
            }
        })
    }

    pub(crate) fn log(&self, tenant: &TenantId) -> Option<Arc<Log>> {
        self.0.log(tenant)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    /// Notes in the registers how far the logs are signed, so that a restore of less is known to be behind.
    pub(crate) fn register_checkpoints(&self, logs: &[crate::backup::BackedUpLog]) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        let _alone = self.redacting();
        for log in self.logs() {
            let is_of = |known: &&crate::backup::BackedUpLog| known.log == LogId::main(&log.id.tenant).to_string();
            let Some(known) = logs.iter().find(|known| known.log == log.id.to_string()).filter(is_of) else { continue };
            let checkpoint = &known.checkpoint.checkpoint;
            let (origin, size, root) = (checkpoint.origin.clone(), checkpoint.size, checkpoint.root);
            let line = Line::Checkpoint { origin, size, root };
            let mut register =
                self.register(&log.id.tenant, &log.writing.as_ref().expect("open for writing").mac_keys)?;
            let mut last = None;
            register.each(&mut |line| {
                last = Some(line);
                Ok(())
            })?;
            if last.as_ref() != Some(&line) {
                register.add(&[line])?;
            }
        }
        Ok(())
    }

    /// All logs, of every tenant and kind.
    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.0.logs.read().values().cloned().collect()
    }
    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }
    pub(crate) fn marker(&self) -> &Marker {
        &self.0.marker
    }
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        self.0.options.storage.clone()
    }
    pub(crate) fn is_writable(&self) -> bool {
        self.0.lock.is_some()
    }
}

impl Inner {
    fn log(&self, tenant: &TenantId) -> Option<Arc<Log>> {
        self.logs.read().get(&LogId::main(tenant)).cloned()
    }

    fn existing(&self, tenant: &TenantId) -> Result<Arc<Log>, Error> {
        self.log(tenant).ok_or_else(|| Error::NoLog { tenant: tenant.clone() })
    }

    fn log_or_create(&self, tenant: &TenantId) -> Result<Arc<Log>, Error> {
        if let Some(log) = self.log(tenant) {
            return Ok(log);
        }
        let _creating = self.creating.lock();
        if let Some(log) = self.log(tenant) {
            return Ok(log);
        }
        let id = LogId::main(tenant);
        Log::create(&self.layout, &id, &self.marker.log_origin(&id), &self.options)?;
        let found = FoundLog { id: id.clone(), has_signer: true };
        let origin = self.marker.log_origin(&id);
        let log = Log::open(&self.layout, &found, &origin, &self.options, &self.caches, &self.vaults)?;
        let log = Arc::new(log.expect("a log that was just created is whole"));
        self.logs.write().insert(id, log.clone());
        Ok(log)
    }

    /// Waits for room until `room_by`, if that is given.
    fn submit(&self, tenant: &TenantId, batch: Batch, room_by: Option<Instant>) -> Result<Pending, Error> {
        if self.lock.is_none() {
            return Err(Error::ReadOnly);
        }
        let log = self.log_or_create(tenant)?;
        let options = &self.options;
        let preparing = Preparing {
            keys: &writing(&log).mac_keys,
            vault: &log.vault,
            now: options.clock.now(),
            random: &*options.random,
        };
        let batch = prepare(batch, &preparing)?;
        if let Some(reserve) = &self.reserve {
            reserve.check_not_given_up(batch.bytes() as u64)?;
        }
        let (bytes, room) = (batch.bytes(), &self.shared.room);
        let has_room = match room_by {
            None => room.try_take(bytes),
            Some(deadline) => room.take_by(bytes, deadline),
        };
        if !has_room {
            return Err(Error::Busy { bytes_max: room.bytes_max() });
        }
        let (reply, answer) = oneshot::channel();
        self.shared.submit(&log, Waiting { batch, bytes, reply })?;
        Ok(Pending::new(answer))
    }
}

/// Starts the writers, the signer and the sealer. They end when the writers are closed.
fn start_threads(
    shared: &Arc<Shared>,
    options: &Options,
    logs: &BTreeMap<LogId, Arc<Log>>,
    reserve: &Arc<Reserve>,
) -> Vec<JoinHandle<()>> {
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(body).expect("the system gives a thread")
    };
    let ((to_seal, full), (to_sign, lagging)) = (mpsc::channel(), mpsc::channel());
    // Segments that filled before the last crash are sealed now.
    logs.values().for_each(|log| drop(to_seal.send(log.clone())));
    let sequencer = Sequencer { shared: shared.clone(), clock: options.clock.clone(), to_sign, to_seal };
    let mut threads: Vec<_> = (1..WRITERS)
        .map(|_| {
            let sequencer = sequencer.clone();
            spawn("cairn-writer", Box::new(move || sequencer.run()))
        })
        .collect();
    threads.push(spawn("cairn-writer", Box::new(move || sequencer.run())));
    let (shared, delay) = (shared.clone(), options.checkpoint_delay);
    threads.push(spawn("cairn-signer", Box::new(move || run_signer(shared, lagging, delay))));
    threads.push(spawn(
        "cairn-sealer",
        Box::new({
            let reserve = reserve.clone();
            move || run_sealer(reserve, full)
        }),
    ));
    threads
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.get_mut().drain(..) {
            // Its panic was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// A directory that holds something else is never written to.
pub(crate) fn check_is_ledger_or_empty(disk: &dyn Storage, layout: &Layout) -> Result<(), Error> {
    let names = disk.list(&layout.dir).map_err(Error::io("listing", &layout.dir))?;
    let is_ours = |name: &str| ["lock", OBJECT_STORE_FILE].contains(&name) || name.ends_with(TEMPORARY_SUFFIX);
    match names.iter().any(|name| name == "ledger") || names.iter().all(|name| is_ours(name)) {
        true => Ok(()),
        false => Err(Error::NotALedger {
            dir: layout.dir.clone(),
            why: "it holds other files and no file `ledger`; name an empty or a new directory".into(),
        }),
    }
}

pub(crate) fn no_marker(dir: &Path) -> Error {
    let why = "it has no file `ledger`; name the directory that a ledger was created in".into();
    Error::NotALedger { dir: dir.to_owned(), why }
}

/// Reads files that a writer may be sealing meanwhile. A listed file that is gone when it is opened, and damage that
/// is not there at a second look, mean to begin again.
pub(crate) fn beside_writer<T>(mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let is_gone = |e: &Error| matches!(e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let mut seen = None;
    for _ in 1..READ_ATTEMPTS {
        match read() {
            Err(Error::Damaged(damage)) if seen.as_ref() != Some(&damage) => seen = Some(damage),
            Err(e) if is_gone(&e) => {}
            other => return other,
        }
    }
    read()
}

pub(crate) fn take_lock(disk: &dyn Storage, layout: &Layout) -> Result<Arc<dyn StoredFile>, Error> {
    let path = layout.lock();
    if let Some(lock) = disk.lock(&path).map_err(Error::io("locking", &path))? {
        return Ok(lock);
    }
    let holder = read_small(disk, &path)?.map(|note| String::from_utf8_lossy(&note).trim().to_owned());
    let holder = holder.filter(|holder| !holder.is_empty()).unwrap_or_else(|| "its holder left no note".into());
    Err(Error::AlreadyOpen { dir: layout.dir.clone(), holder })
}

fn write_note(lock: &dyn StoredFile, note: &str) -> io::Result<()> {
    let separator = if note.is_empty() { "" } else { ", " };
    let text = format!("process {}{separator}{}\n", std::process::id(), note.replace('\n', " "));
    lock.set_bytes(0)?;
    lock.write_all_at(text.as_bytes(), 0)
}

/// Logs that have a signing key, and those found under `logs/<tenant>/<kind>/<shard>`.
///
/// The keys are looked at first: a log that is being created meanwhile has its folder before its key.
pub(crate) fn find_logs(disk: &dyn Storage, layout: &Layout, mode: Mode) -> Result<Vec<FoundLog>, Error> {
    let signed = match logs_with_signer(disk, layout) {
        // Who may only read need not be let near the keys.
        Err(Error::Io { source, .. }) if mode == Mode::ReadOnly && source.kind() == io::ErrorKind::PermissionDenied => {
            BTreeSet::new()
        }
        other => other?,
    };
    let ids = find_log_folders(disk, layout)?.into_iter().chain(signed.iter().cloned()).collect::<BTreeSet<_>>();
    Ok(ids.into_iter().map(|id| FoundLog { has_signer: signed.contains(&id), id }).collect())
}

fn find_log_folders(disk: &dyn Storage, layout: &Layout) -> Result<Vec<LogId>, Error> {
    let list = |path: &Path| list_if_any(disk, path);
    let mut found = Vec::new();
    for tenant in list(&layout.logs())? {
        let tenant_dir = layout.logs().join(&tenant);
        for kind in list(&tenant_dir)? {
            let kind_dir = tenant_dir.join(&kind);
            for shard in list(&kind_dir)? {
                let parsed = (tenant.parse(), LogKind::parse(&kind), shard.parse::<u32>());
                let id = match parsed {
                    (Ok(tenant), Some(kind), Ok(shard)) => Some(LogId { tenant, kind, shard }),
                    _ => None,
                };
                let path = kind_dir.join(&shard);
                let Some(id) = id.filter(|id| layout.log(id).dir == path) else {
                    let expected = "a folder named tenant/kind/shard".to_owned();
                    return Err(crate::keys::damaged(layout, &path, expected, "another name"));
                };
                found.push(id);
            }
        }
    }
    Ok(found)
}

fn open_logs(
    layout: &Layout,
    marker: &Marker,
    options: &Options,
    caches: &Arc<Caches>,
    vaults: &Vaults,
) -> Result<Vec<Log>, Error> {
    let mut logs = Vec::new();
    for found in find_logs(&*options.storage, layout, vaults.mode())? {
        let opened = Log::open(layout, &found, &marker.log_origin(&found.id), options, caches, vaults);
        logs.extend(opened.map_err(|e| e.or_damage(&layout.dir, &found.id.to_string()))?);
    }
    Ok(logs)
}
