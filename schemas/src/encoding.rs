//! The one binary encoding: bincode 2 `standard` (little-endian, variable-length integers), all bytes consumed.
//!
//! The format is ours to keep stable: golden bytes in `tests/golden.rs` hold it.

use crate::Error;
use bincode::{Decode, Encode, config};

/// Twice the largest payload: decoding never allocates more than this from lengths it has not checked.
const DECODE_BYTES_MAX: usize = 4 << 20;

fn bounded() -> impl config::Config {
    config::standard().with_limit::<DECODE_BYTES_MAX>()
}

pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config::standard()).expect("encoding to memory cannot fail")
}

pub(crate) fn decode<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    let (value, used) =
        bincode::decode_from_slice(bytes, bounded()).map_err(|e| Error::Stored { what, why: e.to_string() })?;
    if used != bytes.len() {
        return Err(Error::Stored { what, why: format!("{} bytes follow the value", bytes.len() - used) });
    }
    Ok(value)
}

/// Gives a type its text form in JSON, by `Display` and `FromStr`.
macro_rules! text_form {
    ($type:ty, $schema_name:literal, $pattern:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $schema_name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_form;
