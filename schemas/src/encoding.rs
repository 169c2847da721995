//! The one binary encoding: bincode 2 `standard` (little-endian, variable-length integers), all bytes consumed.
//!
//! The format is ours to keep stable: golden bytes in `tests/golden.rs` hold it.

use crate::Error;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Decode, Encode, config};

/// Twice the largest payload: decoding never allocates more than this from lengths it has not checked.
const DECODE_BYTES_MAX: usize = 4 << 20;

fn bounded() -> impl config::Config {
    config::standard().with_limit::<DECODE_BYTES_MAX>()
}

pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config::standard()).expect("encoding to memory cannot fail")
}

/// Appends to bytes that are already there.
struct Appending<'a>(&'a mut Vec<u8>);

impl Writer for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

pub(crate) fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) {
    bincode::encode_into_writer(value, Appending(out), config::standard()).expect("encoding to memory cannot fail");
}

pub(crate) fn decode<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    whole(what, bytes, bincode::decode_from_slice(bytes, bounded()))
}

/// Decodes a value that points into the bytes and that others may follow; gives how many bytes it takes.
pub(crate) fn decode_first<'a, T: BorrowDecode<'a, ()>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, usize), Error> {
    bincode::borrow_decode_from_slice(bytes, bounded()).map_err(|e| Error::Stored { what, why: e.to_string() })
}

fn whole<T>(
    what: &'static str,
    bytes: &[u8],
    decoded: Result<(T, usize), bincode::error::DecodeError>,
) -> Result<T, Error> {
    let (value, used) = decoded.map_err(|e| Error::Stored { what, why: e.to_string() })?;
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
