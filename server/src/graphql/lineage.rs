//! The lineage graph: what was used to produce what.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use cairn_projections::lineage as rows;
use cairn_schemas as schemas;

use super::scalars::{Long, Position, Ref};

/// How far, and how much of it.
pub(crate) const DEPTH_DEFAULT: i32 = 10;
pub(crate) const DEPTH_MAX: i32 = 100;
pub(crate) const NODES_DEFAULT: i32 = 200;
pub(crate) const NODES_MAX: i32 = 10_000;
pub(crate) const FAN_OUT_DEFAULT: i32 = 50;

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

/// Neighbours of one kind that a limit left out.
#[derive(SimpleObject)]
pub(crate) struct LeftOut {
    /// document, run, dataset, …
    kind: String,
    /// How many.
    count: Long,
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
    /// Neighbours in the direction of the walk that a limit left out.
    left_out: Vec<LeftOut>,
}

/// Something was used to produce something.
#[derive(SimpleObject)]
pub(crate) struct LineageEdge {
    /// What was used.
    from: Ref,
    /// What it went into.
    to: Ref,
    /// Type of the first event that says so.
    event_type: String,
    /// Position of that event.
    position: Position,
}

pub(crate) struct Lineage(rows::Graph);

/// Part of the lineage graph.
#[Object]
impl Lineage {
    /// Things in the order of the walk: by depth, documents last.
    async fn nodes(&self) -> Vec<LineageNode> {
        let node = |node: &rows::Node| LineageNode {
            reference: Ref(node.reference.clone()),
            kind: node.kind.to_owned(),
            depth: node.depth,
            left_out: node
                .more
                .iter()
                .map(|(kind, count)| LeftOut { kind: (*kind).to_owned(), count: Long(*count) })
                .collect(),
        };
        self.0.nodes.iter().map(node).collect()
    }
    /// Links between these things that the walk came along, in order of position.
    async fn edges(&self) -> Vec<LineageEdge> {
        let edge = |edge: &rows::Edge| LineageEdge {
            from: Ref(edge.from.clone()),
            to: Ref(edge.to.clone()),
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
}

pub(crate) async fn walk(ctx: &Context<'_>, of: schemas::Ref, reach: Reach) -> Result<Lineage> {
    let depth = within("depth", reach.depth, DEPTH_DEFAULT, 0, DEPTH_MAX)?;
    let nodes = within("limit", reach.limit, NODES_DEFAULT, 1, NODES_MAX)? as usize;
    let fan_out = within("fanOut", reach.fan_out, FAN_OUT_DEFAULT, 1, NODES_MAX)? as usize;
    let app = ctx.data::<App>()?;
    let graph = app.read(move |ctx| {
        let limit = rows::Limit { nodes, fan_out };
        Ok(ctx.projections().lineage().walk(&of, reach.direction.into(), depth, limit)?)
    });
    Ok(Lineage(graph.await?))
}

fn within(name: &str, given: Option<i32>, default: i32, min: i32, max: i32) -> Result<u32, Problem> {
    let value = given.unwrap_or(default);
    let allowed = (min..=max).contains(&value).then(|| value.unsigned_abs());
    allowed.ok_or_else(|| Problem::malformed(format!("{name}: {value} is not a whole number from {min} to {max}")))
}
