//! Importers: from files that others published about their runs to events. Each is a pure function from bytes, so that
//! the same files give the same events; source and id make importing them again change nothing.
//!
//! What a file does not say is left unknown, and what was concluded from it is said in `run_imported`.

pub mod datadecide;
pub mod ladder;
pub mod olmo;
mod record;
#[cfg(test)]
mod tests;
mod text;

pub use record::{Recorded, record};

use crate::Error;
use cairn_schemas::events::training::RunImported;
use cairn_schemas::{Blake3, Event, NewEvent, ProjectName, RawJson, Ref, RunId};
use serde::Serialize;
use std::path::Path;

/// Problems of one import that are told; the rest is counted.
const PROBLEMS_MAX: usize = 20;
/// Longest file that is read: the largest real one is 4 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file to import: its name without folders, and what it holds.
#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl File {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let length = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        if length > FILE_BYTES_MAX {
            let why = format!("has {length} bytes; at most {FILE_BYTES_MAX} are imported");
            return Err(Error::refused(path.display().to_string(), why));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, bytes: std::fs::read(path).map_err(Error::io("read", path))? })
    }

    /// The name without its last extension.
    fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(stem, _)| stem)
    }
    fn artifact(&self) -> Ref {
        Ref::Artifact(Blake3::of(&self.bytes))
    }
    /// A problem at a place of this file; line and column count from 1.
    fn problem(&self, line: u64, column: u64, why: impl Into<String>) -> Problem {
        Problem { file: self.name.clone(), line, column, why: why.into() }
    }
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {why}")]
pub struct Problem {
    pub file: String,
    pub line: u64,
    /// In a table the number of the column, elsewhere the character.
    pub column: u64,
    pub why: String,
}

/// The events of an import in their order, and the artifacts that they name.
#[derive(Clone, Debug, Default)]
pub struct Import {
    pub events: Vec<NewEvent>,
    pub artifacts: Vec<Vec<u8>>,
    pub summary: Summary,
}

/// What an import holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub runs: u64,
    /// Runs that the files only name.
    pub placeholders: u64,
    pub steps: u64,
    pub checkpoints: u64,
    pub evaluations: u64,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Gathers an import: events under one source and project, problems up to a bound.
struct Gathering<'a> {
    importer: &'static str,
    project: &'a ProjectName,
    import: Import,
    problems: Vec<Problem>,
    more: u64,
}

impl<'a> Gathering<'a> {
    fn new(importer: &'static str, project: &'a ProjectName) -> Self {
        Self { importer, project, import: Import::default(), problems: Vec::new(), more: 0 }
    }

    /// The run of what is called so: the same one in each import into the project.
    fn run(&self, name: &str) -> RunId {
        let parts = ["cairn import", self.project.as_str(), self.importer, name];
        RunId::named_by(&Blake3::of(parts.join("\0").as_bytes()))
    }

    /// The event `what` about the thing `of`.
    fn push(&mut self, of: impl std::fmt::Display, what: &str, event: impl Into<Event>) {
        let (source, id) = (format!("import/{}", self.importer), format!("{of}/{what}"));
        self.import.events.push(NewEvent::new(&source, &id, event).in_project(self.project.as_str()));
    }

    /// The event `what`, whose content depends on what else was read: one that says more is another event.
    fn push_said(&mut self, of: impl std::fmt::Display, what: &str, event: impl Into<Event>) {
        let event = event.into();
        let digest = Blake3::of(&event.encode()).to_hex();
        self.push(of, &format!("{what}/{}", &digest[..16]), event);
    }

    fn keep(&mut self, file: &File) -> Ref {
        if !self.import.artifacts.contains(&file.bytes) {
            self.import.artifacts.push(file.bytes.clone());
        }
        file.artifact()
    }

    fn refuse(&mut self, problem: Problem) {
        match self.problems.len() < PROBLEMS_MAX {
            true => self.problems.push(problem),
            false => self.more += 1,
        }
    }

    fn note(&mut self, note: String) {
        self.import.summary.notes.push(note);
    }

    /// All or nothing: one bad row leaves nothing recorded, since what is recorded stays.
    fn finish(self) -> Result<Import, Error> {
        match self.problems.is_empty() {
            true => Ok(self.import),
            false => Err(Error::Import { problems: self.problems, more: self.more }),
        }
    }
}

/// What was taken in of a run of which something was read.
fn imported(
    run: RunId,
    importer: &str,
    file: Ref,
    unknown: &[&str],
    about: RawJson,
    notes: Vec<String>,
) -> RunImported {
    RunImported {
        run,
        importer: importer.to_owned(),
        is_placeholder: false,
        files: vec![file],
        unknown: unknown.iter().map(|&name| name.to_owned()).collect(),
        about,
        notes,
    }
}

/// `370M` as a number: what the name says, not a count of weights.
fn nominal_parameters(size: &str) -> Option<u64> {
    let (digits, unit) = size.split_at_checked(size.len().checked_sub(1)?)?;
    let unit = match unit {
        "M" => 1_000_000,
        "B" => 1_000_000_000,
        _ => return None,
    };
    whole(digits)?.checked_mul(unit)
}

/// `10xC` as a number: ten times the tokens that Chinchilla's rule gives a model of that size.
fn chinchilla_multiple(text: &str) -> Option<u64> {
    whole(text.strip_suffix("xC")?)
}

/// A whole number as programs write one: digits alone, no zero before others.
fn whole(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}
