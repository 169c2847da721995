//! Answers that are read in parts. Whoever asks how long an answer is, or for a range of it (RFC 9110), is given a file
//! of it, which stays for a while for the parts that follow: they must be of one answer. polars and DuckDB read URLs so.

use super::arguments::Arguments;
use super::format::Format;
use super::table::Table;
use super::{answer, ask, past};
use crate::problem::{Kind, Problem};
use crate::state::{App, spawned};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cairn_schemas::Position;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Bytes of an answer that is read in parts.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of all files, those included that a reader still holds.
const FILES_BYTES_MAX: u64 = 4 << 30;
/// How long a file stays after its last use.
const KEPT: Duration = Duration::from_secs(60);
/// Bytes read from a file at a time.
const CHUNK_BYTES: u64 = 256 << 10;
/// Bytes of its digest in an ETag.
const TAG_BYTES: usize = 12;

/// The answers that are kept.
#[derive(Default)]
pub(crate) struct Spools {
    kept: Mutex<Vec<Arc<Spool>>>,
    /// Held by whoever makes a file: one at a time.
    making: Arc<tokio::sync::Mutex<()>>,
    bytes: Arc<AtomicU64>,
}

/// An answer as a file without a name, which goes away with this.
struct Spool {
    /// The question.
    key: String,
    position: Option<Position>,
    covered: Value,
    file: File,
    bytes: u64,
    /// The position and the beginning of the content's digest: equal for equal bytes.
    tag: String,
    used: Mutex<Instant>,
    all_bytes: Arc<AtomicU64>,
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is wanted of an answer beside all of its bytes, in order.
pub(super) struct Wanted {
    part: Part,
    /// Only of the answer with this ETag.
    if_match: Option<String>,
    /// The part only if the ETag is this one, else the whole.
    if_range: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// How long it is.
    Whole,
    /// From the first to the last byte, both included.
    From(u64, Option<u64>),
    /// So many bytes at its end.
    Last(u64),
}

impl Wanted {
    /// `None`: all of it. Several ranges in one request are answered by the whole, as RFC 9110 allows.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let part = match *method == Method::HEAD {
            true => Part::Whole,
            false => Part::of(text(header::RANGE)?)?,
        };
        let [if_match, if_range] = [header::IF_MATCH, header::IF_RANGE].map(|name| text(name).map(str::to_owned));
        Some(Self { part, if_match: if_match.filter(|tag| tag != "*"), if_range })
    }

    /// Whether this goes on with what was begun: who reads a file asks for its length or its end first.
    fn goes_on(&self) -> bool {
        matches!(self.part, Part::From(..)) || self.if_match.is_some()
    }
}

impl Part {
    fn of(range: &str) -> Option<Self> {
        let (first, last) = range.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
        match (first, last) {
            ("", last) => last.parse().ok().map(Part::Last),
            (first, "") => first.parse().ok().map(|first| Part::From(first, None)),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Part::From(first, Some(last)))
            }
        }
    }

    /// The bytes of an answer of this length; `None`: it has none of them.
    fn range(self, bytes: u64) -> Option<Range<u64>> {
        let range = match self {
            Part::Whole => return Some(0..bytes),
            Part::From(first, last) => first..last.map_or(bytes, |last| last.saturating_add(1)).min(bytes),
            Part::Last(count) => bytes.saturating_sub(count)..bytes,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Answers with a length, or a part.
pub(super) async fn read(
    app: App,
    table: &'static Table,
    format: Format,
    arguments: Arguments,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let key = format!("{}.{} {}", table.name, format.extension(), arguments.key());
    let found = match wanted.goes_on() {
        true => app.spools.newest(&key, &wanted),
        false => None,
    };
    let spool = match found {
        Some(spool) => spool,
        None => match make(&app, table, format, arguments, key).await {
            Ok(spool) => spool,
            // Its length is not known, and it is answered all the same.
            Err(problem) if problem.kind == Kind::TooLarge && wanted.part == Part::Whole => {
                let mut response =
                    Response::new(Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>()));
                response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
                return Ok(response);
            }
            Err(problem) => return Err(problem),
        },
    };
    spool.answer(table, format, &wanted)
}

/// The file of the answer as it is now: the one that is kept, where nothing was recorded since, or a new one.
async fn make(
    app: &App,
    table: &'static Table,
    format: Format,
    arguments: Arguments,
    key: String,
) -> Result<Arc<Spool>, Problem> {
    let making = app.spools.making.clone().lock_owned().await;
    let (as_of, reached) = past(app, table, &arguments).await?;
    if let Some(spool) = app.spools.at(&key, as_of.or(reached)) {
        return Ok(spool);
    }
    let asked = ask(app, table, format, arguments).await?;
    if !app.ctx.ledger().has_room_for_derived() {
        return Err(
            Problem::new(Kind::DiskFull, "the disk is nearly full: no answer is given in parts").retry_after(30)
        );
    }
    app.spools.make_room()?;
    let work = app.clone();
    let spool = spawned(move || {
        let _making = making;
        let (position, covered) = (asked.position, asked.covered.clone());
        let file = Counted::new(work.ctx.data_dir(), work.stopping.clone()).map_err(super::pipe::failed)?;
        let (file, bytes, digest) = asked.encode(&work, file)?.finish().map_err(super::pipe::failed)?;
        let tag = format!("\"{}-{digest}\"", position.map_or(0, Position::get));
        let (used, all_bytes) = (Mutex::new(Instant::now()), work.spools.bytes.clone());
        all_bytes.fetch_add(bytes, Ordering::Relaxed);
        let spool = Arc::new(Spool { key, position, covered, file, bytes, tag, used, all_bytes });
        work.spools.kept().push(spool.clone());
        Ok(spool)
    })
    .await?;
    tokio::spawn(forget(app.spools.clone(), spool.clone()));
    Ok(spool)
}

/// Lets go of a file that nobody has used for a while.
async fn forget(spools: Arc<Spools>, spool: Arc<Spool>) {
    loop {
        let idle = spool.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let Some(left) = KEPT.checked_sub(idle).filter(|left| !left.is_zero()) else { break };
        tokio::time::sleep(left).await;
    }
    spools.kept().retain(|kept| !Arc::ptr_eq(kept, &spool));
}

impl Spools {
    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Spool>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last that was made for a question, or the one that is named.
    fn newest(&self, key: &str, wanted: &Wanted) -> Option<Arc<Spool>> {
        let takes = |spool: &&Arc<Spool>| {
            spool.key == key && wanted.if_match.as_ref().is_none_or(|tag| tag.contains(&spool.tag))
        };
        self.kept().iter().rev().find(takes).cloned()
    }

    fn at(&self, key: &str, position: Option<Position>) -> Option<Arc<Spool>> {
        self.kept().iter().rev().find(|spool| spool.key == key && spool.position == position).cloned()
    }

    /// Lets go of those that were used least lately, until one more has room.
    fn make_room(&self) -> Result<(), Problem> {
        let mut kept = self.kept();
        while self.bytes.load(Ordering::Relaxed) + FILE_BYTES_MAX > FILES_BYTES_MAX {
            let used = |at: &usize| *kept[*at].used.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(oldest) = (0..kept.len()).min_by_key(used) else {
                let busy = "too many large answers are being read in parts; ask again later";
                return Err(Problem::new(Kind::Busy, busy).retry_after(5));
            };
            kept.remove(oldest);
        }
        Ok(())
    }
}

impl Spool {
    fn answer(self: Arc<Self>, table: &Table, format: Format, wanted: &Wanted) -> Result<Response, Problem> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if wanted.if_match.as_ref().is_some_and(|tag| !tag.contains(&self.tag)) {
            let detail = format!("the answer is {} now; read it from its beginning, or as of a position", self.tag);
            return Err(Problem::new(Kind::Changed, detail));
        }
        let is_other = wanted.if_range.as_ref().is_some_and(|tag| *tag != self.tag);
        let part = if is_other { Part::Whole } else { wanted.part };
        let bytes = self.bytes;
        let Some(range) = part.range(bytes) else {
            let detail = format!("the answer has {bytes} bytes; ask for some of them");
            let mut response = Problem::new(Kind::OutOfRange, detail).into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, text(format!("bytes */{bytes}")));
            return Ok(response);
        };
        let (covered, tag) = (self.covered.clone(), text(self.tag.clone()));
        let mut response = answer(table, format, &covered, body(self, range.clone()));
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag);
        headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
        if part != Part::Whole {
            headers.insert(header::CONTENT_RANGE, text(format!("bytes {}-{}/{bytes}", range.start, range.end - 1)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }

    fn chunk(&self, from: u64, bytes: u64) -> io::Result<Bytes> {
        let mut chunk = vec![0; bytes as usize];
        self.file.read_exact_at(&mut chunk, from)?;
        Ok(chunk.into())
    }
}

fn body(spool: Arc<Spool>, range: Range<u64>) -> Body {
    Body::from_stream(async_stream::stream! {
        let mut from = range.start;
        while from < range.end {
            let (spool, bytes) = (spool.clone(), CHUNK_BYTES.min(range.end - from));
            let chunk = tokio::task::spawn_blocking(move || spool.chunk(from, bytes)).await;
            let chunk = chunk.unwrap_or_else(|error| Err(io::Error::other(error)));
            from = if chunk.is_ok() { from + bytes } else { range.end };
            yield chunk;
        }
    })
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and signs can stand in a header")
}

/// A file that is counted and digested while it is written.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
    digest: Sha256,
    stopping: watch::Receiver<bool>,
}

impl Counted {
    fn new(folder: &std::path::Path, stopping: watch::Receiver<bool>) -> io::Result<Self> {
        let file = BufWriter::with_capacity(CHUNK_BYTES as usize, tempfile::tempfile_in(folder)?);
        Ok(Self { file, bytes: 0, digest: Sha256::new(), stopping })
    }

    fn finish(self) -> io::Result<(File, u64, String)> {
        let digest = self.digest.finalize();
        let digest = digest[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((self.file.into_inner()?, self.bytes, digest))
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if *self.stopping.borrow() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server is stopping"));
        }
        if self.bytes + bytes.len() as u64 > FILE_BYTES_MAX {
            let detail = format!(
                "the answer has more than {} MiB, which cannot be read in parts; ask for all of it, in order, or for less",
                FILE_BYTES_MAX >> 20
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, detail));
        }
        let taken = self.file.write(bytes)?;
        self.digest.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_as_rfc_9110_has_it() {
        for (range, part) in [
            ("bytes=0-0", Some(Part::From(0, Some(0)))),
            ("bytes=5-", Some(Part::From(5, None))),
            ("bytes=-7", Some(Part::Last(7))),
            ("bytes=9-5", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(Part::of(range), part, "{range}");
        }
        let range = |part: Part| part.range(10);
        assert_eq!(range(Part::From(2, Some(4))), Some(2..5));
        assert_eq!(range(Part::From(2, Some(u64::MAX))), Some(2..10));
        assert_eq!(
            (range(Part::Last(3)), range(Part::Last(99)), range(Part::Last(0))),
            (Some(7..10), Some(0..10), None)
        );
        assert_eq!((range(Part::From(10, None)), range(Part::Whole)), (None, Some(0..10)));
        assert_eq!((Part::Whole.range(0), Part::Last(5).range(0)), (Some(0..0), None));
    }
}
