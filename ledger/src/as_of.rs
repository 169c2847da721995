//! A past state of a log: named by a position, or by a recorded time, which means the last event recorded by then. Either
//! way it resolves to a position, and the same time to the same position for ever.

use crate::error::Error;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::reader;
use cairn_schemas::{Position, TenantId, Timestamp};
use std::fmt;
use std::str::FromStr;

/// The state of a log as it was recorded then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// After this event.
    Position(Position),
    /// After the last event recorded at this time or before.
    Recorded(Timestamp),
}

impl From<Position> for AsOf {
    fn from(position: Position) -> Self {
        AsOf::Position(position)
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AsOf::Position(position) => position.fmt(f),
            AsOf::Recorded(time) => time.fmt(f),
        }
    }
}

impl FromStr for AsOf {
    type Err = Error;
    /// A position in digits, or a time as [`Timestamp`] reads it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parsed = match digits {
            true => text.parse().map(AsOf::Position),
            false => text.parse().map(AsOf::Recorded),
        };
        parsed.map_err(|_| Error::AsOf {
            given: text.chars().take(60).collect(),
            why: match digits && text.bytes().all(|b| b == b'0') {
                true => "it is before the first event, whose position is 1".into(),
                false => {
                    "it is neither a position such as 1041 nor a recorded time such as 2026-01-31T12:00:00Z".into()
                }
            },
        })
    }
}

impl Ledger {
    /// The position that `as_of` means. [`Error::AsOf`] where it is in the future or before the first event: it names the
    /// head, or the first.
    ///
    /// What a time resolves to holds for good while the machine's clock is not set back: whoever is writing is waited for.
    pub fn resolve(&self, tenant: &TenantId, as_of: AsOf) -> Result<Position, Error> {
        let refused = |why: String| Error::AsOf { given: as_of.to_string(), why };
        let Some((log, head)) = self.log(tenant).and_then(|log| Some((log.clone(), log.head()?))) else {
            return Err(refused("the log is empty; append an event first".into()));
        };
        match as_of {
            AsOf::Position(position) if position <= head => Ok(position),
            AsOf::Position(_) => {
                let last = recorded_at(&log, head)?;
                Err(refused(format!("it does not exist yet; the last position is {head}, recorded at {last}")))
            }
            AsOf::Recorded(time) => {
                let now = self.now();
                if time >= now {
                    return Err(refused(format!(
                        "it is in the future; it is {now} now, and the last position is {head}"
                    )));
                }
                let first = recorded_at(&log, Position::FIRST)?;
                if time < first {
                    return Err(refused(format!("it is before the first event, which was recorded at {first}")));
                }
                log.settle();
                last_by(&log, log.head().unwrap_or(head), time)
            }
        }
    }
}

/// The last position recorded by `time`, where the first one was.
fn last_by(log: &Log, head: Position, time: Timestamp) -> Result<Position, Error> {
    // Recorded times never decrease: `low` was recorded by then, and what follows `high` was not.
    let (mut low, mut high) = (Position::FIRST.get(), head.get());
    while low < high {
        let middle = high - (high - low) / 2;
        let position = Position::new(middle).expect("it is above `low`, which is at least 1");
        match recorded_at(log, position)? <= time {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    Ok(Position::new(low).expect("it is at least 1"))
}

fn recorded_at(log: &Log, position: Position) -> Result<Timestamp, Error> {
    let mut found = None;
    reader::walk(&log.view, position.get(), &mut |entry, _| {
        found = Some(entry.recorded_at);
        Ok(false)
    })?;
    Ok(found.expect("positions up to the head are there"))
}
