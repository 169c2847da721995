//! What the ledger says of one thing, read in order. Cost grows with the events recorded since that thing was first
//! heard of; only jobs, deployments and replays ask, never an answer to a person's query.

use crate::{Context, Error};
use cairn_schemas::{Position, Recorded, Ref};

/// Events of one read.
const READ_EVENTS_MAX: usize = 4096;

/// Hands every event to `visit`, in order, from `from` to the head at the call.
pub(crate) fn all(ctx: &Context, from: Option<Position>, visit: &mut dyn FnMut(&Recorded)) -> Result<(), Error> {
    let Some(head) = ctx.ledger().head(ctx.tenant()) else { return Ok(()) };
    let mut next = Some(from.unwrap_or(Position::FIRST));
    while let Some(from) = next.filter(|position| *position <= head) {
        let batch = ctx.ledger().read(ctx.tenant(), from, READ_EVENTS_MAX)?;
        batch.iter().filter(|recorded| recorded.position <= head).for_each(&mut *visit);
        next = batch.last().and_then(|recorded| recorded.position.next());
    }
    Ok(())
}

/// The first thing that `find` makes of an event, from `from` on.
pub(crate) fn first<T>(
    ctx: &Context,
    from: Position,
    find: &mut dyn FnMut(&Recorded) -> Option<T>,
) -> Result<Option<T>, Error> {
    let (mut next, mut count) = (Some(from), 1);
    while let Some(from) = next {
        let batch = ctx.ledger().read(ctx.tenant(), from, count)?;
        if let Some(found) = batch.iter().find_map(&mut *find) {
            return Ok(Some(found));
        }
        // Most often it is the very event that `from` is the position of.
        count = (count * 8).min(READ_EVENTS_MAX);
        next = batch.last().and_then(|recorded| recorded.position.next());
    }
    Ok(None)
}

/// Where the catalog first heard of a thing; `None` where it never did, and all of the log may speak of it.
pub(crate) fn first_heard(ctx: &Context, reference: &Ref) -> Result<Option<Position>, Error> {
    ctx.projections().catch_up()?;
    let entity = ctx.projections().catalog().get(&reference.to_string())?;
    Ok(entity.map(|entity| entity.created_position))
}
