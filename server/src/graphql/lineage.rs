//! The lineage graph: what was used to produce what, as of any position; what something went into; how two things are
//! connected; what differs between two runs.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

mod diff;
mod impact;
mod path;
mod provenance;

pub(crate) use provenance::RunProvenance;

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use cairn_projections::lineage as rows;
use cairn_schemas as schemas;

use super::as_of::{AsOf, resolve};
use super::connection::{Connection, page_cost, page_length};
use super::query::wait;
use super::scalars::{Long, Position, Ref};
use diff::{DocumentsDiff, RunDiff};
use impact::Impact;
use path::Path;

/// How far, and how much of it.
const DEPTH_DEFAULT: i32 = 10;
const DEPTH_MAX: i32 = 100;
const NODES_DEFAULT: i32 = 200;
const NODES_MAX: i32 = 10_000;
const FAN_OUT_DEFAULT: i32 = 50;
/// Things of one list that a question names.
const REFS_MAX: usize = 1_024;

/// Which way to walk.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "rows::Direction")]
pub(crate) enum Direction {
    /// To what a thing was made of.
    Up,
    /// To what was made of a thing.
    Down,
    /// Ancestors and descendants; never down from an ancestor, nor up from a descendant.
    Both,
}

/// Kinds of things in the lineage graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum LineageKind {
    /// What answers questions by a model.
    Deployment,
    /// A version of a model.
    Model,
    /// An execution: a job, a training, or both.
    Run,
    /// A version of a dataset.
    Dataset,
    /// A result of measuring something.
    Evaluation,
    /// A verdict on something, a gate's among them.
    Judgment,
    /// Stored bytes.
    Artifact,
    /// A document that was ingested.
    Document,
}

impl LineageKind {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

fn names_of(kinds: Option<Vec<LineageKind>>) -> Vec<String> {
    kinds.unwrap_or_default().into_iter().map(LineageKind::name).collect()
}

/// Things of one kind, counted.
#[derive(SimpleObject)]
pub(crate) struct LineageCount {
    /// document, run, dataset, …
    kind: String,
    /// How many.
    count: Long,
}

fn counts_of(counts: &[(&'static str, u64)]) -> Vec<LineageCount> {
    counts.iter().map(|(kind, count)| LineageCount { kind: (*kind).to_owned(), count: Long(*count) }).collect()
}

/// A thing in the graph.
#[derive(SimpleObject)]
pub(crate) struct LineageNode {
    /// What it is.
    #[graphql(name = "ref")]
    reference: Ref,
    /// dataset, model, run, document, evaluation, judgment, deployment or artifact.
    kind: String,
    /// Edges between it and where the walk began, by the shortest way.
    depth: u32,
    /// Neighbours in the direction of the walk that a limit left out: `neighbours` pages through them. Not counted where
    /// kinds were named.
    left_out: Vec<LineageCount>,
}

/// Something was used to produce something.
#[derive(SimpleObject)]
pub(crate) struct LineageEdge {
    /// What was used.
    from: Ref,
    /// What it went into.
    to: Ref,
    /// Things of kinds that were not asked for which lie between the two; 0 where none does.
    through: u32,
    /// Type of the first event that says so; of the last hop, where things lie between.
    event_type: String,
    /// Position of that event.
    position: Position,
}

pub(crate) struct Lineage(rows::Graph);

/// Part of the lineage graph.
#[Object]
impl Lineage {
    /// Things in the order of the walk: by depth, and of one thing's neighbours documents last.
    async fn nodes(&self) -> Vec<LineageNode> {
        let node = |node: &rows::Node| LineageNode {
            reference: Ref(node.reference.clone()),
            kind: node.kind.to_owned(),
            depth: node.depth,
            left_out: counts_of(&node.more),
        };
        self.0.nodes.iter().map(node).collect()
    }
    /// Links between these things that the walk came along, in order of position.
    async fn edges(&self) -> Vec<LineageEdge> {
        let edge = |edge: &rows::Edge| LineageEdge {
            from: Ref(edge.from.clone()),
            to: Ref(edge.to.clone()),
            through: edge.through,
            event_type: edge.event_type.to_owned(),
            position: Position(edge.position),
        };
        self.0.edges.iter().map(edge).collect()
    }
    /// Whether anything was left out for depth or size.
    async fn truncated(&self) -> bool {
        self.0.truncated
    }
}

/// How far to walk.
pub(crate) struct Reach {
    pub(crate) direction: Direction,
    pub(crate) depth: Option<i32>,
    pub(crate) limit: Option<i32>,
    pub(crate) fan_out: Option<i32>,
    pub(crate) kinds: Option<Vec<LineageKind>>,
    pub(crate) as_of: Option<schemas::Position>,
}

/// What a walk costs: each thing that it may show a fifth of what the fields cost. Fields of a thing are few and short.
pub(crate) fn walk_cost(
    depth: Option<i32>,
    limit: Option<i32>,
    fan_out: Option<i32>,
    kinds: &Option<Vec<LineageKind>>,
    child: usize,
) -> usize {
    let bounded =
        |given: Option<i32>, default: i32, max: i32| given.unwrap_or(default).clamp(1, max).unsigned_abs() as usize;
    let limit = bounded(limit, NODES_DEFAULT, NODES_MAX);
    let fan_out = bounded(fan_out, FAN_OUT_DEFAULT, NODES_MAX);
    let (mut level, mut things) = (1usize, 1usize);
    for _ in 0..depth.unwrap_or(DEPTH_DEFAULT).clamp(0, DEPTH_MAX) {
        // Both ways; where kinds are named, what is walked through is not counted.
        level = if kinds.is_some() { limit } else { level.saturating_mul(fan_out) };
        things = things.saturating_add(level.saturating_mul(2));
        if things >= limit {
            break;
        }
    }
    20 + things.min(limit).saturating_mul(child.max(1)).div_ceil(5)
}

pub(crate) async fn walk(ctx: &Context<'_>, of: schemas::Ref, reach: Reach) -> Result<Lineage> {
    let depth = within("depth", reach.depth, DEPTH_DEFAULT, 0, DEPTH_MAX)?;
    let nodes = within("limit", reach.limit, NODES_DEFAULT, 1, NODES_MAX)? as usize;
    let fan_out = within("fanOut", reach.fan_out, FAN_OUT_DEFAULT, 1, NODES_MAX)? as usize;
    let app = ctx.data::<App>()?;
    let walk = rows::Walk {
        direction: reach.direction.into(),
        depth,
        limit: rows::Limit { nodes, fan_out },
        kinds: names_of(reach.kinds),
        as_of: reach.as_of,
    };
    Ok(Lineage(app.read(move |ctx| Ok(ctx.projections().lineage().explore(&of, &walk)?)).await?))
}

fn within(name: &str, given: Option<i32>, default: i32, min: i32, max: i32) -> Result<u32, Problem> {
    let value = given.unwrap_or(default);
    let allowed = (min..=max).contains(&value).then(|| value.unsigned_abs());
    allowed.ok_or_else(|| Problem::malformed(format!("{name}: {value} is not a whole number from {min} to {max}")))
}

/// Refuses what no event up to a position mentions: an answer without anything would pass for one about it.
pub(super) fn check_known(
    ctx: &cairn_processors::Context,
    things: &[schemas::Ref],
    as_of: Option<schemas::Position>,
) -> Result<(), Problem> {
    let (lineage, catalog) = (ctx.projections().lineage(), ctx.projections().catalog());
    for thing in things {
        if !lineage.mentions(thing, as_of)? && catalog.state(&thing.to_string(), as_of)?.is_none() {
            let when = as_of.map_or_else(String::new, |position| format!(" as of position {position}"));
            return Err(Problem::not_found(format!(
                "nothing is called {thing}{when}; `entities(kind: \"{}\")` lists what there is",
                thing.kind()
            )));
        }
    }
    Ok(())
}

/// Refs that a question names.
fn refs_of(name: &str, given: Vec<Ref>) -> Result<Vec<schemas::Ref>, Problem> {
    match given.len() {
        1..=REFS_MAX => Ok(given.into_iter().map(|reference| reference.0).collect()),
        count => Err(Problem::malformed(format!("{name} holds {count} refs; it takes 1 to {REFS_MAX}"))),
    }
}

/// A thing that is directly linked.
#[derive(Clone, SimpleObject)]
pub(crate) struct LineageNeighbour {
    /// What it is.
    #[graphql(name = "ref")]
    reference: Ref,
    /// dataset, model, run, document, evaluation, judgment, deployment or artifact.
    kind: String,
}

/// What a thing is directly linked to, one way.
#[derive(SimpleObject)]
pub(crate) struct LineageNeighbours {
    /// How many there are, of the kind asked for.
    total: Long,
    /// By kind, and of one kind by when the link was recorded. The pages are of one position, that of the first.
    things: Connection<LineageNeighbour>,
}

#[derive(Default)]
pub(crate) struct LineageQuery;

/// Questions about the lineage graph.
#[Object]
impl LineageQuery {
    /// What a thing was made of (UP), what was made of it (DOWN), or both. A thing that the ledger has not heard of, or had
    /// not by then, is refused; so it is by all questions here.
    #[graphql(complexity = "walk_cost(depth, limit, fan_out, &kinds, child_complexity)")]
    async fn lineage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where the walk begins.")] of: Ref,
        #[graphql(desc = "Which way to walk.", default_with = "Direction::Up")] direction: Direction,
        #[graphql(desc = "Edges to walk at most; 10 where absent.")] depth: Option<i32>,
        #[graphql(desc = "Things to show at most; 200 where absent.")] limit: Option<i32>,
        #[graphql(desc = "Neighbours of one thing to show at most; 50 where absent.")] fan_out: Option<i32>,
        #[graphql(desc = "Show only things of these kinds; the others are walked through.")] kinds: Option<
            Vec<LineageKind>,
        >,
        #[graphql(desc = "As the graph was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Lineage> {
        let app = wait(ctx, at_least).await?;
        let as_of = resolve(ctx, as_of).await?;
        let named = of.0.clone();
        app.read(move |ctx| check_known(ctx, &[named], as_of)).await?;
        walk(ctx, of.0, Reach { direction, depth, limit, fan_out, kinds, as_of }).await
    }

    /// What a thing is directly linked to, in pages: what a walk leaves out for size.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn neighbours(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The thing.")] of: Ref,
        #[graphql(desc = "UP: what it was made of; DOWN: what was made of it.", default_with = "Direction::Up")]
        direction: Direction,
        #[graphql(desc = "Only things of this kind.")] kind: Option<LineageKind>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "As the graph was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<LineageNeighbours> {
        if direction == Direction::Both {
            return Err(Problem::malformed("direction: BOTH is not one way; ask UP and DOWN apart").into());
        }
        let app = wait(ctx, at_least).await?;
        let (first, as_of) = (page_length("first", first)?, resolve(ctx, as_of).await?);
        let page = app.read(move |ctx| {
            check_known(ctx, std::slice::from_ref(&of.0), as_of)?;
            let (kind, after) = (kind.map(LineageKind::name), after.as_deref());
            let lineage = ctx.projections().lineage();
            Ok(lineage.neighbours(&of.0, direction.into(), kind.as_deref(), as_of, after, first)?)
        });
        let page = page.await?;
        let one = |(at, reference): (usize, &schemas::Ref)| {
            let thing = LineageNeighbour { reference: Ref(reference.clone()), kind: reference.kind().to_owned() };
            (page.cursors.after(at), thing)
        };
        let things = page.neighbours.iter().enumerate().map(one).collect();
        let things = Connection::of(things, page.cursors.is_later(), page.next.is_some());
        Ok(LineageNeighbours { total: Long(page.total), things })
    }

    /// Everything that something went into: a document, a dataset version, any other thing; the documents of a person; the
    /// runs of a commit. Give one of `of`, `commit` and `dataSubject`.
    #[graphql(complexity = "20 + page_cost(first, child_complexity)")]
    async fn impact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Things to begin at, at most 1,024.")] of: Option<Vec<Ref>>,
        #[graphql(desc = "A commit or digest that runs' code names, or its beginning: 7 to 64 hexadecimal digits.")]
        commit: Option<String>,
        #[graphql(desc = "A person, written exactly as the events do: their documents, while the vault reads them.")]
        data_subject: Option<String>,
        #[graphql(desc = "Count and list only things of these kinds; the others are followed too.")] kinds: Option<
            Vec<LineageKind>,
        >,
        #[graphql(desc = "Edges to follow at most; all where absent.")] depth: Option<i32>,
        #[graphql(desc = "How many to list; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "As the graph was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Impact> {
        wait(ctx, at_least).await?;
        let start = impact::Start { of, commit, data_subject };
        impact::impact(ctx, start, impact::Page { kinds, depth, first, after, as_of }).await
    }

    /// The shortest way by which two things are connected, and the events that say so; null where nothing recorded leads
    /// from the one to the other.
    #[graphql(complexity = "20 + child_complexity")]
    async fn path(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where the way begins.")] from: Ref,
        #[graphql(desc = "Where it ends.")] to: Ref,
        #[graphql(desc = "Also where neither went into the other: by what both come from or went into.", default)]
        related: bool,
        #[graphql(desc = "As the graph was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Option<Path>> {
        let app = wait(ctx, at_least).await?;
        let as_of = resolve(ctx, as_of).await?;
        let found = app.read(move |ctx| {
            let (from, to) = (from.0, to.0);
            check_known(ctx, &[from.clone(), to.clone()], as_of)?;
            Ok(ctx.projections().lineage().path(&from, &to, related, as_of)?)
        });
        Ok(found.await?.map(Path::from))
    }

    /// What is different between two runs: data, code, config, environment, metrics.
    #[graphql(complexity = "50 + child_complexity")]
    async fn diff_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A run's id or ref.")] before: String,
        #[graphql(desc = "The id or ref of the run to compare it with.")] after: String,
        #[graphql(desc = "As the ledger was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<RunDiff> {
        wait(ctx, at_least).await?;
        diff::runs(ctx, &before, &after, as_of).await
    }

    /// Documents that dataset versions, or ingestions, hold and others do not.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn diff_documents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Dataset versions, or runs that ingest: together the one side.")] from: Vec<Ref>,
        #[graphql(desc = "The other side.")] to: Vec<Ref>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "As the graph was recorded then; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<DocumentsDiff> {
        let app = wait(ctx, at_least).await?;
        let (first, as_of) = (page_length("first", first)?, resolve(ctx, as_of).await?);
        let (from, to) = (refs_of("from", from)?, refs_of("to", to)?);
        let found = app.read(move |ctx| {
            check_known(ctx, &[&from[..], &to[..]].concat(), as_of)?;
            Ok(ctx.projections().lineage().documents_diff(&from, &to, as_of, after.as_deref(), first)?)
        });
        Ok(found.await?.into())
    }
}
