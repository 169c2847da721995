//! The list of what a backup holds. It is published last: what it does not name is no part of the backup.

use crate::error::{Damage, Error};
use crate::keys::with_check;
use crate::layout::{LogId, LogKind, SegmentPart};
use crate::storage::{Access, Storage, write_whole};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_schemas::{Blake3, TenantId, Timestamp};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const NAME: &str = "backup";
const FIRST_LINE: &str = "cairn backup 1";

/// A file of the backup: its length, and the digest of that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) bytes: u64,
    pub(crate) blake3: Blake3,
}

/// Paths are relative to the ledger's directory, and to the backup's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) taken: Timestamp,
    /// Small text files, whole: marker, verifier keys, checkpoints. None in a backup that was begun and never ended.
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, Listed>,
}

/// What a path of a ledger is, for the paths that a backup may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Marker,
    LogText(LogId),
    Segment { log: LogId, first: u64, part: SegmentPart },
    Artifact { tenant: TenantId, digest: Blake3 },
}

/// Small text files of a log's folder that are truth.
/// What witnesses cosigned is none of them: it may be of a later checkpoint, and comes again.
pub(crate) const LOG_TEXTS: [&str; 3] = ["checkpoint", "verifier.key", "verifier.ml-dsa-44.key"];

impl Kind {
    /// `None` for any path that no backup holds, such as one that leads out of its folder.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["ledger"] => Some(Kind::Marker),
            ["logs", tenant, kind, shard, text] if LOG_TEXTS.contains(&text) => {
                Some(Kind::LogText(log(tenant, kind, shard)?))
            }
            ["logs", tenant, kind, shard, "segments", name] => {
                let (first, part) = SegmentPart::parse(name)?;
                Some(Kind::Segment { log: log(tenant, kind, shard)?, first, part })
            }
            ["artifacts", tenant, folder, name] => {
                let digest = name.parse::<Blake3>().ok().filter(|digest| digest.to_hex() == name)?;
                let tenant = tenant.parse().ok()?;
                name.starts_with(folder).then_some(())?;
                (folder.len() == 2).then_some(Kind::Artifact { tenant, digest })
            }
            _ => None,
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Kind::Marker | Kind::LogText(_))
    }

    /// Frames files grow; all others keep the content they were given with their name.
    pub(crate) fn grows(&self) -> bool {
        matches!(self, Kind::Segment { part: SegmentPart::Frames, .. })
    }
}

fn log(tenant: &str, kind: &str, shard: &str) -> Option<LogId> {
    let id = LogId { tenant: tenant.parse().ok()?, kind: LogKind::parse(kind)?, shard: shard.parse().ok()? };
    (id.to_string() == format!("{tenant}/{kind}/{shard}")).then_some(id)
}

impl Manifest {
    /// What stands in a folder before its first backup is whole.
    pub(crate) fn begun(taken: Timestamp) -> Self {
        Self { taken, texts: BTreeMap::new(), files: BTreeMap::new() }
    }

    /// Whether it names a whole backup, not one that was begun only.
    pub(crate) fn is_whole(&self) -> bool {
        self.texts.contains_key("ledger")
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// Logs it holds, in order.
    pub(crate) fn logs(&self) -> Vec<LogId> {
        let logs = self.texts.keys().filter(|path| path.ends_with("/checkpoint"));
        logs.filter_map(|path| match Kind::of(path)? {
            Kind::LogText(log) => Some(log),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = format!("{FIRST_LINE}\ntaken {}\n", self.taken);
        for (path, content) in &self.texts {
            text += &format!("text {path} {}\n", BASE64.encode(content));
        }
        for (path, Listed { bytes, blake3 }) in &self.files {
            text += &format!("file {path} {bytes} {blake3}\n");
        }
        with_check(&text, "check ")
    }

    /// Says what was expected where it does not hold.
    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(format!("a first line `{FIRST_LINE}`"));
        }
        let taken = lines.next().and_then(|line| line.strip_prefix("taken ")).and_then(|time| time.parse().ok());
        let mut manifest = Self::begun(taken.ok_or("a line `taken …` with a time")?);
        for line in lines {
            manifest.line(line).ok_or_else(|| format!("a file of a ledger, not the line `{line}`"))?;
        }
        match manifest.encode() == text {
            true => Ok(manifest),
            false => Err("the check digits of its own content".into()),
        }
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["text", path, content] if Kind::of(path)?.is_text() => {
                let content = String::from_utf8(BASE64.decode(content).ok()?).ok()?;
                self.texts.insert(path.to_owned(), content);
            }
            ["file", path, bytes, blake3] if !Kind::of(path)?.is_text() => {
                let listed = Listed { bytes: bytes.parse().ok()?, blake3: blake3.parse().ok()? };
                self.files.insert(path.to_owned(), listed);
            }
            ["check", _] => {}
            _ => return None,
        }
        Some(())
    }

    /// `None` where the folder has none.
    pub(crate) fn read(disk: &dyn Storage, dir: &Path) -> Result<Option<Self>, Error> {
        let Some(bytes) = read_file(disk, &dir.join(NAME))? else { return Ok(None) };
        let decoded =
            String::from_utf8(bytes).map_err(|_| "UTF-8 text".to_owned()).and_then(|text| Self::decode(&text));
        decoded.map(Some).map_err(|expected| damaged(NAME, 0, expected, "other content"))
    }

    pub(crate) fn write(&self, disk: &dyn Storage, dir: &Path) -> Result<(), Error> {
        write_whole(disk, &dir.join(NAME), Access::Default, self.encode().as_bytes())
    }
}

/// A whole file; `None` where there is none. Lists grow with the number of files they name.
pub(crate) fn read_file(disk: &dyn Storage, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match disk.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io("opening", path))?,
    };
    let bytes = file.bytes().map_err(Error::io("measuring", path))?;
    let mut content = vec![0; usize::try_from(bytes).expect("a list fits the address space")];
    file.read_exact_at(&mut content, 0).map_err(Error::io("reading", path))?;
    Ok(Some(content))
}

/// A finding in a backup's folder.
pub(crate) fn damaged(file: impl Into<PathBuf>, offset: u64, expected: impl Into<String>, found: &str) -> Error {
    let (file, expected) = (file.into(), expected.into());
    Damage { log: "-".into(), position: None, file, offset, expected, found: found.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let listed = Listed { bytes: 7, blake3: Blake3::of(b"weights") };
        let artifact = format!("artifacts/default/{}/{}", &listed.blake3.to_hex()[..2], listed.blake3);
        let segment = "logs/default/main/0/segments/00000000000000000001.g3.payloads".to_owned();
        Manifest {
            taken: "2026-01-01T00:00:00Z".parse().unwrap(),
            texts: [("ledger", "a\n"), ("logs/default/main/0/checkpoint", "b\n")]
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
            files: [(artifact, listed), (segment, listed)].into(),
        }
    }

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_refused() {
        let text = sample().encode();
        assert_eq!(Manifest::decode(&text), Ok(sample()));
        assert_eq!(sample().logs().len(), 1);
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            let refused = String::from_utf8(bytes).map_or(true, |other| Manifest::decode(&other).is_err());
            assert!(refused, "bit {at}");
        }
    }

    #[test]
    fn only_paths_of_a_ledger_s_truth_are_listed() {
        for path in [
            "../ledger",
            "/ledger",
            "keys/default/mac.key",
            "vault/default/persons.keys",
            "lock",
            "logs/default/main/0/../checkpoint",
            "logs/default/main/00/checkpoint",
            "logs/default/main/0/tree",
            "logs/default/main/0/segments/00000000000000000001.index",
            "logs/default/main/0/segments/1.frames",
            "artifacts/default/ab/cd",
            "artifacts/../ab/cd",
        ] {
            assert_eq!(Kind::of(path), None, "{path}");
        }
        assert_eq!(Kind::of("ledger"), Some(Kind::Marker));
    }
}
