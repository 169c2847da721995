//! `cairn lineage REF`: what a thing was made of, or what was made of it, as a tree.

use super::{Outcome, done, print_json, reader, resolve};
use crate::Globals;
use crate::render::tree;
use cairn_projections::lineage::{Direction, Graph};

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
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let reference = resolve(&context, &args.reference)?;
    let direction = if args.down { Direction::Down } else { Direction::Up };
    let graph = context.projections().lineage().walk(&reference, direction, args.depth, args.limit)?;
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
        .map(|e| serde_json::json!({ "from": e.from, "to": e.to, "event_type": e.event_type, "position": e.position }))
        .collect();
    serde_json::json!({ "nodes": nodes, "edges": edges, "truncated": graph.truncated })
}
