//! `cairn init PATH…`: look at the data and write a commented pipeline that runs unedited.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use anyhow::Context as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files or folders: JSONL, JSON, CSV, Markdown, text.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where to write the pipeline; `-` for standard output.
    #[arg(short, long, default_value = "pipeline.yaml", value_name = "FILE")]
    output: PathBuf,
    /// Overwrite the file.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let to_stdout = args.output.as_os_str() == "-";
    if !to_stdout && args.output.exists() && !args.force {
        let message = format!("{} exists; --force overwrites it, --output names another", args.output.display());
        return Err(exit::wrong_input(message));
    }
    let text = cairn_processors::init_pipeline(&args.paths)?;
    if to_stdout {
        say_raw!("{text}");
        return done();
    }
    std::fs::write(&args.output, &text).with_context(|| format!("cannot write {}", args.output.display()))?;
    if globals.json {
        print_json(&serde_json::json!({ "pipeline": args.output }));
    } else {
        say!("wrote {}; next: cairn run {}", args.output.display(), args.output.display());
    }
    done()
}
