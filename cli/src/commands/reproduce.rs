//! `cairn reproduce RUN`: run a recorded run again from the ledger alone and compare digests.

use super::{Outcome, print_json};
use crate::render::progress::Progress;
use crate::{Globals, exit};
use cairn_schemas::RunId;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "RUN")]
    run: RunId,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = super::writer(globals)?;
    let progress = Progress::new(globals.json);
    let reproduction = cairn_processors::reproduce(&context, &args.run, &progress)?;
    progress.finish();
    if globals.json {
        let compared: Vec<_> = reproduction
            .compared
            .iter()
            .map(|c| serde_json::json!({ "what": c.what, "recorded": c.recorded, "replayed": c.replayed }))
            .collect();
        print_json(&serde_json::json!({
            "run": args.run, "equal": reproduction.equal, "compared": compared,
            "environment_differences": reproduction.environment_differences,
        }));
    } else {
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
        say!("{}", if reproduction.equal { "bitwise equal" } else { "not equal" });
    }
    Ok(ExitCode::from(if reproduction.equal { 0 } else { exit::DIFFERS }))
}
