//! Reals in JSON, where NaN and the infinities are strings.

use cairn_schemas::Real;
use serde::{Serialize, Serializer};

pub(crate) fn real<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    Real(*value).serialize(to)
}
