//! What something went into, where finding the start takes more than the graph: a person's documents are those whose
//! events the vault still reads under the person's key.

use crate::{Context, Error};
use cairn_projections::lineage::{Impact, ImpactQuery, Start};
use cairn_schemas::{Position, Ref};
use std::collections::BTreeSet;

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    Things(Vec<Ref>),
    /// A commit or digest, or its beginning.
    Commit(String),
    /// A person, written exactly as the events do.
    DataSubject(String),
}

/// Everything that `of` went into. `query.start` is found from it.
pub fn impact(ctx: &Context, of: &Of, query: ImpactQuery) -> Result<Impact, Error> {
    ctx.projections().catch_up()?;
    let start = match of {
        Of::Things(things) => Start::Things(things.clone()),
        Of::Commit(commit) => Start::Commit(commit.clone()),
        Of::DataSubject(person) => Start::Things(documents_of(ctx, person, query.as_of)?),
    };
    Ok(ctx.projections().lineage().impact(&ImpactQuery { start, ..query })?)
}

/// The documents that events about a person produced, up to a position, sorted. A person whose key was destroyed, and one
/// who was never named, cannot be told apart: both are refused.
pub fn documents_of(ctx: &Context, person: &str, as_of: Option<Position>) -> Result<Vec<Ref>, Error> {
    let (ledger, tenant) = (ctx.ledger(), ctx.tenant());
    let keys: BTreeSet<_> = ledger.person_keys(tenant, person)?.into_iter().collect();
    if keys.is_empty() {
        return Err(Error::refused(
            "the data subject",
            "is named by no event of this ledger, or was erased; write it exactly as the events do",
        ));
    }
    let (mut documents, mut next) = (BTreeSet::new(), Some(Position::FIRST));
    while let Some(from) = next {
        let page = ledger.positions_sealed_under(tenant, &keys, from)?;
        for position in page.positions.into_iter().filter(|position| as_of.is_none_or(|as_of| *position <= as_of)) {
            let recorded = ledger.read(tenant, position, 1)?.pop();
            let produced = recorded.into_iter().flat_map(|recorded| recorded.produced);
            documents.extend(produced.filter(|made| matches!(made, Ref::Doc(_))));
        }
        next = page.next.filter(|next| as_of.is_none_or(|as_of| *next <= as_of));
    }
    Ok(documents.into_iter().collect())
}
