//! Events as they are recorded. A subscriber that comes back with its last cursor misses none.

use crate::cursor;
use crate::filter::Filter;
use crate::problem::{Kind, Problem};
use crate::state::{App, READ_EVENTS_MAX};
use async_graphql::{Context, Result, Subscription};
use async_stream::stream;
use cairn_schemas::Position;
use futures_util::Stream;
use std::sync::Arc;

use super::events::Event;

pub(crate) struct Subscription;

/// What can be subscribed to, over WebSocket at /graphql/ws.
#[Subscription]
impl Subscription {
    /// Events in order, first those that are there, then each as it is recorded. After a broken connection pass the
    /// last event's cursor as `from`.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Goes on after this cursor. Without it the stream begins with the next event that is recorded."
        )]
        from: Option<String>,
        #[graphql(desc = "Begins with the first event of the log; not together with `from`.", default = false)]
        from_start: bool,
        #[graphql(desc = "Types such as cairn.training.step_logged.v2, or beginnings such as cairn.training.*")]
        types: Option<Vec<String>>,
        #[graphql(desc = "Only events about this.")] stream: Option<String>,
        #[graphql(desc = "Only events of this project.")] project: Option<String>,
    ) -> Result<impl Stream<Item = Result<Event>> + use<>> {
        let app = ctx.data::<App>()?.clone();
        let filter = Filter::new(&types.unwrap_or_default(), stream, project)?;
        let seen = match (&from, from_start) {
            (Some(_), true) => return Err(Problem::malformed("from and fromStart exclude each other; give one").into()),
            (Some(cursor), false) => cursor::to_position(cursor)?,
            (None, true) => None,
            (None, false) => app.head_position(),
        };
        Ok(follow(app, seen, filter))
    }
}

/// Reads what is there, then waits for the log to grow, until the server stops.
fn follow(app: App, mut seen: Option<Position>, filter: Filter) -> impl Stream<Item = Result<Event>> {
    stream! {
        let (mut head, mut stopping) = (app.head.clone(), app.stopping.clone());
        loop {
            // Marked as seen before the read: growth during the read ends the next wait at once.
            head.borrow_and_update();
            let Some(from) = seen.map_or(Some(Position::FIRST), Position::next) else { return };
            let events = match app.events_from(from, READ_EVENTS_MAX).await {
                Ok(events) => events,
                Err(problem) => {
                    yield Err(problem.into());
                    return;
                }
            };
            if events.is_empty() {
                let goes_on = tokio::select! {
                    grown = head.changed() => grown.is_ok(),
                    _ = stopping.changed() => false,
                };
                if !goes_on {
                    yield Err(Problem::new(Kind::Unavailable, "the server is stopping; connect again with the last cursor").into());
                    return;
                }
            }
            for event in events {
                seen = Some(event.position);
                if filter.matches(&event) {
                    yield Ok(Event(Arc::new(event)));
                }
            }
        }
    }
}
