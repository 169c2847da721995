//! Test program: appends from several threads and says what was acknowledged, so that it can be killed or refused
//! anything at any moment; and checks afterwards, without faults, that all of it is there.
//!
//!     append_under_faults append DIR FIRST THREADS BATCHES [SEGMENT_BYTES EVENT_BYTES]   prints "acknowledged TENANT ID POSITION" lines, then "done"
//!     append_under_faults check  DIR FIRST THREADS BATCHES [SEGMENT_BYTES EVENT_BYTES]   reads those lines; retries everything; verifies
//!
//! `append` ends with 3 where the ledger failed it; `check` ends with 1 where anything that must hold does not.

use cairn_ledger::{Error, Ledger, Options, VerifyOptions, verify};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{NewEvent, Position, RawJson, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const TENANTS: usize = 2;

#[derive(Clone, Copy)]
struct Work {
    first: usize,
    threads: usize,
    batches: usize,
    segment_bytes: usize,
    event_bytes: usize,
}

fn main() -> ExitCode {
    ExitCode::from(run(&std::env::args().skip(1).collect::<Vec<_>>()))
}

pub(crate) fn run(args: &[String]) -> u8 {
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok());
    let (Some(command), Some(dir), Some(first), Some(threads), Some(batches)) =
        (args.first(), args.get(1), number(2), number(3), number(4))
    else {
        eprintln!("usage: append_under_faults append|check DIR FIRST THREADS BATCHES");
        return 2;
    };
    // Small segments and quick checkpoints, so that a short run does everything that a long one does.
    let (segment_bytes, event_bytes) = (number(5).unwrap_or(2 << 10), number(6).unwrap_or(400));
    let (dir, work) = (Path::new(dir), Work { first, threads, batches, segment_bytes, event_bytes });
    match command.as_str() {
        "append" => append(dir, work),
        "check" => check(dir, work),
        other => {
            eprintln!("`append` or `check`, not `{other}`");
            2
        }
    }
}

fn open(dir: &Path, work: Work) -> Result<Ledger, Error> {
    Ledger::open(
        dir,
        Options {
            segment_bytes_max: work.segment_bytes as u64,
            checkpoint_delay: Duration::from_millis(2),
            origin: Some("log.example.com".into()),
            ..Options::default()
        },
    )
}

fn tenant(n: usize) -> TenantId {
    format!("tenant-{n}").parse().expect("a tenant")
}

/// The batch `n` of a thread: the same events whenever it is asked for.
fn batch(thread: usize, n: usize, work: Work) -> (TenantId, Vec<NewEvent>) {
    let event = |part: usize| {
        let text = format!(
            "{{\"text\":\"{}\"}}",
            format!("{thread} {n} {part} ").repeat(1 + work.event_bytes / 20 * ((n + part) % 5))
        );
        let data: RawJson = serde_json::from_str(&text).expect("JSON");
        let payload = CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data };
        let mut event = NewEvent::new("test", &format!("{thread}-{n}-{part}"), payload);
        event.envelope.stream = Some(format!("thread {thread}"));
        event
    };
    (tenant(n % TENANTS), (0..1 + n % 3).map(event).collect())
}

fn append(dir: &Path, work: Work) -> u8 {
    let ledger = match open(dir, work) {
        Ok(ledger) => ledger,
        Err(e) => return failed("opening", &e),
    };
    if say("\nready\n").is_err() {
        return 3;
    }
    let codes: Vec<u8> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..work.threads)
            .map(|thread| {
                let ledger = &ledger;
                scope.spawn(move || append_thread(ledger, thread, work))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(4)).collect()
    });
    drop(ledger);
    match codes.into_iter().find(|code| *code != 0) {
        Some(code) => code,
        None => say("done\n").map_or(3, |()| 0),
    }
}

fn append_thread(ledger: &Ledger, thread: usize, work: Work) -> u8 {
    for n in work.first..work.first + work.batches {
        let (tenant, batch) = batch(thread, n, work);
        let ids: Vec<String> = batch.iter().map(|event| event.envelope.id.clone()).collect();
        let places = match ledger.append(&tenant, batch) {
            Ok(places) => places,
            Err(e) => return failed("appending", &e),
        };
        let lines: String =
            ids.iter().zip(places).map(|(id, at)| format!("acknowledged {tenant} {id} {}\n", at.position)).collect();
        if say(&lines).is_err() {
            return 3;
        }
    }
    0
}

/// One write: a line is told whole or not at all.
fn say(lines: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()
}

fn failed(what: &str, e: &Error) -> u8 {
    eprintln!("{what}: {e}");
    // A disk that fails is no reason to refuse for good.
    if e.is_retryable() { 3 } else { 5 }
}

fn check(dir: &Path, work: Work) -> u8 {
    match find_fault(dir, work) {
        None => 0,
        Some(fault) => {
            eprintln!("VIOLATION: {fault}");
            1
        }
    }
}

fn find_fault(dir: &Path, work: Work) -> Option<String> {
    let mut acknowledged = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("lines of text");
        // A last line without its end was not told.
        let parts: Vec<&str> = line.split(' ').collect();
        if let ["acknowledged", tenant, id, position] = parts[..] {
            acknowledged.insert((tenant.to_owned(), id.to_owned(), position.parse::<u64>().expect("a position")));
        }
    }
    // Before its marker stands, the directory is no ledger yet.
    if dir.join("ledger").exists() {
        if let Some(fault) = verified(dir) {
            return Some(format!("before it was opened: {fault}"));
        }
        if let Err(e) = Ledger::open_read_only(dir) {
            return Some(format!("opening to read: {e}"));
        }
    }
    let ledger = match open(dir, work) {
        Ok(ledger) => ledger,
        Err(e) => return Some(format!("opening: {e}")),
    };
    if let Some(fault) = missing(&ledger, &acknowledged) {
        return Some(fault);
    }
    for n in work.first..work.first + work.batches {
        for thread in 0..work.threads {
            let (tenant, batch) = batch(thread, n, work);
            if let Err(e) = ledger.append(&tenant, batch) {
                return Some(format!("retrying batch {n} of thread {thread}: {e}"));
            }
        }
    }
    if let Some(fault) = missing(&ledger, &acknowledged) {
        return Some(format!("after the retries: {fault}"));
    }
    drop(ledger);
    verified(dir).map(|fault| format!("after the retries: {fault}"))
}

/// An acknowledged event that is not at its place, or any event that is there twice or out of order.
fn missing(ledger: &Ledger, acknowledged: &BTreeSet<(String, String, u64)>) -> Option<String> {
    let mut places = BTreeMap::new();
    for tenant in ledger.tenants() {
        let (mut from, mut last) = (Position::FIRST, BTreeMap::new());
        loop {
            let events = match ledger.read(&tenant, from, 1000) {
                Ok(events) => events,
                Err(e) => return Some(format!("reading: {e}")),
            };
            let Some(end) = events.last() else { break };
            from = end.position.next().expect("few events");
            for event in events {
                let place = (tenant.to_string(), event.id.clone());
                if places.insert(place, event.position.get()).is_some() {
                    return Some(format!("{} is recorded twice", event.id));
                }
                let (_, order) = event.id.split_once('-').expect("thread-batch-part");
                let order: Vec<usize> = order.split('-').map(|n| n.parse().expect("numbers")).collect();
                if last.insert(event.stream, order.clone()).is_some_and(|before| before >= order) {
                    return Some(format!("{} is out of order", event.id));
                }
            }
        }
    }
    acknowledged.iter().find_map(|(tenant, id, position)| {
        let found = places.get(&(tenant.clone(), id.clone()));
        (found != Some(position))
            .then(|| format!("{id} of {tenant} was acknowledged at {position}, it is at {found:?}"))
    })
}

fn verified(dir: &Path) -> Option<String> {
    match verify(dir, &VerifyOptions::default()) {
        Err(e) => Some(format!("verifying: {e}")),
        Ok(report) => report.damage.first().map(|damage| damage.to_string()),
    }
}
