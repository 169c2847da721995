//! The refs an event used and the refs it produced: the lineage graph is exactly these lists.

use crate::Ref;

/// Collected from an event's typed fields, each list without repeats, in order of mention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub used: Vec<Ref>,
    pub produced: Vec<Ref>,
}

impl Links {
    pub(crate) fn used<'a>(mut self, refs: impl IntoIterator<Item = &'a Ref>) -> Self {
        extend(&mut self.used, refs);
        self
    }
    pub(crate) fn produced<'a>(mut self, refs: impl IntoIterator<Item = &'a Ref>) -> Self {
        extend(&mut self.produced, refs);
        self
    }
    pub fn len(&self) -> usize {
        self.used.len() + self.produced.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn extend<'a>(list: &mut Vec<Ref>, refs: impl IntoIterator<Item = &'a Ref>) {
    let mut seen: std::collections::HashSet<Ref> = list.iter().cloned().collect();
    for reference in refs {
        if seen.insert(reference.clone()) {
            list.push(reference.clone());
        }
    }
}
