//! Events as GraphQL shows them, and the scan that answers `events`.

use crate::cursor;
use crate::filter::Filter;
use crate::problem::Problem;
use crate::state::READ_EVENTS_MAX;
use async_graphql::Object;
use cairn_processors::Context;
use cairn_schemas::{self as schemas, Recorded};
use serde_json::Value;
use std::sync::Arc;

use super::connection::{Connection, page_length};
use super::scalars::{Long, Position, Ref, Timestamp};

/// Positions looked at for one page, where a filter drops most of them.
const SCAN_MAX: u64 = 100_000;

#[derive(Clone)]
pub(crate) struct Event(pub(crate) Arc<Recorded>);

/// Something that happened, as the ledger recorded it.
#[Object]
impl Event {
    /// Where it stands in the log.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }
    /// Pass it as `after` or `from` to go on after this event.
    async fn cursor(&self) -> String {
        cursor::of_position(Some(self.0.position))
    }
    /// cairn.<family>.<past_tense>.v<N>, in its latest version.
    #[graphql(name = "type")]
    async fn type_name(&self) -> &str {
        self.0.event.type_name()
    }
    /// Who produced it; source and id together identify it.
    async fn source(&self) -> &str {
        &self.0.source
    }
    /// Its identity at its source.
    async fn id(&self) -> &str {
        &self.0.id
    }
    /// The stream: what it is about. CloudEvents calls it subject.
    async fn stream(&self) -> &str {
        &self.0.stream
    }
    /// Its number in its stream, from 1.
    async fn stream_version(&self) -> Long {
        Long(self.0.stream_version)
    }
    /// The project it belongs to.
    async fn project(&self) -> &str {
        &self.0.project
    }
    /// When it happened, as its producer says.
    async fn occurred_at(&self) -> Timestamp {
        Timestamp(self.0.occurred_at)
    }
    /// When the ledger recorded it; never decreasing along the log.
    async fn recorded_at(&self) -> Timestamp {
        Timestamp(self.0.recorded_at)
    }
    /// Id of the event that caused it.
    async fn causation(&self) -> Option<&str> {
        self.0.causation.as_deref()
    }
    /// CloudEvents extension attributes that Cairn does not know, kept as received.
    async fn extensions(&self) -> Value {
        self.0.extensions.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect()
    }
    /// The refs it used.
    async fn used(&self) -> Vec<Ref> {
        self.0.used.iter().cloned().map(Ref).collect()
    }
    /// The refs it produced.
    async fn produced(&self) -> Vec<Ref> {
        self.0.produced.iter().cloned().map(Ref).collect()
    }
    /// Its payload, whose JSON Schema stands in schemas/json.
    async fn data(&self) -> async_graphql::Result<Value> {
        Ok(serde_json::from_str(&self.0.event.to_json())?)
    }
    /// The whole event as a CloudEvent 1.0 in JSON.
    async fn cloud_event(&self) -> async_graphql::Result<Value> {
        Ok(serde_json::from_str(&self.0.to_cloudevent())?)
    }
}

/// What a page of events was asked for.
pub(crate) struct PageQuery {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
    pub(crate) filter: Filter,
}

/// Forward with `first` and `after`, backward with `last` and `before`.
pub(crate) fn page(ctx: &Context, query: &PageQuery) -> Result<Connection<Event>, Problem> {
    let after = query.after.as_deref().map(cursor::to_position).transpose()?.flatten();
    let before = query.before.as_deref().map(cursor::to_position).transpose()?.flatten();
    match (query.first, query.last) {
        (Some(_), Some(_)) => Err(Problem::malformed("first and last together have no order; give one of them")),
        (_, None) if query.before.is_none() => forward(ctx, after, page_length("first", query.first)?, &query.filter),
        (Some(_), _) => Err(Problem::malformed("first goes with after, last goes with before")),
        (None, _) if query.after.is_some() => Err(Problem::malformed("first goes with after, last goes with before")),
        (None, last) => backward(ctx, before, page_length("last", last)?, &query.filter),
    }
}

fn forward(
    ctx: &Context,
    after: Option<schemas::Position>,
    length: usize,
    filter: &Filter,
) -> Result<Connection<Event>, Problem> {
    let (mut seen, mut scanned, mut found) = (after, 0u64, Vec::new());
    let mut more = false;
    'scan: while scanned < SCAN_MAX {
        let Some(from) = seen.map_or(Some(schemas::Position::FIRST), schemas::Position::next) else { break };
        let events = ctx.ledger().read(ctx.tenant(), from, READ_EVENTS_MAX)?;
        if events.is_empty() {
            break;
        }
        for event in events {
            let wanted = filter.matches(&event);
            if wanted && found.len() == length {
                more = true;
                break 'scan;
            }
            (seen, scanned) = (Some(event.position), scanned + 1);
            if wanted {
                found.push(event);
            }
        }
    }
    more |= scanned >= SCAN_MAX && seen < ctx.ledger().head(ctx.tenant());
    let mut page = Connection::of(edges(found), after.is_some(), more);
    page.page_info.end_cursor = Some(cursor::of_position(seen));
    Ok(page)
}

fn backward(
    ctx: &Context,
    before: Option<schemas::Position>,
    length: usize,
    filter: &Filter,
) -> Result<Connection<Event>, Problem> {
    let head = ctx.ledger().head(ctx.tenant()).map_or(0, schemas::Position::get);
    // The lowest position already looked at; everything from it on is behind the page.
    let mut low = before.map_or(head + 1, |position| position.get().min(head + 1));
    let behind = low;
    let (mut scanned, mut found, mut more) = (0u64, Vec::new(), false);
    'scan: while low > 1 && scanned < SCAN_MAX {
        let begin = low.saturating_sub(READ_EVENTS_MAX as u64).max(1);
        let mut events = range(ctx, begin, low)?;
        while let Some(event) = events.pop() {
            let wanted = filter.matches(&event);
            if wanted && found.len() == length {
                more = true;
                break 'scan;
            }
            (low, scanned) = (event.position.get(), scanned + 1);
            if wanted {
                found.push(event);
            }
        }
        low = low.min(begin);
    }
    more |= scanned >= SCAN_MAX && low > 1;
    found.reverse();
    let mut page = Connection::of(edges(found), more, behind <= head);
    page.page_info.start_cursor = schemas::Position::new(low).map(|position| cursor::of_position(Some(position)));
    Ok(page)
}

/// The events of positions `begin..end`; a read may give fewer than asked, so it is repeated.
fn range(ctx: &Context, begin: u64, end: u64) -> Result<Vec<Recorded>, Problem> {
    let mut events: Vec<Recorded> = Vec::new();
    let mut next = begin;
    while next < end {
        let Some(from) = schemas::Position::new(next) else { break };
        let read = ctx.ledger().read(ctx.tenant(), from, (end - next) as usize)?;
        let Some(last) = read.last() else { break };
        next = last.position.get() + 1;
        events.extend(read);
    }
    Ok(events)
}

fn edges(events: Vec<Recorded>) -> Vec<(String, Event)> {
    let edge = |event: Recorded| (cursor::of_position(Some(event.position)), Event(Arc::new(event)));
    events.into_iter().map(edge).collect()
}
