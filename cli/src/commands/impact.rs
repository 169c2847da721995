//! `cairn impact`: everything that a document, a person's documents, a dataset version or a commit went into.

use super::{Outcome, done, position, print_json, reader, thing};
use crate::render::tree;
use crate::{Globals, exit};
use cairn_ledger::AsOf;
use cairn_processors::impact::{Of, impact};
use cairn_projections::lineage::{ImpactQuery, Start};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("start").required(true).args(["references", "commit", "data_subject"])))]
pub(crate) struct Args {
    /// Refs, or a deployment's name.
    #[arg(value_name = "REF")]
    references: Vec<String>,
    /// Runs whose code names this commit or digest, or one that begins so.
    #[arg(long, value_name = "HASH")]
    commit: Option<String>,
    /// The documents of a person, written exactly as the events do.
    #[arg(long, value_name = "NAME")]
    data_subject: Option<String>,
    /// Count and list only things of this kind. May be given more than once.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Edges to follow at most; all where absent.
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// Things to list.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Where an earlier page ended.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// As the ledger was at a position, or at a recorded time (RFC 3339).
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let of = match (&args.commit, &args.data_subject) {
        (Some(commit), _) => Of::Commit(commit.clone()),
        (None, Some(person)) => Of::DataSubject(person.clone()),
        (None, None) => Of::Things(args.references.iter().map(|text| thing(text)).collect::<Result<_, _>>()?),
    };
    let query = ImpactQuery {
        depth: args.depth.unwrap_or(u32::MAX),
        kinds: args.kinds.clone(),
        as_of: position(&context, args.as_of)?,
        after: args.after.clone(),
        first: args.limit,
        ..ImpactQuery::of(Start::Things(Vec::new()))
    };
    let found = impact(&context, &of, query)?;
    if let (Of::Things(things), 0) = (&of, found.starts) {
        let things: Vec<String> = things.iter().map(ToString::to_string).collect();
        return Err(exit::not_found(format!(
            "no event names {}; `cairn log` shows the refs there are",
            things.join(", ")
        )));
    }
    if globals.json {
        print_json(&serde_json::to_value(&found)?);
        return done();
    }
    for (kind, count) in &found.counts {
        say!("{count:>10}  {kind}{}", if *count == 1 { "" } else { "s" });
    }
    say!("{:>10}  in all{}", found.total, if found.truncated { ", and more beyond --depth" } else { "" });
    for item in &found.items {
        say!("{:>4}  {}", item.depth, tree::label(&context, &item.reference.to_string()));
    }
    if let Some(next) = &found.next {
        say!("(more: --after {next})");
    }
    done()
}
