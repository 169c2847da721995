//! Scalars for what GraphQL's own cannot carry: 64-bit numbers, instants, refs, and reals that may be NaN.

use async_graphql::{InputValueError, InputValueResult, Number, Scalar, ScalarType, Value};
use cairn_schemas as schemas;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) schemas::Position);

/// Where an event stands in its log: a whole number from 1. Input may also be a string of digits.
#[Scalar(name = "Position")]
impl ScalarType for Position {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = match &value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        text.parse().map(Self).map_err(InputValueError::custom)
    }
    fn to_value(&self) -> Value {
        Value::Number(self.0.get().into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Long(pub(crate) u64);

/// A whole number from 0 that may exceed 32 bits: steps, tokens, bytes, counts.
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number
                .as_u64()
                .map(Self)
                .ok_or_else(|| InputValueError::custom(format!("`{number}` is not a whole number from 0"))),
            _ => Err(InputValueError::expected_type(value)),
        }
    }
    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Real(pub(crate) f64);

/// A real number: a JSON number, or one of "NaN", "Infinity" and "-Infinity", which JSON numbers cannot say.
#[Scalar(name = "Real")]
impl ScalarType for Real {
    fn parse(value: Value) -> InputValueResult<Self> {
        let json = value.into_json()?;
        let real: schemas::Real = serde_json::from_value(json).map_err(InputValueError::custom)?;
        Ok(Self(real.0))
    }
    fn to_value(&self) -> Value {
        match Number::from_f64(self.0) {
            Some(number) => Value::Number(number),
            None if self.0.is_nan() => Value::String("NaN".into()),
            None if self.0 > 0.0 => Value::String("Infinity".into()),
            None => Value::String("-Infinity".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) schemas::Timestamp);

/// An instant in UTC as RFC 3339, to the microsecond: 2026-01-31T12:00:00.000000Z. Input may have any offset; a bare date
/// means its first instant in UTC.
#[Scalar(name = "Timestamp")]
impl ScalarType for Timestamp {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ref(pub(crate) schemas::Ref);

/// The name of a thing: ds://project/name@1.2.0, model://project/name@3, run:<uuid>, doc:<blake3>, eval:<id>,
/// judgment:<id>, deployment:<id> or artifact:<blake3>.
#[Scalar(name = "Ref")]
impl ScalarType for Ref {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_numbers_cannot_say_is_said_in_words() {
        for (real, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
            assert_eq!(Real(real).to_value(), Value::String(text.into()));
            let back = Real::parse(Value::String(text.into())).ok().unwrap();
            assert_eq!(back.0.to_bits(), real.to_bits());
        }
        assert_eq!(Real(0.5).to_value().to_string(), "0.5");
    }

    #[test]
    fn a_position_beyond_32_bits_passes_as_a_number_or_text() {
        let large = schemas::Position::new(1 << 40).unwrap();
        for value in [Value::Number((1u64 << 40).into()), Value::String((1u64 << 40).to_string())] {
            assert_eq!(Position::parse(value).ok().unwrap(), Position(large));
        }
        assert!(Position::parse(Value::Number(0.into())).is_err());
    }
}
