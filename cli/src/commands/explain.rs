//! `cairn explain A B`: the shortest way by which two things are connected, and the events that say so.

use super::{Outcome, done, position, print_json, reader, resolve};
use crate::render::tree;
use crate::{Globals, exit};
use cairn_ledger::AsOf;
use cairn_projections::lineage::Relation;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A ref, or a deployment's name.
    #[arg(value_name = "A")]
    from: String,
    /// A ref, or a deployment's name.
    #[arg(value_name = "B")]
    to: String,
    /// Also where neither went into the other: by what both come from or went into.
    #[arg(long)]
    related: bool,
    /// As the ledger was at a position, or at a recorded time (RFC 3339).
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let (from, to) = (resolve(&context, &args.from)?, resolve(&context, &args.to)?);
    let as_of = position(&context, args.as_of)?;
    let Some(path) = context.projections().lineage().path(&from, &to, args.related, as_of)? else {
        let hint = if args.related { "" } else { "; --related looks for what both have in common" };
        return Err(exit::not_found(format!("nothing recorded leads from {from} to {to} or back{hint}")));
    };
    if globals.json {
        print_json(&serde_json::to_value(&path)?);
        return done();
    }
    let relation = match path.relation {
        Relation::Same => "is the same as",
        Relation::WentInto => "went into",
        Relation::MadeOf => "was made of",
        Relation::Related => "is related to",
    };
    say!("{from} {relation} {to}");
    for step in &path.steps {
        let (near, far, arrow) = match step.is_along {
            true => (&step.from, &step.to, "went into"),
            false => (&step.to, &step.from, "was made of"),
        };
        say!("  {}", tree::label(&context, &near.to_string()));
        for said in &step.said {
            let more =
                if said.events > 1 { format!(", {} times until {}", said.events, said.last) } else { String::new() };
            say!("    {arrow}: {} at {}{more}", said.event_type, said.first);
        }
        if std::ptr::eq(step, path.steps.last().unwrap_or(step)) {
            say!("  {}", tree::label(&context, &far.to_string()));
        }
    }
    done()
}
