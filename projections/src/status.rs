//! What can be said of a projection to those who look after it.

use crate::store::Engine;
use cairn_schemas::Position;

/// Events behind the head within which a projection counts as following.
const FOLLOWING_LAG_MAX: u64 = 1_000;

/// How far a projection is, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ProjectionStatus {
    pub name: &'static str,
    /// Of its rows: a store of another version is rebuilt.
    pub version: u32,
    /// What its rows lie in: `sled`, `fjall` or `memory`.
    pub engine: &'static str,
    /// The last event that its answers cover; `None`: none.
    pub watermark: Option<Position>,
    /// Events of the log after that.
    pub lag: u64,
    /// Whether questions to it are answered: not while its first store is still being filled.
    pub answers: bool,
    #[serde(flatten)]
    pub state: ProjectionState,
}

/// What a projection does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProjectionState {
    /// At the head or near it.
    Following,
    /// Far behind the head, on its way.
    CatchingUp,
    /// A new store is being filled. Where one was in use before, that one answers until then.
    Rebuilding { done: u64, total: u64 },
    /// It met an event that it cannot apply, and covers what is before.
    Stopped { position: Position, error: String },
}

impl ProjectionState {
    /// `following`, `catching_up`, `rebuilding` or `stopped`.
    pub fn name(&self) -> &'static str {
        match self {
            ProjectionState::Following => "following",
            ProjectionState::CatchingUp => "catching_up",
            ProjectionState::Rebuilding { .. } => "rebuilding",
            ProjectionState::Stopped { .. } => "stopped",
        }
    }
    /// All of the names.
    pub const NAMES: [&'static str; 4] = ["following", "catching_up", "rebuilding", "stopped"];
}

/// What a projection notes of itself for its status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    /// Events applied to the store that is being filled, and events there are.
    pub(crate) rebuilding: Option<(u64, u64)>,
    pub(crate) stopped: Option<(Position, String)>,
}

impl Noted {
    pub(crate) fn status(
        self,
        (name, version): (&'static str, u32),
        engine: Engine,
        answers: bool,
        watermark: Option<Position>,
        head: Option<Position>,
    ) -> ProjectionStatus {
        let lag = head.map_or(0, Position::get).saturating_sub(watermark.map_or(0, Position::get));
        let state = match (self.rebuilding, self.stopped) {
            (Some((done, total)), _) => ProjectionState::Rebuilding { done, total },
            (None, Some((position, error))) => ProjectionState::Stopped { position, error },
            (None, None) if lag <= FOLLOWING_LAG_MAX => ProjectionState::Following,
            (None, None) => ProjectionState::CatchingUp,
        };
        ProjectionStatus { name, version, engine: engine.name(), watermark, lag, answers, state }
    }
}
