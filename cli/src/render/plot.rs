//! Curves in the terminal.

use cairn_projections::curves::Point;
use cairn_schemas::RunId;
use std::fmt::Write;
use textplots::{Chart, Plot, Shape};

const WIDTH_DOTS: u32 = 160;
const HEIGHT_DOTS: u32 = 48;

/// One chart a run, and the figures that a chart cannot show.
pub(crate) fn curves(metric: &str, series: &[(RunId, Vec<Point>)]) -> String {
    let mut out = String::new();
    for (run, points) in series {
        let finite: Vec<(f32, f32)> =
            points.iter().filter(|p| p.value.is_finite()).map(|p| (p.step as f32, p.value as f32)).collect();
        let not_finite = points.len() - finite.len();
        let _ = writeln!(out, "run:{run}  {metric} by step");
        if let (Some(first), Some(last)) = (finite.first(), finite.last()) {
            let mut chart = Chart::new(WIDTH_DOTS, HEIGHT_DOTS, first.0, last.0.max(first.0 + 1.0));
            let shape = Shape::Lines(&finite);
            let chart = chart.lineplot(&shape);
            chart.axis();
            chart.figures();
            let _ = writeln!(out, "{chart}");
        }
        let value = |p: Option<&Point>| p.map(|p| format!("{:.4} at step {}", p.value, p.step)).unwrap_or_default();
        let least = points.iter().filter(|p| p.value.is_finite()).min_by(|a, b| a.value.total_cmp(&b.value));
        let most = points.iter().filter(|p| p.value.is_finite()).max_by(|a, b| a.value.total_cmp(&b.value));
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
