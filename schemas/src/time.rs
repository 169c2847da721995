//! Time, in microseconds since the Unix epoch, and the seam by which a clock is injected.

use crate::Error;
use crate::encoding::text_form;
use crate::error::quoted;
use std::fmt;
use std::str::FromStr;

/// An instant in microseconds since the Unix epoch (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, bincode::Encode, bincode::Decode)]
pub struct Timestamp(i64);

/// 9999-12-30T22:00:00Z, the last instant that RFC 3339 and its readers agree on.
const MICROS_MAX: i64 = 253_402_207_200_000_000;
/// 0001-01-01T00:00:00Z.
const MICROS_MIN: i64 = -62_135_596_800_000_000;

impl Timestamp {
    /// Clamped into the years 1 to 9999, outside of which no text form exists.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MICROS_MIN, MICROS_MAX))
    }
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{instant:.6}")
    }
}
impl FromStr for Timestamp {
    type Err = Error;
    /// RFC 3339 with an offset. A bare date means its first instant in UTC.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = |why: String| Error::Malformed { what: "timestamp", given: quoted(text), why };
        if let Ok(date) = text.parse::<jiff::civil::Date>()
            && text.len() == 10
        {
            let start = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|e| malformed(e.to_string()))?;
            return Ok(Self::from_micros(start.timestamp().as_microsecond()));
        }
        let instant: jiff::Timestamp =
            text.parse().map_err(|_| malformed("expected RFC 3339, such as 2026-01-31T12:00:00Z".into()))?;
        Ok(Self::from_micros(instant.as_microsecond()))
    }
}
text_form!(Timestamp, "timestamp", r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2}))?$");

/// Where the time comes from; tests inject their own.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}
