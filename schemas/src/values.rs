//! Values that need more care than their primitive: free-form JSON kept as received, and reals that may be NaN.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Free-form JSON, kept as the UTF-8 that was received: neither key order nor number text changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RawJson(String);

impl RawJson {
    /// Checks that `text` is one JSON value and keeps it as it is.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&serde_json::value::RawValue>(text).map(|raw| Self(raw.get().to_owned()))
    }
    pub fn of<T: Serialize>(value: &T) -> Self {
        Self(serde_json::to_string(value).expect("plain data serialises"))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Text that was made of JSON and is JSON still.
    pub(crate) fn of_json(text: String) -> Self {
        debug_assert!(Self::parse(&text).is_ok(), "{text} is no JSON");
        Self(text)
    }
    pub(crate) fn into_string(self) -> String {
        self.0
    }
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).expect("checked when it was made")
    }
    /// As a value; where a value cannot hold it (numbers such as 1e999, nesting deeper than 128) its text.
    pub fn to_value_or_text(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or_else(|_| self.0.clone().into())
    }
}
impl Default for RawJson {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}
impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(to)
    }
}
impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(from)?;
        Ok(Self(raw.get().to_owned()))
    }
}
impl JsonSchema for RawJson {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "any_json".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

/// A 64-bit real. In JSON a number, or one of `"NaN"`, `"Infinity"`, `"-Infinity"`. Equal when its bits are.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for Real {}
impl From<f64> for Real {
    fn from(value: f64) -> Self {
        Self(value)
    }
}
impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl Serialize for Real {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            v if v.is_finite() => to.serialize_f64(v),
            v if v.is_nan() => to.serialize_str("NaN"),
            v if v > 0.0 => to.serialize_str("Infinity"),
            _ => to.serialize_str("-Infinity"),
        }
    }
}
impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct RealVisitor;
        impl Visitor<'_> for RealVisitor {
            type Value = f64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<f64, E> {
                Ok(v)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<f64, E> {
                Ok(v as f64)
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<f64, E> {
                Ok(v as f64)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<f64, E> {
                match v {
                    "NaN" => Ok(f64::NAN),
                    "Infinity" => Ok(f64::INFINITY),
                    "-Infinity" => Ok(f64::NEG_INFINITY),
                    _ => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
                }
            }
        }
        from.deserialize_any(RealVisitor).map(Self)
    }
}
impl JsonSchema for Real {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "real".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "number" },
            { "enum": ["NaN", "Infinity", "-Infinity"] }
        ]})
    }
}
