//! Curves of runs: at most so many points, no spike lost, on the axis that is asked for; and several runs as one.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Enum, Object, OneofObject, Result, SimpleObject};
use cairn_projections::curves::{self, AggregateQuery, CurveAnswer, CurveQuery, Point, Smoothing};
use cairn_schemas::{self as schemas, RunId};
use std::collections::BTreeMap;

use super::as_of::{AsOf, resolve};
use super::lineage::check_known;
use super::query::wait;
use super::scalars::{Long, Position, Real, Timestamp};

pub(crate) const POINTS_DEFAULT: i32 = 500;
const POINTS_MAX: i32 = 20_000;
/// Points of all curves of one answer.
const ALL_POINTS_MAX: usize = 2_000_000;
/// Runs of one question.
const RUNS_MAX: usize = 1_000;

/// The axis of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(remote = "curves::Axis")]
pub(crate) enum Axis {
    /// Optimizer steps of the run itself.
    #[default]
    Step,
    /// Seconds since the Unix epoch.
    Time,
    /// Tokens that the run itself had seen.
    Tokens,
    /// Steps, with those of the runs that it went on from.
    LineageSteps,
    /// Tokens, with those of the runs that it went on from: a pretraining and what was made of it on one axis.
    LineageTokens,
}

/// How a curve is smoothed: over all of its points, before any are left out. NaN and infinities stay as they are.
#[derive(Clone, Copy, Debug, OneofObject)]
pub(crate) enum SmoothingInput {
    /// The exponential moving average, corrected for its start, as TensorBoard shows it: a weight from 0 (none) to less than 1.
    Ema(f64),
    /// The mean of so many points up to and with each.
    Mean(u32),
}

impl From<SmoothingInput> for Smoothing {
    fn from(input: SmoothingInput) -> Self {
        match input {
            SmoothingInput::Ema(weight) => Smoothing::Ema(weight),
            SmoothingInput::Mean(window) => Smoothing::Mean(window as usize),
        }
    }
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
    /// Tokens that the run had seen; 0 where its producer does not count them.
    tokens: Long,
    /// When the step was taken, as its producer says.
    time: Timestamp,
    /// The attempt of the run that took the step, from 1.
    attempt: u32,
    /// Position of the event that says so.
    position: Position,
}

impl From<Point> for CurvePoint {
    fn from(point: Point) -> Self {
        Self {
            x: Real(point.x),
            value: Real(point.value),
            step: Long(point.step),
            tokens: Long(point.tokens),
            time: Timestamp(point.time),
            attempt: point.attempt,
            position: Position(point.position),
        }
    }
}

/// One of the runs that a curve is made of.
#[derive(SimpleObject)]
pub(crate) struct CurvePart {
    /// The run's id.
    run: String,
    /// The last step that the next run went on from; null in the last run.
    to_step: Option<Long>,
    /// Steps that its ancestors had taken; null where that is not known.
    steps_before: Option<Long>,
    /// Tokens that its ancestors had seen; null where that is not known.
    tokens_before: Option<Long>,
    /// Whether tokensBefore lies between two logged steps, on the straight line.
    estimated: bool,
}

impl From<curves::Part> for CurvePart {
    fn from(part: curves::Part) -> Self {
        Self {
            run: part.run.to_string(),
            to_step: part.to_step.map(Long),
            steps_before: part.steps_before.value().map(Long),
            tokens_before: part.tokens_before.value().map(Long),
            estimated: matches!(part.tokens_before, curves::Offset::Estimated(_)),
        }
    }
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
    /// The points in order along the axis.
    points: Vec<CurvePoint>,
    /// How many points lie in the range.
    total_points: Long,
    /// Whether `points` are all of them, as logged.
    exact: bool,
    /// Why there are no points on this axis: what an ancestor had seen is not known.
    unplaced: Option<String>,
    /// The runs that it is made of, the oldest first.
    parts: Vec<CurvePart>,
}

impl From<CurveAnswer> for Curve {
    fn from(answer: CurveAnswer) -> Self {
        Self {
            run: answer.run.to_string(),
            metric: answer.metric,
            axis: answer.axis.into(),
            points: answer.points.into_iter().map(CurvePoint::from).collect(),
            total_points: Long(answer.total_points),
            exact: answer.exact,
            unplaced: answer.unplaced,
            parts: answer.parts.into_iter().map(CurvePart::from).collect(),
        }
    }
}

/// What a run has of a metric.
#[derive(SimpleObject)]
pub(crate) struct RunMetric {
    /// Its name.
    name: String,
    /// How many points count.
    points: Long,
    /// The step of the first one.
    first_step: Long,
    /// The last one.
    last: CurvePoint,
    /// The least value that is a number; null where none is.
    min: Option<Real>,
    /// The greatest value that is a number; null where none is.
    max: Option<Real>,
}

/// Several runs as one curve.
#[derive(SimpleObject)]
pub(crate) struct AggregateCurve {
    /// What the runs have in common at the path that they were grouped by; null where they were not, or lack it.
    group: Option<String>,
    /// Ids of those of the runs that have points in the range.
    runs: Vec<String>,
    /// The metric.
    metric: String,
    /// The axis that `x` lies on.
    axis: Axis,
    /// Whether the points stand where the runs logged, rather than at even places.
    exact: bool,
    /// The points in order along the axis.
    points: Vec<AggregatePoint>,
    /// Runs that have no place on this axis, and why.
    unplaced: Vec<UnplacedRun>,
}

/// What several runs have at one place. NaN counts as nothing.
#[derive(SimpleObject)]
pub(crate) struct AggregatePoint {
    /// Where it lies on the axis.
    x: Real,
    /// Runs that have a value here.
    n: Long,
    /// The mean of their values; NaN where these are infinite both ways.
    mean: Real,
    /// The least value of any of their points about here.
    min: Real,
    /// The greatest value of any of their points about here.
    max: Real,
    /// The quantiles that were asked for, in that order.
    quantiles: Vec<Real>,
}

/// A run that has no place on an axis.
#[derive(SimpleObject)]
pub(crate) struct UnplacedRun {
    /// The run's id.
    run: String,
    /// What is not known.
    why: String,
}

/// Questions over curves.
pub(crate) struct CurvesQuery;

#[Object]
impl CurvesQuery {
    /// Curves of runs, each in at most so many points, in which no spike is lost.
    #[graphql(complexity = "cost(run_count(&runs, &filter), &metrics, points) + child_complexity")]
    async fn curves(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids or refs of runs.")] runs: Option<Vec<String>>,
        #[graphql(desc = "And the runs that this finds, such as config.lr < 1e-3; at most 1,000.")] filter: Option<
            String,
        >,
        #[graphql(desc = "The metrics, such as loss; * stands for any text.")] metrics: Vec<String>,
        #[graphql(desc = "The axis.", default)] x: Axis,
        #[graphql(desc = "The lower end on the axis, which is in the range.")] from: Option<f64>,
        #[graphql(desc = "The upper end on the axis, which is in the range.")] to: Option<f64>,
        #[graphql(desc = "Points of one curve, from 4 to 20,000; 500 where absent.")] points: Option<i32>,
        #[graphql(desc = "Smoothing, before any points are left out.")] smoothing: Option<SmoothingInput>,
        #[graphql(desc = "So many even places instead of points as logged, on straight lines between these.")]
        resample: Option<i32>,
        #[graphql(
            desc = "Each run together with those that it went on from, up to where it did; steps and tokens are then counted along them.",
            default
        )]
        ancestors: bool,
        #[graphql(desc = "As the ledger stood then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<Curve>> {
        wait(ctx, at_least).await?;
        let as_of = resolve(ctx, as_of).await?;
        let runs = runs_of(ctx, runs, filter, as_of).await?;
        curves(ctx, Ask { runs, metrics, axis: x, from, to, points, smoothing, ancestors, as_of }, resample).await
    }

    /// Several runs as one curve, such as the seeds of one recipe: the mean, the extremes and quantiles of their values at
    /// each place.
    #[graphql(complexity = "cost(run_count(&runs, &filter), std::slice::from_ref(&metric), points) + child_complexity")]
    async fn aggregate_curves(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids or refs of runs.")] runs: Option<Vec<String>>,
        #[graphql(desc = "And the runs that this finds, such as config.lr < 1e-3; at most 1,000.")] filter: Option<
            String,
        >,
        #[graphql(desc = "The metric.")] metric: String,
        #[graphql(desc = "The axis.", default)] x: Axis,
        #[graphql(desc = "The lower end on the axis, which is in the range.")] from: Option<f64>,
        #[graphql(desc = "The upper end on the axis, which is in the range.")] to: Option<f64>,
        #[graphql(desc = "Places on the axis, from 4 to 20,000; 500 where absent.")] points: Option<i32>,
        #[graphql(desc = "Smoothing of each run, before they are taken together.")] smoothing: Option<SmoothingInput>,
        #[graphql(desc = "Quantiles, each from 0 to 1; none where absent.")] quantiles: Option<Vec<f64>>,
        #[graphql(desc = "Each run together with those that it went on from.", default)] ancestors: bool,
        #[graphql(desc = "One curve for each value at this path of the runs, such as config.model.size.")]
        group_by: Option<String>,
        #[graphql(desc = "As the ledger stood then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<AggregateCurve>> {
        wait(ctx, at_least).await?;
        let as_of = resolve(ctx, as_of).await?;
        let runs = runs_of(ctx, runs, filter, as_of).await?;
        let ask = Ask { runs, metrics: vec![metric], axis: x, from, to, points, smoothing, ancestors, as_of };
        aggregates(ctx, ask, group_by, quantiles.unwrap_or_default()).await
    }
}

/// What the fields over curves have in common.
pub(crate) struct Ask {
    pub(crate) runs: Vec<RunId>,
    pub(crate) metrics: Vec<String>,
    pub(crate) axis: Axis,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) points: Option<i32>,
    pub(crate) smoothing: Option<SmoothingInput>,
    pub(crate) ancestors: bool,
    pub(crate) as_of: Option<schemas::Position>,
}

impl Ask {
    /// Checks sizes before any store is touched.
    fn points_max(&self) -> Result<usize, Problem> {
        if self.runs.len() > RUNS_MAX {
            return Err(Problem::malformed(format!(
                "more than {RUNS_MAX} runs in one question; name fewer, or narrow the filter"
            )));
        }
        checked("points", self.points.unwrap_or(POINTS_DEFAULT), 4)
    }
}

fn checked(what: &str, given: i32, least: i32) -> Result<usize, Problem> {
    let is_allowed = (least..=POINTS_MAX).contains(&given);
    is_allowed.then_some(given as usize).ok_or_else(|| {
        Problem::malformed(format!("{what}: {given} is not a whole number from {least} to {POINTS_MAX}"))
    })
}

/// What a question costs: it grows with the curves and their points. A metric with a `*` counts as ten.
pub(crate) fn cost(runs: usize, metrics: &[String], points: Option<i32>) -> usize {
    let metrics: usize = metrics.iter().map(|metric| if metric.contains('*') { 10 } else { 1 }).sum();
    runs * metrics * (10 + points.unwrap_or(POINTS_DEFAULT).clamp(1, POINTS_MAX) as usize / 10)
}

/// Runs that a question may come to, before they are known: a filter counts as twenty.
fn run_count(runs: &Option<Vec<String>>, filter: &Option<String>) -> usize {
    runs.as_ref().map_or(0, Vec::len) + if filter.is_some() { 20 } else { 0 }
}

/// Runs by id or ref, and those that a filter finds.
async fn runs_of(
    ctx: &Context<'_>,
    named: Option<Vec<String>>,
    filter: Option<String>,
    as_of: Option<schemas::Position>,
) -> Result<Vec<RunId>> {
    if named.is_none() && filter.is_none() {
        return Err(Problem::malformed("name `runs`, or give a `filter` that finds them").into());
    }
    let malformed = |e: schemas::Error| Problem::malformed(e.to_string());
    let mut runs: Vec<RunId> = Vec::new();
    for named in named.unwrap_or_default() {
        runs.push(named.parse().map_err(malformed)?);
    }
    let named: Vec<schemas::Ref> = runs.iter().take(RUNS_MAX + 1).map(|run| schemas::Ref::Run(*run)).collect();
    ctx.data::<App>()?.read(move |ctx| check_known(ctx, &named, as_of)).await?;
    if let Some(filter) = filter {
        let found = ctx
            .data::<App>()?
            .read(move |ctx| Ok(ctx.projections().catalog().matching_refs("run", &filter, as_of, RUNS_MAX + 1)?))
            .await?;
        for found in found.refs {
            if let schemas::Ref::Run(run) = found
                && !runs.contains(&run)
            {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

pub(crate) async fn curves(ctx: &Context<'_>, ask: Ask, resample: Option<i32>) -> Result<Vec<Curve>> {
    let points_max = ask.points_max()?;
    let resample = resample.map(|count| checked("resample", count, 2)).transpose()?;
    let query = CurveQuery {
        runs: ask.runs,
        metrics: ask.metrics,
        axis: ask.axis.into(),
        from: ask.from,
        to: ask.to,
        points_max: Some(points_max),
        curves_max: Some(ALL_POINTS_MAX / resample.unwrap_or(points_max)),
        as_of: ask.as_of,
        smoothing: ask.smoothing.map(Smoothing::from),
        resample,
        ancestors: ask.ancestors,
        attempts: false,
    };
    let answers = ctx.data::<App>()?.read(move |ctx| Ok(ctx.projections().curves().query(&query)?)).await?;
    Ok(answers.into_iter().map(Curve::from).collect())
}

/// Runs as one curve, or as one for each value that they have at a path.
async fn aggregates(
    ctx: &Context<'_>,
    ask: Ask,
    group_by: Option<String>,
    quantiles: Vec<f64>,
) -> Result<Vec<AggregateCurve>> {
    let points_max = ask.points_max()?;
    let [metric] = <[String; 1]>::try_from(ask.metrics).expect("the field takes one metric");
    let answers = ctx.data::<App>()?.read(move |ctx| {
        let (curves, catalog) = (ctx.projections().curves(), ctx.projections().catalog());
        let mut groups: BTreeMap<Option<String>, Vec<RunId>> = BTreeMap::new();
        for run in ask.runs {
            let group = match &group_by {
                Some(path) => catalog.value_at(&format!("run:{run}"), path, ask.as_of)?,
                None => None,
            };
            groups.entry(group).or_default().push(run);
        }
        if let Some(path) = &group_by
            && groups.keys().all(Option::is_none)
            && !groups.is_empty()
        {
            return Err(cairn_projections::Error::Question {
                what: format!("groupBy: {path}"),
                why: "none of these runs has anything there; `paths` names what runs have".into(),
            }
            .into());
        }
        let query = AggregateQuery {
            runs: Vec::new(),
            metric: metric.clone(),
            axis: ask.axis.into(),
            from: ask.from,
            to: ask.to,
            points_max,
            quantiles,
            as_of: ask.as_of,
            smoothing: ask.smoothing.map(Smoothing::from),
            ancestors: ask.ancestors,
        };
        let (groups, runs): (Vec<Option<String>>, Vec<Vec<RunId>>) = groups.into_iter().unzip();
        let found = curves.aggregates(&runs, &query)?;
        let one = |(group, found): (Option<String>, curves::Aggregate)| {
            let point = |point: curves::AggregatePoint| AggregatePoint {
                x: Real(point.x),
                n: Long(point.n as u64),
                mean: Real(point.mean),
                min: Real(point.min),
                max: Real(point.max),
                quantiles: point.quantiles.into_iter().map(Real).collect(),
            };
            AggregateCurve {
                group,
                runs: found.runs.iter().map(RunId::to_string).collect(),
                metric: metric.clone(),
                axis: found.axis.into(),
                exact: found.exact,
                points: found.points.into_iter().map(point).collect(),
                unplaced: found
                    .unplaced
                    .into_iter()
                    .map(|(run, why)| UnplacedRun { run: run.to_string(), why })
                    .collect(),
            }
        };
        Ok(groups.into_iter().zip(found).map(one).collect())
    });
    Ok(answers.await?)
}

/// What a run has of each metric.
pub(crate) async fn metrics(ctx: &Context<'_>, run: RunId, as_of: Option<schemas::Position>) -> Result<Vec<RunMetric>> {
    let found = ctx.data::<App>()?.read(move |ctx| Ok(ctx.projections().curves().metrics(&run, as_of)?)).await?;
    let one = |metric: curves::MetricSummary| RunMetric {
        name: metric.name,
        points: Long(metric.points),
        first_step: Long(metric.first_step),
        last: metric.last.into(),
        min: metric.min.map(Real),
        max: metric.max.map(Real),
    };
    Ok(found.into_iter().map(one).collect())
}
