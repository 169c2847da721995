//! What something went into.

use super::super::as_of::{AsOf, resolve};
use super::super::connection::{Connection, page_length};
use super::super::scalars::{Long, Position, Ref};
use super::{DEPTH_MAX, LineageCount, LineageKind, check_known, counts_of, names_of, refs_of, within};
use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Result, SimpleObject};
use cairn_processors::impact::{Of, impact as found_of};
use cairn_projections::lineage as rows;

/// Something that was reached.
#[derive(Clone, SimpleObject)]
pub(crate) struct Touched {
    /// What it is.
    #[graphql(name = "ref")]
    reference: Ref,
    /// dataset, model, run, document, evaluation, judgment, deployment or artifact.
    kind: String,
    /// Edges from the nearest thing where it began; a commit's runs are 1 away from it.
    depth: u32,
}

/// Everything that something went into.
#[derive(SimpleObject)]
pub(crate) struct Impact {
    /// The position that this is as of; null where nothing was recorded by then.
    position: Option<Position>,
    /// Those of the things asked for that an event says something was made of, or that were made of something; the others
    /// went into nothing.
    starts: Long,
    /// How many things of each kind were reached, without those it began at.
    counts: Vec<LineageCount>,
    /// All of them.
    total: Long,
    /// The things, nearest first. The pages are of one position, that of the first.
    things: Connection<Touched>,
    /// Whether anything lies beyond the depth.
    truncated: bool,
}

/// Where it begins: one of them is given.
pub(super) struct Start {
    pub(super) of: Option<Vec<Ref>>,
    pub(super) commit: Option<String>,
    pub(super) data_subject: Option<String>,
}

pub(super) struct Page {
    pub(super) kinds: Option<Vec<LineageKind>>,
    pub(super) depth: Option<i32>,
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) as_of: Option<AsOf>,
}

pub(super) async fn impact(ctx: &Context<'_>, start: Start, page: Page) -> Result<Impact> {
    let of = match (start.of, start.commit, start.data_subject) {
        (Some(of), None, None) => Of::Things(refs_of("of", of)?),
        (None, Some(commit), None) => Of::Commit(commit),
        (None, None, Some(person)) => Of::DataSubject(person),
        _ => return Err(Problem::malformed("give one of `of`, `commit` and `dataSubject`").into()),
    };
    let depth = match page.depth {
        None => u32::MAX,
        given => within("depth", given, 0, 0, DEPTH_MAX)?,
    };
    let app = ctx.data::<App>()?;
    let query = rows::ImpactQuery {
        depth,
        kinds: names_of(page.kinds),
        as_of: resolve(ctx, page.as_of).await?,
        after: page.after,
        first: page_length("first", page.first)?,
        ..rows::ImpactQuery::of(rows::Start::Things(Vec::new()))
    };
    let found = app.read(move |ctx| {
        if let Of::Things(things) = &of {
            check_known(ctx, things, query.as_of)?;
        }
        Ok(found_of(ctx, &of, query)?)
    });
    let found = found.await?;
    let one = |(at, item): (usize, &rows::Touched)| {
        let reference = Ref(item.reference.clone());
        (found.cursors.after(at), Touched { reference, kind: item.kind.to_owned(), depth: item.depth })
    };
    let things = found.items.iter().enumerate().map(one).collect();
    Ok(Impact {
        position: found.position.map(Position),
        starts: Long(found.starts),
        counts: counts_of(&found.counts),
        total: Long(found.total),
        things: Connection::of(things, found.cursors.is_later(), found.next.is_some()),
        truncated: found.truncated,
    })
}
