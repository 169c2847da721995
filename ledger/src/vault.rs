//! The keys of people, one file a tenant, apart from the log: what is sealed under a destroyed key is gone for ever.
//!
//! A key is durable before the event that is sealed under it is accepted. Keys are read from the file at each use and
//! never kept in memory, so that one that was destroyed is gone for every process at once.

mod record;

use crate::error::{Error, Mismatch};
use crate::keys::{self, VaultKey};
use crate::layout::Layout;
use crate::log::Mode;
use crate::options::Random;
use crate::site::Site;
use crate::storage::{Access, Storage, StoredFile, Window, full_or, list_if_any, parent};
use cairn_schemas::{Blake3, KeyId, TenantId};
use parking_lot::{Mutex, RwLock};
pub(crate) use record::PersonKey;
use record::{RECORD_BYTES, VaultKeys, VaultRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

/// Most records written between two syncs: what a crash may tear is among the last so many.
const UNSYNCED_RECORDS_MAX: u64 = 512;
/// How findings name what belongs to no log.
const NO_LOG: &str = "-";

/// Keys of the people of one batch, by name.
pub(crate) type Persons = HashMap<String, PersonKey>;

/// What the vault knows of a key.
pub(crate) enum Held {
    Key(PersonKey),
    Destroyed,
    /// Nothing: the vault is not at hand, or not the one that the key is in.
    Unknown,
}

/// The vaults of a ledger, each opened when it is first asked for.
pub(crate) struct Vaults {
    disk: Arc<dyn Storage>,
    layout: Layout,
    mode: Mode,
    open: Mutex<BTreeMap<TenantId, Arc<Vault>>>,
}

impl Vaults {
    pub(crate) fn new(disk: Arc<dyn Storage>, layout: &Layout, mode: Mode) -> Self {
        Self { disk, layout: layout.clone(), mode, open: Mutex::default() }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn of(&self, tenant: &TenantId) -> Result<Arc<Vault>, Error> {
        let mut open = self.open.lock();
        if let Some(vault) = open.get(tenant) {
            return Ok(vault.clone());
        }
        let vault = Arc::new(Vault::open(self.disk.clone(), &self.layout, tenant, self.mode)?);
        open.insert(tenant.clone(), vault.clone());
        Ok(vault)
    }
}

/// One tenant's vault.
pub(crate) struct Vault {
    disk: Arc<dyn Storage>,
    layout: Layout,
    tenant: TenantId,
    site: Site,
    mode: Mode,
    state: RwLock<State>,
}

#[allow(clippy::large_enum_variant, reason = "there is one a tenant")]
enum State {
    /// No key was ever stored here.
    Absent,
    /// We are not let near it.
    Closed,
    Open(Table),
}

/// Where each key stands. Grows with the number of people, some 60 bytes each.
struct Table {
    keys: VaultKeys,
    file: Arc<dyn StoredFile>,
    records: u64,
    /// Living keys, by the first half of their persons' digests.
    persons: HashMap<[u8; 16], u64>,
    /// Living and destroyed keys.
    ids: HashMap<KeyId, u64>,
    /// Why nothing more may be written: after a failed sync nobody knows what the file holds.
    ended: Option<String>,
}

impl Vault {
    /// Opens a tenant's vault, which may not be there yet. A last write that a crash tore is mended where `mode` allows.
    fn open(disk: Arc<dyn Storage>, layout: &Layout, tenant: &TenantId, mode: Mode) -> Result<Self, Error> {
        let site = Site::new(NO_LOG, &layout.dir, layout.persons(tenant));
        let (layout, tenant, state) = (layout.clone(), tenant.clone(), RwLock::new(State::Absent));
        let vault = Self { disk, layout, tenant, site, mode, state };
        let state = match vault.load() {
            Err(Error::Io { source, .. })
                if mode == Mode::ReadOnly && source.kind() == io::ErrorKind::PermissionDenied =>
            {
                State::Closed
            }
            other => other?,
        };
        *vault.state.write() = state;
        Ok(vault)
    }

    fn load(&self) -> Result<State, Error> {
        let key = keys::read_vault_key(&*self.disk, &self.layout, &self.tenant)?;
        let opened = match self.mode {
            Mode::Write => self.disk.open_writable(self.site.path()),
            Mode::ReadOnly => self.disk.open(self.site.path()),
        };
        let file = match opened {
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(self.site.io("opening")(e)),
        };
        let holds_keys = match &file {
            Some(file) => file.bytes().map_err(self.site.io("measuring"))? >= RECORD_BYTES as u64,
            None => false,
        };
        match (key, file) {
            (Some(key), Some(file)) => {
                let mut table = Table::new(&key, file);
                self.read_more(&mut table)?;
                if self.mode == Mode::Write {
                    self.mend(&mut table)?;
                }
                Ok(State::Open(table))
            }
            // The vault's key is the last file of its creation: without it, nothing was sealed yet.
            (None, None) => Ok(State::Absent),
            (None, Some(_)) if !holds_keys => Ok(State::Absent),
            (None, Some(_)) if self.mode == Mode::ReadOnly => Ok(State::Closed),
            (None, Some(_)) => Err(self.without_key()),
            (Some(_), None) => {
                let mismatch = Mismatch::new(0, "the file of people's keys, which vault.key stands for", "no file");
                Err(self.site.damage(None, 0, mismatch))
            }
        }
    }

    fn without_key(&self) -> Error {
        let path = self.layout.vault_key(&self.tenant);
        keys::damaged(&self.layout, &path, "the key that people's keys are wrapped under".into(), "no file")
    }

    /// Reads what the table does not hold yet, up to the last whole record.
    fn read_more(&self, table: &mut Table) -> Result<(), Error> {
        let file = table.file.clone();
        let bytes = file.bytes().map_err(self.site.io("measuring"))?;
        let records = bytes / RECORD_BYTES as u64;
        let mut window = Window::new(&*file, bytes);
        for index in table.records..records {
            let at = index * RECORD_BYTES as u64;
            let raw: [u8; RECORD_BYTES] = window
                .get(at, RECORD_BYTES)
                .map_err(self.site.io("reading"))?
                .try_into()
                .expect("whole records were counted");
            // A sector that the last write did not reach reads as zeros.
            if raw == [0; RECORD_BYTES] && index + UNSYNCED_RECORDS_MAX >= records {
                continue;
            }
            let record = VaultRecord::decode(&raw).map_err(|m| self.site.damage(None, at, m))?;
            table.insert(&record, index);
        }
        table.records = records;
        Ok(())
    }

    /// Cuts an incomplete last record, fills what a torn write left blank, and makes sure that the tail is durable:
    /// after a failed sync, what is read may stand in memory alone.
    fn mend(&self, table: &mut Table) -> Result<(), Error> {
        let (file, whole) = (&table.file, table.records * RECORD_BYTES as u64);
        if file.bytes().map_err(self.site.io("measuring"))? > whole {
            file.set_bytes(whole).map_err(self.site.io("cutting"))?;
        }
        let first = table.records.saturating_sub(UNSYNCED_RECORDS_MAX) * RECORD_BYTES as u64;
        if first == whole {
            return Ok(());
        }
        let mut tail = vec![0; (whole - first) as usize];
        file.read_exact_at(&mut tail, first).map_err(self.site.io("reading"))?;
        let nothing = VaultRecord::Destroyed { id: KeyId([0; 16]) }.encode();
        for record in tail.chunks_exact_mut(RECORD_BYTES).filter(|record| record.iter().all(|byte| *byte == 0)) {
            record.copy_from_slice(&nothing);
        }
        file.write_all_at(&tail, first).map_err(self.site.io("writing"))?;
        file.sync().map_err(self.site.io("syncing"))
    }

    /// Keys of these people. Those who have none get one, all in one write, durable when this returns.
    pub(crate) fn persons<'a>(
        &self,
        subjects: impl Iterator<Item = &'a str>,
        random: &dyn Random,
    ) -> Result<Persons, Error> {
        let subjects: BTreeSet<&str> = subjects.collect();
        let found = self.living(subjects.iter().copied())?;
        if found.len() == subjects.len() {
            return Ok(found);
        }
        let mut state = self.state.write();
        if !matches!(&*state, State::Open(_)) {
            *state = State::Open(self.create(random)?);
        }
        let State::Open(table) = &mut *state else { unreachable!("it was just opened") };
        let (mut found, mut new) = (Persons::new(), Vec::new());
        for subject in subjects {
            let key = match self.person(table, subject)? {
                Some(key) => key,
                None => {
                    let (key, record) = table.keys.draw(subject, random);
                    new.push(record);
                    key
                }
            };
            found.insert(subject.to_owned(), key);
        }
        self.append(table, &new)?;
        Ok(found)
    }

    /// Keys of those of these people who have one.
    pub(crate) fn living<'a>(&self, subjects: impl Iterator<Item = &'a str>) -> Result<Persons, Error> {
        let mut found = Persons::new();
        if let State::Open(table) = &*self.state.read() {
            for subject in subjects {
                found.extend(self.person(table, subject)?.map(|key| (subject.to_owned(), key)));
            }
        }
        Ok(found)
    }

    fn person(&self, table: &Table, subject: &str) -> Result<Option<PersonKey>, Error> {
        let digest = table.keys.digest(subject);
        let Some(index) = table.persons.get(&digest[..16]).copied() else { return Ok(None) };
        self.unwrap(table, index)
    }

    fn read(&self, table: &Table, index: u64) -> Result<VaultRecord, Error> {
        let at = index * RECORD_BYTES as u64;
        let mut raw = [0; RECORD_BYTES];
        table.file.read_exact_at(&mut raw, at).map_err(self.site.io("reading"))?;
        VaultRecord::decode(&raw).map_err(|m| self.site.damage(None, at, m))
    }

    fn unwrap(&self, table: &Table, index: u64) -> Result<Option<PersonKey>, Error> {
        let record = self.read(table, index)?;
        table.keys.unwrap(&record).map_err(|m| self.site.damage(None, index * RECORD_BYTES as u64, m))
    }

    /// The file of keys first and the vault's key last: where that stands, the file must.
    fn create(&self, random: &dyn Random) -> Result<Table, Error> {
        let (disk, path) = (&*self.disk, self.site.path());
        disk.create_dirs(parent(path)).map_err(Error::io("creating", parent(path)))?;
        let file = match disk.open_writable(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                disk.create_new(path, Access::Owner).map_err(full_or("creating", path, 0))?
            }
            Err(e) => return Err(self.site.io("opening")(e)),
        };
        file.set_bytes(0).map_err(self.site.io("cutting"))?;
        file.sync().map_err(self.site.io("syncing"))?;
        disk.sync_dir(parent(path)).map_err(Error::io("syncing", parent(path)))?;
        let key = keys::write_vault_key(disk, &self.layout, &self.tenant, random)?;
        Ok(Table::new(&key, file))
    }

    fn append(&self, table: &mut Table, records: &[VaultRecord]) -> Result<(), Error> {
        if let (Some(why), false) = (&table.ended, records.is_empty()) {
            return Err(Error::WriterEnded { why: why.clone() });
        }
        for chunk in records.chunks(UNSYNCED_RECORDS_MAX as usize) {
            let at = table.records * RECORD_BYTES as u64;
            let bytes: Vec<u8> = chunk.iter().flat_map(VaultRecord::encode).collect();
            if let Err(e) = table.file.write_all_at(&bytes, at) {
                if let Err(e) = table.file.set_bytes(at).and_then(|()| table.file.sync()) {
                    table.end(&self.site, &e);
                }
                return Err(full_or("writing", self.site.path(), bytes.len() as u64)(e));
            }
            self.sync(table)?;
            for record in chunk {
                table.insert(record, table.records);
                table.records += 1;
            }
        }
        Ok(())
    }

    fn sync(&self, table: &mut Table) -> Result<(), Error> {
        table.file.sync().map_err(|e| {
            table.end(&self.site, &e);
            full_or("syncing", self.site.path(), 0)(e)
        })
    }

    /// What the vault knows of a key.
    pub(crate) fn key(&self, id: KeyId) -> Result<Held, Error> {
        let is_new = match &*self.state.read() {
            State::Open(table) => match table.ids.get(&id) {
                Some(index) => return Ok(self.unwrap(table, *index)?.map_or(Held::Destroyed, Held::Key)),
                None => self.mode == Mode::ReadOnly && self.has_grown(table)?,
            },
            State::Absent | State::Closed => false,
        };
        if !is_new {
            return Ok(Held::Unknown);
        }
        // Whoever writes beside this reader has added keys since.
        if let State::Open(table) = &mut *self.state.write() {
            self.read_more(table)?;
        }
        match &*self.state.read() {
            State::Open(table) => match table.ids.get(&id) {
                Some(index) => Ok(self.unwrap(table, *index)?.map_or(Held::Destroyed, Held::Key)),
                None => Ok(Held::Unknown),
            },
            State::Absent | State::Closed => Ok(Held::Unknown),
        }
    }

    fn has_grown(&self, table: &Table) -> Result<bool, Error> {
        Ok(table.file.bytes().map_err(self.site.io("measuring"))? / RECORD_BYTES as u64 > table.records)
    }

    /// Ids of a person's living keys: one, or none.
    pub(crate) fn keys_of(&self, subject: &str) -> Result<Vec<KeyId>, Error> {
        match &*self.state.read() {
            State::Open(table) => Ok(self.person(table, subject)?.map(|key| key.id).into_iter().collect()),
            State::Absent => Ok(Vec::new()),
            State::Closed => Err(self.closed()),
        }
    }

    /// What events call a person by: a digest under a key of this vault, which is made if there is none yet.
    pub(crate) fn subject(&self, subject: &str, random: &dyn Random) -> Result<Blake3, Error> {
        if let State::Open(table) = &*self.state.read() {
            return Ok(table.keys.subject(subject));
        }
        let mut state = self.state.write();
        match (&mut *state, self.mode) {
            (State::Open(table), _) => Ok(table.keys.subject(subject)),
            (State::Absent, Mode::Write) => {
                let table = self.create(random)?;
                let digest = table.keys.subject(subject);
                *state = State::Open(table);
                Ok(digest)
            }
            _ => Err(self.closed()),
        }
    }

    /// Whether nothing can be said of what it holds.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.state.read(), State::Closed)
    }

    fn closed(&self) -> Error {
        let why = "there is no access to the vault; open the ledger as its owner";
        Error::Key { path: self.site.path().to_owned(), why: why.into() }
    }

    /// A field whose key is here and that does not open under it.
    pub(crate) fn does_not_open(&self, id: KeyId, pointer: &str) -> Error {
        let mismatch =
            Mismatch::new(0, format!("the key {id} that `{pointer}` of an event is sealed under"), "another key");
        self.site.damage(None, 0, mismatch)
    }

    /// Destroys keys where they stand, durably. An id that is not known here is noted as destroyed: a vault that was
    /// restored from before the key was drawn tells the erased from the lost. Safe to repeat.
    pub(crate) fn destroy(&self, ids: &[KeyId], random: &dyn Random) -> Result<(), Error> {
        if self.mode == Mode::ReadOnly {
            return Err(Error::ReadOnly);
        }
        if ids.is_empty() {
            return Ok(());
        }
        let mut state = self.state.write();
        if !matches!(&*state, State::Open(_)) {
            *state = State::Open(self.create(random)?);
        }
        let State::Open(table) = &mut *state else { unreachable!("it was just opened") };
        if let Some(why) = &table.ended {
            return Err(Error::WriterEnded { why: why.clone() });
        }
        let mut unknown = Vec::new();
        for id in ids {
            let destroyed = VaultRecord::Destroyed { id: *id };
            let Some(index) = table.ids.get(id).copied() else {
                unknown.push(destroyed);
                continue;
            };
            if let VaultRecord::Key { digest, .. } = self.read(table, index)? {
                table.persons.remove(&digest[..16]);
            }
            let written = table.file.write_all_at(&destroyed.encode(), index * RECORD_BYTES as u64);
            written.map_err(|e| {
                table.end(&self.site, &e);
                self.site.io("writing")(e)
            })?;
        }
        self.sync(table)?;
        self.append(table, &unknown)
    }

    /// Destroys again what is said to be destroyed: an older file of keys may have come back. Where there is no vault,
    /// none is made.
    pub(crate) fn destroy_again(&self, ids: &BTreeSet<KeyId>, random: &dyn Random) -> Result<(), Error> {
        if !matches!(&*self.state.read(), State::Open(_)) {
            return Ok(());
        }
        let mut left = Vec::new();
        for id in ids {
            match self.key(*id)? {
                Held::Destroyed => {}
                Held::Key(_) | Held::Unknown => left.push(*id),
            }
        }
        if !left.is_empty() {
            tracing::warn!(tenant = %self.tenant, keys = left.len(), "destroying keys again that the register names");
        }
        self.destroy(&left, random)
    }

    /// Every key, read and unwrapped: living ones and destroyed ones.
    pub(crate) fn check_all(&self) -> Result<(u64, u64), Error> {
        let (mut living, mut destroyed) = (0, 0);
        if let State::Open(table) = &*self.state.read() {
            for index in table.ids.values() {
                match self.unwrap(table, *index)? {
                    Some(_) => living += 1,
                    None => destroyed += 1,
                }
            }
        }
        Ok((living, destroyed))
    }
}

impl Table {
    fn new(key: &VaultKey, file: Arc<dyn StoredFile>) -> Self {
        let keys = VaultKeys::derive(&key.0);
        Self { keys, file, records: 0, persons: HashMap::new(), ids: HashMap::new(), ended: None }
    }

    fn insert(&mut self, record: &VaultRecord, index: u64) {
        self.ids.insert(record.id(), index);
        if let VaultRecord::Key { digest, .. } = record {
            self.persons.insert(digest[..16].try_into().expect("16 of 32 bytes"), index);
        }
    }

    fn end(&mut self, site: &Site, e: &io::Error) {
        self.ended.get_or_insert(format!("the vault {}: {e}", site.path().display()));
    }
}

/// Tenants that have a vault, or a key for one; names that are no tenant's are damage.
pub(crate) fn tenants(disk: &dyn Storage, layout: &Layout) -> Result<BTreeSet<TenantId>, Error> {
    let mut found = BTreeSet::new();
    for folder in [layout.vault(), layout.keys()] {
        for name in list_if_any(disk, &folder)? {
            let wrong =
                |_| keys::damaged(layout, &folder.join(&name), "a folder named after a tenant".into(), "another name");
            found.insert(name.parse().map_err(wrong)?);
        }
    }
    Ok(found)
}

/// Reads every key of a tenant, as `verify` does. Only a ledger that was restored without keys may lack the vault's.
pub(crate) fn check(
    disk: &Arc<dyn Storage>,
    layout: &Layout,
    tenant: &TenantId,
    without_keys: bool,
) -> Result<(u64, u64), Error> {
    let vault = Vault::open(disk.clone(), layout, tenant, Mode::ReadOnly)?;
    // Closed for want of access, or because the key is not there.
    if vault.is_closed() && !without_keys {
        match keys::read_vault_key(&**disk, layout, tenant) {
            Ok(None) => return Err(vault.without_key()),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
            other => drop(other?),
        }
    }
    vault.check_all()
}

/// A vault that holds nothing and stands nowhere.
#[cfg(test)]
pub(crate) fn absent() -> Arc<Vault> {
    let nowhere = Layout::new(std::path::Path::new("/nonexistent/ledger"));
    let vaults = Vaults::new(Arc::new(crate::storage::FileSystem), &nowhere, Mode::Write);
    vaults.of(&TenantId::default()).expect("what is not there is absent")
}
