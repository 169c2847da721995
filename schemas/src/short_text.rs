//! Texts that are short and come in great numbers, such as a step's metric names: up to 24 bytes lie in the value itself.
//! In JSON and in storage they are as any text.

use bincode::de::read::Reader;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use compact_str::CompactString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

/// Texts of at most this many bytes need no memory of their own.
const IN_PLACE_BYTES_MAX: usize = 24;

#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShortText(CompactString);

impl ShortText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl Deref for ShortText {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl Borrow<str> for ShortText {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}
impl From<String> for ShortText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}
impl From<ShortText> for String {
    fn from(text: ShortText) -> Self {
        text.0.into()
    }
}
impl PartialEq<str> for ShortText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}
impl PartialEq<&str> for ShortText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}
impl PartialEq<String> for ShortText {
    fn eq(&self, other: &String) -> bool {
        self.0 == other.as_str()
    }
}
impl PartialEq<ShortText> for String {
    fn eq(&self, other: &ShortText) -> bool {
        other == self
    }
}
impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}
impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Encode for ShortText {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_str().encode(encoder)
    }
}
impl<C> Decode<C> for ShortText {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let bytes = u64::decode(decoder)?;
        let bytes = usize::try_from(bytes).map_err(|_| DecodeError::OutsideUsizeRange(bytes))?;
        decoder.claim_container_read::<u8>(bytes)?;
        let utf8 = |inner| DecodeError::Utf8 { inner };
        if bytes <= IN_PLACE_BYTES_MAX {
            let mut buffer = [0; IN_PLACE_BYTES_MAX];
            decoder.reader().read(&mut buffer[..bytes])?;
            return CompactString::from_utf8(&buffer[..bytes]).map(Self).map_err(utf8);
        }
        let mut buffer = vec![0; bytes];
        decoder.reader().read(&mut buffer)?;
        String::from_utf8(buffer).map(Self::from).map_err(|e| utf8(e.utf8_error()))
    }
}
impl<'de, C> BorrowDecode<'de, C> for ShortText {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        <&str>::borrow_decode(decoder).map(Self::from)
    }
}
impl JsonSchema for ShortText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding;

    #[test]
    fn it_is_stored_as_any_text_is() {
        for text in ["", "loss", "four-and-twenty-bytes-yes", "ünïcödé", &"long ".repeat(60)] {
            let short = ShortText::from(text);
            assert_eq!(encoding::encode(&short), encoding::encode(&text.to_owned()));
            let back: ShortText = encoding::decode("text", &encoding::encode(&text)).unwrap();
            assert_eq!((back, serde_json::to_string(&short).unwrap()), (short, serde_json::to_string(text).unwrap()));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_short_and_long() {
        for bytes in [vec![0xff; 3], vec![0xff; 40]] {
            let error = encoding::decode::<ShortText>("text", &encoding::encode(&bytes)).unwrap_err().to_string();
            assert!(error.to_lowercase().contains("utf8"), "{error}");
        }
        let too_long = encoding::encode(&(1u64 << 40));
        assert!(encoding::decode::<ShortText>("text", &too_long).is_err());
    }
}
