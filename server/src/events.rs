//! `POST /v1/events`: CloudEvents in; `GET /v1/events`: CloudEvents out, for readers that want no GraphQL.

use crate::cursor;
use crate::filter::Filter;
use crate::log;
use crate::problem::{Kind, Problem};
use crate::state::{App, READ_EVENTS_MAX};
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cairn_ledger::{Appended, Batch, Expectation};
use cairn_schemas::cloudevent::{BATCH, STRUCTURED, percent_decoded};
use cairn_schemas::{BATCH_BYTES_MAX, NewEvent, Position, Recorded};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a refused body that are read and thrown away.
const DRAINED_BYTES_MAX: usize = 64 << 20;
/// Events of one page that a reader gets.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// Positions looked at for one page, where a filter drops most of them.
const SCAN_MAX: usize = 50_000;
/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Where the next page begins; pass it as `from`.
const CURSOR_HEADER: &str = "cairn-cursor";
/// Position of the last event of the log when the page was read.
const HEAD_HEADER: &str = "cairn-head";

/// Longest wait for room and for the disk, where a producer does not say `Prefer: wait=<seconds>`.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait that it may ask for.
const DEADLINE_SECONDS_MAX: u64 = 300;
/// `<stream>=<version>`, percent-encoded: a stream that the batch rests on without writing to it. May be repeated.
const EXPECT_HEADER: &str = "cairn-expect";

/// What a producer may ask of an append.
#[derive(Deserialize)]
pub(crate) struct AppendQuery {
    /// Whether the answer carries each event's inclusion proof and the signed checkpoint that it leads to.
    #[serde(default)]
    proof: bool,
}

/// Records one event or a batch. 201 where anything was new, 200 where everything was known already.
pub(crate) async fn append(
    State(app): State<App>,
    query: Result<Query<AppendQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(AppendQuery { proof }) = match query {
        Ok(query) => query,
        Err(e) => {
            let problem = Problem::malformed(format!("{}; ask ?proof=true or ?proof=false", e.body_text()));
            return Err(drained(request, problem).await);
        }
    };
    let begun = match begin(request.headers()) {
        Ok(begun) => app.begin_append(announced_bytes(&request), begun.deadline).await.map(|room| (room, begun)),
        Err(problem) => Err(problem),
    };
    let (_room, Begun { mode, deadline, expectations }) = match begun {
        Ok(begun) => begun,
        Err(problem) => return Err(drained(request, problem).await),
    };
    let headers = request.headers().clone();
    let body = body(request, BATCH_BYTES_MAX).await?;
    let events = parse(mode, &headers, &body)?;
    drop(body);
    let named: Vec<(String, String)> =
        events.iter().map(|e| (e.envelope.source.clone(), e.envelope.id.clone())).collect();
    let appended = app.append(Batch { events, expectations }, deadline).await?;
    let fresh = appended.iter().any(|one| !one.duplicate);
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let mut receipt = receipt(&named, &appended);
    if proof {
        add_proofs(&app, &mut receipt, &appended).await?;
    }
    Ok((status, axum::Json(receipt)).into_response())
}

/// What a producer is told: for each event its position, whether it was known, and where a reader goes on after all.
fn receipt(named: &[(String, String)], appended: &[Appended]) -> serde_json::Value {
    let one = |((source, id), one): (&(String, String), &Appended)| {
        json!({
            "source": source,
            "id": id,
            "position": one.position.get(),
            "stream_version": one.stream_version,
            "recorded_at": one.recorded_at.to_string(),
            "duplicate": one.duplicate,
        })
    };
    let events: Vec<serde_json::Value> = named.iter().zip(appended).map(one).collect();
    let last = appended.iter().map(|one| one.position).max();
    json!({ "events": events, "cursor": cursor::of_position(last) })
}

/// What the headers of an append say.
struct Begun {
    mode: Mode,
    deadline: Instant,
    expectations: Vec<Expectation>,
}

fn begin(headers: &HeaderMap) -> Result<Begun, Problem> {
    let expectations = headers.get_all(EXPECT_HEADER).iter().map(expectation).collect::<Result<_, _>>()?;
    Ok(Begun { mode: mode(headers)?, deadline: Instant::now() + wait(headers)?, expectations })
}

/// The wait that the producer prefers (RFC 7240), or ours.
fn wait(headers: &HeaderMap) -> Result<Duration, Problem> {
    let preferred = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut waits = preferred.flat_map(|value| value.split(',')).filter_map(|word| word.trim().strip_prefix("wait="));
    let Some(given) = waits.next() else { return Ok(DEADLINE) };
    let seconds = given.parse().ok().filter(|seconds| (1..=DEADLINE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let given: String = given.chars().take(40).collect();
        Problem::malformed(format!("Prefer: wait={given} is not a whole number from 1 to {DEADLINE_SECONDS_MAX}"))
    })
}

fn expectation(value: &HeaderValue) -> Result<Expectation, Problem> {
    let text = value.to_str().ok().and_then(|text| percent_decoded(EXPECT_HEADER, text).ok());
    let parts = text.as_deref().and_then(|text| text.rsplit_once('='));
    let parsed = parts.and_then(|(stream, version)| Some((stream.trim().to_owned(), version.trim().parse().ok()?)));
    match parsed {
        Some((stream, version)) if !stream.is_empty() => Ok(Expectation { stream, version }),
        _ => {
            let given: String = String::from_utf8_lossy(value.as_bytes()).chars().take(100).collect();
            let detail =
                format!("{EXPECT_HEADER}: {given} is not <stream>=<version>, percent-encoded, such as run:x=3");
            Err(Problem::malformed(detail))
        }
    }
}

/// The body's length as announced; the longest that is taken where it is not.
fn announced_bytes(request: &Request) -> usize {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX)
}

/// Adds the checkpoint that covers all events, and to each event its proof.
async fn add_proofs(app: &App, receipt: &mut serde_json::Value, appended: &[Appended]) -> Result<(), Problem> {
    let positions = appended.iter().map(|one| one.position).collect();
    let (proofs, signed) = log::proofs(app, positions).await?;
    for (event, proof) in receipt["events"].as_array_mut().into_iter().flatten().zip(&proofs) {
        event["proof"] = log::proof_json(proof);
    }
    receipt["checkpoint"] = signed.note.into();
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Structured,
    Batch,
    Binary,
    /// Plain JSON: an object is one structured event, an array a batch.
    Plain,
}

fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let text = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let media = text.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let charset = text.and_then(|text| {
        text.to_ascii_lowercase().split_once("charset=").map(|(_, set)| set.trim_matches('"').to_owned())
    });
    if let Some(charset) = charset
        && charset != "utf-8"
        && charset != "us-ascii"
    {
        return Err(unsupported(&format!("charset {charset}")));
    }
    let binary = headers.keys().any(|name| name.as_str().starts_with("ce-"));
    match media.as_deref() {
        Some(STRUCTURED) => Ok(Mode::Structured),
        Some(BATCH) => Ok(Mode::Batch),
        None | Some("application/json") if binary => Ok(Mode::Binary),
        Some(media) if binary && media.ends_with("+json") => Ok(Mode::Binary),
        Some("application/json") => Ok(Mode::Plain),
        Some(media) => Err(unsupported(media)),
        None => Err(unsupported("a body without a content-type")),
    }
}

fn unsupported(given: &str) -> Problem {
    let given: String = given.chars().take(100).collect();
    Problem::new(
        Kind::UnsupportedMedia,
        format!(
            "{given} is not supported; send {STRUCTURED}, {BATCH}, application/json, or application/json with ce- headers"
        ),
    )
}

fn parse(mode: Mode, headers: &HeaderMap, body: &[u8]) -> Result<Vec<NewEvent>, Problem> {
    let array = || body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    Ok(match mode {
        Mode::Batch => NewEvent::batch_from_cloudevents(body)?,
        Mode::Plain if array() => NewEvent::batch_from_cloudevents(body)?,
        Mode::Structured | Mode::Plain => vec![NewEvent::from_cloudevent(body)?],
        Mode::Binary => {
            let mut pairs = Vec::new();
            for (name, value) in headers {
                let wanted = name.as_str().starts_with("ce-") || name == header::CONTENT_TYPE;
                if wanted {
                    let value = value.to_str().map_err(|_| {
                        Problem::new(Kind::MalformedEvent, format!("header {name} is not ASCII; percent-encode it"))
                    })?;
                    pairs.push((name.as_str(), value));
                }
            }
            vec![NewEvent::from_binary(pairs, body)?]
        }
    })
}

/// The whole body, at most `bytes_max` of it.
pub(crate) async fn body(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = |given: Option<u64>| {
        let given = given.map_or_else(|| "more".to_owned(), |bytes| format!("{bytes} bytes"));
        Problem::new(
            Kind::TooLarge,
            format!(
                "the body has {given}, at most {bytes_max} bytes are taken; send smaller batches, and large things as artifacts"
            ),
        )
    };
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(drained(request, too_large(length)).await);
    }
    let mut request = request;
    axum::extract::DefaultBodyLimit::max(bytes_max).apply(&mut request);
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large(None)),
        Ok(Err(rejection)) => Err(Problem::malformed(format!("the body could not be read: {}", rejection.body_text()))),
        Err(_) => {
            let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}; send it again");
            Err(Problem::new(Kind::BodyTimeout, detail))
        }
    }
}

/// Reads what the client is still sending, within bounds, so that it comes to read why it was refused.
async fn drained(request: Request, problem: Problem) -> Problem {
    let drain = async {
        let (mut body, mut bytes) = (request.into_body().into_data_stream(), 0);
        while let Some(Ok(chunk)) = body.next().await {
            bytes += chunk.len();
            if bytes > DRAINED_BYTES_MAX {
                break;
            }
        }
    };
    // Whether it was read in time changes nothing: the problem is answered either way.
    let _ = tokio::time::timeout(BODY_TIMEOUT, drain).await;
    problem
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// A position, from which on; or a cursor, after which.
    from: Option<String>,
    limit: Option<String>,
    /// Types, divided by commas; a trailing `*` matches a beginning.
    r#type: Option<String>,
    stream: Option<String>,
    project: Option<String>,
}

/// A page of events as a CloudEvents batch. At the head the page is empty and the cursor stays.
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| {
        Problem::malformed(format!("{}; the parameters are from, limit, type, stream and project", error.body_text()))
    })?;
    let after = query.from.as_deref().map(after).transpose()?.flatten();
    let limit = query.limit.as_deref().map(limit).transpose()?.unwrap_or(PAGE_DEFAULT);
    let types: Vec<String> =
        query.r#type.iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect();
    let filter = Filter::new(&types, query.stream, query.project)?;
    let head = app.head_position();
    let page = scan(&app, after, limit, &filter).await?;
    let mut response = page.body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BATCH));
    let text = |text: String| HeaderValue::from_str(&text).expect("cursors and numbers are ASCII");
    headers.insert(CURSOR_HEADER, text(cursor::of_position(page.seen)));
    headers.insert(HEAD_HEADER, text(head.map_or(0, Position::get).to_string()));
    Ok(response)
}

/// The last position that the reader has seen.
fn after(from: &str) -> Result<Option<Position>, Problem> {
    if from.bytes().all(|b| b.is_ascii_digit()) && !from.is_empty() {
        let position: Position = from.parse().map_err(|e: cairn_schemas::Error| Problem::malformed(e.to_string()))?;
        return Ok(Position::new(position.get() - 1));
    }
    cursor::to_position(from)
}

fn limit(text: &str) -> Result<usize, Problem> {
    let given: Option<usize> = text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
    given.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Problem::malformed(format!("limit `{shown}` is not a whole number from 1 to {PAGE_MAX}"))
    })
}

struct Page {
    body: String,
    seen: Option<Position>,
}

async fn scan(app: &App, after: Option<Position>, limit: usize, filter: &Filter) -> Result<Page, Problem> {
    let (mut seen, mut scanned, mut found) = (after, 0, 0);
    let mut body = String::from("[");
    while found < limit && scanned < SCAN_MAX && body.len() < PAGE_BYTES_MAX {
        let Some(from) = seen.map_or(Some(Position::FIRST), Position::next) else { break };
        let events: Vec<Recorded> = app.events_from(from, READ_EVENTS_MAX).await?;
        if events.is_empty() {
            break;
        }
        for event in events {
            if found == limit || body.len() >= PAGE_BYTES_MAX {
                break;
            }
            (seen, scanned) = (Some(event.position), scanned + 1);
            if filter.matches(&event) {
                if found > 0 {
                    body.push(',');
                }
                body.push_str(&event.to_cloudevent());
                found += 1;
            }
        }
    }
    body.push(']');
    Ok(Page { body, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(pairs: &[(&'static str, &'static str)]) -> Result<Mode, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        mode(&headers).map_err(|problem| problem.kind)
    }

    #[test]
    fn the_mode_follows_from_the_media_type_and_the_attributes() {
        assert_eq!(mode_of(&[("content-type", "application/cloudevents+json; charset=UTF-8")]), Ok(Mode::Structured));
        assert_eq!(mode_of(&[("content-type", "application/cloudevents-batch+json")]), Ok(Mode::Batch));
        assert_eq!(mode_of(&[("content-type", "application/json")]), Ok(Mode::Plain));
        assert_eq!(mode_of(&[("content-type", "application/json"), ("ce-id", "1")]), Ok(Mode::Binary));
        assert_eq!(mode_of(&[("ce-id", "1")]), Ok(Mode::Binary));
        for wrong in
            [&[("content-type", "text/plain")][..], &[], &[("content-type", "application/json; charset=latin1")]]
        {
            assert_eq!(mode_of(wrong), Err(Kind::UnsupportedMedia), "{wrong:?}");
        }
    }

    #[test]
    fn the_wait_and_the_expectations_stand_in_headers() {
        let headers = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            headers
        };
        assert_eq!(wait(&headers("prefer", "return=minimal, wait=7")).unwrap(), Duration::from_secs(7));
        assert_eq!(wait(&HeaderMap::new()).unwrap(), DEADLINE);
        for wrong in ["wait=0", "wait=301", "wait=soon"] {
            assert!(wait(&headers("prefer", wrong)).unwrap_err().detail.contains("from 1 to 300"));
        }
        let said = |value: &'static str| expectation(&HeaderValue::from_static(value));
        let stream = |stream: &str, version| Expectation { stream: stream.to_owned(), version };
        assert_eq!(said("run:x=3").unwrap(), stream("run:x", 3));
        assert_eq!(said("a%20=%3D b=0").unwrap(), stream("a == b", 0));
        for wrong in ["run:x", "=3", "run:x=-1", "run:x=many"] {
            assert!(said(wrong).unwrap_err().detail.contains("<stream>=<version>"), "{wrong}");
        }
    }

    #[test]
    fn from_is_a_position_or_a_cursor() {
        assert_eq!(after("1").unwrap(), None);
        assert_eq!(after("5").unwrap(), Position::new(4));
        assert_eq!(after(&cursor::of_position(Position::new(4))).unwrap(), Position::new(4));
        assert!(after("0").unwrap_err().detail.contains("from 1"));
    }
}
