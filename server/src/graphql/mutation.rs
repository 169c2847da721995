//! What can be changed: events appended, pipelines run, models promoted and rolled back, projections rebuilt.

use crate::cursor;
use crate::events::DEADLINE as APPEND_DEADLINE;
use crate::problem::Problem;
use crate::state::{App, spawned};
use async_graphql::{Context, Object, Result, SimpleObject};
use cairn_processors::deployments;
use cairn_schemas::events::annotation::AnnotationRecorded;
use cairn_schemas::{NewEvent, RawJson, RunId};
use serde_json::Value;
use std::time::Instant;

use super::log::{self, Projection};
use super::pipelines::PipelineRun;
use super::scalars::{Long, Position, Ref, Timestamp};

/// Source of the annotations that come this way.
const ANNOTATIONS: &str = "cairn://server/annotations";

/// Where an event was recorded.
#[derive(SimpleObject)]
pub(crate) struct Appended {
    /// Where it stands in the log.
    position: Position,
    /// Its number in its stream, from 1.
    stream_version: Long,
    /// Whether it was recorded before: then this is the first one's position.
    duplicate: bool,
    /// When it was recorded.
    recorded_at: Timestamp,
    /// Pass the position as `atLeast` to read your own write, the cursor as `after` or `from` to go on after it.
    cursor: String,
}

/// What a deployment answers with after a change.
#[derive(SimpleObject)]
pub(crate) struct Active {
    /// The deployment.
    deployment: Ref,
    /// The model that answers.
    model: Ref,
    /// BLAKE3 of its weights.
    weights_digest: String,
    /// The model that a roll-back would go back to.
    previous: Option<Ref>,
    /// A position that covers the change: pass it as `atLeast`.
    position: Option<Position>,
}

pub(crate) struct Mutation;

/// What can be changed.
#[Object]
impl Mutation {
    /// Records an event or a batch (whole or not at all), given as CloudEvents 1.0 in JSON: an object or an array. Durable
    /// when this answers. The same source and id again is the same event.
    async fn append(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "One CloudEvent, or an array of them.")] event: Value,
    ) -> Result<Vec<Appended>> {
        let app = ctx.data::<App>()?;
        let deadline = Instant::now() + APPEND_DEADLINE;
        let text = event.to_string();
        let _room = app.begin_append(text.len(), deadline).await?;
        let batch = match event {
            Value::Array(_) => NewEvent::batch_from_cloudevents(text.as_bytes()),
            _ => NewEvent::from_cloudevent(text.as_bytes()).map(|event| vec![event]),
        };
        let appended = app.append(batch.map_err(Problem::from)?.into(), deadline).await?;
        Ok(appended.into_iter().map(appended_as).collect())
    }

    /// Says something of a thing beside what its own events say: what is not given stays as it was.
    async fn annotate(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "What it is said of: any ref.")] reference: Ref,
        #[graphql(
            desc = "An object: each name gets its value (text, number, true or false); null takes the name away."
        )]
        tags: Option<Value>,
        #[graphql(desc = "Who answers for it from now on; empty: nobody.")] owner: Option<String>,
        #[graphql(desc = "One more note.")] note: Option<String>,
    ) -> Result<Appended> {
        let event = annotation(reference.0, tags, owner, note)?;
        let app = ctx.data::<App>()?;
        let deadline = Instant::now() + APPEND_DEADLINE;
        let _room = app.begin_append(event.event.encode().len(), deadline).await?;
        let appended = app.append(vec![event].into(), deadline).await?;
        appended.into_iter().map(appended_as).next().ok_or_else(|| Problem::internal("nothing was appended").into())
    }

    /// Runs a pipeline in the background, one after the other. Follow it by `pipelineRun(id)` and by the subscription to
    /// events. Jobs whose work is recorded already are skipped.
    async fn run_pipeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The pipeline as YAML. Relative paths are relative to the folder the server was told, else where it was started."
        )]
        yaml: String,
    ) -> Result<PipelineRun> {
        let app = ctx.data::<App>()?.clone();
        let view = spawned(move || app.pipelines.submit(&yaml)).await?;
        Ok(PipelineRun(view))
    }

    /// Asks a pipeline to stop. Its job ends between two steps and records that it was cancelled.
    async fn cancel_pipeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What runPipeline gave.")] id: String,
    ) -> Result<PipelineRun> {
        Ok(PipelineRun(ctx.data::<App>()?.pipelines.cancel(&id)?))
    }

    /// Makes projections anew from the first event, and answers when that is done. The stores in use answer meanwhile,
    /// `projections` says how far it is, and it goes on if its asker leaves. One at a time.
    async fn rebuild(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "curves, evals, catalog, lineage; all where absent. They share one reading of the log.")]
        projections: Option<Vec<String>>,
        #[graphql(
            desc = "What the new stores lie in: sled, fjall, or auto, by the length of the log, as where absent."
        )]
        engine: Option<String>,
    ) -> Result<Vec<Projection>> {
        let app = ctx.data::<App>()?;
        let engine = engine.as_deref().map(str::parse).transpose().map_err(Problem::from)?;
        app.rebuild(projections.unwrap_or_default(), engine).await?;
        Ok(log::projections(app))
    }

    /// Makes a model what a deployment answers with. Refused unless the latest gate on that model passed.
    async fn promote(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, or deployment:<name>.")] deployment: String,
        #[graphql(desc = "model://project/name@version")] model: Ref,
        #[graphql(desc = "Why, for those who read the history.")] reason: Option<String>,
    ) -> Result<Active> {
        let app = ctx.data::<App>()?;
        let job = app.ctx.clone();
        let active = spawned(move || {
            deployments::promote(&job, &deployment, &model.0, reason.as_deref()).map_err(Problem::from)
        });
        Ok(shown(active.await?, app))
    }

    /// Goes back to the model that answered before.
    async fn roll_back(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, or deployment:<name>.")] deployment: String,
        #[graphql(desc = "Why, for those who read the history.")] reason: String,
    ) -> Result<Active> {
        let app = ctx.data::<App>()?;
        let job = app.ctx.clone();
        let active = spawned(move || deployments::roll_back(&job, &deployment, &reason).map_err(Problem::from));
        Ok(shown(active.await?, app))
    }
}

fn appended_as(one: cairn_ledger::Appended) -> Appended {
    Appended {
        position: Position(one.position),
        stream_version: Long(one.stream_version),
        duplicate: one.duplicate,
        recorded_at: Timestamp(one.recorded_at),
        cursor: cursor::of_position(Some(one.position)),
    }
}

fn annotation(
    subject: cairn_schemas::Ref,
    tags: Option<Value>,
    owner: Option<String>,
    note: Option<String>,
) -> Result<NewEvent, Problem> {
    let is_scalar = |value: &Value| !value.is_array() && !value.is_object();
    match &tags {
        None if owner.is_none() && note.is_none() => {
            return Err(Problem::malformed("nothing is said; give tags, an owner or a note"));
        }
        Some(Value::Object(tags)) => {
            if let Some((name, _)) = tags.iter().find(|(name, value)| name.is_empty() || !is_scalar(value)) {
                let why =
                    format!("the tag `{name}` needs a name, and text, a number, true, false or null as its value");
                return Err(Problem::malformed(why));
            }
        }
        None => {}
        Some(_) => return Err(Problem::malformed("tags are an object, such as {\"team\": \"search\"}")),
    }
    let tags = tags.map_or_else(RawJson::default, |tags| RawJson::of(&tags));
    let event = AnnotationRecorded { subject, tags, owner, note };
    Ok(NewEvent::new(ANNOTATIONS, &RunId::generate().to_string(), event))
}

fn shown(active: deployments::Active, app: &App) -> Active {
    Active {
        deployment: Ref(active.deployment),
        model: Ref(active.model),
        weights_digest: active.weights_digest.to_string(),
        previous: active.previous.map(Ref),
        position: app.head_position().map(Position),
    }
}
