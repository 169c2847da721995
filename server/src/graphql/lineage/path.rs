//! How two things are connected.

use super::super::scalars::{Long, Position, Ref};
use async_graphql::{Enum, SimpleObject};
use cairn_projections::lineage as rows;

/// How two things are connected.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "rows::Relation")]
pub(crate) enum Relation {
    /// They are the same thing.
    Same,
    /// The one went into the other.
    WentInto,
    /// The one was made of the other.
    MadeOf,
    /// Neither: by something that both come from or went into, and so on.
    Related,
}

/// Events of one type that say that something was used to produce something.
#[derive(SimpleObject)]
pub(crate) struct Saying {
    /// Their type.
    event_type: String,
    /// Position of the first.
    first: Position,
    /// Position of the last.
    last: Position,
    /// How many there are.
    events: Long,
}

/// A hop of a path.
#[derive(SimpleObject)]
pub(crate) struct PathStep {
    /// What was used.
    from: Ref,
    /// What it went into.
    to: Ref,
    /// Whether the path goes from what was used to what it went into.
    is_along: bool,
    /// The events that say so, by type, in order of the first.
    said: Vec<Saying>,
}

/// A shortest way between two things.
#[derive(SimpleObject)]
pub(crate) struct Path {
    /// How the first is connected with the last.
    relation: Relation,
    /// From the one to the other.
    steps: Vec<PathStep>,
}

impl From<rows::Path> for Path {
    fn from(path: rows::Path) -> Self {
        let saying = |said: rows::Explanation| Saying {
            event_type: said.event_type.to_owned(),
            first: Position(said.first),
            last: Position(said.last),
            events: Long(said.events),
        };
        let step = |step: rows::Step| PathStep {
            from: Ref(step.from),
            to: Ref(step.to),
            is_along: step.is_along,
            said: step.said.into_iter().map(saying).collect(),
        };
        Self { relation: path.relation.into(), steps: path.steps.into_iter().map(step).collect() }
    }
}
