//! What can be asked of the catalog: things by ref, lists by filter and order, counts, paths, aliases; now, and as they
//! were.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

use crate::problem::Problem;
use async_graphql::{Context, Object, OutputType, Result, SimpleObject};
use cairn_projections::catalog::{self, PathInfo};
use cairn_schemas::{self as schemas, RunId};
use serde_json::Value;

use super::as_of::{self, AsOf};
use super::connection::{Connection, page_cost};
use super::loaders::load;
use super::query::wait;
use super::scalars::{Long, Position, Ref, Timestamp};
use super::things::{Dataset, Deployment, Document, Evaluation, ListQuery, Model, Note, Run, Thing, list};

/// What a list of the catalog is asked for, but for its kind.
struct Page {
    first: Option<i32>,
    after: Option<String>,
    newest_first: bool,
    filter: Option<String>,
    order_by: Option<String>,
    as_of: Option<AsOf>,
    at_least: Option<Position>,
}

async fn listed<T>(
    ctx: &Context<'_>,
    kind: &str,
    only: Vec<(&'static str, Option<String>)>,
    page: Page,
    wrap: fn(Thing) -> T,
) -> Result<Connection<T>>
where
    T: OutputType + Clone + Send + 'static,
{
    let app = wait(ctx, page.at_least).await?;
    let query = ListQuery {
        kind: kind.to_owned(),
        first: page.first,
        after: page.after,
        newest_first: page.newest_first,
        filter: page.filter,
        order_by: page.order_by,
        as_of: as_of::resolve(ctx, page.as_of).await?,
        only: only.into_iter().filter_map(|(path, text)| Some((path, text?))).collect(),
    };
    Ok(app.read(move |ctx| list(ctx, query, wrap)).await?)
}

/// The thing of a ref, or of a name that means one; `None` where the ledger has not heard of it, or had not.
async fn named<T>(
    ctx: &Context<'_>,
    as_of: Option<AsOf>,
    at_least: Option<Position>,
    kind: &'static str,
    name: String,
    wrap: fn(Thing) -> T,
) -> Result<Option<T>> {
    let app = wait(ctx, at_least).await?;
    let as_of = as_of::resolve(ctx, as_of).await?;
    let reference = match name.parse::<schemas::Ref>() {
        Ok(reference) if reference.kind() == kind => Some(reference),
        Ok(other) => return Err(Problem::malformed(format!("`{name}` names a {}, not a {kind}", other.kind())).into()),
        // A family or an alias, such as model://team/chat@production.
        Err(error) => {
            let found = app.read({
                let name = name.clone();
                move |ctx| Ok(ctx.projections().catalog().resolve_at(&name, as_of)?)
            });
            let family =
                name.starts_with("ds://") && kind == "dataset" || name.starts_with("model://") && kind == "model";
            match found.await? {
                None if !family => return Err(Problem::malformed(error.to_string()).into()),
                found => found,
            }
        }
    };
    match reference {
        Some(reference) => Ok(load(ctx, reference, as_of).await?.map(wrap)),
        None => Ok(None),
    }
}

/// Anything that has a name, with what all things have in common.
#[derive(Clone, SimpleObject)]
pub(crate) struct Entity {
    /// Its name everywhere; source:<name> and schema:<kind> where there is no ref for its kind.
    #[graphql(name = "ref")]
    reference: String,
    /// artifact, dataset, deployment, document, evaluation, judgment, model, run, schema or source.
    kind: String,
    /// For people.
    name: String,
    /// Where it stands.
    state: String,
    /// The project it belongs to.
    project: String,
    /// When the ledger first heard of it.
    created_at: Timestamp,
    /// Position of the first event about it.
    created_position: Position,
    /// When the last event about it was recorded.
    updated_at: Timestamp,
    /// Position of the last event about it.
    updated_position: Position,
    /// Who answers for it, as people said by annotations.
    owner: Option<String>,
    /// What people said of it by name: an object.
    tags: Value,
    /// What people noted of it, oldest first; the latest 100.
    notes: Vec<Note>,
    /// Everything its events say of it, by the names of their fields.
    attributes: Value,
}

impl From<Thing> for Entity {
    fn from(thing: Thing) -> Self {
        let entity = thing.entity().clone();
        Self {
            reference: entity.reference,
            kind: entity.kind,
            name: entity.name,
            state: entity.state,
            project: entity.project,
            created_at: Timestamp(entity.created_at),
            created_position: Position(entity.created_position),
            updated_at: Timestamp(entity.updated_at),
            updated_position: Position(entity.updated_position),
            owner: entity.owner,
            tags: Value::Object(entity.tags),
            notes: entity.notes.iter().map(Note::from).collect(),
            attributes: entity.attributes,
        }
    }
}

/// A path that filters and orders may name.
#[derive(SimpleObject)]
pub(crate) struct KnownPath {
    /// Such as config.optimizer.lr.
    path: String,
    /// Entities with a number there.
    numbers: Long,
    /// Entities with a text or a truth value there.
    others: Long,
}

impl From<PathInfo> for KnownPath {
    fn from(info: PathInfo) -> Self {
        Self { path: info.path, numbers: Long(info.numbers), others: Long(info.others) }
    }
}

/// What an alias named from an event on.
#[derive(SimpleObject)]
pub(crate) struct AliasChange {
    /// The version that carries it from then on; null where it was cleared.
    model: Option<Ref>,
    /// Why.
    reason: Option<String>,
    /// Position of the event that says so.
    position: Position,
    /// When that was recorded.
    recorded_at: Timestamp,
}

impl From<catalog::AliasChange> for AliasChange {
    fn from(row: catalog::AliasChange) -> Self {
        let (position, recorded_at) = (Position(row.position), Timestamp(row.recorded_at));
        Self { model: row.model.map(Ref), reason: row.reason, position, recorded_at }
    }
}

/// Of the catalog.
pub(crate) struct CatalogQuery;

#[Object]
impl CatalogQuery {
    /// A run by its id or its ref.
    async fn run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A UUID, or run:<uuid>.")] id: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Run>> {
        let run: RunId = id.parse().map_err(|e: schemas::Error| Problem::malformed(e.to_string()))?;
        named(ctx, as_of, at_least, "run", schemas::Ref::Run(run).to_string(), Run::from).await
    }

    /// Runs, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as config.optimizer.lr < 1e-3 AND tags.team = 'search'.")] filter: Option<
            String,
        >,
        #[graphql(desc = "In which order, such as metrics.loss DESC, name.")] order_by: Option<String>,
        #[graphql(desc = "ingest, dataset, tokenizer, train, evaluate, judge, gate or deploy.")] kind: Option<String>,
        #[graphql(desc = "running, completed, failed, cancelled, imported or placeholder.")] state: Option<String>,
        #[graphql(desc = "Only runs of this project.")] project: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Run>> {
        // Trainings have a list of their own, so that they are found among many other runs.
        let training = kind.as_deref() == Some("train");
        let (list, kind) = if training { ("training", None) } else { ("run", kind) };
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, list, vec![("kind", kind), ("state", state), ("project", project)], page, Run::from).await
    }

    /// A version of a dataset.
    async fn dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "ds://project/name@1.2.0; without the version its latest committed one.")]
        reference: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Dataset>> {
        named(ctx, as_of, at_least, "dataset", reference, Dataset::from).await
    }

    /// Versions of datasets, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn datasets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as rows > 1e6 AND tags.team = 'search'.")] filter: Option<String>,
        #[graphql(desc = "In which order, such as rows DESC, name.")] order_by: Option<String>,
        #[graphql(desc = "building, committed or withdrawn.")] state: Option<String>,
        #[graphql(desc = "Only datasets of this project.")] project: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Dataset>> {
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, "dataset", vec![("state", state), ("project", project)], page, Dataset::from).await
    }

    /// A version of a model.
    async fn model(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "ref",
            desc = "model://project/name@3; or an alias after the @; without either its highest version."
        )]
        reference: String,
        #[graphql(desc = "As it was then, and what the alias named then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Model>> {
        named(ctx, as_of, at_least, "model", reference, Model::from).await
    }

    /// Versions of models, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn models(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as parameters > 1e9 AND aliases HAS 'production'.")] filter: Option<String>,
        #[graphql(desc = "In which order, such as parameters DESC.")] order_by: Option<String>,
        #[graphql(desc = "Only models of this project.")] project: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Model>> {
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, "model", vec![("project", project)], page, Model::from).await
    }

    /// What an alias of a model named, oldest first: what was production when.
    async fn alias_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The model without a version: model://project/name.")] model: String,
        #[graphql(desc = "The alias, such as production.")] alias: String,
        #[graphql(desc = "Only what was recorded until then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<AliasChange>> {
        let app = wait(ctx, at_least).await?;
        let as_of = as_of::resolve(ctx, as_of).await?;
        let rows = app.read(move |ctx| {
            let (project, name) = catalog::family_of(&model)?;
            Ok(ctx.projections().catalog().alias_history(&project, name, &alias, as_of)?)
        });
        Ok(rows.await?.into_iter().map(AliasChange::from).collect())
    }

    /// A deployment by its name or its ref.
    async fn deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, or deployment:<name>.")] name: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Deployment>> {
        let reference = if name.starts_with("deployment:") { name } else { format!("deployment:{name}") };
        named(ctx, as_of, at_least, "deployment", reference, Deployment::from).await
    }

    /// Deployments, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as responses > 1000 OR target != 'local'.")] filter: Option<String>,
        #[graphql(desc = "In which order, such as responses DESC.")] order_by: Option<String>,
        #[graphql(desc = "created, active or retired.")] state: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Deployment>> {
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, "deployment", vec![("state", state)], page, Deployment::from).await
    }

    /// A document that was ingested.
    async fn document(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "doc:<blake3>")] reference: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Document>> {
        named(ctx, as_of, at_least, "document", reference, Document::from).await
    }

    /// An evaluation.
    async fn evaluation(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "eval:<id>")] reference: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Evaluation>> {
        named(ctx, as_of, at_least, "evaluation", reference, Evaluation::from).await
    }

    /// Evaluations, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn evaluations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as task = 'gsm8k' AND metrics.exact_match > 0.5.")] filter: Option<String>,
        #[graphql(desc = "In which order, such as metrics.exact_match DESC.")] order_by: Option<String>,
        #[graphql(desc = "completed, failed or superseded.")] state: Option<String>,
        #[graphql(desc = "Only evaluations of this project.")] project: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Evaluation>> {
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, "evaluation", vec![("state", state), ("project", project)], page, Evaluation::from).await
    }

    /// Anything by its ref.
    async fn entity(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "A ref; or source:<name>, schema:<kind>.")] reference: String,
        #[graphql(desc = "As it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Entity>> {
        wait(ctx, at_least).await?;
        let as_of = as_of::resolve(ctx, as_of).await?;
        let has_no_ref = ["source:", "schema:"].iter().any(|kind| reference.starts_with(kind));
        if !has_no_ref && let Err(error) = reference.parse::<schemas::Ref>() {
            return Err(Problem::malformed(error.to_string()).into());
        }
        Ok(load(ctx, reference, as_of).await?.map(Entity::from))
    }

    /// Things of any kind, the newest first unless told otherwise.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "artifact, dataset, deployment, document, evaluation, gate, judgment, model, run, schema, source or training."
        )]
        kind: String,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first, where orderBy does not say otherwise.", default = true)] newest_first: bool,
        #[graphql(desc = "Which ones, such as role = 'weights'.")] filter: Option<String>,
        #[graphql(desc = "In which order, such as name.")] order_by: Option<String>,
        #[graphql(desc = "The list as it was then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Entity>> {
        let page = Page { first, after, newest_first, filter, order_by, as_of, at_least };
        listed(ctx, &kind, vec![], page, Entity::from).await
    }

    /// How many things of a kind there are.
    async fn count(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As for entities.")] kind: String,
        #[graphql(desc = "Only those that it finds.")] filter: Option<String>,
        #[graphql(desc = "As many as there were then.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Long> {
        let app = wait(ctx, at_least).await?;
        let as_of = as_of::resolve(ctx, as_of).await?;
        let count =
            app.read(move |ctx| Ok(ctx.projections().catalog().count_where(&kind, filter.as_deref(), as_of)?));
        Ok(Long(count.await?))
    }

    /// The paths that filters and orders of a kind may name.
    async fn paths(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As for entities.")] kind: String,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<KnownPath>> {
        let app = wait(ctx, at_least).await?;
        let paths = app.read(move |ctx| Ok(ctx.projections().catalog().paths(&kind)?)).await?;
        Ok(paths.into_iter().map(KnownPath::from).collect())
    }
}
