//! Pages of the catalog's lists. A cursor is the list's own cursor and how many items after it were seen.

use crate::cursor;
use crate::problem::Problem;
use cairn_processors::Context;
use cairn_projections::catalog::Entity;

use super::super::connection::{Connection, page_length};
use super::Thing;
use async_graphql::OutputType;

/// Most things of one read of the catalog.
const READ_MAX: usize = 1_000;
/// Things looked at for one page, where a filter drops most of them.
const SCAN_MAX: usize = 10_000;

/// What a page of a list was asked for.
#[derive(Clone, Debug)]
pub(crate) struct ListQuery {
    /// The catalog's name of the list.
    pub(crate) kind: &'static str,
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) newest_first: bool,
    pub(crate) state: Option<String>,
    pub(crate) project: Option<String>,
    /// The kind of job of a run.
    pub(crate) job: Option<String>,
}

impl ListQuery {
    fn matches(&self, entity: &Entity) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        same(&self.state, &entity.state)
            && same(&self.project, &entity.project)
            && self.job.as_ref().is_none_or(|kind| *kind == super::run::kind_of(entity))
    }
    fn is_filtered(&self) -> bool {
        self.state.is_some() || self.project.is_some() || self.job.is_some()
    }
    /// The family of cursors: a cursor goes on in the order that it was given for.
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
        let seen = seen.parse().ok().filter(|seen| *seen <= READ_MAX).ok_or_else(wrong)?;
        Ok(Self { after: (!after.is_empty()).then(|| after.to_owned()), seen })
    }
    pub(super) fn encode(&self, family: &str) -> String {
        cursor::encode(family, &format!("{}+{}", self.after.as_deref().unwrap_or_default(), self.seen))
    }
}

/// A page of a list.
pub(crate) fn list<T: OutputType + Clone>(
    ctx: &Context,
    query: &ListQuery,
    wrap: impl Fn(Thing) -> T,
) -> Result<Connection<T>, Problem> {
    let length = page_length("first", query.first)?;
    let family = query.family();
    let mut place = query.after.as_deref().map(|text| Place::decode(&family, text)).transpose()?.unwrap_or_default();
    let has_previous = query.after.is_some();
    let (mut found, mut scanned, mut more) = (Vec::new(), 0, false);
    'scan: loop {
        let limit = if query.is_filtered() { READ_MAX } else { (place.seen + length - found.len()).min(READ_MAX) };
        let page = ctx.projections().catalog().list(query.kind, place.after.as_deref(), limit, query.newest_first)?;
        for entity in page.items.into_iter().skip(place.seen) {
            let wanted = query.matches(&entity);
            if (wanted && found.len() == length) || scanned == SCAN_MAX {
                more = true;
                break 'scan;
            }
            (place.seen, scanned) = (place.seen + 1, scanned + 1);
            if wanted {
                found.push((place.encode(&family), wrap(Thing::from(entity))));
            }
        }
        let Some(next) = page.next else { break };
        place = Place { after: Some(next), seen: 0 };
        if found.len() == length && !query.is_filtered() {
            more = true;
            break;
        }
    }
    let mut connection = Connection::of(found, has_previous, more);
    if more {
        connection.page_info.end_cursor = Some(place.encode(&family));
    }
    Ok(connection)
}
