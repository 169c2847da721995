//! Curves in the terminal.

use cairn_projections::curves::{Aggregate, Axis, CurveAnswer, Point};
use std::fmt::Write;
use textplots::{Chart, Plot, Shape};

const WIDTH_DOTS: u32 = 160;
const HEIGHT_DOTS: u32 = 48;

/// One chart a curve, and the figures that a chart cannot show.
pub(crate) fn curves(answers: &[CurveAnswer]) -> String {
    let mut out = String::new();
    for CurveAnswer { run, metric, axis, points, .. } in answers {
        let finite: Vec<&Point> = points.iter().filter(|p| p.value.is_finite()).collect();
        let not_finite = points.len() - finite.len();
        let _ = writeln!(out, "run:{run}  {metric} by {}", named(*axis));
        chart(&mut out, *axis, finite.iter().map(|p| (p.x, p.value)));
        let value = |p: Option<&Point>| p.map(|p| format!("{:.4} at step {}", p.value, p.step)).unwrap_or_default();
        let least = finite.iter().copied().min_by(|a, b| a.value.total_cmp(&b.value));
        let most = finite.iter().copied().max_by(|a, b| a.value.total_cmp(&b.value));
        let _ = writeln!(
            out,
            "{} points, first {}, last {}, min {}, max {}, {not_finite} not finite\n",
            points.len(),
            value(points.first()),
            value(points.last()),
            value(least),
            value(most)
        );
    }
    out
}

/// Several runs as one curve: its mean.
pub(crate) fn together(metric: &str, found: &Aggregate) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} runs together  {metric}, mean by {}", found.runs.len(), named(found.axis));
    chart(&mut out, found.axis, found.points.iter().filter(|p| p.mean.is_finite()).map(|p| (p.x, p.mean)));
    if let Some(last) = found.points.last() {
        let median = last.quantiles.first().copied().unwrap_or(last.mean);
        let _ = writeln!(
            out,
            "{} places, last: mean {:.4}, median {median:.4}, min {:.4}, max {:.4} of {} runs",
            found.points.len(),
            last.mean,
            last.min,
            last.max,
            last.n
        );
    }
    for (run, why) in &found.unplaced {
        let _ = writeln!(out, "run:{run} is left out: {why}");
    }
    out
}

fn named(axis: Axis) -> &'static str {
    match axis {
        Axis::Step => "step",
        Axis::Time => "seconds since its first point",
        Axis::Tokens => "tokens",
        Axis::LineageSteps => "step along its lineage",
        Axis::LineageTokens => "tokens along its lineage",
    }
}

fn chart(out: &mut String, axis: Axis, points: impl Iterator<Item = (f64, f64)>) {
    let points: Vec<(f64, f64)> = points.collect();
    // What a plot can tell apart would be lost in seconds since 1970.
    let start = points.first().map_or(0.0, |(x, _)| if axis == Axis::Time { *x } else { 0.0 });
    let points: Vec<(f32, f32)> = points.iter().map(|(x, value)| ((x - start) as f32, *value as f32)).collect();
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let mut chart = Chart::new(WIDTH_DOTS, HEIGHT_DOTS, first.0, last.0.max(first.0 + 1.0));
        let shape = Shape::Lines(&points);
        let chart = chart.lineplot(&shape);
        chart.axis();
        chart.figures();
        let _ = writeln!(out, "{chart}");
    }
}
