//! The `AsOf` of questions about the past, the position it means, and what of a request was asked so.

use crate::state::App;
use async_graphql::{Context, InputValueError, InputValueResult, Result, Scalar, ScalarType, Value};
use cairn_schemas::Position;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AsOf(pub(crate) cairn_ledger::AsOf);

/// A past state: a position (a whole number from 1, or a string of digits), which means after that event; or a recorded
/// time as RFC 3339 (2026-01-31T12:00:00Z; a bare date means its first instant in UTC), which means after the last event
/// recorded by then. Always recorded time, so that the answer never changes. In the future or before the first event it
/// is refused.
#[Scalar(name = "AsOf")]
impl ScalarType for AsOf {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = match &value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        text.parse().map(Self).map_err(InputValueError::custom)
    }
    fn to_value(&self) -> Value {
        match self.0 {
            cairn_ledger::AsOf::Position(position) => Value::Number(position.get().into()),
            cairn_ledger::AsOf::Recorded(time) => Value::String(time.to_string()),
        }
    }
}

/// The earliest past state that a request asks for: its answer covers no more than that.
#[derive(Clone, Default)]
pub(crate) struct Earliest(Arc<Mutex<Option<Position>>>);

impl Earliest {
    fn take(&self, position: Position) {
        let mut earliest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *earliest = Some(earliest.map_or(position, |known| known.min(position)));
    }
    pub(crate) fn get(&self) -> Option<Position> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position that `as_of` means, once all projections cover it; `None` where it is absent, which means now.
pub(crate) async fn resolve(ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Option<Position>> {
    let Some(AsOf(as_of)) = as_of else { return Ok(None) };
    let app = ctx.data::<App>()?;
    let position = app.read(move |ctx| Ok(ctx.ledger().resolve(ctx.tenant(), as_of)?)).await?;
    app.wait_for(position).await?;
    if let Some(earliest) = ctx.data_opt::<Earliest>() {
        earliest.take(position);
    }
    Ok(Some(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_as_a_number_digits_or_a_time() {
        let parsed = |value: Value| AsOf::parse(value).ok().unwrap().to_value();
        assert_eq!(parsed(Value::Number(7.into())), Value::Number(7.into()));
        assert_eq!(parsed(Value::String("7".into())), Value::Number(7.into()));
        let time = "2026-01-31T12:00:00.000000Z";
        assert_eq!(parsed(Value::String("2026-01-31T13:00:00+01:00".into())), Value::String(time.into()));
        for wrong in [Value::Number(0.into()), Value::Boolean(true), Value::String("soon".into()), Value::Null] {
            assert!(AsOf::parse(wrong).is_err());
        }
    }
}
