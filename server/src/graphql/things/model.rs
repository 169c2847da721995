//! Models, and the deployments that answer with them.

use crate::state::App;
use async_graphql::{Context, MergedObject, Object, Result, SimpleObject};
use cairn_projections::catalog::DeploymentChange;
use cairn_projections::evals::At;
use serde_json::Value;

use super::super::as_of::AsOf;
use super::super::results::{Gate, Standing, Tally, gates, standings, tallies};
use super::super::scalars::{Long, Position, Ref, Timestamp};
use super::{Dataset, Run, Thing};

/// A version of a model.
#[derive(Clone, MergedObject)]
pub(crate) struct Model(pub(crate) Thing, ModelFields);

impl From<Thing> for Model {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), ModelFields(thing))
    }
}

/// What only models have.
#[derive(Clone)]
struct ModelFields(Thing);

#[Object]
impl ModelFields {
    /// Number of its parameters.
    async fn parameters(&self) -> Option<Long> {
        self.0.long(&["parameters"])
    }
    /// Architecture and sizes.
    async fn architecture(&self) -> Option<Value> {
        self.0.json(&["architecture"])
    }
    /// The artifact with its weights.
    async fn weights(&self) -> Option<Ref> {
        self.0.a_ref(&["weights"])
    }
    /// BLAKE3 of its weights.
    async fn weights_digest(&self) -> Option<String> {
        self.0.text(&["weights_digest"])
    }
    /// The artifact with its tokenizer.
    async fn tokenizer(&self) -> Option<Ref> {
        self.0.a_ref(&["tokenizer"])
    }
    /// Aliases that it carries now.
    async fn aliases(&self) -> Vec<String> {
        let list = self.0.json(&["aliases"]).unwrap_or_default();
        list.as_array().into_iter().flatten().filter_map(|alias| alias.as_str().map(str::to_owned)).collect()
    }
    /// Anything else that was registered with it.
    async fn metadata(&self) -> Option<Value> {
        self.0.json(&["metadata"])
    }
    /// The run that made it.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        self.0.linked_run(ctx, &["run"]).await
    }
    /// The dataset that it was trained on.
    async fn dataset(&self, ctx: &Context<'_>) -> Result<Option<Dataset>> {
        Ok(self.0.linked(ctx, &["dataset"]).await?.map(Dataset::from))
    }
    /// The model it was trained from.
    async fn base_model(&self, ctx: &Context<'_>) -> Result<Option<Model>> {
        Ok(self.0.linked(ctx, &["base_model"]).await?.map(Model::from))
    }
    /// Results measured on it, in order of position.
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
    /// Judges' verdicts on it, counted by criterion.
    async fn judgments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<Tally>> {
        let as_of = self.0.when(ctx, as_of).await?;
        tallies(ctx, self.0.reference()?, as_of).await
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

/// A place where a model answers.
#[derive(Clone, MergedObject)]
pub(crate) struct Deployment(pub(crate) Thing, DeploymentFields);

impl From<Thing> for Deployment {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), DeploymentFields(thing))
    }
}

/// Something that changed what a deployment answers with.
#[derive(Clone, SimpleObject)]
pub(crate) struct Change {
    /// created, promoted, rolled_back, traffic_shifted or retired.
    #[graphql(name = "type")]
    change: String,
    /// What answered from then on.
    model: Option<Ref>,
    /// BLAKE3 of its weights.
    weights_digest: Option<String>,
    /// What answered before.
    #[graphql(name = "from")]
    before: Option<Ref>,
    /// The gate's judgment that allowed it.
    gate: Option<Ref>,
    /// Why.
    reason: Option<String>,
    /// Position of the event that says so.
    position: Position,
    /// When that was recorded.
    recorded_at: Timestamp,
}

impl From<DeploymentChange> for Change {
    fn from(row: DeploymentChange) -> Self {
        Self {
            change: row.change,
            model: row.model.map(Ref),
            weights_digest: row.weights_digest.map(|digest| digest.to_string()),
            before: row.from.map(Ref),
            gate: row.gate.map(Ref),
            reason: row.reason,
            position: Position(row.position),
            recorded_at: Timestamp(row.recorded_at),
        }
    }
}

/// What only deployments have.
#[derive(Clone)]
struct DeploymentFields(Thing);

#[Object]
impl DeploymentFields {
    /// local, or where it runs.
    async fn target(&self) -> Option<String> {
        self.0.text(&["target"])
    }
    /// Its settings.
    async fn config(&self) -> Option<Value> {
        self.0.json(&["config"])
    }
    /// Answers it gave.
    async fn responses(&self) -> Long {
        self.0.long(&["responses"]).unwrap_or(Long(0))
    }
    /// What answers now; null where nothing was promoted or it is retired.
    async fn model(&self, ctx: &Context<'_>) -> Result<Option<Model>> {
        Ok(self.0.linked(ctx, &["active", "model"]).await?.map(Model::from))
    }
    /// BLAKE3 of the weights that answer now.
    async fn weights_digest(&self) -> Option<String> {
        self.0.text(&["active", "weights_digest"])
    }
    /// What a roll-back would go back to.
    async fn previous(&self) -> Option<Ref> {
        self.0.a_ref(&["previous", "model"])
    }
    /// What changed what it answers with, oldest first.
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Vec<Change>> {
        let as_of = self.0.when(ctx, as_of).await?;
        let (app, name) = (ctx.data::<App>()?, self.0.entity().reference.clone());
        let rows = app.read(move |ctx| Ok(ctx.projections().catalog().deployment_history(&name, as_of)?)).await?;
        Ok(rows.into_iter().map(Change::from).collect())
    }
}
