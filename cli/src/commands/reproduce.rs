//! `cairn reproduce RUN`: run a recorded run again from the ledger alone and compare digests; or say what is missing.

use super::{Outcome, done, print_json, reader};
use crate::render::progress::Progress;
use crate::{Globals, exit};
use cairn_processors::reproduce::{Manner, Provenance, Reproduction, RunBy, provenance_of};
use cairn_schemas::RunId;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Only say whether everything is recorded that is needed to run it again, and what is missing.
    #[arg(long)]
    check: bool,
    /// The folder that an ingestion's relative paths start from: its pipeline's.
    #[arg(long, default_value = ".", value_name = "DIR")]
    base: PathBuf,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if args.check {
        return check(globals, &args.run);
    }
    let context = super::writer(globals)?;
    let progress = Progress::new(globals.json);
    let reproduction = cairn_processors::reproduce(&context, &args.run, &args.base, &progress)?;
    progress.finish();
    match globals.json {
        true => print_json(&json(&reproduction)),
        false => show(&reproduction),
    }
    Ok(ExitCode::from(if reproduction.equal { 0 } else { exit::DIFFERS }))
}

fn json(reproduction: &Reproduction) -> serde_json::Value {
    serde_json::json!({
        "run": reproduction.run, "equal": reproduction.equal, "manner": reproduction.manner,
        "notes": reproduction.notes, "compared": reproduction.compared,
        "environment_differences": reproduction.environment_differences,
    })
}

fn show(reproduction: &Reproduction) {
    for c in &reproduction.compared {
        let mark = if c.recorded == c.replayed { "equal " } else { "DIFFERS" };
        say!("{mark}  {:<28} {}", c.what, c.recorded);
        if c.recorded != c.replayed {
            say!("         {:<28} {} (replayed)", "", c.replayed);
        }
    }
    for difference in &reproduction.environment_differences {
        say!("environment differs: {difference}");
    }
    reproduction.notes.iter().for_each(|note| say!("note: {note}"));
    let outcome = match (reproduction.manner, reproduction.equal) {
        (_, false) => "not equal",
        (Manner::Replayed, true) => "bitwise equal",
        (Manner::Checked, true) => "checked: as recorded",
    };
    say!("{outcome}");
}

fn check(globals: &Globals, run: &RunId) -> Outcome {
    let found = provenance_of(&reader(globals)?, run, None)?;
    match globals.json {
        true => print_json(&serde_json::to_value(&found)?),
        false => show_provenance(&found),
    }
    match found.is_complete {
        true => done(),
        false => Ok(ExitCode::from(exit::DIFFERS)),
    }
}

fn show_provenance(found: &Provenance) {
    for part in &found.recorded {
        say!("recorded  {:<15} {}", part.what, part.value);
    }
    for missing in &found.missing {
        say!("MISSING   {:<15} {}; {}", missing.what, missing.why, missing.fix);
    }
    say!(
        "{}",
        match (found.is_complete, found.by, found.manner) {
            (false, _, _) => "cannot be run again from what is recorded",
            (true, RunBy::Outside, _) => "complete: the program that ran it can run it again",
            (true, RunBy::Cairn, Some(Manner::Checked)) => "complete: `cairn reproduce` checks what it left",
            (true, RunBy::Cairn, _) => "complete: `cairn reproduce` runs it again",
        }
    );
}
