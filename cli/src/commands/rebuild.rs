//! `cairn rebuild`: make projections again from the ledger, and print each one's digest; beside a server, have the server
//! do it while it answers on.

use super::{Outcome, done, print_json};
use crate::beside::{self, Server};
use crate::render::progress;
use crate::render::table::Table;
use crate::{Globals, exit};
use cairn_processors::Context;
use cairn_projections::Choice;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a server is asked how far it is.
const TICK: Duration = Duration::from_millis(500);
const PROGRESS: &str = "{ projections { name state rebuildDone rebuildTotal } }";
const REBUILD: &str = "mutation($projections: [String!], $engine: String) { rebuild(projections: $projections, engine: \
                       $engine) { name version engine watermark state } }";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these: curves, evals, catalog, lineage.
    #[arg(value_name = "PROJECTION")]
    names: Vec<String>,
    /// Makes the new stores on this engine: sled or fjall. Without it they go by CAIRN_STORE, and where that is not set
    /// by the length of the log.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
}

/// How far each is: they are filled together, and the bar shows the one that is least far.
struct Progress {
    bar: ProgressBar,
    reached: BTreeMap<String, u64>,
}

impl Progress {
    fn of(globals: &Globals) -> Self {
        Self { bar: progress::bar(globals.json), reached: BTreeMap::new() }
    }
    fn tell(&mut self, name: &str, done: u64, total: u64) {
        self.reached.insert(name.to_owned(), done);
        self.bar.set_length(total);
        if let Some((name, done)) = self.reached.iter().min_by_key(|(_, done)| **done) {
            self.bar.set_position(*done);
            self.bar.set_message(name.clone());
        }
    }
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    // Before anything is opened: a mistyped engine changes nothing.
    let engine = match args.engine.as_deref().map(str::parse).transpose()? {
        Some(Choice::Always(engine)) => Some(engine),
        Some(Choice::BySize) | None => None,
    };
    let context = match super::writer_as_it_is(globals) {
        Ok(context) => context,
        Err(error) => return beside_its_holder(globals, args, error),
    };
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let mut progress = Progress::of(globals);
    context.projections().rebuild_on(engine, &names, &mut |name, done, total| progress.tell(name, done, total))?;
    progress.bar.finish_and_clear();
    super::catch_up(&context)?;
    print_digests(globals, &context)
}

fn beside_its_holder(globals: &Globals, args: &Args, error: anyhow::Error) -> Outcome {
    let Some(holder) = beside::holder(&error) else { return Err(error) };
    let Some(server) = Server::of(&holder) else {
        let message = format!(
            "{error}; it is no server, so nothing can be rebuilt beside it: give `cairn rebuild` again when it has ended \
             (beside `cairn serve`, `cairn rebuild` has the server do it)"
        );
        return Err(exit::Coded { code: exit::HELD, message }.into());
    };
    let rebuilt = beside::block_on(ask(globals, args, &server))?;
    if globals.json {
        print_json(&rebuilt);
        return done();
    }
    say!("rebuilt by the server at {}, which answered meanwhile", server.url);
    let mut table = Table::new(&["projection", "watermark", "engine", "version", "state"]);
    for row in rebuilt.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_lowercase);
        table.row(["name", "watermark", "engine", "version", "state"].map(text));
    }
    say_raw!("{table}");
    done()
}

/// Has the server rebuild, and shows meanwhile how far it is.
async fn ask(globals: &Globals, args: &Args, server: &Server) -> anyhow::Result<Value> {
    let mut progress = Progress::of(globals);
    let projections = (!args.names.is_empty()).then_some(&args.names);
    let rebuilding = server.make(REBUILD, json!({ "projections": projections, "engine": args.engine }));
    tokio::pin!(rebuilding);
    let rebuilt = loop {
        tokio::select! {
            rebuilt = &mut rebuilding => break rebuilt,
            () = tokio::time::sleep(TICK) => {}
        }
        let Ok((data, _)) = server.ask(PROGRESS).await else { continue };
        for row in data["projections"].as_array().into_iter().flatten() {
            if let (Some(done), Some(total)) = (row["rebuildDone"].as_u64(), row["rebuildTotal"].as_u64()) {
                progress.tell(row["name"].as_str().unwrap_or_default(), done, total);
            }
        }
    };
    progress.bar.finish_and_clear();
    Ok(rebuilt?["rebuild"].clone())
}

pub(crate) fn print_digests(globals: &Globals, context: &Context) -> Outcome {
    let digests = context.projections().digests()?;
    if globals.json {
        let one = |(name, watermark, digest): &(String, u64, String)| serde_json::json!({ "name": name, "watermark": watermark, "digest": digest });
        print_json(&digests.iter().map(one).collect());
        return done();
    }
    let mut table = Table::new(&["projection", "watermark", "digest of the content"]);
    for (name, watermark, digest) in digests {
        table.row([name, watermark.to_string(), digest]);
    }
    say_raw!("{table}");
    done()
}
