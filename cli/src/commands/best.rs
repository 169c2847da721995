//! `cairn best --task T --metric M`: subjects on a task, best first, as of any time.

use super::{Outcome, done, print_json, reader};
use crate::Globals;
use crate::render::table::Table;
use cairn_ledger::AsOf;
use cairn_processors::Context;
use cairn_projections::evals::{At, Board, Filter, Standing};
use cairn_schemas::{Ref, Timestamp};

/// Which results, and as of when: what `best` and `compare` share.
#[derive(clap::Args)]
pub(crate) struct Chosen {
    /// Only results of this suite; * stands for any characters, here and below.
    #[arg(long, value_name = "S")]
    pub(crate) suite: Option<String>,
    /// Only results on this part of the samples: `all`, or a name.
    #[arg(long, value_name = "S")]
    pub(crate) slice: Option<String>,
    /// Only results measured on this dataset.
    #[arg(long, value_name = "REF")]
    pub(crate) dataset: Option<String>,
    /// Only results of the protocol whose digest begins so.
    #[arg(long, value_name = "HEX")]
    pub(crate) protocol: Option<String>,
    /// What the ledger knew then: a position, a time (RFC 3339), or a date.
    #[arg(long, value_name = "POSITION|TIME")]
    pub(crate) as_of: Option<AsOf>,
    /// Only what had occurred by then, as its producer says.
    #[arg(long, value_name = "TIME")]
    pub(crate) valid_at: Option<Timestamp>,
}

impl Chosen {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            suite: self.suite.clone(),
            slice: self.slice.clone(),
            dataset: self.dataset.clone(),
            protocol: self.protocol.clone(),
            ..Filter::default()
        }
    }
    pub(crate) fn at(&self, context: &Context) -> anyhow::Result<At> {
        let as_of = self.as_of.map(|as_of| context.ledger().resolve(context.tenant(), as_of)).transpose()?;
        Ok(At { as_of, valid_at: self.valid_at })
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "T")]
    task: String,
    #[arg(long, value_name = "M")]
    metric: String,
    #[command(flatten)]
    chosen: Chosen,
    /// Only subjects whose ref is this; * stands for any characters.
    #[arg(long, value_name = "REF")]
    subject: Option<String>,
    /// Only checkpoints from this step on.
    #[arg(long, value_name = "N")]
    from_step: Option<u64>,
    /// Only checkpoints up to this step.
    #[arg(long, value_name = "N")]
    to_step: Option<u64>,
    /// Rows to show at most.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Begin after the row that this cursor stands for.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let (from_step, to_step) = (args.from_step, args.to_step);
    let filter = Filter { subject: args.subject.clone(), from_step, to_step, ..args.chosen.filter() };
    let at = args.chosen.at(&context)?;
    let board = Board { task: args.task.clone(), metric: args.metric.clone(), filter, at };
    let page = context.projections().evals().leaderboard(&board, args.after.as_deref(), args.limit as usize)?;
    let next = page.items.last().filter(|_| page.has_more).map(|item| item.cursor.clone());
    if globals.json {
        print_json(&serde_json::json!({
            "task": args.task, "metric": args.metric, "as_of": at.as_of, "valid_at": at.valid_at, "standings": page.items,
            "total": page.total, "next": next,
        }));
        return done();
    }
    if page.items.is_empty() {
        say!("no result of `{}` on `{}` stands{}", args.metric, args.task, said_of(&at));
        return done();
    }
    let heading = ["rank", "subject", args.metric.as_str(), "± s.e.", "n", "suite", "slice", "protocol", "recorded"];
    let mut table = Table::new(&heading);
    for item in &page.items {
        let s = &item.standing;
        table.row([
            item.rank.to_string(),
            subject(s),
            format!("{:.4}", s.value),
            s.standard_error.map(|e| format!("{e:.4}")).unwrap_or_else(|| "-".into()),
            s.n.to_string(),
            s.suite.clone(),
            s.slice.clone(),
            s.protocol_digest.to_hex()[..8].to_owned(),
            s.recorded_at.to_string(),
        ]);
    }
    say_raw!("{table}");
    let unlike = page.items.iter().any(|item| group(&item.standing) != group(&page.items[0].standing));
    if unlike {
        say!("ranks hold among results of one suite, slice and protocol; unlike ones are not compared");
    }
    if let Some(next) = next {
        say!("{} of {} rows; go on with --after {next}", page.items.len(), page.total);
    }
    done()
}

fn group(s: &Standing) -> (&str, &str, [u8; 32]) {
    (&s.suite, &s.slice, *s.protocol_digest.as_bytes())
}

/// A subject, or one of its checkpoints, as `compare` takes it.
pub(crate) fn subject(s: &Standing) -> String {
    match (&s.subject, s.step) {
        (subject @ Ref::Run(_), Some(step)) => format!("{subject}#{step}"),
        (subject, _) => subject.to_string(),
    }
}

fn said_of(at: &At) -> String {
    let as_of = at.as_of.map(|position| format!(" as of position {position}")).unwrap_or_default();
    let valid_at = at.valid_at.map(|time| format!(", by what had occurred by {time}")).unwrap_or_default();
    as_of + &valid_at
}
