//! What a restored ledger may not do, in the file `restored` beside its marker: it is read-only until that is mended.

use crate::error::Error;
use crate::keys::{read_text, with_check};
use crate::layout::Layout;
use crate::storage::{Access, Storage, write_whole};
use cairn_schemas::Sha256;
use std::io;
use std::path::Path;

const FIRST_LINE: &str = "cairn restored 1";

/// Why a restored ledger takes no events. Where none of it holds, there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The restore has not ended: nothing of it may be believed yet.
    pub(crate) unfinished: bool,
    /// There was no backup of keys and vault.
    pub(crate) without_keys: bool,
    pub(crate) behind: Vec<Behind>,
}

/// A log that was restored behind what is known of it: to append to it would begin a second history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub origin: String,
    /// Events that it holds.
    pub size: u64,
    /// Events that it is known to have held, and the root of its tree then.
    pub known_size: u64,
    pub known_root: Sha256,
}

impl Restored {
    pub(crate) fn encode(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        text += if self.unfinished { "unfinished\n" } else { "" };
        text += if self.without_keys { "without-keys\n" } else { "" };
        for Behind { origin, size, known_size, known_root } in &self.behind {
            text += &format!("behind {origin} {size} {known_size} {known_root}\n");
        }
        with_check(&text, "check ")
    }

    fn decode(text: &str) -> Result<Self, String> {
        let mut restored = Self::default();
        for line in text.lines().skip(1) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["unfinished"] => restored.unfinished = true,
                ["without-keys"] => restored.without_keys = true,
                ["behind", origin, size, known_size, known_root] => {
                    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("a size, not `{text}`"));
                    let known_root = known_root.parse().map_err(|_| "a root in hexadecimal".to_owned())?;
                    let (size, known_size) = (number(size)?, number(known_size)?);
                    restored.behind.push(Behind { origin: origin.to_owned(), size, known_size, known_root });
                }
                _ => {}
            }
        }
        match restored.encode() == text {
            true => Ok(restored),
            false => Err(format!("`{FIRST_LINE}`, what holds the ledger back, and its check digits")),
        }
    }

    /// What holds a ledger back; nothing where it was not restored, or wholly.
    pub(crate) fn read(disk: &dyn Storage, layout: &Layout) -> Result<Self, Error> {
        Ok(read_text(disk, layout, &layout.restored(), Self::decode)?.unwrap_or_default())
    }

    /// Makes this the state of the ledger, durably.
    pub(crate) fn write(&self, disk: &dyn Storage, layout: &Layout) -> Result<(), Error> {
        let path = layout.restored();
        if *self != Self::default() {
            return write_whole(disk, &path, Access::Default, self.encode().as_bytes());
        }
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", &path)(e)),
            _ => {}
        }
        disk.sync_dir(&layout.dir).map_err(Error::io("syncing", &layout.dir))
    }

    /// Refuses what an unfinished restore may not be used for: everything.
    pub(crate) fn check_readable(&self, dir: &Path) -> Result<(), Error> {
        let why = "the restore did not end; remove the directory and restore again";
        match self.unfinished {
            true => Err(Error::RestoredReadOnly { dir: dir.to_owned(), why: why.into() }),
            false => Ok(()),
        }
    }

    /// Refuses to append.
    pub(crate) fn check_writable(&self, dir: &Path) -> Result<(), Error> {
        self.check_readable(dir)?;
        let mut why = Vec::new();
        for Behind { origin, size, known_size, .. } in &self.behind {
            why.push(format!(
                "log {origin} holds {size} events and is known to have held {known_size}; restore a newer backup, or \
                 restore this one with a new origin"
            ));
        }
        if self.without_keys {
            why.push("it has no keys; give it the backup of its vault with `cairn vault restore`".into());
        }
        match why.is_empty() {
            true => Ok(()),
            false => Err(Error::RestoredReadOnly { dir: dir.to_owned(), why: why.join("; ") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_refused() {
        let behind = Behind {
            origin: "log.example.com/default/main/0".into(),
            size: 3,
            known_size: 9,
            known_root: Sha256::from_bytes([7; 32]),
        };
        let restored = Restored { unfinished: true, without_keys: true, behind: vec![behind] };
        let text = restored.encode();
        assert_eq!(Restored::decode(&text), Ok(restored));
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            let refused = String::from_utf8(bytes).map_or(true, |other| Restored::decode(&other).is_err());
            assert!(refused, "bit {at}");
        }
    }
}
