//! Whether a run can be run again, and what is missing for that.

use super::super::as_of::AsOf;
use super::super::things::Thing;
use crate::state::App;
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use cairn_processors::reproduce as found;
use cairn_schemas::RunId;

/// Whose program ran it.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "found::RunBy")]
pub(crate) enum RunBy {
    /// A job of this program: `cairn reproduce` replays or checks it.
    Cairn,
    /// Another program, which must run it again.
    Outside,
}

/// How `cairn reproduce` goes about a run.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "found::Manner", name = "ReproductionManner")]
pub(crate) enum Manner {
    /// It is computed again, and what comes out is compared.
    Replayed,
    /// What it left is compared with what is recorded of it; nothing is computed again.
    Checked,
}

/// Something that is recorded of a run.
#[derive(SimpleObject)]
pub(crate) struct ProvenancePart {
    /// code, config, environment, seed, inputs stored, result, …
    what: String,
    /// In a few words.
    value: String,
}

/// Something without which the run cannot be run again.
#[derive(SimpleObject)]
pub(crate) struct ProvenanceGap {
    /// code, config, environment, data, input, parent, result, start.
    what: String,
    /// What is wrong with it.
    why: String,
    /// What would have to be recorded or restored.
    fix: String,
}

/// Whether a run can be run again from what is recorded.
#[derive(SimpleObject)]
pub(crate) struct Reproducible {
    /// Whether nothing is missing.
    complete: bool,
    /// Whose program ran it.
    by: RunBy,
    /// How `cairn reproduce` goes about it; null where another program must run it.
    manner: Option<Manner>,
    /// What is recorded.
    recorded: Vec<ProvenancePart>,
    /// What is missing.
    missing: Vec<ProvenanceGap>,
}

/// What runs have of provenance.
#[derive(Clone)]
pub(crate) struct RunProvenance(pub(crate) Thing);

#[Object]
impl RunProvenance {
    /// Whether it can be run again from what is recorded, and what is missing for that. Every stored input is read and
    /// checked: whether its bytes are there is said of now, in an answer about the past too.
    #[graphql(complexity = "100 + child_complexity")]
    async fn reproducible(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was then; where absent, as of what it hangs from. A later one than that is refused.")]
        as_of: Option<AsOf>,
    ) -> Result<Reproducible> {
        let run: RunId = self.0.entity().reference.parse()?;
        let as_of = self.0.when(ctx, as_of).await?;
        let found = ctx.data::<App>()?.read(move |ctx| Ok(found::provenance_of(ctx, &run, as_of)?)).await?;
        let part = |part: found::Part| ProvenancePart { what: part.what.to_owned(), value: part.value };
        let gap = |gap: found::Missing| ProvenanceGap { what: gap.what.to_owned(), why: gap.why, fix: gap.fix };
        Ok(Reproducible {
            complete: found.is_complete,
            by: found.by.into(),
            manner: found.manner.map(Manner::from),
            recorded: found.recorded.into_iter().map(part).collect(),
            missing: found.missing.into_iter().map(gap).collect(),
        })
    }
}
