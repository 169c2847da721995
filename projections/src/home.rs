//! Where stores lie: `<dir>/<tenant>/<name>-v<version>-<generation>-<engine>/`, and a file `<name>.live` that names the
//! one in use. A rebuild fills a new generation and then changes that file, so a crash leaves one whole store or the
//! other.

use crate::Error;
use crate::projection::{Filled, Projection};
use crate::store::{Choice, Engine};
use cairn_schemas::{Position, TenantId};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) struct Home {
    dir: PathBuf,
    choice: Choice,
    /// Held as long as the value lives.
    _lock: File,
}

/// A store and the name of its directory.
pub(crate) struct Room {
    pub(crate) filled: Filled,
    pub(crate) name: String,
}

/// A projection's stores as they are seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoresOnDisk {
    pub name: &'static str,
    /// That this build reads.
    pub version: u32,
    /// The folder of the store in use; `None`: there is none of this version, so nothing is answered.
    pub in_use: Option<String>,
    /// The folder of the store that is being filled.
    pub filling: Option<String>,
}

/// Nothing is opened or locked: another process may hold all of it.
pub(crate) fn on_disk(projections: &Path, tenant: &TenantId, projection: &Projection) -> Result<StoresOnDisk, Error> {
    let dir = projections.join(tenant.as_str());
    let mut found = StoresOnDisk { name: projection.name, version: projection.version, in_use: None, filling: None };
    let stores = match stores(&dir, projection) {
        Ok(stores) => stores,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let pointer = fs::read_to_string(dir.join(format!("{}.live", projection.name))).unwrap_or_default();
    let of_this_version = stores.into_iter().filter(|(named, _)| named.version == projection.version);
    let (used, others): (Vec<_>, Vec<_>) = of_this_version.partition(|(_, name)| name == pointer.trim());
    found.in_use = used.into_iter().next().map(|(_, name)| name);
    found.filling = others.into_iter().max_by_key(|(named, _)| named.generation).map(|(_, name)| name);
    Ok(found)
}

/// All of a projection's directories, of whatever version, with their names.
fn stores(dir: &Path, projection: &Projection) -> Result<Vec<(Named, String)>, Error> {
    let listing = |e| Error::io("listing", dir, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(named) = Named::read(projection, &name).filter(|_| entry.path().is_dir()) {
            found.push((named, name));
        }
    }
    Ok(found)
}

/// What a directory's name says.
struct Named {
    version: u32,
    generation: u64,
    /// `None`: one that this build does not know.
    engine: Option<Engine>,
}

impl Home {
    pub(crate) fn open(projections: &Path, tenant: &TenantId, choice: Choice) -> Result<Self, Error> {
        let dir = projections.join(tenant.as_str());
        fs::create_dir_all(&dir).map_err(|e| Error::io("creating", &dir, e))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io("creating", &path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, choice, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Held { dir }),
            Err(TryLockError::Error(e)) => Err(Error::io("locking", &path, e)),
        }
    }

    /// The engine that a store of a log of this length is made on.
    pub(crate) fn engine(&self, head: Option<Position>) -> Engine {
        self.choice.engine(head)
    }

    /// The store in use; `None` where there is none of this version that can be opened.
    pub(crate) fn live(&self, projection: &Projection) -> Result<Option<Room>, Error> {
        let pointer = self.pointer(projection);
        match fs::read(&pointer) {
            // A pointer that was damaged names no store, and a new one is built.
            Ok(bytes) => self.room(projection, String::from_utf8_lossy(&bytes).trim()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("reading", &pointer, e)),
        }
    }

    /// A store of this version that a rebuild began and nobody uses yet: one to go on with.
    pub(crate) fn begun(&self, projection: &Projection) -> Result<Option<Room>, Error> {
        let begun = self.stores(projection)?.into_iter().filter(|(named, _)| named.version == projection.version);
        match begun.max_by_key(|(named, _)| named.generation) {
            Some((_, name)) => self.room(projection, &name),
            None => Ok(None),
        }
    }

    fn room(&self, projection: &Projection, name: &str) -> Result<Option<Room>, Error> {
        let named = Named::read(projection, name).filter(|named| named.version == projection.version);
        let dir = self.dir.join(name);
        let Some(engine) = named.and_then(|named| named.engine).filter(|_| dir.is_dir()) else {
            let (projection, version) = (projection.name, projection.version);
            tracing::info!(projection, found = name, version, "store is not usable");
            return Ok(None);
        };
        match engine.open(&dir).and_then(Filled::over) {
            Ok(filled) => Ok(Some(Room { filled, name: name.to_owned() })),
            // The disk's errors are not the store's.
            Err(error) if error.is_of_the_disk() => Err(error),
            Err(error) => {
                tracing::warn!(projection = projection.name, %error, "store is damaged and will be rebuilt");
                Ok(None)
            }
        }
    }

    /// An empty store of the next generation, which nothing names yet.
    pub(crate) fn next(&self, projection: &Projection, engine: Engine) -> Result<Room, Error> {
        let last = self.stores(projection)?.into_iter().map(|(named, _)| named.generation).max().unwrap_or(0);
        let name = format!("{}-v{}-{}-{}", projection.name, projection.version, last + 1, engine.name());
        let filled = Filled::over(engine.open(&self.dir.join(&name))?)?;
        Ok(Room { filled, name })
    }

    /// Makes `room` the store in use, for good: what it replaces is removed afterwards.
    pub(crate) fn adopt(&self, projection: &Projection, room: &str) -> Result<(), Error> {
        let pointer = self.pointer(projection);
        let draft = pointer.with_extension("draft");
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(format!("{room}\n").as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| Error::io("writing", &draft, e))?;
        fs::rename(&draft, &pointer).map_err(|e| Error::io("renaming", &draft, e))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("syncing", &self.dir, e))
    }

    /// Removes the projection's stores other than `keep`: old versions, and what a crash left.
    pub(crate) fn sweep(&self, projection: &Projection, keep: &str) -> Result<(), Error> {
        for (_, name) in self.stores(projection)?.into_iter().filter(|(_, name)| name != keep) {
            let path = self.dir.join(name);
            fs::remove_dir_all(&path).map_err(|e| Error::io("removing", &path, e))?;
        }
        Ok(())
    }

    fn pointer(&self, projection: &Projection) -> PathBuf {
        self.dir.join(format!("{}.live", projection.name))
    }

    fn stores(&self, projection: &Projection) -> Result<Vec<(Named, String)>, Error> {
        stores(&self.dir, projection)
    }
}

impl Named {
    /// Reads `<name>-v<version>-<generation>-<engine>`.
    fn read(projection: &Projection, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(projection.name)?.strip_prefix("-v")?;
        let (version, rest) = rest.split_once('-')?;
        // Stores of the first builds did not say their engine.
        let (generation, engine) = rest.split_once('-').unwrap_or((rest, ""));
        Some(Self {
            version: version.parse().ok()?,
            generation: generation.parse().ok()?,
            engine: Engine::on_disk(engine),
        })
    }
}
