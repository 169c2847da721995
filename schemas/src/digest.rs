//! The two digests every artifact carries: BLAKE3 names it here, SHA-256 names it to outside standards.

use crate::Error;
use crate::encoding::text_form;
use crate::error::quoted;
use std::fmt;
use std::str::FromStr;

macro_rules! digest {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
        pub struct $type([u8; 32]);

        impl $type {
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", $what)
            }
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| Error::Malformed {
                    what: $what,
                    given: quoted(text),
                    why: "expected 64 hexadecimal digits".into(),
                })?;
                Ok(Self(bytes))
            }
        }
        text_form!($type, $what, "^[0-9a-f]{64}$");
    };
}

digest!(
    /// A BLAKE3 digest.
    Blake3, "blake3"
);
digest!(
    /// A SHA-256 digest.
    Sha256, "sha256"
);

impl Blake3 {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}
