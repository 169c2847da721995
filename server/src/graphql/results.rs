//! What was measured and judged: evaluations, standings, judges' tallies, gates.

use crate::state::App;
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use cairn_projections::evals::{self, At, Standing as Row};
use cairn_schemas::{self as schemas, events::judgment};

use super::as_of::{self, AsOf};
use super::scalars::{Long, Position, Real, Ref, Timestamp};

/// One metric of one evaluation.
#[derive(SimpleObject)]
pub(crate) struct Measure {
    /// exact_match, f1, perplexity, …
    name: String,
    /// What was measured.
    value: Real,
    /// Number of samples it is over.
    n: Long,
    /// Standard error of the value, where one is defined.
    standard_error: Option<Real>,
    /// Whether more is better.
    higher_is_better: bool,
    /// Unit, where the value is not a pure number.
    unit: Option<String>,
}

impl From<&Row> for Measure {
    fn from(row: &Row) -> Self {
        Self {
            name: row.metric.clone(),
            value: Real(row.value),
            n: Long(row.n),
            standard_error: row.standard_error.map(Real),
            higher_is_better: row.higher_is_better,
            unit: row.unit.clone(),
        }
    }
}

/// That an evaluation is no longer to be relied on.
#[derive(Clone, SimpleObject)]
pub(crate) struct Supersession {
    /// The evaluation that takes its place.
    by: Option<Ref>,
    /// Why.
    reason: String,
    /// Position of the event that says so.
    position: Position,
    /// When that was recorded.
    recorded_at: Timestamp,
}

impl From<&evals::Supersession> for Supersession {
    fn from(row: &evals::Supersession) -> Self {
        Self {
            by: row.by.clone().map(Ref),
            reason: row.reason.clone(),
            position: Position(row.position),
            recorded_at: Timestamp(row.recorded_at),
        }
    }
}

/// A result, and its rank where it stands on a board.
#[derive(Clone)]
pub(crate) struct Standing(Row, Option<u64>);

impl From<Row> for Standing {
    fn from(row: Row) -> Self {
        Self(row, None)
    }
}
impl From<evals::Ranked> for Standing {
    fn from(ranked: evals::Ranked) -> Self {
        Self(ranked.standing, Some(ranked.rank))
    }
}

/// A result of a subject on a metric of a task.
#[Object]
impl Standing {
    /// On a leaderboard, its rank among the results that it is comparable with: of its suite, slice and protocol. Equal
    /// values share it. Null elsewhere.
    async fn rank(&self) -> Option<Long> {
        self.1.map(Long)
    }
    /// What was measured: a model or a run.
    async fn subject(&self) -> Ref {
        Ref(self.0.subject.clone())
    }
    /// The checkpoint's step, where the subject is a run.
    async fn step(&self) -> Option<Long> {
        self.0.step.map(Long)
    }
    /// The suite that the task belongs to.
    async fn suite(&self) -> &str {
        &self.0.suite
    }
    /// The task.
    async fn task(&self) -> &str {
        &self.0.task
    }
    /// The part of the task's samples: `all`, or a name.
    async fn slice(&self) -> &str {
        &self.0.slice
    }
    /// The metric.
    async fn metric(&self) -> &str {
        &self.0.metric
    }
    /// What was measured.
    async fn value(&self) -> Real {
        Real(self.0.value)
    }
    /// Number of samples it is over.
    async fn n(&self) -> Long {
        Long(self.0.n)
    }
    /// Standard error of the value, where one is defined.
    async fn standard_error(&self) -> Option<Real> {
        self.0.standard_error.map(Real)
    }
    /// Unit, where the value is not a pure number.
    async fn unit(&self) -> Option<&str> {
        self.0.unit.as_deref()
    }
    /// Whether more is better.
    async fn higher_is_better(&self) -> bool {
        self.0.higher_is_better
    }
    /// The evaluation that measured it.
    async fn evaluation(&self) -> Ref {
        Ref(self.0.evaluation.clone())
    }
    /// The dataset that it was measured on.
    async fn dataset(&self) -> Option<Ref> {
        self.0.dataset.clone().map(Ref)
    }
    /// The run that measured it.
    async fn run(&self) -> Option<Ref> {
        self.0.run.map(|run| Ref(schemas::Ref::Run(run)))
    }
    /// Results are comparable where this BLAKE3 is equal.
    async fn protocol_digest(&self) -> String {
        self.0.protocol_digest.to_string()
    }
    /// Position of the event that recorded it.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }
    /// When the ledger recorded it: what `asOf` means.
    async fn recorded_at(&self) -> Timestamp {
        Timestamp(self.0.recorded_at)
    }
    /// When it was measured, as its producer says.
    async fn occurred_at(&self) -> Timestamp {
        Timestamp(self.0.occurred_at)
    }
    /// Set where the evaluation is no longer to be relied on; in an answer about the past, where that was known then.
    async fn superseded(&self) -> Option<Supersession> {
        self.0.superseded.as_ref().map(Supersession::from)
    }
}

/// A metric of a task that results exist for.
#[derive(SimpleObject)]
pub(crate) struct Task {
    /// The suite.
    suite: String,
    /// The task: what `leaderboard` takes.
    task: String,
    /// The metric: what `leaderboard` takes.
    metric: String,
    /// `all`, or the name of a part.
    slice: String,
    /// Whether more is better.
    higher_is_better: bool,
    /// Unit, where values are not pure numbers.
    unit: Option<String>,
    /// Results recorded, superseded ones among them.
    results: Long,
}

impl From<evals::TaskSummary> for Task {
    fn from(row: evals::TaskSummary) -> Self {
        let evals::TaskSummary { suite, task, metric, slice, higher_is_better, unit, results, .. } = row;
        Self { suite, task, metric, slice, higher_is_better, unit, results: Long(results) }
    }
}

/// Verdicts of one judge on one criterion of a subject; superseded judgments are not counted.
#[derive(SimpleObject)]
pub(crate) struct Tally {
    /// What was judged upon.
    criterion: String,
    /// human, rule or llm.
    judge_kind: String,
    /// Name and version of the judge.
    judge: String,
    /// Verdicts in favour.
    passed: Long,
    /// Verdicts against.
    failed: Long,
    /// Where the judge could give no verdict.
    unscored: Long,
    /// Passed among those with a verdict; null where there is none.
    pass_rate: Option<Real>,
}

impl From<evals::Tally> for Tally {
    fn from(row: evals::Tally) -> Self {
        Self {
            pass_rate: row.pass_rate().map(Real),
            criterion: row.criterion,
            judge_kind: row.judge_kind,
            judge: row.judge,
            passed: Long(row.passed),
            failed: Long(row.failed),
            unscored: Long(row.unscored),
        }
    }
}

/// What a gate decided.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "judgment::GateOutcome")]
pub(crate) enum GateOutcome {
    /// Every condition holds.
    Pass,
    /// A condition does not hold.
    Block,
    /// What a condition rests on is missing: never a pass.
    InsufficientEvidence,
}

/// One condition of a gate.
#[derive(SimpleObject)]
pub(crate) struct GateCheck {
    /// As written: format_validity >= 0.8.
    condition: String,
    /// Whether it holds.
    outcome: GateOutcome,
    /// What was measured.
    observed: Option<Real>,
    /// What it was held against.
    threshold: Option<Real>,
    /// Number of samples.
    n: Option<Long>,
    /// Standard error of what was measured.
    standard_error: Option<Real>,
    /// In words: what was compared and what was missing.
    detail: String,
}

impl From<&judgment::GateCheck> for GateCheck {
    fn from(row: &judgment::GateCheck) -> Self {
        let real = |value: Option<schemas::Real>| value.map(|value| Real(value.0));
        Self {
            condition: row.condition.clone(),
            outcome: row.outcome.into(),
            observed: real(row.observed),
            threshold: real(row.threshold),
            n: row.n.map(Long),
            standard_error: real(row.standard_error),
            detail: row.detail.clone(),
        }
    }
}

pub(crate) struct Gate(pub(crate) evals::Gate);

/// A gate's decision on a subject.
#[Object]
impl Gate {
    /// The judgment that recorded it.
    async fn judgment(&self) -> Ref {
        Ref(self.0.judgment.clone())
    }
    /// The gate's name.
    async fn gate(&self) -> &str {
        &self.0.gate
    }
    /// What it decided on.
    async fn subject(&self) -> Ref {
        Ref(self.0.subject.clone())
    }
    /// What the subject was compared with.
    async fn baseline(&self) -> Option<Ref> {
        self.0.baseline.clone().map(Ref)
    }
    /// What it decided.
    async fn outcome(&self) -> GateOutcome {
        self.0.outcome.into()
    }
    /// Its conditions, each with what was measured.
    async fn checks(&self) -> Vec<GateCheck> {
        self.0.checks.iter().map(GateCheck::from).collect()
    }
    /// The evaluations it rests on.
    async fn evaluations(&self) -> Vec<Ref> {
        self.0.evaluations.iter().cloned().map(Ref).collect()
    }
    /// Position of the event that recorded it.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }
    /// When the ledger recorded it.
    async fn recorded_at(&self) -> Timestamp {
        Timestamp(self.0.recorded_at)
    }
}

/// An evaluation that ended by an error.
#[derive(Clone, SimpleObject)]
pub(crate) struct FailedEvaluation {
    /// The evaluation.
    evaluation: Ref,
    /// What was to be measured.
    subject: Ref,
    /// The suite that the task belongs to.
    suite: String,
    /// The task.
    task: String,
    /// Why it failed.
    error: String,
    /// Position of the event that recorded it.
    position: Position,
    /// When the ledger recorded it.
    recorded_at: Timestamp,
}

impl From<evals::Missing> for FailedEvaluation {
    fn from(row: evals::Missing) -> Self {
        Self {
            evaluation: Ref(row.evaluation),
            subject: Ref(row.subject),
            suite: row.suite,
            task: row.task,
            error: row.error,
            position: Position(row.position),
            recorded_at: Timestamp(row.recorded_at),
        }
    }
}

/// When a question is about: what was recorded by `as_of`, and of that what had occurred by `valid_at`.
pub(crate) async fn at(ctx: &Context<'_>, as_of: Option<AsOf>, valid_at: Option<Timestamp>) -> Result<At> {
    Ok(At { as_of: as_of::resolve(ctx, as_of).await?, valid_at: valid_at.map(|time| time.0) })
}

/// The results of a subject in order of position.
pub(crate) async fn standings(ctx: &Context<'_>, subject: schemas::Ref, at: At) -> Result<Vec<Standing>> {
    let app = ctx.data::<App>()?;
    let rows = app.read(move |ctx| Ok(ctx.projections().evals().of_subject(&subject, &at)?)).await?;
    Ok(rows.into_iter().map(Standing::from).collect())
}

/// The judges' tallies on a subject.
pub(crate) async fn tallies(
    ctx: &Context<'_>,
    subject: schemas::Ref,
    as_of: Option<schemas::Position>,
) -> Result<Vec<Tally>> {
    let app = ctx.data::<App>()?;
    let rows = app.read(move |ctx| Ok(ctx.projections().evals().judgments(&subject, as_of)?)).await?;
    Ok(rows.into_iter().map(Tally::from).collect())
}

/// The gates' decisions on a subject.
pub(crate) async fn gates(
    ctx: &Context<'_>,
    subject: schemas::Ref,
    as_of: Option<schemas::Position>,
) -> Result<Vec<Gate>> {
    let app = ctx.data::<App>()?;
    let at = At { as_of, valid_at: None };
    let rows = app.read(move |ctx| Ok(ctx.projections().evals().gates(&subject, &at)?)).await?;
    Ok(rows.into_iter().map(Gate).collect())
}
