//! `cairn curves RUN… --metric M`: a plot in the terminal, or the points as CSV or JSON.

use super::{Outcome, done, print_json, reader};
use crate::render::plot;
use crate::{Globals, exit};
use cairn_projections::curves::Point;
use cairn_schemas::RunId;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    #[arg(long, default_value = "loss", value_name = "M")]
    metric: String,
    /// Print every point as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let curves = context.projections().curves();
    let mut series: Vec<(RunId, Vec<Point>)> = Vec::new();
    for run in &args.runs {
        let points = curves.series(run, &args.metric)?;
        if points.is_empty() {
            return Err(nothing_to_show(*run, &args.metric, &curves.runs_metrics(run)?));
        }
        series.push((*run, points));
    }
    if args.csv {
        say!("run,metric,step,tokens,time,attempt,value");
        for (run, points) in &series {
            for p in points {
                say!("{run},{},{},{},{},{},{}", args.metric, p.step, p.tokens, p.time, p.attempt, p.value);
            }
        }
    } else if globals.json {
        let one = |(run, points): &(RunId, Vec<Point>)| serde_json::json!({ "run": run, "metric": args.metric, "points": points.iter().map(point_json).collect::<Vec<_>>() });
        print_json(&series.iter().map(one).collect());
    } else {
        say_raw!("{}", plot::curves(&args.metric, &series));
    }
    done()
}

fn nothing_to_show(run: RunId, metric: &str, known: &[String]) -> anyhow::Error {
    exit::not_found(if known.is_empty() {
        format!("run:{run} has no curves; `cairn status` lists runs")
    } else {
        format!("run:{run} has no metric `{metric}`; it has {}", known.join(", "))
    })
}

fn point_json(p: &Point) -> serde_json::Value {
    let value = cairn_schemas::Real(p.value);
    serde_json::json!({ "step": p.step, "tokens": p.tokens, "time": p.time, "attempt": p.attempt, "value": value })
}
