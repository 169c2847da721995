//! `cairn lineage REF`: what a thing was made of, or what was made of it, as a tree; as of any position.

use super::{Outcome, done, position, print_json, reader, resolve};
use crate::render::tree;
use crate::{Globals, exit};
use cairn_ledger::AsOf;
use cairn_projections::lineage::{Direction, Graph, Walk};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A ref, or a deployment's name.
    #[arg(value_name = "REF")]
    reference: String,
    /// What it was made of (the default).
    #[arg(long, conflicts_with = "down")]
    up: bool,
    /// What was made of it.
    #[arg(long)]
    down: bool,
    #[arg(long, default_value_t = 16, value_name = "N")]
    depth: u32,
    /// Most things to show.
    #[arg(long, default_value_t = 5000, value_name = "N")]
    limit: usize,
    /// Show only things of this kind (dataset, model, run, …); the others are walked through. May be given more than once.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// As the ledger was at a position, or at a recorded time (RFC 3339).
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let reference = resolve(&context, &args.reference)?;
    let direction = if args.down { Direction::Down } else { Direction::Up };
    let as_of = position(&context, args.as_of)?;
    let kinds = args.kinds.clone();
    let walk = Walk { direction, depth: args.depth, limit: args.limit.into(), kinds, as_of };
    let graph = context.projections().lineage().explore(&reference, &walk)?;
    if let (true, Some(as_of)) = (graph.nodes.is_empty(), as_of) {
        return Err(exit::not_found(format!("no event up to position {as_of} mentions {reference}; a later one does")));
    }
    if globals.json {
        print_json(&json(&graph));
        return done();
    }
    say_raw!("{}", tree::lineage(&reference, direction, &graph, &|of| tree::label(&context, of)));
    done()
}

fn json(graph: &Graph) -> serde_json::Value {
    let nodes: Vec<_> = graph
        .nodes
        .iter()
        .map(
            |n| serde_json::json!({ "ref": n.reference, "kind": n.kind, "depth": n.depth, "left_out": n.more_total() }),
        )
        .collect();
    let edges: Vec<_> = graph
        .edges
        .iter()
        .map(|e| {
            serde_json::json!({
                "from": e.from, "to": e.to, "through": e.through, "event_type": e.event_type, "position": e.position,
            })
        })
        .collect();
    serde_json::json!({ "nodes": nodes, "edges": edges, "truncated": graph.truncated })
}
