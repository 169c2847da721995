//! Recording an import: artifacts first, then the events in batches; what was recorded before is recognised.

use super::{Import, Summary};
use crate::{Context, Error};
use cairn_ledger::{Appended, Error as LedgerError};
use cairn_schemas::{BATCH_BYTES_MAX, NewEvent, Position};
use serde::Serialize;
use std::collections::BTreeSet;

/// Events to one append.
const BATCH_EVENTS: usize = 2_000;
/// What an event takes beside its data, at most.
const EVENT_BYTES: usize = 1_024;

/// How an import came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    pub appended: u64,
    /// Events that were recorded before.
    pub repeated: u64,
    /// The last position of it.
    pub last: Option<Position>,
    #[serde(flatten)]
    pub summary: Summary,
}

/// Stores the artifacts and appends the events. Cut short, it is taken up by importing the same files again.
pub fn record(ctx: &Context, import: Import) -> Result<Recorded, Error> {
    if !ctx.is_writable() {
        return Err(LedgerError::ReadOnly.into());
    }
    let artifacts = ctx.ledger().artifacts(ctx.tenant());
    for bytes in &import.artifacts {
        artifacts.put_bytes(bytes)?;
    }
    let mut recorded = Recorded { appended: 0, repeated: 0, last: None, summary: import.summary };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for event in import.events {
        let length = event.event.encode().len() + EVENT_BYTES;
        if batch.len() == BATCH_EVENTS || bytes + length > BATCH_BYTES_MAX {
            append(ctx, std::mem::take(&mut batch), &mut recorded)?;
            bytes = 0;
        }
        batch.push(event);
        bytes += length;
    }
    if !batch.is_empty() {
        append(ctx, batch, &mut recorded)?;
    }
    Ok(recorded)
}

/// A batch is no unit to the reader of the files: where some of it was recorded before, the rest is recorded alone.
fn append(ctx: &Context, mut batch: Vec<NewEvent>, recorded: &mut Recorded) -> Result<(), Error> {
    let appended = match ctx.ledger().append(ctx.tenant(), batch.clone()) {
        Err(LedgerError::PartlyRepeated { repeated, .. }) => {
            let known: BTreeSet<usize> = repeated.iter().map(|(index, _)| *index).collect();
            recorded.repeated += known.len() as u64;
            let mut index = 0..;
            batch.retain(|_| !index.next().is_some_and(|index| known.contains(&index)));
            ctx.ledger().append(ctx.tenant(), batch)?
        }
        other => other?,
    };
    for Appended { position, duplicate, .. } in appended {
        match duplicate {
            true => recorded.repeated += 1,
            false => recorded.appended += 1,
        }
        recorded.last = recorded.last.max(Some(position));
    }
    Ok(())
}
