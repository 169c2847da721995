//! Pages of the catalog's lists, by filter and order. Cursors are the catalog's own, and name the list they belong to.

use crate::cursor;
use crate::problem::Problem;
use cairn_processors::Context;
use cairn_projections::catalog::Find;
use cairn_schemas::Position;

use super::super::connection::{Connection, page_length};
use super::super::scalars::Long;
use super::Thing;
use async_graphql::OutputType;

/// Most items of a page of documents that a cursor passes over.
const SEEN_MAX: usize = 1_000;

/// What a page of a list was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListQuery {
    /// The catalog's name of the list.
    pub(crate) kind: String,
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) newest_first: bool,
    pub(crate) filter: Option<String>,
    pub(crate) order_by: Option<String>,
    pub(crate) as_of: Option<Position>,
    /// Only those with these texts at these paths.
    pub(crate) only: Vec<(&'static str, String)>,
}

impl ListQuery {
    /// The family of cursors: a cursor goes on in the list that it was given for.
    fn family(&self) -> String {
        format!("{}/{}", self.kind, if self.newest_first { "newest" } else { "oldest" })
    }
}

/// A place in a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The list's own cursor; none at the beginning.
    pub(super) after: Option<String>,
    /// Items after it that were seen.
    pub(super) seen: usize,
}

impl Place {
    pub(super) fn decode(family: &str, text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::malformed("the cursor's place is not one that an answer gave; begin without `after`");
        let place = cursor::decode(family, text)?;
        let (after, seen) = place.rsplit_once('+').ok_or_else(wrong)?;
        let seen = seen.parse().ok().filter(|seen| *seen <= SEEN_MAX).ok_or_else(wrong)?;
        Ok(Self { after: (!after.is_empty()).then(|| after.to_owned()), seen })
    }
    pub(super) fn encode(&self, family: &str) -> String {
        cursor::encode(family, &format!("{}+{}", self.after.as_deref().unwrap_or_default(), self.seen))
    }
}

/// A page of a list.
pub(crate) fn list<T: OutputType + Clone>(
    ctx: &Context,
    query: ListQuery,
    wrap: impl Fn(Thing) -> T,
) -> Result<Connection<T>, Problem> {
    let (first, family) = (page_length("first", query.first)?, query.family());
    let after = query.after.as_deref().map(|text| cursor::decode(&family, text)).transpose()?;
    let (has_previous, as_of) = (after.is_some(), query.as_of);
    let ListQuery { kind, newest_first, filter, order_by, only, .. } = query;
    let found = ctx.projections().catalog().find(&Find {
        kind,
        filter,
        only,
        order_by,
        newest_first,
        after,
        first,
        as_of,
        ..Find::default()
    })?;
    let item = |item: cairn_projections::catalog::Item| {
        (cursor::encode(&family, &item.cursor), wrap(Thing::new(item.entity, as_of)))
    };
    let mut connection = Connection::of(found.items.into_iter().map(item).collect(), has_previous, found.has_more);
    connection.total_count = Some(Long(found.total));
    Ok(connection)
}
