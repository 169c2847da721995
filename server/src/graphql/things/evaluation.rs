//! Evaluations: what was measured on a subject.

use crate::state::App;
use async_graphql::{Context, MergedObject, Object, Result};
use cairn_projections::evals::At;

use super::super::results::Measure;
use super::super::scalars::{Long, Ref};
use super::{Dataset, Thing};

/// An evaluation of a subject on a task.
#[derive(Clone, MergedObject)]
pub(crate) struct Evaluation(pub(crate) Thing, EvaluationFields);

impl From<Thing> for Evaluation {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), EvaluationFields(thing))
    }
}

/// What only evaluations have.
#[derive(Clone)]
struct EvaluationFields(Thing);

#[Object]
impl EvaluationFields {
    /// What was measured: a model or a run.
    async fn subject(&self) -> Option<Ref> {
        self.0.a_ref(&["subject"])
    }
    /// The suite that the task belongs to.
    async fn suite(&self) -> Option<String> {
        self.0.text(&["suite"])
    }
    /// The task.
    async fn task(&self) -> Option<String> {
        self.0.text(&["task"])
    }
    /// The part of the task's samples: all, or a name.
    async fn slice(&self) -> Option<String> {
        self.0.text(&["slice"])
    }
    /// The checkpoint's step, where the subject is a run.
    async fn step(&self) -> Option<Long> {
        self.0.long(&["step"])
    }
    /// Results are comparable where this BLAKE3 is equal.
    async fn protocol_digest(&self) -> Option<String> {
        self.0.text(&["protocol_digest"])
    }
    /// The artifact with every sample, its answer and its scores.
    async fn samples(&self) -> Option<Ref> {
        self.0.a_ref(&["samples"])
    }
    /// Why it failed.
    async fn error(&self) -> Option<String> {
        self.0.text(&["error"])
    }
    /// The evaluation that takes its place, where it is superseded by one.
    async fn superseded_by(&self) -> Option<Ref> {
        self.0.a_ref(&["superseded_by"])
    }
    /// Why it is no longer to be relied on.
    async fn superseded_because(&self) -> Option<String> {
        self.0.text(&["superseded_because"])
    }
    /// The dataset that it was measured on.
    async fn dataset(&self, ctx: &Context<'_>) -> Result<Option<Dataset>> {
        Ok(self.0.linked(ctx, &["dataset"]).await?.map(Dataset::from))
    }
    /// What was measured; where it was completed again, what was measured last.
    async fn metrics(&self, ctx: &Context<'_>) -> Result<Vec<Measure>> {
        let (app, evaluation) = (ctx.data::<App>()?, self.0.reference()?);
        let at = At { as_of: self.0.as_of, valid_at: None };
        let rows = app.read(move |ctx| Ok(ctx.projections().evals().of_evaluation(&evaluation, &at)?)).await?;
        Ok(rows.iter().map(Measure::from).collect())
    }
}
