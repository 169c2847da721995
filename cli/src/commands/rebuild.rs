//! `cairn rebuild`: delete projections and make them again from the ledger; prints each one's digest.

use super::{Outcome, done, print_json};
use crate::Globals;
use crate::render::progress;
use crate::render::table::Table;
use cairn_processors::Context;
use cairn_projections::Choice;

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

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    // Before anything is opened: a mistyped engine changes nothing.
    let engine = match args.engine.as_deref().map(str::parse).transpose()? {
        Some(Choice::Always(engine)) => Some(engine),
        Some(Choice::BySize) | None => None,
    };
    let context = super::writer_as_it_is(globals)?;
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let bar = progress::bar(globals.json);
    // They are filled together: the bar shows the one that is least far.
    let mut reached = std::collections::BTreeMap::new();
    context.projections().rebuild_on(engine, &names, &mut |name, done, total| {
        reached.insert(name.to_owned(), done);
        bar.set_length(total);
        if let Some((name, done)) = reached.iter().min_by_key(|(_, done)| **done) {
            bar.set_position(*done);
            bar.set_message(name.clone());
        }
    })?;
    bar.finish_and_clear();
    super::catch_up(&context)?;
    print_digests(globals, &context)
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
