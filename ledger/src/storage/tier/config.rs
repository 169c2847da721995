//! Which object store a ledger uses: a small file in its directory, so that every command finds what is no longer local.

use crate::error::Error;
use crate::keys::{read_text, with_check};
use crate::layout::Layout;
use crate::storage::{Access, FileSystem, Storage, write_whole};
use std::path::{Path, PathBuf};

/// Name of the file.
pub(crate) const OBJECT_STORE_FILE: &str = "object-store";
const FIRST_LINE: &str = "cairn object store 1";
const CACHE_BYTES_MAX: u64 = 64 << 20;

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

    /// Sets the ledger in `dir` to this store. A ledger stays with the store that it has, since sealed segments may be
    /// nowhere else; how much stays local may change.
    pub fn set(&self, dir: &Path) -> Result<(), Error> {
        let disk = &FileSystem;
        match Self::read(disk, dir)? {
            Some(before) if before.url != self.url => {
                let why = format!("this ledger's sealed segments are in {}, not in {}", before.url, self.url);
                Err(Error::Key { path: Self::path(dir), why })
            }
            Some(before) if before == *self => Ok(()),
            _ => {
                disk.create_dirs(dir).map_err(Error::io("creating", dir))?;
                write_whole(disk, &Self::path(dir), Access::Default, self.encode().as_bytes())
            }
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
        let config = config.ok_or("the lines `cairn object store 1`, `url …`, `keep-local …` and `cache …`")?;
        match config.encode() == text {
            true => Ok(config),
            false => Err("the check digits of its own content".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_changes_its_bound_but_not_its_store() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), None);
        let config = ObjectStoreConfig::new("s3://bucket/prefix/", 7);
        config.set(dir.path()).unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), Some(config.clone()));
        let less = ObjectStoreConfig { keep_local_bytes: 0, ..config };
        less.set(dir.path()).unwrap();
        assert_eq!(ObjectStoreConfig::read(&FileSystem, dir.path()).unwrap(), Some(less));
        let refused = ObjectStoreConfig::new("s3://other", 0).set(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("are in s3://bucket/prefix, not in s3://other"), "{refused}");
        std::fs::write(dir.path().join("object-store"), "cairn object store 1\n").unwrap();
        assert!(matches!(ObjectStoreConfig::read(&FileSystem, dir.path()), Err(Error::Damaged(_))));
    }
}
