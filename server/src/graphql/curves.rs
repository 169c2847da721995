//! Curves of runs: at most so many points, no spike lost, on the axis that is asked for.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Enum, Result, SimpleObject};
use cairn_projections::curves::Point;
use cairn_schemas::RunId;

use super::scalars::{Long, Real, Timestamp};

pub(crate) const POINTS_DEFAULT: i32 = 500;
const POINTS_MAX: i32 = 20_000;
/// Runs, and metrics, of one question.
const SERIES_MAX: usize = 100;

/// The axis of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub(crate) enum Axis {
    /// Optimizer steps.
    #[default]
    Step,
    /// Seconds since the Unix epoch.
    Time,
    /// Tokens seen.
    Tokens,
}

/// A point of a curve.
#[derive(SimpleObject)]
pub(crate) struct CurvePoint {
    /// Where it lies on the axis that was asked for.
    x: Real,
    /// The value; NaN and infinities as they were logged.
    value: Real,
    /// The step.
    step: Long,
    /// Tokens that the run had seen.
    tokens: Long,
    /// When the step was taken, as its producer says.
    time: Timestamp,
    /// The attempt of the run that took the step, from 1.
    attempt: u32,
}

/// A metric of a run over its steps; a later attempt's steps take the place of an earlier one's.
#[derive(SimpleObject)]
pub(crate) struct Curve {
    /// The run's id.
    run: String,
    /// The metric.
    metric: String,
    /// The axis that `x` lies on.
    axis: Axis,
    /// The points in order of step.
    points: Vec<CurvePoint>,
}

/// Checks sizes before any store is touched.
pub(crate) fn check(runs: usize, metrics: usize, points: Option<i32>) -> Result<usize, Problem> {
    if runs * metrics > SERIES_MAX {
        return Err(Problem::malformed(format!(
            "{runs} runs times {metrics} metrics; at most {SERIES_MAX} curves in one question"
        )));
    }
    let points = points.unwrap_or(POINTS_DEFAULT);
    let allowed = (4..=POINTS_MAX).contains(&points).then_some(points as usize);
    allowed.ok_or_else(|| Problem::malformed(format!("points: {points} is not a whole number from 4 to {POINTS_MAX}")))
}

/// A metric that the run lacks gives a curve without points.
pub(crate) async fn curves(
    ctx: &Context<'_>,
    runs: Vec<RunId>,
    metrics: Vec<String>,
    axis: Axis,
    points: Option<i32>,
) -> Result<Vec<Curve>> {
    let points_max = check(runs.len(), metrics.len(), points)?;
    let app = ctx.data::<App>()?;
    let curves = app.read(move |ctx| {
        let mut curves = Vec::new();
        for run in &runs {
            for metric in &metrics {
                let points = ctx.projections().curves().downsample(run, metric, points_max)?;
                curves.push(Curve {
                    run: run.to_string(),
                    metric: metric.clone(),
                    axis,
                    points: points.into_iter().map(|point| shown(point, axis)).collect(),
                });
            }
        }
        Ok(curves)
    });
    Ok(curves.await?)
}

fn shown(point: Point, axis: Axis) -> CurvePoint {
    let x = match axis {
        Axis::Step => point.step as f64,
        Axis::Time => point.time.as_micros() as f64 / 1e6,
        Axis::Tokens => point.tokens as f64,
    };
    CurvePoint {
        x: Real(x),
        value: Real(point.value),
        step: Long(point.step),
        tokens: Long(point.tokens),
        time: Timestamp(point.time),
        attempt: point.attempt,
    }
}
