//! Where stores lie: `<dir>/<tenant>/<name>-v<version>-<generation>/`, and a file `<name>.live` that names the one in
//! use. A rebuild fills a new generation and then changes that file, so a crash leaves one whole store or the other.

use crate::Error;
use crate::projection::{Filled, Projection};
use crate::store::Sled;
use cairn_schemas::TenantId;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a store that this process has just closed may hold on to its own lock.
const CLOSING_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Home {
    dir: PathBuf,
    /// Held as long as the value lives.
    _lock: File,
}

/// A store and the name of its directory.
pub(crate) struct Room {
    pub(crate) filled: Filled,
    pub(crate) name: String,
}

impl Home {
    pub(crate) fn open(projections: &Path, tenant: &TenantId) -> Result<Self, Error> {
        let dir = projections.join(tenant.as_str());
        fs::create_dir_all(&dir).map_err(|e| Error::io("creating", &dir, e))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io("creating", &path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Held { dir }),
            Err(TryLockError::Error(e)) => Err(Error::io("locking", &path, e)),
        }
    }

    /// The store in use; `None` where there is none of this version that can be opened.
    pub(crate) fn live(&self, projection: &Projection) -> Result<Option<Room>, Error> {
        let pointer = self.pointer(projection);
        let name = match fs::read(&pointer) {
            // A pointer that was damaged names no store, and a new one is built.
            Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("reading", &pointer, e)),
        };
        let of_this_version = name.starts_with(&format!("{}-v{}-", projection.name, projection.version));
        let dir = self.dir.join(&name);
        if !of_this_version || name.contains(['/', '\\']) || !dir.is_dir() {
            tracing::info!(
                projection = projection.name,
                found = name,
                version = projection.version,
                "store is not usable"
            );
            return Ok(None);
        }
        match open_store(&dir).and_then(|store| Filled::over(Box::new(store))) {
            Ok(filled) => Ok(Some(Room { filled, name })),
            // The disk's errors are not the store's.
            Err(error @ Error::Store { source: sled::Error::Io(_), .. }) => Err(error),
            Err(error @ (Error::Store { .. } | Error::Row { .. })) => {
                tracing::warn!(projection = projection.name, %error, "store is damaged and will be rebuilt");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// An empty store of the next generation, which nothing names yet.
    pub(crate) fn next(&self, projection: &Projection) -> Result<Room, Error> {
        let last = self.generations(projection)?.into_iter().max().unwrap_or(0);
        let name = format!("{}-v{}-{}", projection.name, projection.version, last + 1);
        let filled = Filled::over(Box::new(open_store(&self.dir.join(&name))?))?;
        Ok(Room { filled, name })
    }

    /// Makes `room` the store in use.
    pub(crate) fn adopt(&self, projection: &Projection, room: &str) -> Result<(), Error> {
        let pointer = self.pointer(projection);
        let draft = pointer.with_extension("draft");
        fs::write(&draft, format!("{room}\n")).map_err(|e| Error::io("writing", &draft, e))?;
        fs::rename(&draft, &pointer).map_err(|e| Error::io("renaming", &draft, e))
    }

    /// Removes the projection's stores other than `keep`: old versions, and what a crash left.
    pub(crate) fn sweep(&self, projection: &Projection, keep: &str) -> Result<(), Error> {
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::io("listing", &self.dir, e))? {
            let entry = entry.map_err(|e| Error::io("listing", &self.dir, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if name != keep && generation(projection, &name).is_some() && path.is_dir() {
                fs::remove_dir_all(&path).map_err(|e| Error::io("removing", &path, e))?;
            }
        }
        Ok(())
    }

    pub(crate) fn has_pointer(&self, projection: &Projection) -> bool {
        self.pointer(projection).exists()
    }

    fn pointer(&self, projection: &Projection) -> PathBuf {
        self.dir.join(format!("{}.live", projection.name))
    }

    fn generations(&self, projection: &Projection) -> Result<Vec<u64>, Error> {
        let entries = fs::read_dir(&self.dir).map_err(|e| Error::io("listing", &self.dir, e))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| generation(projection, &name)).collect())
    }
}

/// Reads `<name>-v<version>-<generation>`.
fn generation(projection: &Projection, name: &str) -> Option<u64> {
    let rest = name.strip_prefix(projection.name)?.strip_prefix("-v")?;
    let (version, generation) = rest.split_once('-')?;
    version.parse::<u32>().ok()?;
    generation.parse().ok()
}

/// Our own lock says that no other process is here, so a lock inside is one that this process is about to let go.
fn open_store(dir: &Path) -> Result<Sled, Error> {
    let started = Instant::now();
    loop {
        match Sled::open(dir) {
            Err(Error::Store { source: sled::Error::Io(why), .. })
                if why.to_string().contains("could not acquire lock") && started.elapsed() < CLOSING_MAX =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}
