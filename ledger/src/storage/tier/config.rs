//! Which object store a ledger uses: a small file in its directory, so that every command finds what is no longer local.

use super::apart;
use super::remote::Remote;
use crate::error::Error;
use crate::keys::{read_marker, read_text, with_check};
use crate::layout::Layout;
use crate::ledger::{check_is_ledger_or_empty, take_lock};
use crate::log::Mode;
use crate::storage::{Access, FileSystem, Storage, write_whole};
use crate::verify::is_whole_on;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file.
pub(crate) const OBJECT_STORE_FILE: &str = "object-store";
const FIRST_LINE: &str = "cairn object store 1";
const CACHE_BYTES_MAX: u64 = 64 << 20;
const MEND: &str = "if that is wrong, name the right store with `cairn serve --object-store`";

/// Where sealed segments go, and how much of them stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStoreConfig {
    /// `s3://bucket/prefix`, with credentials, region and endpoint from the usual `AWS_` variables, or `file:///dir`.
    pub url: String,
    /// Sealed bytes of each log that stay on the local disk; the oldest segments go first.
    pub keep_local_bytes: u64,
    /// Bytes of remote objects kept in memory.
    pub cache_bytes_max: u64,
}

impl ObjectStoreConfig {
    pub fn new(url: &str, keep_local_bytes: u64) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), keep_local_bytes, cache_bytes_max: CACHE_BYTES_MAX }
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join(OBJECT_STORE_FILE)
    }

    /// What the ledger in `dir` is set to; `None` where all of it is local.
    pub(crate) fn read(disk: &dyn Storage, dir: &Path) -> Result<Option<Self>, Error> {
        read_text(disk, &Layout::new(dir), &Self::path(dir), Self::decode)
    }

    /// Sets the ledger in `dir` to this store, once the store has shown that it works and is no other ledger's. A ledger
    /// with sealed segments that are not all here stays with the store that it has; how much stays local may change.
    pub fn set(&self, dir: &Path) -> Result<(), Error> {
        apart::check(&self.url, dir)?;
        let (disk, layout) = (&FileSystem, Layout::new(dir));
        disk.create_dirs(dir).map_err(Error::io("creating", dir))?;
        check_is_ledger_or_empty(disk, &layout)?;
        let before = Self::read(disk, dir);
        if matches!(&before, Ok(Some(before)) if before == self) {
            return Ok(());
        }
        // Nobody drops a local copy meanwhile.
        let _lock = take_lock(disk, &layout)?;
        let marker = read_marker(disk, &layout)?;
        let is_whole = || marker.as_ref().map_or(Ok(true), |_| is_whole_on(Arc::new(FileSystem), dir));
        match before {
            Ok(Some(before)) if before.url != self.url && !is_whole()? => {
                let why = format!("this ledger's sealed segments are in {}, not in {}", before.url, self.url);
                return Err(Error::Key { path: Self::path(dir), why });
            }
            Err(e) if !matches!(e, Error::Damaged(_)) || !is_whole()? => return Err(e),
            _ => {}
        }
        Remote::reach(self, dir, marker.as_ref(), Mode::Write)?;
        write_whole(disk, &Self::path(dir), Access::Default, self.encode().as_bytes())
    }

    /// Says of a store that this file names and that cannot be used, what to do about it.
    pub(super) fn how_to_mend(&self, dir: &Path, error: Error) -> Error {
        let file = Self::path(dir);
        let says = format!("as {} says; {MEND}", file.display());
        match error {
            Error::Key { path, why } => Error::Key { path, why: format!("{why} ({says})") },
            Error::Io { action, path, source } => {
                let source = std::io::Error::new(source.kind(), format!("{source} ({says})"));
                Error::Io { action, path, source }
            }
            other => other,
        }
    }

    fn encode(&self) -> String {
        let Self { url, keep_local_bytes, cache_bytes_max } = self;
        with_check(
            &format!("{FIRST_LINE}\nurl {url}\nkeep-local {keep_local_bytes}\ncache {cache_bytes_max}\n"),
            "check ",
        )
    }

    fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let mut line = |start: &str| lines.next().and_then(|line| line.strip_prefix(start)).map(str::to_owned);
        let (first, url, keep, cache) = (line(FIRST_LINE), line("url "), line("keep-local "), line("cache "));
        let number = |text: Option<String>| text.and_then(|digits| digits.parse().ok());
        let config = first.zip(url).zip(number(keep)).zip(number(cache));
        let config = config.map(|(((_, url), keep), cache)| Self { cache_bytes_max: cache, ..Self::new(&url, keep) });
        let config = config.ok_or_else(|| {
            format!("the lines `cairn object store 1`, `url …`, `keep-local …` and `cache …` ({MEND})")
        })?;
        match config.encode() == text {
            true => Ok(config),
            false => Err(format!("the check digits of its own content ({MEND})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &tempfile::TempDir, name: &str) -> String {
        format!("file://{}", dir.path().join(name).display())
    }

    #[test]
    fn comes_back_and_changes_its_bound_and_before_it_is_used_its_store() {
        let (dir, stores) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), None);
        let config = ObjectStoreConfig::new(&(folder(&stores, "a") + "/"), 7);
        config.set(dir.path()).unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), Some(config.clone()));
        let less = ObjectStoreConfig { keep_local_bytes: 0, ..config };
        less.set(dir.path()).unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), Some(less));
        let other = ObjectStoreConfig::new(&folder(&stores, "b"), 0);
        other.set(dir.path()).unwrap();
        std::fs::write(dir.path().join("object-store"), "cairn object store 1\n").unwrap();
        let damaged = ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap_err();
        assert!(matches!(damaged, Error::Damaged(_)) && damaged.to_string().contains("--object-store"), "{damaged}");
        other.set(dir.path()).unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), Some(other));
    }

    #[test]
    fn what_cannot_work_is_not_written() {
        let (dir, stores) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(stores.path().join("file"), "").unwrap();
        for url in ["nonsense", "file://relative", &folder(&stores, "file"), &folder(&dir, ""), &folder(&dir, "in")] {
            ObjectStoreConfig::new(url, 0).set(dir.path()).unwrap_err();
            assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), None, "{url}");
        }
    }
}
