//! Backups of what the ledger's own backup leaves out: keys and vault, for their owner alone, with a date of expiry.
//!
//! A person's key that is destroyed lives on in such a backup until it expires: erasure is complete at that date, which
//! the ledger keeps in `vault-backups` and receipts state. Each run copies everything into a folder of its own and
//! publishes its list last; then the folders of earlier runs are removed.

use super::copy;
use super::manifest::{Listed, damaged, read_file};
use crate::error::Error;
use crate::keys::{damaged as damaged_text, with_check};
use crate::layout::Layout;
use crate::storage::{Access, Storage, TEMPORARY_SUFFIX, list_if_any, write_whole};
use cairn_schemas::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

const NAME: &str = "vault-backup";
const FIRST_LINE: &str = "cairn vault backup 1";
const RECORDS_LINE: &str = "cairn vault backups 1";

/// A backup of the vault that was taken and may still be somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VaultBackup {
    pub taken: Timestamp,
    /// From then on nobody may hold it.
    pub expires: Timestamp,
}

/// The list of a backup of the vault. Paths are relative to the ledger's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultManifest {
    pub(crate) backup: VaultBackup,
    pub(crate) files: BTreeMap<String, Listed>,
}

/// Backups of the vault that have not expired by `now`, in order, as the ledger in `dir` remembers them.
pub fn vault_backups(disk: &dyn Storage, dir: &Path, now: Timestamp) -> Result<Vec<VaultBackup>, Error> {
    let (layout, mut found) = (Layout::new(dir), Vec::new());
    if let Some(bytes) = read_file(disk, &layout.vault_backups())? {
        let expected = |expected: String| damaged_text(&layout, &layout.vault_backups(), expected, "other content");
        let text = String::from_utf8(bytes).map_err(|_| expected("UTF-8 text".into()))?;
        found = decode_records(&text).map_err(expected)?;
    }
    found.retain(|backup| backup.expires > now);
    Ok(found)
}

/// Copies `keys/` and `vault/` into `dest`, which is empty or holds an earlier backup, and remembers that it did.
///
/// Take it after the ledger's own backup: then it has every key that the events in that one need.
pub fn backup_vault(
    disk: &dyn Storage,
    dir: &Path,
    dest: &Path,
    VaultBackup { taken, expires }: VaultBackup,
) -> Result<VaultBackup, Error> {
    let (layout, backup) = (Layout::new(dir), VaultBackup { taken, expires });
    if expires <= taken {
        return Err(refused(dest, &format!("a backup that expires at {expires} has expired; name a later date")));
    }
    crate::keys::read_marker(disk, &layout)?.ok_or_else(|| crate::ledger::no_marker(dir))?;
    super::take::check_apart(dir, dest)?;
    disk.create_dirs(dest).map_err(Error::io("creating", dest))?;
    let lock = dest.join("lock");
    let held = disk.lock(&lock).map_err(Error::io("locking", &lock))?;
    let _held = held.ok_or_else(|| refused(dest, "another backup into it is going on; wait for its end"))?;
    if VaultManifest::read(disk, dest)?.is_none() {
        check_none_but_runs(disk, dest)?;
    }
    // It is known of before it exists: no receipt may leave it out.
    remember(disk, &layout, backup)?;
    let (run, mut files) = (dest.join(taken.as_micros().to_string()), BTreeMap::new());
    for path in paths(disk, dir)? {
        let from = dir.join(&path);
        let file = disk.open(&from).map_err(Error::io("opening", &from))?;
        let bytes = file.bytes().map_err(Error::io("measuring", &from))?;
        let listed = copy::whole(&*file, &from, bytes, (disk, &run.join(&path)), Access::Owner)?;
        copy::check(disk, &run, &path, listed, false)?;
        files.insert(path, listed);
    }
    let manifest = VaultManifest { backup, files };
    write_whole(disk, &dest.join(NAME), Access::Owner, manifest.encode().as_bytes())?;
    remove_others(disk, dest, &run)?;
    Ok(backup)
}

/// Files of keys and vault, and the list of the vault's backups.
fn paths(disk: &dyn Storage, dir: &Path) -> Result<Vec<String>, Error> {
    let (mut found, mut folders) = (Vec::new(), vec!["keys".to_owned(), "vault".to_owned()]);
    while let Some(folder) = folders.pop() {
        for name in list_if_any(disk, &dir.join(&folder))? {
            let path = format!("{folder}/{name}");
            match disk.list(&dir.join(&path)) {
                Ok(_) => folders.push(path),
                Err(_) if name.ends_with(TEMPORARY_SUFFIX) => {}
                Err(_) => found.push(path),
            }
        }
    }
    found.push("vault-backups".into());
    found.sort();
    Ok(found)
}

fn remember(disk: &dyn Storage, layout: &Layout, backup: VaultBackup) -> Result<(), Error> {
    let mut known = vault_backups(disk, &layout.dir, backup.taken)?;
    known.push(backup);
    known.sort();
    known.dedup();
    write_whole(disk, &layout.vault_backups(), Access::Default, encode_records(&known).as_bytes())
}

fn is_run(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A first run that was cut short leaves folders of digits.
fn check_none_but_runs(disk: &dyn Storage, dest: &Path) -> Result<(), Error> {
    let names = disk.list(dest).map_err(Error::io("listing", dest))?;
    let is_ours = |name: &String| name == "lock" || name.ends_with(TEMPORARY_SUFFIX) || is_run(name);
    match names.iter().all(is_ours) {
        true => Ok(()),
        false => Err(refused(dest, "it holds other files and no backup of a vault; name an empty or a new directory")),
    }
}

fn remove_others(disk: &dyn Storage, dest: &Path, run: &Path) -> Result<(), Error> {
    let mut folders: Vec<_> =
        list_if_any(disk, dest)?.iter().filter(|name| is_run(name)).map(|name| dest.join(name)).collect();
    folders.retain(|folder| folder != run);
    while let Some(folder) = folders.pop() {
        for name in list_if_any(disk, &folder)? {
            let path = folder.join(name);
            match disk.list(&path) {
                Ok(_) => folders.push(path),
                Err(_) => disk.remove(&path).map_err(Error::io("removing", &path))?,
            }
        }
        disk.sync_dir(&folder).map_err(Error::io("syncing", &folder))?;
    }
    Ok(())
}

pub(crate) fn refused(dir: &Path, why: &str) -> Error {
    Error::Backup { dir: dir.to_owned(), why: why.to_owned() }
}

impl VaultManifest {
    fn encode(&self) -> String {
        let VaultBackup { taken, expires } = self.backup;
        let mut text = format!("{FIRST_LINE}\ntaken {taken}\nexpires {expires}\n");
        for (path, Listed { bytes, blake3 }) in &self.files {
            text += &format!("file {path} {bytes} {blake3}\n");
        }
        with_check(&text, "check ")
    }

    fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(format!("a first line `{FIRST_LINE}`"));
        }
        let mut time = |name: &str| {
            let time = lines.next().and_then(|line| line.strip_prefix(name)).and_then(|time| time.parse().ok());
            time.ok_or_else(|| format!("a line `{name}…` with a time"))
        };
        let backup = VaultBackup { taken: time("taken ")?, expires: time("expires ")? };
        let mut files = BTreeMap::new();
        for line in lines {
            if let ["file", path, bytes, blake3] = line.split(' ').collect::<Vec<_>>()[..]
                && let (true, Ok(bytes), Ok(blake3)) = (is_secret_path(path), bytes.parse(), blake3.parse())
            {
                files.insert(path.to_owned(), Listed { bytes, blake3 });
            }
        }
        let manifest = Self { backup, files };
        match manifest.encode() == text {
            true => Ok(manifest),
            false => Err("files of keys and vault, and the check digits of its own content".into()),
        }
    }

    pub(crate) fn read(disk: &dyn Storage, dir: &Path) -> Result<Option<Self>, Error> {
        let Some(bytes) = read_file(disk, &dir.join(NAME))? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| "UTF-8 text".to_owned());
        text.and_then(|text| Self::decode(&text))
            .map(Some)
            .map_err(|expected| damaged(NAME, 0, expected, "other content"))
    }

    /// Copies the files that `wanted` chooses into a ledger, each checked against the list.
    pub(crate) fn restore(
        &self,
        disk: &dyn Storage,
        from: &Path,
        to: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let run = from.join(self.backup.taken.as_micros().to_string());
        for (path, listed) in &self.files {
            copy::check(disk, &run, path, *listed, false)?;
            if !wanted(path) {
                continue;
            }
            let at = run.join(path);
            let file = disk.open(&at).map_err(Error::io("opening", &at))?;
            let copied = copy::whole(&*file, &at, listed.bytes, (disk, &to.join(path)), Access::Owner)?;
            copy::check(disk, to, path, copied, false)?;
        }
        Ok(())
    }
}

/// Whether a path stays in what a backup of the vault may write.
fn is_secret_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_name = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    path == "vault-backups" || (parts.len() > 1 && matches!(parts[0], "keys" | "vault") && parts.iter().all(is_name))
}

fn encode_records(records: &[VaultBackup]) -> String {
    let mut text = format!("{RECORDS_LINE}\n");
    for VaultBackup { taken, expires } in records {
        text += &format!("{taken} {expires}\n");
    }
    with_check(&text, "check ")
}

fn decode_records(text: &str) -> Result<Vec<VaultBackup>, String> {
    let mut records = Vec::new();
    for line in text.lines().skip(1) {
        if let Some((taken, expires)) = line.split_once(' ')
            && let (Ok(taken), Ok(expires)) = (taken.parse(), expires.parse())
        {
            records.push(VaultBackup { taken, expires });
        }
    }
    match encode_records(&records) == text {
        true => Ok(records),
        false => Err(format!("`{RECORDS_LINE}`, a line of two times for each, and check digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::Blake3;

    #[test]
    fn lists_come_back_and_every_flipped_bit_is_refused() {
        let time = |text: &str| text.parse().unwrap();
        let backup = VaultBackup { taken: time("2026-01-01"), expires: time("2026-02-01") };
        let listed = Listed { bytes: 3, blake3: Blake3::of(b"key") };
        let manifest = VaultManifest { backup, files: [("keys/default/mac.key".to_owned(), listed)].into() };
        assert_eq!(VaultManifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!(decode_records(&encode_records(&[backup])), Ok(vec![backup]));
        let flipped = |text: String, refused: &dyn Fn(&str) -> bool| {
            for at in 0..text.len() * 8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at / 8] ^= 1 << (at % 8);
                assert!(String::from_utf8(bytes).map_or(true, |other| refused(&other)), "bit {at}");
            }
        };
        flipped(manifest.encode(), &|text| VaultManifest::decode(text).is_err());
        flipped(encode_records(&[backup]), &|text| decode_records(text).is_err());
    }

    #[test]
    fn nothing_but_keys_and_vault_is_written() {
        for path in ["ledger", "keys", "keys/../ledger", "/keys/a", "keys//a", "vault/.hidden", "logs/a"] {
            assert!(!is_secret_path(path), "{path}");
        }
        assert!(is_secret_path("vault/default/persons.keys") && is_secret_path("vault-backups"));
    }
}
