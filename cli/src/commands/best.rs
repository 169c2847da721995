//! `cairn best --task T --metric M`: subjects on a task, best first, as of any time.

use super::{Outcome, done, print_json, reader};
use crate::render::table::Table;
use crate::{Globals, exit};
use cairn_schemas::Timestamp;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "T")]
    task: String,
    #[arg(long, value_name = "M")]
    metric: String,
    /// What the ledger knew at this time (recorded time): RFC 3339, or a date.
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let evals = context.projections().evals();
    let standings = evals.leaderboard(&args.task, &args.metric, args.as_of)?;
    if standings.is_empty() {
        let known = evals.tasks()?;
        let known =
            known.iter().map(|t| format!("{}.{} ({})", t.task, t.metric, t.suite)).collect::<Vec<_>>().join(", ");
        let when = args.as_of.map(|t| format!(" as of {t}")).unwrap_or_default();
        return Err(exit::not_found(format!(
            "no result of `{}` on `{}`{when}; known: {known}",
            args.metric, args.task
        )));
    }
    if globals.json {
        print_json(&serde_json::json!({
            "task": args.task, "metric": args.metric, "as_of": args.as_of, "standings": standings.iter().map(json).collect::<Vec<_>>(),
        }));
        return done();
    }
    let mut table = Table::new(&["", "subject", args.metric.as_str(), "± s.e.", "n", "slice", "protocol", "recorded"]);
    for (rank, s) in standings.iter().enumerate() {
        table.row([
            (rank + 1).to_string(),
            s.subject.to_string(),
            format!("{:.4}", s.value),
            s.standard_error.map(|e| format!("{e:.4}")).unwrap_or_else(|| "-".into()),
            s.n.to_string(),
            s.slice.clone(),
            s.protocol_digest.to_hex()[..8].to_owned(),
            s.recorded_at.to_string(),
        ]);
    }
    say_raw!("{table}");
    done()
}

fn json(s: &cairn_projections::evals::Standing) -> serde_json::Value {
    serde_json::json!({
        "subject": s.subject, "suite": s.suite, "slice": s.slice, "value": cairn_schemas::Real(s.value), "n": s.n,
        "standard_error": s.standard_error, "evaluation": s.evaluation, "position": s.position,
        "recorded_at": s.recorded_at, "protocol_digest": s.protocol_digest, "higher_is_better": s.higher_is_better,
    })
}
