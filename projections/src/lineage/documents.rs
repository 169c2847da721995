//! Row level: which documents a dataset version is made of, and which were added and removed between versions.

use super::Lineage;
use super::names::{Cursors, Names};
use super::query::PAGE_MAX;
use super::rows::{DOCUMENT_RANK, Way};
use super::view::{AsOf, GraphView};
use crate::Error;
use cairn_schemas::{Position, Ref};

/// What became of a document from one set to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentChange {
    Removed,
    Added,
}

/// How two sets of documents differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DocumentsDiff {
    pub added: u64,
    pub removed: u64,
    /// In both.
    pub kept: u64,
    /// What was removed, then what was added, each in the order in which the ledger first heard of it.
    pub items: Vec<(Ref, DocumentChange)>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    #[serde(skip)]
    pub cursors: Cursors,
}

impl Lineage {
    /// Documents that the ones hold and the others do not, and the other way round, in pages of at most 10,000: dataset
    /// versions hold what they list, runs what they ingested. The pages after the first are of the same position.
    pub fn documents_diff(
        &self,
        before: &[Ref],
        after: &[Ref],
        as_of: Option<Position>,
        page: Option<&str>,
        first: usize,
    ) -> Result<DocumentsDiff, Error> {
        let question = format!("documents {before:?} {after:?} {as_of:?}");
        let cursors = Cursors::of(&question, page, as_of, self.now())?;
        self.0.read_view(|view: &GraphView, store| {
            let (mut names, as_of) = (Names::of(store), cursors.as_of());
            let before = documents(view, &mut names, before, as_of)?;
            let after = documents(view, &mut names, after, as_of)?;
            let (removed, added) = (without(&before, &after), without(&after, &before));
            let all = removed.iter().map(|number| (*number, DocumentChange::Removed));
            let all = all.chain(added.iter().map(|number| (*number, DocumentChange::Added)));
            let first = first.min(PAGE_MAX);
            let mut items = Vec::new();
            for (number, change) in all.skip(cursors.done()).take(first) {
                items.push((names.get(number)?, change));
            }
            Ok(DocumentsDiff {
                added: added.len() as u64,
                removed: removed.len() as u64,
                kept: (before.len() - removed.len()) as u64,
                next: cursors.next(items.len(), (removed.len() + added.len()) as u64),
                items,
                cursors,
            })
        })
    }
}

/// Numbers of the documents that things hold, sorted, each once.
fn documents(view: &GraphView, names: &mut Names<'_>, holders: &[Ref], as_of: AsOf) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for holder in holders {
        let way = if matches!(holder, Ref::Run(_)) { Way::Down } else { Way::Up };
        if let Some(number) = names.number(holder, as_of)? {
            view.each_place(number, way, as_of, |place| {
                if place.rank() == DOCUMENT_RANK {
                    found.push(place.number());
                }
            });
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Those of one sorted list that the other has not.
fn without(these: &[u32], those: &[u32]) -> Vec<u32> {
    these.iter().filter(|number| those.binary_search(number).is_err()).copied().collect()
}
