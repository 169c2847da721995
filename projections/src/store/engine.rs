//! The engines that stores lie in, and which one a new store gets.

use super::{Fjall, Sled, Store};
use crate::Error;
use cairn_schemas::Position;
use std::path::Path;

/// Events from which a new store is made on the engine for large ones: an estimate, see
/// docs/decisions/2026-11-20-stores-of-projections.md.
const LARGE_LOG_EVENTS: u64 = 100_000;
/// Says which engine new stores get, whatever the length of the log.
const VARIABLE: &str = "CAIRN_STORE";

/// What holds the rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    Memory,
    Sled,
    Fjall,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Sled => "sled",
            Engine::Fjall => "fjall",
        }
    }
    /// The engine of a store on disk.
    pub(crate) fn on_disk(name: &str) -> Option<Self> {
        [Engine::Sled, Engine::Fjall].into_iter().find(|engine| engine.name() == name)
    }
    /// Opens or creates a store. A database that panics over damaged files is damaged.
    pub(crate) fn open(self, dir: &Path) -> Result<Box<dyn Store>, Error> {
        let open = || -> Result<Box<dyn Store>, Error> {
            match self {
                Engine::Memory => Ok(Box::<super::Memory>::default()),
                Engine::Sled => Ok(Box::new(Sled::open(dir)?)),
                Engine::Fjall => Ok(Box::new(Fjall::open(dir)?)),
            }
        };
        std::panic::catch_unwind(open).unwrap_or_else(|panic| {
            let source = crate::error::panicked(&*panic).into();
            Err(Error::Store { engine: self.name(), doing: "opening a projection's store", io: None, source })
        })
    }
}

/// Which engine new stores get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// sled while the log is short, fjall once it is long.
    #[default]
    BySize,
    Always(Engine),
}

impl Choice {
    /// As the environment says: `CAIRN_STORE` is `sled`, `fjall`, or not set.
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var(VARIABLE) {
            Ok(given) if !given.is_empty() => given.parse(),
            _ => Ok(Choice::BySize),
        }
    }
    pub(crate) fn engine(self, head: Option<Position>) -> Engine {
        match self {
            Choice::Always(engine) => engine,
            Choice::BySize if head.is_some_and(|head| head.get() >= LARGE_LOG_EVENTS) => Engine::Fjall,
            Choice::BySize => Engine::Sled,
        }
    }
}

impl std::str::FromStr for Choice {
    type Err = Error;
    fn from_str(given: &str) -> Result<Self, Error> {
        match Engine::on_disk(given) {
            Some(engine) => Ok(Choice::Always(engine)),
            None if given == "auto" => Ok(Choice::BySize),
            None => Err(Error::UnknownEngine { given: given.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_the_one_asked_for_or_goes_by_the_length_of_the_log() {
        let at = |head| Position::new(head);
        assert_eq!(Choice::BySize.engine(None), Engine::Sled);
        assert_eq!(Choice::BySize.engine(at(LARGE_LOG_EVENTS - 1)), Engine::Sled);
        assert_eq!(Choice::BySize.engine(at(LARGE_LOG_EVENTS)), Engine::Fjall);
        assert_eq!("sled".parse::<Choice>().unwrap().engine(at(LARGE_LOG_EVENTS)), Engine::Sled);
        assert_eq!("fjall".parse::<Choice>().unwrap().engine(None), Engine::Fjall);
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::BySize);
        let error = "rocks".parse::<Choice>().unwrap_err().to_string();
        assert!(error.contains("`rocks`") && error.contains("sled, fjall or auto"), "{error}");
    }
}
