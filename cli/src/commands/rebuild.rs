//! `cairn rebuild`: delete projections and make them again from the ledger; prints each one's digest.

use super::{Outcome, done, print_json};
use crate::Globals;
use crate::render::progress;
use crate::render::table::Table;
use cairn_processors::Context;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these: curves, evals, catalog, lineage.
    #[arg(value_name = "PROJECTION")]
    names: Vec<String>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = super::writer(globals)?;
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let bar = progress::bar(globals.json);
    context.projections().rebuild(&names, &mut |name, done, total| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(name.to_owned());
    })?;
    bar.finish_and_clear();
    print_digests(globals, &context)
}

pub(crate) fn print_digests(globals: &Globals, context: &Context) -> Outcome {
    let digests = context.projections().digests()?;
    if globals.json {
        let one = |(name, watermark, digest): &(String, u64, String)| serde_json::json!({ "name": name, "watermark": watermark, "digest": digest });
        print_json(&digests.iter().map(one).collect());
        return done();
    }
    let mut table = Table::new(&["projection", "watermark", "digest of the sorted rows"]);
    for (name, watermark, digest) in digests {
        table.row([name, watermark.to_string(), digest]);
    }
    say_raw!("{table}");
    done()
}
