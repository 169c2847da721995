//! From backups to a ledger again: every byte is verified on the way, and nothing answers before all of it held.
//!
//! A restored log that is behind what is known of it stays read-only, since going on would make two histories under
//! one name; or it goes on under a new origin (`continued`).

mod erase;

pub use erase::ErasedAgain;

use crate::artifacts::Artifacts;
use crate::backup::check::{LogCheck, Promise};
use crate::backup::copy;
use crate::backup::manifest::{Kind, Listed, Manifest, damaged, read_file};
use crate::backup::vault::VaultManifest;
use crate::checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint};
use crate::continued::Continue;
use crate::error::Error;
use crate::keys::{self, Marker};
use crate::layout::{Layout, LogId};
use crate::log::read_secrets;
use crate::options::{Random, SystemRandom};
use crate::restored::{Behind, Restored};
use crate::scan::LogFiles;
use crate::segment::list;
use crate::storage::{Access, FileSystem, Storage, write_whole};
use crate::verify::{VerifyOptions, VerifyReport, verify};
use cairn_schemas::{Clock, Sha256, SystemClock, Timestamp};
use erase::erase_again;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a ledger stands that is written anew, until it is.
const ASIDE: &str = "before";

/// What a ledger is restored from, besides the backup of its logs.
#[derive(Clone)]
pub struct RestoreOptions {
    /// A backup of the vault. Without it the ledger can be read, and takes no events.
    pub vault: Option<PathBuf>,
    /// What was erased since, to be erased again before anything answers.
    pub register: RegisterChoice,
    /// Signed checkpoints that are known of the logs, from whoever kept them.
    pub known: Vec<String>,
    /// Goes on under this origin where the backup is behind what is known.
    pub new_origin: Option<String>,
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// Where the erasure register is. To restore without one takes a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterChoice {
    /// A tenant's register, or a folder with those of all tenants.
    At(PathBuf),
    /// Nothing was ever erased, or the register is lost.
    NoRegister,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            vault: None,
            register: RegisterChoice::NoRegister,
            known: Vec::new(),
            new_origin: None,
            storage: Arc::new(FileSystem),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Origin of the ledger that was backed up.
    pub origin: String,
    /// When the backup was taken.
    pub taken: Timestamp,
    pub files: u64,
    pub bytes: u64,
    /// Whether it has its keys; without them it is read-only.
    pub has_keys: bool,
    /// Logs behind what is known of them: the ledger is read-only.
    pub behind: Vec<Behind>,
    /// The new origin, where it goes on under one.
    pub continued_as: Option<String>,
    pub erased: ErasedAgain,
    /// What verification of the restored ledger found; it is intact.
    pub verified: VerifyReport,
}

/// Restores a backup into `to`, which is absent or empty.
pub fn restore(backup: &Path, to: &Path, options: &RestoreOptions) -> Result<RestoreReport, Error> {
    let disk = &*options.storage;
    let manifest = Manifest::read(disk, backup)?.ok_or_else(|| refused(backup, "it has no file `backup`"))?;
    let Some(marker) = manifest.texts.get("ledger").filter(|_| manifest.is_whole()) else {
        return Err(refused(backup, "no run into it ever ended; back the ledger up again"));
    };
    let expected = |expected: String| damaged("backup", 0, format!("a marker: {expected}"), "other content");
    let marker = Marker::decode(marker).map_err(expected)?;
    let new_marker =
        options.new_origin.as_deref().map(|origin| Marker::new(Some(origin), &*options.random)).transpose()?;
    let vault = options.vault.as_deref().map(|dir| read_vault(disk, dir)).transpose()?;
    check_choices(backup, &marker, vault.as_ref().map(|(_, vault)| vault), options)?;
    disk.create_dirs(to).map_err(Error::io("creating", to))?;
    if !disk.list(to).map_err(Error::io("listing", to))?.is_empty() {
        return Err(refused(to, "a ledger is restored into an absent or empty directory, this one holds files"));
    }
    let whole = Layout::new(to);
    // What goes on under a new origin is restored aside, and then written anew.
    let layout = if new_marker.is_some() { Layout::new(&to.join(ASIDE)) } else { whole.clone() };
    let restore = Restore { options, layout, backup, manifest, marker };
    let (behind, erased) = restore.all(vault.as_ref(), &whole)?;
    let mut state = Restored { unfinished: true, without_keys: vault.is_none(), behind };
    if let Some(new_marker) = &new_marker {
        restore.go_on(&whole, new_marker, &state.behind)?;
        state.behind.clear();
    }
    state.write(disk, &whole)?;
    let verified = verify(to, &VerifyOptions { storage: options.storage.clone(), ..VerifyOptions::default() })?;
    if let Some(damage) = verified.damage.first() {
        return Err(damage.clone().into());
    }
    state.unfinished = false;
    state.write(disk, &whole)?;
    Ok(RestoreReport {
        origin: restore.marker.origin.clone(),
        taken: restore.manifest.taken,
        files: restore.manifest.files.len() as u64,
        bytes: restore.manifest.bytes(),
        has_keys: vault.is_some(),
        behind: state.behind,
        continued_as: new_marker.map(|marker| marker.origin),
        erased,
        verified,
    })
}

/// Refuses what cannot be done, before anything is written.
fn check_choices(
    backup: &Path,
    marker: &Marker,
    vault: Option<&VaultManifest>,
    options: &RestoreOptions,
) -> Result<(), Error> {
    let no_register = options.register == RegisterChoice::NoRegister;
    if let Some(vault) = vault.filter(|vault| no_register && vault.backup.expires <= options.clock.now()) {
        let why = format!(
            "the backup of the vault expired at {}: it may hold keys that were destroyed since; give the register",
            vault.backup.expires
        );
        return Err(refused(backup, &why));
    }
    if vault.is_none() && !no_register {
        return Err(refused(backup, "a register is checked with the vault's keys; give the backup of the vault too"));
    }
    match &options.new_origin {
        Some(_) if vault.is_none() => {
            Err(refused(backup, "to go on under a new origin takes the keys; give the backup of the vault too"))
        }
        Some(origin) if *origin == marker.origin => {
            Err(refused(backup, &format!("{origin} is the origin that it had; a second history needs another")))
        }
        _ => Ok(()),
    }
}

/// Gives keys and vault to a ledger that was restored without them.
pub fn restore_vault(
    vault: &Path,
    dir: &Path,
    register: &RegisterChoice,
    storage: &Arc<dyn Storage>,
) -> Result<(), Error> {
    let (disk, layout) = (&**storage, Layout::new(dir));
    let marker = keys::read_marker(disk, &layout)?.ok_or_else(|| crate::ledger::no_marker(dir))?;
    let state = Restored::read(disk, &layout)?;
    state.check_readable(dir)?;
    if !state.without_keys {
        return Err(refused(dir, "this ledger was not restored without its keys; what it has is not replaced"));
    }
    let (from, manifest) = read_vault(disk, vault)?;
    let options = RestoreOptions { register: register.clone(), storage: storage.clone(), ..RestoreOptions::default() };
    check_choices(vault, &marker, Some(&manifest), &options)?;
    // Until it ended, nobody answers with keys that are to be destroyed again.
    Restored { unfinished: true, ..state.clone() }.write(disk, &layout)?;
    give_keys(disk, &layout, &marker, (&from, &manifest))?;
    erase_again(&layout, &options, &state.behind)?;
    let with_keys = Restored { without_keys: false, ..state };
    Restored { unfinished: true, ..with_keys.clone() }.write(disk, &layout)?;
    // With the keys, identities can be checked too.
    let report =
        verify(dir, &VerifyOptions { artifacts: false, storage: storage.clone(), ..VerifyOptions::default() })?;
    match report.damage.first() {
        Some(damage) => Err(damage.clone().into()),
        None => with_keys.write(disk, &layout),
    }
}

fn refused(dir: &Path, why: &str) -> Error {
    Error::Backup { dir: dir.to_owned(), why: why.to_owned() }
}

fn read_vault(disk: &dyn Storage, dir: &Path) -> Result<(PathBuf, VaultManifest), Error> {
    let manifest = VaultManifest::read(disk, dir)?;
    Ok((dir.to_owned(), manifest.ok_or_else(|| refused(dir, "it has no file `vault-backup`"))?))
}

/// Copies keys and vault. Keys of logs that the ledger lacks stay behind: where a signing key stands, its log must.
fn give_keys(
    disk: &dyn Storage,
    layout: &Layout,
    marker: &Marker,
    (from, vault): (&Path, &VaultManifest),
) -> Result<(), Error> {
    let logs: Vec<LogId> = log_ids(disk, layout)?;
    let signs = |path: &str| {
        let (tenant, name) = path.strip_prefix("keys/")?.split_once('/')?;
        LogId::of_signing_key(&tenant.parse().ok()?, name)
    };
    vault.restore(disk, from, &layout.dir, |path| signs(path).is_none_or(|log| logs.contains(&log)))?;
    for log in &logs {
        let path = layout.log(log).verifier_key();
        let verifier = keys::read_verifier(disk, layout, &path)?
            .ok_or_else(|| keys::damaged(layout, &path, "the log's public key".into(), "no file"))?;
        if !vault.files.contains_key(&layout.relative(&layout.signing_key(log)).display().to_string()) {
            let why = format!(
                "it has no signing key of {}; give a backup of the vault that is newer",
                marker.log_origin(log)
            );
            return Err(refused(from, &why));
        }
        read_secrets(disk, layout, log, &verifier)?;
    }
    Ok(())
}

fn log_ids(disk: &dyn Storage, layout: &Layout) -> Result<Vec<LogId>, Error> {
    let found = crate::ledger::find_logs(disk, layout, crate::log::Mode::ReadOnly)?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

struct Restore<'a> {
    options: &'a RestoreOptions,
    layout: Layout,
    backup: &'a Path,
    manifest: Manifest,
    marker: Marker,
}

impl Restore<'_> {
    /// Restores, gives the keys, and erases again; what is behind is read-only, unless it goes on under a new origin.
    fn all(
        &self,
        vault: Option<&(PathBuf, VaultManifest)>,
        whole: &Layout,
    ) -> Result<(Vec<Behind>, ErasedAgain), Error> {
        let disk = self.disk();
        let unfinished = Restored { unfinished: true, ..Restored::default() };
        unfinished.write(disk, whole)?;
        self.copy_texts()?;
        self.copy_files()?;
        if let Some((from, vault)) = vault {
            give_keys(disk, &self.layout, &self.marker, (from, vault))?;
        }
        let behind = self.check_known()?;
        keys::write_marker(disk, &self.layout, &self.marker)?;
        if whole.dir != self.layout.dir {
            unfinished.write(disk, &self.layout)?;
        }
        let erased = erase_again(&self.layout, self.options, &behind)?;
        Ok((behind, erased))
    }

    /// Writes every log anew under another origin; what belongs to no log moves over.
    fn go_on(&self, whole: &Layout, new_marker: &Marker, behind: &[Behind]) -> Result<(), Error> {
        let disk = self.disk();
        for name in ["artifacts", "vault", "vault-backups", "register"] {
            let from = self.layout.dir.join(name);
            match disk.rename(&from, &whole.dir.join(name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("renaming", &from)(e)),
                _ => {}
            }
        }
        let logs = self.manifest.logs();
        for log in &logs {
            for key in ["mac.key", "vault.key"] {
                let from = self.layout.keys().join(log.tenant.as_str()).join(key);
                let to = whole.keys().join(log.tenant.as_str()).join(key);
                disk.create_dirs(crate::storage::parent(&to)).map_err(Error::io("creating", &to))?;
                let copy = |bytes: Vec<u8>| write_whole(disk, &to, Access::Owner, &bytes);
                read_file(disk, &from)?.map(copy).transpose()?;
            }
        }
        keys::write_marker(disk, whole, new_marker)?;
        let go_on = Continue {
            storage: &self.options.storage,
            random: &self.options.random,
            clock: &self.options.clock,
            old: &self.layout,
            new: whole,
            old_marker: &self.marker,
            new_marker,
        };
        for log in &logs {
            let origin = self.marker.log_origin(log);
            go_on.log(log, behind.iter().find(|behind| behind.origin == origin))?;
        }
        std::fs::remove_dir_all(&self.layout.dir).map_err(Error::io("removing", &self.layout.dir))
    }

    fn disk(&self) -> &dyn Storage {
        &*self.options.storage
    }

    /// All but the marker, which makes a ledger of the folder.
    fn copy_texts(&self) -> Result<(), Error> {
        for (path, text) in self.manifest.texts.iter().filter(|(path, _)| *path != "ledger") {
            let to = self.layout.dir.join(path);
            self.disk().create_dirs(crate::storage::parent(&to)).map_err(Error::io("creating", &to))?;
            write_whole(self.disk(), &to, Access::Default, text.as_bytes())?;
        }
        for log in self.manifest.logs() {
            let segments = self.layout.log(&log).segments();
            self.disk().create_dirs(&segments).map_err(Error::io("creating", &segments))?;
        }
        Ok(())
    }

    fn copy_files(&self) -> Result<(), Error> {
        for (path, listed) in &self.manifest.files {
            self.copy_file(path, *listed)?;
            if let Some(Kind::Artifact { tenant, digest }) = Kind::of(path) {
                let dir = self.layout.artifacts(&tenant);
                let artifacts = Artifacts::new(self.options.storage.clone(), &self.layout.dir, dir, true);
                artifacts.write_sidecar(&digest)?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, path: &str, listed: Listed) -> Result<(), Error> {
        let (from, to) = (self.backup.join(path), self.layout.dir.join(path));
        let expected = || format!("{} bytes with BLAKE3 {}", listed.bytes, listed.blake3);
        let file = match self.disk().open(&from) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged(path, 0, expected(), "no file")),
            other => other.map_err(Error::io("opening", &from))?,
        };
        let bytes = file.bytes().map_err(Error::io("measuring", &from))?;
        // A run that was cut short may have added to a file that grows.
        let grows = Kind::of(path).is_some_and(|kind| kind.grows());
        if bytes < listed.bytes || (bytes > listed.bytes && !grows) {
            return Err(damaged(path, bytes.min(listed.bytes), expected(), &format!("{bytes} bytes")));
        }
        let copied = copy::whole(&*file, &from, listed.bytes, (self.disk(), &to), Access::Default)?;
        if copied != listed {
            return Err(damaged(path, 0, expected(), &copied.blake3.to_hex()));
        }
        copy::check(self.disk(), &self.layout.dir, path, listed, false)
    }

    /// Holds every log against the checkpoints that are known of it. A smaller one that its tree does not pass through
    /// is a second history; a greater one means that events are missing here.
    fn check_known(&self) -> Result<Vec<Behind>, Error> {
        let mut known = self.known()?;
        let mut behind = Vec::new();
        for log in self.manifest.logs() {
            let origin = self.marker.log_origin(&log);
            let Some(known) = known.remove(&origin) else { continue };
            let (files, signed) = self.read_log(&log)?;
            let size = signed.checkpoint.size;
            let mut promises: Vec<Promise> = known.iter().copied().filter(|(known, _)| *known <= size).collect();
            promises.push((size, signed.checkpoint.root));
            let segments = list(self.disk(), &files.site, &files.root, &files.layout)?.segments;
            LogCheck { files: &files, id: &log, origin: &origin, promises: &promises }.run(&segments, &|_| true)?;
            if let Some(&(known_size, known_root)) = known.iter().max().filter(|(known, _)| *known > size) {
                behind.push(Behind { origin, size, known_size, known_root });
            }
        }
        Ok(behind)
    }

    fn read_log(&self, log: &LogId) -> Result<(LogFiles, SignedCheckpoint), Error> {
        let files =
            LogFiles::new(self.options.storage.clone(), &self.layout.dir, &log.to_string(), self.layout.log(log));
        let signed = crate::log::read_checkpoint(&files, &self.verifier(log)?)?;
        Ok((files, signed))
    }

    fn verifier(&self, log: &LogId) -> Result<LogVerifier, Error> {
        let path = self.layout.log(log).verifier_key();
        let verifier = keys::read_verifier(self.disk(), &self.layout, &path)?;
        verifier.ok_or_else(|| keys::damaged(&self.layout, &path, "the log's public key".into(), "no file"))
    }

    /// Sizes and roots by the origin they are of: from the registers, and from notes with the log's own signature.
    fn known(&self) -> Result<BTreeMap<String, Vec<(u64, Sha256)>>, Error> {
        let mut known = erase::known(&self.layout, self.options, &self.manifest.logs())?;
        for note in &self.options.known {
            let wrong = |expected: String| {
                refused(self.backup, &format!("a known checkpoint is a signed note with {expected}"))
            };
            let Checkpoint { origin, .. } = Checkpoint::of_note(note).map_err(wrong)?;
            let log = self.manifest.logs().into_iter().find(|log| self.marker.log_origin(log) == origin);
            let Some(log) = log else {
                return Err(refused(
                    self.backup,
                    &format!("a checkpoint of {origin} is known, of which it has no log"),
                ));
            };
            let signed = SignedCheckpoint::parse(note, &self.verifier(&log)?).map_err(wrong)?;
            known.entry(origin).or_default().push((signed.checkpoint.size, signed.checkpoint.root));
        }
        Ok(known)
    }
}
