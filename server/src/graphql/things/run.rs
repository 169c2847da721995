//! Runs: a processor's job, a training, or both.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

use crate::state::App;
use async_graphql::{Context, MergedObject, Object, Result, SimpleObject};
use cairn_projections::catalog::{CheckpointRecord, Entity};
use cairn_projections::evals::At;
use cairn_projections::lineage::Direction;
use cairn_schemas::RunId;
use serde_json::Value;

use super::super::as_of::AsOf;
use super::super::curves::{Ask, Axis, Curve, RunMetric, SmoothingInput, cost, curves, metrics};
use super::super::lineage::RunProvenance;
use super::super::loaders::load;
use super::super::results::{Gate, Standing, gates, standings};
use super::super::scalars::{Long, Position, Ref, Timestamp};
use super::{Dataset, Model, Thing};

/// Models of one run that are shown.
const MODELS_MAX: usize = 100;

/// An execution: a processor's job, a training, or both under one id.
#[derive(Clone, MergedObject)]
pub(crate) struct Run(pub(crate) Thing, RunFields, RunProvenance);

impl From<Thing> for Run {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), RunFields(thing.clone()), RunProvenance(thing))
    }
}

/// The run of an id.
pub(crate) async fn thing_of_run(ctx: &Context<'_>, run: &RunId) -> Result<Option<Run>> {
    Ok(load(ctx, format!("run:{run}"), None).await?.map(Run::from))
}

/// The kind of job, or what a run without one does.
fn kind_of(entity: &Entity) -> String {
    let attributes = &entity.attributes;
    let job = attributes["job"]["kind"].as_str();
    let own = if attributes.get("training").is_some() { "train" } else { "ingest" };
    job.unwrap_or(own).to_owned()
}

/// A state of a training run: stored, with its digests, or only known to be kept elsewhere, without them.
#[derive(Clone, SimpleObject)]
pub(crate) struct Checkpoint {
    /// The step after which it was stored.
    step: Long,
    /// The attempt that stored it.
    attempt: u32,
    /// Tokens seen until then; null where its list does not say.
    tokens: Option<Long>,
    /// The artifact that holds it; for one kept elsewhere its description, where something began from it.
    artifact: Option<Ref>,
    /// BLAKE3 of the state alone: no time, no run id.
    state_digest: Option<String>,
    /// BLAKE3 of the weights alone.
    weights_digest: Option<String>,
    /// Where one that is kept elsewhere is kept.
    location: Option<String>,
    /// Position of the event that says so.
    position: Position,
    /// When that was recorded.
    recorded_at: Timestamp,
}

impl From<CheckpointRecord> for Checkpoint {
    fn from(row: CheckpointRecord) -> Self {
        Self {
            step: Long(row.step),
            attempt: row.attempt,
            tokens: row.tokens.map(Long),
            artifact: row.checkpoint.map(Ref),
            state_digest: row.state_digest.map(|digest| digest.to_string()),
            weights_digest: row.weights_digest.map(|digest| digest.to_string()),
            location: row.location,
            position: Position(row.position),
            recorded_at: Timestamp(row.recorded_at),
        }
    }
}

/// What only runs have.
#[derive(Clone)]
struct RunFields(Thing);

impl RunFields {
    fn id(&self) -> Result<RunId> {
        Ok(self.0.entity().reference.parse()?)
    }
}

#[Object]
impl RunFields {
    /// Its id: a UUID.
    #[graphql(name = "id")]
    async fn run_id(&self) -> Result<String> {
        Ok(self.id()?.to_string())
    }
    /// ingest, dataset, tokenizer, train, evaluate, judge, gate or deploy.
    async fn kind(&self) -> String {
        kind_of(self.0.entity())
    }
    /// pretrain, sft, …, where it is a training.
    async fn method(&self) -> Option<String> {
        self.0.text(&["training", "method"])
    }
    /// The latest attempt, from 1.
    async fn attempt(&self) -> Option<Long> {
        self.0.long(&["job", "attempt"]).or_else(|| self.0.long(&["training", "attempt"]))
    }
    /// Why it failed or was cancelled.
    async fn error(&self) -> Option<String> {
        let said = [["job", "error"], ["training", "error"], ["job", "reason"], ["training", "reason"]];
        said.iter().find_map(|path| self.0.text(path))
    }
    /// Its settings: of the training as resolved, else of the job as given.
    async fn config(&self) -> Option<Value> {
        self.0.json(&["training", "config"]).or_else(|| self.0.json(&["job", "spec"]))
    }
    /// Library, device, threads and instruction sets of a training.
    async fn environment(&self) -> Option<Value> {
        self.0.json(&["training", "environment"])
    }
    /// Name, version and digest of the program of a training.
    async fn code(&self) -> Option<Value> {
        self.0.json(&["training", "code"])
    }
    /// Figures that the job gave at its end.
    async fn summary(&self) -> Option<Value> {
        self.0.json(&["job", "summary"])
    }
    /// The latest step with its metrics.
    async fn progress(&self) -> Option<Value> {
        self.0.json(&["progress"])
    }
    /// What the job's inputs resolved to.
    async fn inputs(&self) -> Vec<Ref> {
        self.0.refs(&["job", "inputs"])
    }
    /// What the job made.
    async fn outputs(&self) -> Vec<Ref> {
        self.0.refs(&["job", "outputs"])
    }
    /// The dataset that it was trained on.
    async fn dataset(&self, ctx: &Context<'_>) -> Result<Option<Dataset>> {
        Ok(self.0.linked(ctx, &["training", "dataset"]).await?.map(Dataset::from))
    }
    /// The run that made what it started from: what it was forked from, else what its start names.
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        // A fork says more than a start.
        match self.0.linked_run(ctx, &["training", "forked_from", "from_run"]).await? {
            Some(parent) => Ok(Some(parent)),
            None => self.0.linked_run(ctx, &["training", "parent"]).await,
        }
    }
    /// The models that were registered from it, at most 100.
    async fn models(&self, ctx: &Context<'_>) -> Result<Vec<Model>> {
        let (app, run, as_of) = (ctx.data::<App>()?, self.0.reference()?, self.0.as_of);
        let made = app.read(move |ctx| {
            Ok(ctx
                .projections()
                .lineage()
                .neighbours(&run, Direction::Down, Some("model"), as_of, None, MODELS_MAX)?
                .neighbours)
        });
        let models = self.0.all_linked(ctx, made.await?.into_iter().map(Ref).collect()).await?;
        Ok(models.into_iter().map(Model::from).collect())
    }
    /// Its checkpoints that count, by step.
    async fn checkpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<Checkpoint>> {
        let as_of = self.0.when(ctx, as_of).await?;
        let (app, run) = (ctx.data::<App>()?, self.id()?);
        let rows = app.read(move |ctx| Ok(ctx.projections().catalog().checkpoints_at(&run, as_of)?)).await?;
        Ok(rows.into_iter().map(Checkpoint::from).collect())
    }
    /// Names of its metrics.
    async fn metrics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<String>> {
        let as_of = self.0.when(ctx, as_of).await?;
        let (app, run) = (ctx.data::<App>()?, self.id()?);
        Ok(app.read(move |ctx| Ok(ctx.projections().curves().runs_metrics(&run, as_of)?)).await?)
    }
    /// What it has of each metric, by name.
    #[graphql(complexity = "20 + child_complexity")]
    async fn metric_summaries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<RunMetric>> {
        let as_of = self.0.when(ctx, as_of).await?;
        metrics(ctx, self.id()?, as_of).await
    }
    /// Its curves, in at most so many points each, in which no spike is lost.
    #[graphql(complexity = "cost(1, &metrics, points) + child_complexity")]
    async fn curves(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The metrics, such as loss; * stands for any text.")] metrics: Vec<String>,
        #[graphql(desc = "The axis.", default)] x: Axis,
        #[graphql(desc = "Points of one curve, from 4 to 20,000; 500 where absent.")] points: Option<i32>,
        #[graphql(desc = "Smoothing, before any points are left out.")] smoothing: Option<SmoothingInput>,
        #[graphql(desc = "Together with the runs that it went on from.", default)] ancestors: bool,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<Curve>> {
        let runs = vec![self.id()?];
        let as_of = self.0.when(ctx, as_of).await?;
        let ask = Ask { runs, metrics, axis: x, from: None, to: None, points, smoothing, ancestors, as_of };
        curves(ctx, ask, None).await
    }
    /// Results measured on it.
    async fn results(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
        #[graphql(desc = "Only what had been measured by then, as its producer says.")] valid_at: Option<Timestamp>,
    ) -> Result<Vec<Standing>> {
        let at = At { as_of: self.0.when(ctx, as_of).await?, valid_at: valid_at.map(|time| time.0) };
        standings(ctx, self.0.reference()?, at).await
    }
    /// Gates' decisions on it.
    async fn gates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<Gate>> {
        let as_of = self.0.when(ctx, as_of).await?;
        gates(ctx, self.0.reference()?, as_of).await
    }
}
