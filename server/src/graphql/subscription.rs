//! What is told as it happens: events, steps of runs, and how far the projections are. Events and steps can be gone on
//! with: a subscriber that comes back with its last cursor or position misses none.

#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

use crate::cursor;
use crate::filter::Filter;
use crate::problem::{Kind, Problem};
use crate::state::{App, READ_EVENTS_MAX};
use async_graphql::{Context, Result, SimpleObject, Subscription};
use async_stream::stream;
use cairn_projections::curves::Pattern;
use cairn_schemas::{self as schemas, Event as Payload, Recorded, RunId};
use futures_util::Stream;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::events::Event;
use super::log::{Projection, projections};
use super::scalars::{Long, Position, Real, Timestamp};

/// Runs of one subscription to steps.
const RUNS_MAX: usize = 1_000;
/// How often it is looked how far the projections are.
const PROGRESS_TICK: Duration = Duration::from_millis(250);

/// A value of a metric.
#[derive(SimpleObject)]
pub(crate) struct MetricValue {
    /// The metric.
    name: String,
    /// The value; NaN and infinities as they were logged.
    value: Real,
}

/// What was logged of a step at once. A step is all that was logged of it.
#[derive(SimpleObject)]
pub(crate) struct LoggedStep {
    /// The run's id.
    run: String,
    /// The attempt of the run that took the step, from 1.
    attempt: u32,
    /// The step.
    step: Long,
    /// Tokens that the run had seen.
    tokens: Long,
    /// When the step was taken, as its producer says.
    time: Timestamp,
    /// The metrics that were asked for, as far as they were logged.
    metrics: Vec<MetricValue>,
    /// Where the event stands in the log.
    position: Position,
    /// Pass it as `from` to go on after this.
    cursor: String,
}

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
            desc = "Goes on after this cursor. Without one of these three the stream begins with the next event that is recorded."
        )]
        from: Option<String>,
        #[graphql(desc = "Goes on after this position, such as the one that an answer covers.")] after: Option<
            Position,
        >,
        #[graphql(desc = "Begins with the first event of the log.", default = false)] from_start: bool,
        #[graphql(desc = "Types such as cairn.training.step_logged.v2, or beginnings such as cairn.training.*")]
        types: Option<Vec<String>>,
        #[graphql(desc = "Only events about this.")] stream: Option<String>,
        #[graphql(desc = "Only events of this project.")] project: Option<String>,
    ) -> Result<impl Stream<Item = Result<Event>> + use<>> {
        let app = ctx.data::<App>()?.clone();
        let filter = Filter::new(&types.unwrap_or_default(), stream, project)?;
        let seen = seen(&app, from.as_deref(), after, from_start)?;
        Ok(follow(app, seen, move |event| filter.matches(&event).then(|| Event(Arc::new(event)))))
    }

    /// Steps of runs as they are logged: what to draw behind a curve whose answer covered the position `after`.
    async fn steps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids or refs of runs; at most 1,000.")] runs: Vec<String>,
        #[graphql(
            desc = "The metrics, such as loss; * stands for any text. All where absent; a step with none of them is left out."
        )]
        metrics: Option<Vec<String>>,
        #[graphql(
            desc = "Goes on after this cursor. Without one of these three the stream begins with the next step that is logged."
        )]
        from: Option<String>,
        #[graphql(desc = "Goes on after this position, such as the one that an answer covers.")] after: Option<
            Position,
        >,
        #[graphql(desc = "Begins with the first event of the log.", default = false)] from_start: bool,
    ) -> Result<impl Stream<Item = Result<LoggedStep>> + use<>> {
        let app = ctx.data::<App>()?.clone();
        if runs.is_empty() || runs.len() > RUNS_MAX {
            return Err(Problem::malformed(format!("{} runs; give 1 to {RUNS_MAX}", runs.len())).into());
        }
        let runs = runs.iter().map(|run| run.parse()).collect::<Result<HashSet<RunId>, schemas::Error>>();
        let runs = runs.map_err(|e| Problem::malformed(e.to_string()))?;
        if metrics.as_ref().is_some_and(Vec::is_empty) {
            return Err(Problem::malformed("metrics names none; leave it out for all of them").into());
        }
        let metrics: Option<Vec<Pattern>> = metrics.map(|names| names.iter().map(|name| Pattern::of(name)).collect());
        let seen = seen(&app, from.as_deref(), after, from_start)?;
        Ok(follow(app, seen, move |event| step(&event, &runs, metrics.as_deref())))
    }

    /// How far each projection has come: at once, and again when that has changed, at most four times a second.
    async fn projections(&self, ctx: &Context<'_>) -> Result<impl Stream<Item = Result<Vec<Projection>>> + use<>> {
        let app = ctx.data::<App>()?.clone();
        Ok(stream! {
            let (mut stopping, mut told) = (app.stopping.clone(), None);
            loop {
                let now = app.ctx.projections().status();
                if told.as_ref() != Some(&now) {
                    yield Ok(projections(&app));
                    told = Some(now);
                }
                tokio::select! {
                    () = tokio::time::sleep(PROGRESS_TICK) => {}
                    _ = stopping.changed() => return,
                }
            }
        })
    }
}

/// The last position that a subscriber has seen.
fn seen(
    app: &App,
    from: Option<&str>,
    after: Option<Position>,
    from_start: bool,
) -> Result<Option<schemas::Position>, Problem> {
    if usize::from(from.is_some()) + usize::from(after.is_some()) + usize::from(from_start) > 1 {
        return Err(Problem::malformed("from, after and fromStart exclude each other; give one"));
    }
    let head = app.head_position();
    let seen = match (from, after, from_start) {
        (Some(cursor), ..) => cursor::to_position(cursor)?,
        (_, Some(position), _) => Some(position.0),
        (.., true) => None,
        _ => head,
    };
    match seen {
        Some(position) if seen > head => {
            let head = head.map_or(0, schemas::Position::get);
            Err(Problem::malformed(format!("position {position} does not exist yet; the last one is {head}")))
        }
        _ => Ok(seen),
    }
}

/// What is wanted of an event, where it is a step of one of these runs.
fn step(event: &Recorded, runs: &HashSet<RunId>, wanted: Option<&[Pattern]>) -> Option<LoggedStep> {
    let Payload::StepLogged(step) = &event.event else { return None };
    if !runs.contains(&step.run) {
        return None;
    }
    let is_meant = |name: &str| wanted.is_none_or(|wanted| wanted.iter().any(|pattern| pattern.matches(name)));
    let metrics = step.metrics.iter().filter(|metric| is_meant(metric.name.as_str()));
    let metrics: Vec<MetricValue> =
        metrics.map(|metric| MetricValue { name: metric.name.to_string(), value: Real(metric.value.0) }).collect();
    let is_wanted = wanted.is_none() || !metrics.is_empty();
    is_wanted.then(|| LoggedStep {
        run: step.run.to_string(),
        attempt: step.attempt,
        step: Long(step.step),
        tokens: Long(step.tokens),
        time: Timestamp(step.time.unwrap_or(event.occurred_at)),
        metrics,
        position: Position(event.position),
        cursor: cursor::of_position(Some(event.position)),
    })
}

/// Reads what is there, then waits for the log to grow, until the server stops; gives what `keep` makes of events.
fn follow<T>(
    app: App,
    mut seen: Option<schemas::Position>,
    keep: impl Fn(Recorded) -> Option<T> + Send + 'static,
) -> impl Stream<Item = Result<T>> {
    stream! {
        let (mut head, mut stopping) = (app.head.clone(), app.stopping.clone());
        loop {
            // Marked as seen before the read: growth during the read ends the next wait at once.
            head.borrow_and_update();
            let Some(from) = seen.map_or(Some(schemas::Position::FIRST), schemas::Position::next) else { return };
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
                if let Some(kept) = keep(event) {
                    yield Ok(kept);
                }
            }
        }
    }
}
