//! What the catalog knows: each thing with what all have in common, and with what is its own in a file of its kind.

mod dataset;
mod evaluation;
mod list;
mod model;
mod run;

pub(crate) use dataset::{Dataset, Document};
pub(crate) use evaluation::Evaluation;
pub(crate) use list::{ListQuery, list};
pub(crate) use model::{Deployment, Model};
pub(crate) use run::{Run, thing_of_run};

use crate::problem::Problem;
use async_graphql::{Context, Object, Result, SimpleObject};
use cairn_projections::catalog::{self, Entity};
use cairn_schemas as schemas;
use serde_json::Value;
use std::sync::Arc;

use super::as_of::{AsOf, resolve};
use super::lineage::{Direction, Lineage, LineageKind, Reach, walk, walk_cost};
use super::loaders::{load, load_all};
use super::scalars::{Long, Position, Ref, Timestamp};

/// What all things have in common.
#[derive(Clone)]
pub(crate) struct Thing {
    entity: Arc<Entity>,
    /// The past position at which it is shown; so is what hangs on it.
    as_of: Option<schemas::Position>,
}

/// Something that was noted of a thing.
#[derive(Clone, SimpleObject)]
pub(crate) struct Note {
    /// What was noted.
    note: String,
    /// Position of the event that says so.
    position: Position,
    /// When that was recorded.
    recorded_at: Timestamp,
}

impl From<&catalog::Note> for Note {
    fn from(note: &catalog::Note) -> Self {
        let (position, recorded_at) = (Position(note.position), Timestamp(note.recorded_at));
        Self { note: note.note.clone(), position, recorded_at }
    }
}

impl Thing {
    pub(crate) fn new(entity: Entity, as_of: Option<schemas::Position>) -> Self {
        Self { entity: Arc::new(entity), as_of }
    }
    pub(crate) fn entity(&self) -> &Entity {
        &self.entity
    }
    /// The position as of which a field of it is answered: that of the thing, or an earlier one that the field names.
    pub(super) async fn when(&self, ctx: &Context<'_>, own: Option<AsOf>) -> Result<Option<schemas::Position>> {
        match (resolve(ctx, own).await?, self.as_of) {
            (Some(own), Some(then)) if own > then => Err(Problem::malformed(format!(
                "asOf: position {own} is later than {then}, as of which {} is asked; leave it out, or name {then} or an \
                 earlier one",
                self.entity.reference
            ))
            .into()),
            (own, then) => Ok(own.or(then)),
        }
    }
    /// The thing whose ref stands at a path.
    async fn linked(&self, ctx: &Context<'_>, path: &[&str]) -> Result<Option<Thing>> {
        match self.a_ref(path) {
            Some(reference) => load(ctx, reference.0, self.as_of).await,
            None => Ok(None),
        }
    }
    /// The things whose refs stand in a list.
    async fn all_linked(&self, ctx: &Context<'_>, refs: Vec<Ref>) -> Result<Vec<Thing>> {
        load_all(ctx, refs, self.as_of).await
    }
    /// The run whose id stands at a path.
    async fn linked_run(&self, ctx: &Context<'_>, path: &[&str]) -> Result<Option<Run>> {
        let Some(run) = self.text(path) else { return Ok(None) };
        Ok(load(ctx, schemas::Ref::Run(run.parse()?), self.as_of).await?.map(Run::from))
    }
    fn reference(&self) -> Result<schemas::Ref> {
        Ok(self.entity.reference.parse()?)
    }
    /// An attribute by the path of its names.
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.entity.attributes, |value, name| value.get(name)).filter(|value| !value.is_null())
    }
    fn text(&self, path: &[&str]) -> Option<String> {
        self.at(path)?.as_str().map(str::to_owned)
    }
    fn long(&self, path: &[&str]) -> Option<Long> {
        self.at(path)?.as_u64().map(Long)
    }
    fn json(&self, path: &[&str]) -> Option<Value> {
        self.at(path).cloned()
    }
    fn a_ref(&self, path: &[&str]) -> Option<Ref> {
        self.at(path)?.as_str()?.parse().ok().map(Ref)
    }
    fn refs(&self, path: &[&str]) -> Vec<Ref> {
        let list = self.at(path).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|value| value.as_str()?.parse().ok().map(Ref)).collect()
    }
}

#[Object]
#[allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]
impl Thing {
    /// Its name everywhere.
    #[graphql(name = "ref")]
    async fn reference_of(&self) -> Result<Ref> {
        Ok(Ref(self.reference()?))
    }
    /// For people: project/name, a job's name, a document's URI.
    async fn name(&self) -> &str {
        &self.entity.name
    }
    /// Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets); registered
    /// (models); created, active, retired (deployments); ingested, removed (documents), or named where a dataset names one that
    /// was not ingested; completed, failed, superseded (evaluations).
    async fn state(&self) -> &str {
        &self.entity.state
    }
    /// The project it belongs to.
    async fn project(&self) -> &str {
        &self.entity.project
    }
    /// When the ledger first heard of it.
    async fn created_at(&self) -> Timestamp {
        Timestamp(self.entity.created_at)
    }
    /// Position of the first event about it.
    async fn created_position(&self) -> Position {
        Position(self.entity.created_position)
    }
    /// When the last event about it was recorded.
    async fn updated_at(&self) -> Timestamp {
        Timestamp(self.entity.updated_at)
    }
    /// Position of the last event about it.
    async fn updated_position(&self) -> Position {
        Position(self.entity.updated_position)
    }
    /// Who answers for it, as people said by annotations.
    async fn owner(&self) -> Option<&str> {
        self.entity.owner.as_deref()
    }
    /// What people said of it by name: an object.
    async fn tags(&self) -> Value {
        Value::Object(self.entity.tags.clone())
    }
    /// What people noted of it, oldest first; the latest 100.
    async fn notes(&self) -> Vec<Note> {
        self.entity.notes.iter().map(Note::from).collect()
    }
    /// Everything its events say of it, by the names of their fields.
    async fn attributes(&self) -> &Value {
        &self.entity.attributes
    }
    /// What it was made of (UP), or what was made of it (DOWN).
    #[graphql(complexity = "walk_cost(depth, limit, fan_out, &kinds, child_complexity)")]
    async fn lineage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which way to walk.", default_with = "Direction::Up")] direction: Direction,
        #[graphql(desc = "Edges to walk at most; 10 where absent.")] depth: Option<i32>,
        #[graphql(desc = "Things to show at most; 200 where absent.")] limit: Option<i32>,
        #[graphql(desc = "Neighbours of one thing to show at most; 50 where absent.")] fan_out: Option<i32>,
        #[graphql(desc = "Show only things of these kinds; the others are walked through.")] kinds: Option<
            Vec<LineageKind>,
        >,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Lineage> {
        let as_of = self.when(ctx, as_of).await?;
        walk(ctx, self.reference()?, Reach { direction, depth, limit, fan_out, kinds, as_of }).await
    }
}
