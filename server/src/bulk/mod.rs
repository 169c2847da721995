//! Bulk reads: millions of rows at once as Arrow, Parquet, CSV or JSON lines, in the same memory whatever their number.
//! A table is planned first, so that what is wrong with a question is answered before anything is sent; then its batches
//! are encoded as they are read, and the reader sets the pace.

mod arguments;
mod curves;
mod evals;
mod format;
mod pipe;
mod rows;
mod runs;
mod spool;
mod table;

use crate::problem::{Kind, Problem};
use crate::state::{App, spawned};
use crate::traces::TARGET;
use arguments::Arguments;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cairn_projections::ProjectionState;
use cairn_schemas::Position;
use format::{Encoder, Format};
use pipe::Pipe;
use spool::Wanted;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use table::{Rows, Table, When};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use spool::Spools;

/// Bulk reads at a time; a further one is told to come again.
pub(crate) const READS_MAX: usize = 4;
/// The answer holds every event up to this position.
const POSITION_HEADER: &str = "cairn-position";
/// Size and root of the tree that a checkpoint over that position signs.
const CHECKPOINT_HEADER: &str = "cairn-checkpoint";
/// Bytes of a question's body.
const BODY_BYTES_MAX: usize = 4 << 20;

/// The tables, each in every format.
const TABLES: [&Table; 3] = [&curves::TABLE, &evals::TABLE, &runs::TABLE];

/// `/v1/<table>.<format>`, by GET with arguments in the URL or by POST with the same in a JSON object.
pub(crate) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    App: axum::extract::FromRef<S>,
{
    let mut router = Router::new();
    for table in TABLES {
        for format in Format::ALL {
            let short = move |State(app): State<App>,
                              method: Method,
                              headers: HeaderMap,
                              query: Result<Query<Vec<(String, String)>>, QueryRejection>| async move {
                let Query(pairs) = query.map_err(|e| Problem::malformed(e.body_text()))?;
                let arguments = Arguments::of_pairs(table, pairs)?;
                match Wanted::of(&method, &headers) {
                    Some(wanted) => spool::read(app, table, format, arguments, wanted).await,
                    None => read(app, table, format, arguments).await,
                }
            };
            let long = move |State(app): State<App>, request: Request| async move {
                let body = crate::events::body(request, BODY_BYTES_MAX).await?;
                read(app, table, format, Arguments::of_json(table, &body)?).await
            };
            router = router.route(&format!("/v1/{}.{}", table.name, format.extension()), get(short).post(long));
        }
    }
    router
}

/// The routes as a reader is told of them.
pub(crate) fn named() -> String {
    let tables: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
    let formats: Vec<&str> = Format::ALL.iter().map(|format| format.extension()).collect();
    format!("/v1/{{{}}}.{{{}}}", tables.join(","), formats.join(","))
}

/// A question that was found right: what its answer covers, and what is to be read.
struct Asked {
    table: &'static Table,
    format: Format,
    position: Option<Position>,
    covered: serde_json::Value,
    planned: Box<dyn Rows>,
    /// One of the bulk reads at a time, and when it began.
    turn: OwnedSemaphorePermit,
    begun: Instant,
}

/// The position that an answer is as of, where a past one was asked for; and the last one that can be answered for.
async fn past(
    app: &App,
    table: &Table,
    arguments: &Arguments,
) -> Result<(Option<Position>, Option<Position>), Problem> {
    let at_least = arguments.at_least()?;
    if let Some(position) = at_least {
        app.wait_for(position).await?;
    }
    let as_of = match arguments.as_of()? {
        Some(as_of) => {
            let position = app.read(move |ctx| Ok(ctx.ledger().resolve(ctx.tenant(), as_of)?)).await?;
            app.wait_for(position).await?;
            Some(position)
        }
        None => None,
    };
    Ok((as_of, reached(app, table, as_of.max(at_least))?))
}

async fn ask(app: &App, table: &'static Table, format: Format, arguments: Arguments) -> Result<Asked, Problem> {
    let turn = app.begin_bulk()?;
    let begun = Instant::now();
    let (as_of, reached) = past(app, table, &arguments).await?;
    // Every table is read as of one position, so that all of its rows are of one age.
    let position = as_of.or(reached);
    let covered = app.covered_json(position).await;
    let (ctx, when) = (app.ctx.clone(), When { position, is_past: as_of.is_some() });
    let planned = spawned(move || (table.plan)(&ctx, &arguments, when)).await?;
    Ok(Asked { table, format, position, covered, planned, turn, begun })
}

/// Streams an answer.
async fn read(app: App, table: &'static Table, format: Format, arguments: Arguments) -> Result<Response, Problem> {
    let asked = ask(&app, table, format, arguments).await?;
    let (pipe, body) = Pipe::new(app.stopping.clone());
    let answer = answer(table, format, &asked.covered, body);
    let request = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let _request = request.entered();
        let breaker = pipe.breaker();
        if let Err(problem) = asked.encode(&app, pipe) {
            breaker.break_off(&problem);
        }
    });
    Ok(answer)
}

impl Asked {
    /// Encodes all rows into `out`, which is given back; on a thread that may block. An error after the first byte must
    /// break a transfer off, so that no reader takes a part for the whole.
    fn encode<W: Write + Send>(self, app: &App, out: W) -> Result<W, Problem> {
        let Asked { table, format, covered, planned, turn, begun, .. } = self;
        let span = tracing::info_span!(target: TARGET, "bulk read", table = table.name, format = format.extension());
        let (_turn, _span) = (turn, span.entered());
        let schema = table::with_coverage(planned.schema(), &covered);
        let mut rows = 0;
        let encoded = Encoder::new(format, out, Arc::new(schema)).and_then(|mut encoder| {
            planned.send(&app.ctx, &mut |batch| {
                rows += batch.num_rows() as u64;
                encoder.write(&batch)
            })?;
            encoder.finish()
        });
        let (rows, word) = match &encoded {
            Ok(_) => (rows, "answered"),
            Err(problem) if problem.kind == Kind::Unavailable => (0, "left"),
            Err(problem) => {
                tracing::error!(problem = problem.detail, "a bulk read was broken off");
                (0, "failed")
            }
        };
        app.telemetry.read_in_bulk(table.name, format.extension(), rows, word, begun.elapsed());
        encoded
    }
}

/// The last position that a table's projection covers. One that stopped before `needed` says so: waiting does not help.
fn reached(app: &App, table: &Table, needed: Option<Position>) -> Result<Option<Position>, Problem> {
    let statuses = app.ctx.projections().status();
    let status = statuses.into_iter().find(|status| status.name == table.projection);
    let status = status.ok_or_else(|| Problem::internal(format!("there is no projection {}", table.projection)))?;
    if status.watermark < needed {
        let (covered, needed) = (status.watermark.map_or(0, Position::get), needed.map_or(0, Position::get));
        let why = match status.state {
            ProjectionState::Stopped { position, error } => format!("stopped at position {position}: {error}"),
            _ => "is being rebuilt".to_owned(),
        };
        let detail = format!("projection {} covers {covered} of {needed} events, and {why}", status.name);
        return Err(Problem::new(Kind::NotCaughtUp, detail).retry_after(5));
    }
    Ok(status.watermark)
}

fn answer(table: &Table, format: Format, covered: &serde_json::Value, body: Body) -> Response {
    let checkpoint = &covered["checkpoint"];
    let checkpoint = match checkpoint["root"].as_str() {
        Some(root) => format!("{} {root}", checkpoint["size"]),
        None => "none".to_owned(),
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), format.media_type().to_owned()),
        (
            header::CONTENT_DISPOSITION.as_str(),
            format!("attachment; filename=\"{}.{}\"", table.name, format.extension()),
        ),
        (header::ACCEPT_RANGES.as_str(), "bytes".to_owned()),
        (POSITION_HEADER, covered["position"].as_u64().unwrap_or(0).to_string()),
        (CHECKPOINT_HEADER, checkpoint),
    ];
    (headers, body).into_response()
}
