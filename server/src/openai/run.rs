//! Requests under way: computed where a thread may wait, read as they come, cancelled when nobody reads any more.

use super::error::Refusal;
use crate::state::{App, spawned};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cairn_gpu::Output;
use cairn_processors::serving::{Answered, Answering, Ask, Generating};
use futures_util::Stream;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 64;
/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What comes of the requests of one call, each with the number of its prompt.
pub(super) enum Piece {
    Output(usize, Output),
    Answered(Box<Answered>),
    Failed(Refusal),
}

/// The model of a name, for generating.
pub(super) async fn generating(app: &App, name: String) -> Result<Arc<Generating>, Refusal> {
    let answerer = app.answerer.clone();
    let found =
        spawned(move || Ok(answerer.generating(&name).map_err(|error| (error, answerer.cards(), name)))).await?;
    found.map_err(|(error, cards, name)| match error {
        cairn_processors::Error::UnknownRef { .. } | cairn_processors::Error::Schemas(_) => {
            let there = cards.unwrap_or_default().into_iter().map(|card| card.name).collect::<Vec<_>>();
            Refusal::no_model(&name, &there)
        }
        other => Refusal::from(other).about("model"),
    })
}

/// Begins all requests of a call, or none, and gives what the ledger will call their answers, and their pieces as they
/// come. `param` is where the prompts stand in the call.
pub(super) async fn begin(
    app: &App,
    generating: Arc<Generating>,
    (asks, param): (Vec<Ask>, &str),
    room: OwnedSemaphorePermit,
) -> Result<(Vec<String>, mpsc::Receiver<Piece>), Refusal> {
    let answerer = app.answerer.clone();
    let begun = spawned(move || {
        Ok(asks.into_iter().map(|ask| answerer.begin(&generating, ask)).collect::<Result<Vec<_>, _>>())
    });
    let begun = begun.await?.map_err(|error| {
        let refusal = Refusal::from(error).about(param);
        app.telemetry.inference_failed(refusal.problem());
        refusal
    })?;
    let ids = begun.iter().map(|answering| answering.response().to_owned()).collect();
    let (send, receive) = mpsc::channel(PIECES_MAX);
    let (app, span) = (app.clone(), tracing::Span::current());
    tokio::task::spawn_blocking(move || {
        let _room = room;
        span.in_scope(|| drive(&app, begun, &send));
    });
    Ok((ids, receive))
}

/// Reads the requests one after another; they are computed together. Once nobody reads, all of them end, and what was
/// said until then is recorded.
fn drive(app: &App, answerings: Vec<Answering>, send: &mpsc::Sender<Piece>) {
    let begun = Instant::now();
    let cancel_all = |rest: &[Answering]| rest.iter().for_each(Answering::cancel);
    let mut rest = answerings;
    let mut at = 0;
    while !rest.is_empty() {
        let mut answering = rest.remove(0);
        let mut failed = None;
        while let Some(output) = next(&mut answering, send, &rest) {
            let is_read = match output {
                Ok(output) => send.blocking_send(Piece::Output(at, output)).is_ok(),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            if !is_read {
                answering.cancel();
                cancel_all(&rest);
            }
        }
        let outcome = match failed {
            Some(error) => Err(error),
            None => answering.finish(),
        };
        let piece = match outcome {
            Ok(answered) => {
                app.telemetry.answered(answered.prompt_tokens, answered.answer_tokens, begun.elapsed());
                Piece::Answered(Box::new(answered))
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                app.telemetry.inference_failed(refusal.problem());
                cancel_all(&rest);
                let _ = send.blocking_send(Piece::Failed(refusal));
                return;
            }
        };
        let _ = send.blocking_send(piece);
        at += 1;
    }
}

/// The next piece. Who left is noticed between tokens, before another is sent.
fn next(
    answering: &mut Answering,
    send: &mpsc::Sender<Piece>,
    rest: &[Answering],
) -> Option<Result<Output, cairn_processors::Error>> {
    if send.is_closed() {
        answering.cancel();
        rest.iter().for_each(Answering::cancel);
    }
    answering.next()
}

/// Waits for all answers, in the order of their prompts.
pub(super) async fn whole(mut pieces: mpsc::Receiver<Piece>) -> Result<Vec<Answered>, Refusal> {
    let mut answers = Vec::new();
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Output(..) => {}
            Piece::Answered(answered) => answers.push(*answered),
            Piece::Failed(refusal) => return Err(refusal),
        }
    }
    Ok(answers)
}

/// Server-sent events of JSON, ended as OpenAI's are.
pub(super) fn as_events(values: impl Stream<Item = Value> + Send + 'static) -> Response {
    let events = async_stream::stream! {
        let mut values = Box::pin(values);
        while let Some(value) = futures_util::StreamExt::next(&mut values).await {
            yield Ok::<_, Infallible>(Event::default().data(value.to_string()));
        }
        yield Ok(Event::default().data("[DONE]"));
    };
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
