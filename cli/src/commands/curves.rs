//! `cairn curves RUN… --metric M`: a plot in the terminal, or the points as CSV or JSON; what a run has; several runs as
//! one curve.

use super::{Outcome, done, print_json, reader};
use crate::render::plot;
use crate::{Globals, exit};
use cairn_ledger::AsOf;
use cairn_projections::Curves;
use cairn_projections::curves::{Aggregate, AggregateQuery, Axis, CurveAnswer, CurveQuery, MetricSummary, Smoothing};
use cairn_schemas::{Position, Real, RunId};

/// Places of runs that are taken together.
const PLACES: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    /// The metric; `*` stands for any text. May be given several times.
    #[arg(long = "metric", default_value = "loss", value_name = "M")]
    metrics: Vec<String>,
    /// List what the runs have instead.
    #[arg(long, conflicts_with_all = ["csv", "together"])]
    list: bool,
    #[arg(long, value_enum, default_value_t = AxisName::Step)]
    axis: AxisName,
    /// The lower end on the axis, which is in the range.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    from: Option<f64>,
    /// The upper end on the axis, which is in the range.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    to: Option<f64>,
    /// Points of one curve at most (4 or more), in which no spike is lost; all where absent.
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// Smooth by the exponential moving average of this weight, as TensorBoard does.
    #[arg(long, value_name = "WEIGHT", conflicts_with = "window")]
    ema: Option<f64>,
    /// Smooth by the mean of so many points.
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Each run together with those that it went on from; steps and tokens are counted along them.
    #[arg(long)]
    ancestors: bool,
    /// Points of all attempts rather than those that count.
    #[arg(long, conflicts_with = "together")]
    all_attempts: bool,
    /// All runs as one curve: mean, extremes and median of each metric.
    #[arg(long)]
    together: bool,
    /// As the ledger stood then: after a position, or at a recorded time (RFC 3339, or a date).
    #[arg(long, value_name = "WHEN")]
    as_of: Option<AsOf>,
    /// Print every point as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// What curves are drawn along.
#[derive(Clone, Copy, clap::ValueEnum)]
enum AxisName {
    Step,
    Time,
    Tokens,
    LineageSteps,
    LineageTokens,
}

impl AxisName {
    fn axis(self) -> Axis {
        match self {
            AxisName::Step => Axis::Step,
            AxisName::Time => Axis::Time,
            AxisName::Tokens => Axis::Tokens,
            AxisName::LineageSteps => Axis::LineageSteps,
            AxisName::LineageTokens => Axis::LineageTokens,
        }
    }
}

impl Args {
    fn smoothing(&self) -> Option<Smoothing> {
        self.ema.map(Smoothing::Ema).or(self.window.map(Smoothing::Mean))
    }

    fn query(&self, as_of: Option<Position>) -> CurveQuery {
        CurveQuery {
            runs: self.runs.clone(),
            metrics: self.metrics.clone(),
            axis: self.axis.axis(),
            from: self.from,
            to: self.to,
            points_max: self.points,
            as_of,
            smoothing: self.smoothing(),
            ancestors: self.ancestors,
            attempts: self.all_attempts,
            ..CurveQuery::default()
        }
    }
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let resolved = |as_of| context.ledger().resolve(context.tenant(), as_of);
    let as_of = args.as_of.map(resolved).transpose()?;
    let curves = context.projections().curves();
    for run in &args.runs {
        if curves.runs_metrics(run, None)?.is_empty() {
            return Err(exit::not_found(format!("run:{run} has no curves; `cairn status` lists runs")));
        }
    }
    if args.list {
        return list(globals, args, as_of, curves);
    }
    if args.together {
        return together(globals, args, as_of, curves);
    }
    let answers = curves.query(&args.query(as_of))?;
    if let Some(why) = answers.iter().find_map(|answer| answer.unplaced.as_ref()) {
        return Err(exit::not_found(format!(
            "{why}, so that there is no such axis; `--axis tokens` counts the run alone"
        )));
    }
    if args.csv {
        csv(&answers);
    } else if globals.json {
        print_json(&answers.iter().map(answer_json).collect());
    } else {
        say_raw!("{}", plot::curves(&answers));
    }
    done()
}

fn csv(answers: &[CurveAnswer]) {
    say!("run,metric,step,tokens,time,attempt,value,x");
    for CurveAnswer { run, metric, points, .. } in answers {
        let metric = quoted(metric);
        for p in points {
            say!("{run},{metric},{},{},{},{},{},{}", p.step, p.tokens, p.time, p.attempt, p.value, p.x);
        }
    }
}

/// A field of a CSV (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn answer_json(answer: &CurveAnswer) -> serde_json::Value {
    serde_json::json!({
        "run": answer.run,
        "metric": answer.metric,
        "axis": answer.axis,
        "total_points": answer.total_points,
        "exact": answer.exact,
        "parts": answer.parts,
        "points": answer.points,
    })
}

fn list(globals: &Globals, args: &Args, as_of: Option<Position>, curves: &Curves) -> Outcome {
    let mut all: Vec<(RunId, Vec<MetricSummary>)> = Vec::new();
    for run in &args.runs {
        all.push((*run, curves.metrics(run, as_of)?));
    }
    if globals.json {
        let one = |(run, metrics): &(RunId, Vec<MetricSummary>)| serde_json::json!({ "run": run, "metrics": metrics });
        print_json(&all.iter().map(one).collect());
        return done();
    }
    for (run, metrics) in &all {
        let width = metrics.iter().map(|metric| metric.name.len()).max().unwrap_or(0);
        say!("run:{run}");
        for m in metrics {
            let real = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
            say!(
                "  {:width$}  {} points, steps {} to {}, last {:.4}, min {}, max {}",
                m.name,
                m.points,
                m.first_step,
                m.last.step,
                m.last.value,
                real(m.min),
                real(m.max)
            );
        }
    }
    done()
}

fn together(globals: &Globals, args: &Args, as_of: Option<Position>, curves: &Curves) -> Outcome {
    let mut found: Vec<(&str, Aggregate)> = Vec::new();
    for metric in &args.metrics {
        let query = AggregateQuery {
            runs: args.runs.clone(),
            metric: metric.clone(),
            axis: args.axis.axis(),
            from: args.from,
            to: args.to,
            points_max: args.points.unwrap_or(PLACES),
            quantiles: vec![0.5],
            as_of,
            smoothing: args.smoothing(),
            ancestors: args.ancestors,
        };
        found.push((metric, curves.aggregate(&query)?));
    }
    if globals.json {
        let point = |p: &cairn_projections::curves::AggregatePoint| {
            serde_json::json!({ "x": p.x, "n": p.n, "mean": Real(p.mean), "min": Real(p.min), "max": Real(p.max),
                "median": Real(p.quantiles[0]) })
        };
        let one = |(metric, found): &(&str, Aggregate)| {
            let points: Vec<_> = found.points.iter().map(point).collect();
            serde_json::json!({ "metric": metric, "axis": found.axis, "runs": found.runs, "exact": found.exact,
                "points": points })
        };
        print_json(&found.iter().map(one).collect());
    } else if args.csv {
        say!("metric,x,n,mean,min,max,median");
        for (metric, found) in &found {
            let metric = quoted(metric);
            for p in &found.points {
                say!("{metric},{},{},{},{},{},{}", p.x, p.n, p.mean, p.min, p.max, p.quantiles[0]);
            }
        }
    } else {
        for (metric, found) in &found {
            say_raw!("{}", plot::together(metric, found));
        }
    }
    done()
}
