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

use async_graphql::{Context, Object, Result};
use cairn_projections::catalog::Entity;
use cairn_schemas as schemas;
use serde_json::Value;
use std::sync::Arc;

use super::lineage::{Direction, Lineage, Reach, walk};
use super::scalars::{Long, Position, Ref, Timestamp};

/// What all things have in common.
#[derive(Clone)]
pub(crate) struct Thing(Arc<Entity>);

impl From<Entity> for Thing {
    fn from(entity: Entity) -> Self {
        Self(Arc::new(entity))
    }
}

impl Thing {
    pub(crate) fn entity(&self) -> &Entity {
        &self.0
    }
    fn reference(&self) -> Result<schemas::Ref> {
        Ok(self.0.reference.parse()?)
    }
    /// An attribute by the path of its names.
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0.attributes, |value, name| value.get(name)).filter(|value| !value.is_null())
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
impl Thing {
    /// Its name everywhere.
    #[graphql(name = "ref")]
    async fn reference_of(&self) -> Result<Ref> {
        Ok(Ref(self.reference()?))
    }
    /// For people: project/name, a job's name, a document's URI.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets); registered
    /// (models); created, active, retired (deployments); ingested, removed (documents); completed, failed, superseded
    /// (evaluations).
    async fn state(&self) -> &str {
        &self.0.state
    }
    /// The project it belongs to.
    async fn project(&self) -> &str {
        &self.0.project
    }
    /// When the ledger first heard of it.
    async fn created_at(&self) -> Timestamp {
        Timestamp(self.0.created_at)
    }
    /// Position of the first event about it.
    async fn created_position(&self) -> Position {
        Position(self.0.created_position)
    }
    /// When the last event about it was recorded.
    async fn updated_at(&self) -> Timestamp {
        Timestamp(self.0.updated_at)
    }
    /// Position of the last event about it.
    async fn updated_position(&self) -> Position {
        Position(self.0.updated_position)
    }
    /// Everything its events say of it, by the names of their fields.
    async fn attributes(&self) -> &Value {
        &self.0.attributes
    }
    /// What it was made of (UP), or what was made of it (DOWN).
    #[graphql(complexity = "20 + child_complexity")]
    async fn lineage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which way to walk.", default_with = "Direction::Up")] direction: Direction,
        #[graphql(desc = "Edges to walk at most; 10 where absent.")] depth: Option<i32>,
        #[graphql(desc = "Things to show at most; 200 where absent.")] limit: Option<i32>,
        #[graphql(desc = "Neighbours of one thing to show at most; 50 where absent.")] fan_out: Option<i32>,
    ) -> Result<Lineage> {
        walk(ctx, self.reference()?, Reach { direction, depth, limit, fan_out }).await
    }
}
