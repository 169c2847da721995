//! Identifiers: who owns a log, which project, which run, and where an event stands.

use crate::encoding::text_form;
use crate::error::quoted;
use crate::{Blake3, Error};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Longest name of a tenant, project, dataset or model, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Whether `text` is a name: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or a digit.
pub(crate) fn check_name(what: &'static str, text: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Malformed {
        what,
        given: quoted(text),
        why: "use 1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or a digit".into(),
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $default:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl Default for $type {
            fn default() -> Self {
                Self($default.to_owned())
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }
        text_form!($type, $what, "^[a-z0-9][a-z0-9._-]{0,62}$");
    };
}

name!(
    /// Who owns a log. Part of every storage key.
    TenantId, "tenant", "default"
);
name!(
    /// A body of work inside a tenant; the first part of dataset and model refs.
    ProjectName, "project", "default"
);

/// Identity of a run: a UUID of version 7, so that ids sort by creation; of version 8 for a run that was made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct RunId([u8; 16]);

impl RunId {
    /// A fresh id from the system's clock and randomness.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }
    /// The id of what a digest names: a UUID of version 8, the same one each time.
    pub fn named_by(digest: &Blake3) -> Self {
        let first = digest.as_bytes().first_chunk().expect("a digest is longer than an id");
        Self(uuid::Builder::from_custom_bytes(*first).into_uuid().into_bytes())
    }
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}
impl FromStr for RunId {
    type Err = Error;
    /// Accepts the bare UUID and the ref form `run:<uuid>`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.strip_prefix("run:").unwrap_or(text);
        uuid::Uuid::try_parse(bare).map(|id| Self(id.into_bytes())).map_err(|e| Error::Malformed {
            what: "run id",
            given: quoted(text),
            why: format!("{e}; a run id is a UUID"),
        })
    }
}
text_form!(RunId, "run_id", "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$");

/// Where an event stands in its log, counted from 1. Position n is leaf n-1 of the log's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(NonZeroU64);

impl Position {
    pub const FIRST: Position = Position(NonZeroU64::MIN);

    /// `None` for 0, which is no position.
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }
    pub fn get(self) -> u64 {
        self.0.get()
    }
    /// The position after this one; `None` at the end of the number range.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
    /// Index of this position's leaf in the log's tree.
    pub fn leaf_index(self) -> u64 {
        self.0.get() - 1
    }
}
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl FromStr for Position {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse::<u64>().ok().and_then(Self::new).ok_or_else(|| Error::Malformed {
            what: "position",
            given: quoted(text),
            why: "a position is a whole number from 1".into(),
        })
    }
}
impl serde::Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}
impl<'de> serde::Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        NonZeroU64::deserialize(from).map(Self)
    }
}
