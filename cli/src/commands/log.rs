//! `cairn log`: print events, from a position on, and follow; `cairn log export-tiles`: the log for outside verifiers.

use super::{Outcome, done, print_json};
use crate::Globals;
use cairn_ledger::Ledger;
use cairn_processors::Cancel;
use cairn_schemas::{Event, Position, Recorded, TenantId};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const PAGE_EVENTS: usize = 512;
/// How often a follower of another process's ledger looks again.
const POLL: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// First position.
    #[arg(long, default_value = "1", value_name = "N")]
    from: Position,
    /// Go on with new events as they come.
    #[arg(long)]
    follow: bool,
    /// Only types that contain this text: `training`, `checkpoint_saved`.
    #[arg(long = "type", value_name = "T")]
    event_type: Option<String>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Write the log as static tiles, entry bundles and a signed checkpoint (C2SP tlog-tiles), or bring them up to date.
    ExportTiles(ExportTiles),
}

#[derive(clap::Args)]
struct ExportTiles {
    /// An absent or empty folder, or an earlier export of this log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[arg(long, default_value_t, value_name = "T")]
    tenant: TenantId,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if !globals.data.is_dir() {
        return Err(cairn_processors::Error::NoData { path: globals.data.clone() }.into());
    }
    match &args.action {
        Some(Action::ExportTiles(to)) => export_tiles(globals, to),
        None => print(globals, args),
    }
}

fn export_tiles(globals: &Globals, to: &ExportTiles) -> Outcome {
    let ledger = Ledger::open_read_only(&globals.data)?;
    let signed = cairn_ledger::export_tiles(&ledger, &to.tenant, &to.dir)?;
    let key = ledger.verifier_key(&to.tenant).expect("a log that was exported has a key");
    if globals.json {
        print_json(&serde_json::json!({
            "to": to.dir, "origin": signed.checkpoint.origin, "size": signed.checkpoint.size,
            "root": signed.checkpoint.root, "verifier_key": key,
        }));
    } else {
        say!("{} events of {} written to {}", signed.checkpoint.size, signed.checkpoint.origin, to.dir.display());
        say!("  root {}", signed.checkpoint.root);
        say!("  signed by {key}");
    }
    done()
}

fn print(globals: &Globals, args: &Args) -> Outcome {
    let tenant = TenantId::default();
    let cancel = Cancel::default();
    let mut next = args.from;
    let mut ledger = Ledger::open_read_only(&globals.data)?;
    if args.follow {
        let stop = cancel.clone();
        ctrlc::set_handler(move || stop.cancel())?;
    }
    let mut out = std::io::stdout().lock();
    loop {
        let page = ledger.read(&tenant, next, PAGE_EVENTS)?;
        for event in &page {
            next = event.position.next().unwrap_or(event.position);
            if args.event_type.as_ref().is_some_and(|t| !event.event.type_name().contains(t.as_str())) {
                continue;
            }
            if let Err(error) = writeln!(out, "{}", line(globals, event)) {
                // The reader of a pipe went away: that is how `| head` ends.
                return if error.kind() == std::io::ErrorKind::BrokenPipe { done() } else { Err(error.into()) };
            }
        }
        if page.is_empty() {
            if !args.follow || cancel.is_cancelled() {
                return done();
            }
            out.flush()?;
            std::thread::sleep(POLL);
            ledger = Ledger::open_read_only(&globals.data)?;
        }
    }
}

fn line(globals: &Globals, event: &Recorded) -> String {
    if globals.json {
        return event.to_cloudevent();
    }
    let name = event.event.type_name().trim_start_matches("cairn.");
    format!("{:>8}  {}  {:<34} {}  {}", event.position, event.recorded_at, name, event.stream, gist(&event.event))
}

/// The few words that tell one event from its neighbours.
fn gist(event: &Event) -> String {
    match event {
        Event::StepLogged(e) => {
            let metrics: Vec<String> =
                e.metrics.iter().take(3).map(|m| format!("{}={:.4}", m.name, m.value.0)).collect();
            format!("step {} {}", e.step, metrics.join(" "))
        }
        Event::CheckpointSaved(e) => format!("step {} state {}", e.step, &e.state_digest.to_hex()[..16]),
        Event::CheckpointListed(e) => format!("step {} at {}", e.step, e.location),
        Event::RunImported(e) => format!("by {}{}", e.importer, if e.is_placeholder { ", a placeholder" } else { "" }),
        Event::DocumentRejected(e) => format!("{}: {}", e.rule, e.detail),
        Event::DocumentIngested(e) => e.source_uri.clone(),
        Event::JobStarted(e) => format!("{} `{}` attempt {}", e.kind, e.name, e.attempt),
        Event::JobFailed(e) => e.error.clone(),
        Event::GateEvaluated(e) => format!("{} {:?}", e.gate, e.outcome),
        Event::Promoted(e) => format!("{} weights {}", e.model, &e.weights_digest.to_hex()[..16]),
        Event::RolledBack(e) => format!("{} weights {}", e.model, &e.weights_digest.to_hex()[..16]),
        _ => String::new(),
    }
}
