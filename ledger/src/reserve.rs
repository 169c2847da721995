//! Room on the disk kept for what must go on when it is full: recovery, sealing and erasure. It is a file of allocated
//! blocks, emptied when the room is needed and filled again when there is some. While it is empty, ordinary appends are
//! refused: what it gave up is for those that must go on.

use crate::error::Error;
use crate::storage::{Access, Storage, full_or, is_full, parent};
use parking_lot::Mutex;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The reserve of one ledger.
pub(crate) struct Reserve {
    disk: Arc<dyn Storage>,
    path: PathBuf,
    bytes: u64,
    /// Whether the file stands at its full length. Held while that changes.
    is_held: Mutex<bool>,
    /// Whether it was held once and its room is being used.
    is_given_up: AtomicBool,
}

thread_local! {
    /// Whether this thread does what may use the reserve.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

impl Reserve {
    /// The reserve of a ledger that this process has locked. Takes its room, if there is some.
    pub(crate) fn open(disk: Arc<dyn Storage>, path: PathBuf, bytes: u64) -> Self {
        let is_given_up = bytes > 0 && disk.open(&path).and_then(|file| file.bytes()).is_ok_and(|held| held < bytes);
        let is_given_up = AtomicBool::new(is_given_up);
        let reserve = Self { disk, path, bytes, is_held: Mutex::new(false), is_given_up };
        reserve.retake();
        reserve
    }

    /// Gives the room up for whoever opens a ledger on a full disk; `false` if none was held. The empty file stays and
    /// says so.
    pub(crate) fn release_at(disk: &dyn Storage, path: &Path) -> Result<bool, Error> {
        let file = match disk.open_writable(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("opening", path)(e)),
        };
        if file.bytes().map_err(Error::io("measuring", path))? == 0 {
            return Ok(false);
        }
        tracing::warn!(
            file = %path.display(),
            "the disk is full: the room kept in reserve is being used, and events are refused until there is room again"
        );
        file.set_bytes(0).and_then(|()| file.sync()).map_err(Error::io("emptying", path))?;
        Ok(true)
    }

    /// [`Error::DiskFull`] while the room is given up: what is left of it is not for ordinary appends.
    pub(crate) fn check_not_given_up(&self, bytes: u64) -> Result<(), Error> {
        if !self.is_given_up.load(Ordering::Acquire) || WITHIN.get() {
            return Ok(());
        }
        self.retake();
        match self.is_given_up.load(Ordering::Acquire) {
            true => Err(Error::DiskFull { bytes, path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Does what may use the reserve: where the disk is full, gives the room up and does it again from the start.
    pub(crate) fn with<T>(&self, mut act: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let was_within = WITHIN.replace(true);
        let done = match act() {
            Err(e) if e.is_full() => self.release().and_then(|released| if released { act() } else { Err(e) }),
            other => other,
        };
        WITHIN.set(was_within);
        done
    }

    fn release(&self) -> Result<bool, Error> {
        let mut is_held = self.is_held.lock();
        *is_held = false;
        let released = Self::release_at(&*self.disk, &self.path)?;
        self.is_given_up.fetch_or(released, Ordering::AcqRel);
        Ok(released)
    }

    /// Takes the room if there is twice as much, or, where it was given up, somewhat more: what appends, they may append.
    pub(crate) fn retake(&self) {
        let mut is_held = self.is_held.lock();
        if self.bytes == 0 || *is_held {
            return;
        }
        match self.take() {
            Ok(taken) => {
                *is_held = taken;
                self.is_given_up.fetch_and(!taken, Ordering::AcqRel);
            }
            // Nothing is lost but the reserve; whoever needs room next tries again.
            Err(e) => tracing::warn!(error = %e, "no room could be put in reserve"),
        }
    }

    fn take(&self) -> Result<bool, Error> {
        let path = &self.path;
        let opened = match self.disk.open_writable(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(Error::io("opening", path))?),
        };
        if let Some(file) = &opened
            && file.bytes().map_err(Error::io("measuring", path))? == self.bytes
        {
            return Ok(true);
        }
        let spare = if self.is_given_up.load(Ordering::Acquire) { self.bytes / 8 } else { self.bytes };
        if self.free_bytes()? < self.bytes + spare {
            return Ok(false);
        }
        let file = match opened {
            Some(file) => file,
            None => self.disk.create_new(path, Access::Default).map_err(full_or("creating", path, 0))?,
        };
        match file.reserve(self.bytes).and_then(|()| file.sync()) {
            Ok(()) => {}
            Err(e) if is_full(&e) => {
                Self::release_at(&*self.disk, path)?;
                return Ok(false);
            }
            Err(e) => return Err(Error::io("reserving", path)(e)),
        }
        self.disk.sync_dir(parent(path)).map_err(Error::io("syncing the folder of", path))?;
        Ok(true)
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        let folder = parent(&self.path);
        self.disk.free_bytes(folder).map_err(Error::io("measuring the room at", folder))
    }

    /// Whether what can be derived again, and what need not be stored here, may still be written: as much as the reserve
    /// must be free beside it, so that appends go on when all else has stopped.
    pub(crate) fn has_room_for_derived(&self, bytes: u64) -> bool {
        if self.bytes == 0 {
            return true;
        }
        self.retake();
        // Where the room cannot be told, the write itself will.
        *self.is_held.lock() && self.free_bytes().is_ok_and(|free| free >= self.bytes.saturating_add(bytes))
    }

    /// [`Error::DiskFull`] where [`Reserve::has_room_for_derived`] says no.
    pub(crate) fn check_room_for_derived(&self, bytes: u64, path: &Path) -> Result<(), Error> {
        match self.has_room_for_derived(bytes) {
            true => Ok(()),
            false => Err(Error::DiskFull { bytes, path: path.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileSystem;

    #[test]
    fn room_is_taken_given_up_once_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let held = || std::fs::metadata(&path).is_ok_and(|file| file.len() == 1 << 20);
        let reserve = Reserve::open(Arc::new(FileSystem), path.clone(), 1 << 20);
        assert!(held() && reserve.has_room_for_derived(0));
        assert!(!reserve.has_room_for_derived(u64::MAX / 2), "no disk has that");
        let mut tries = 0;
        let full = || Error::DiskFull { bytes: 1, path: "x".into() };
        let done = reserve.with(|| {
            tries += 1;
            if tries == 1 { Err(full()) } else { Ok(held()) }
        });
        assert!(!done.unwrap(), "the room was there to be used");
        assert!(reserve.is_given_up.load(Ordering::Acquire), "and appends stop");
        assert!(reserve.with(|| Err::<(), _>(full())).unwrap_err().is_full(), "there is no second reserve");
        reserve.check_not_given_up(1).unwrap();
        assert!(held(), "there was room again");
        assert!(Reserve::release_at(&FileSystem, &path).unwrap() && !Reserve::release_at(&FileSystem, &path).unwrap());
    }
}
