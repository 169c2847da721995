//! The `ingest` job: records in, documents out, every record accounted for by an event.
//!
//! The same files give the same events in the same batches, so that an attempt that was killed is gone over again and
//! finds what it recorded. Duplicates are looked for among the documents of one job, all of its paths together.

mod clean;
mod intake;
mod source;

pub(crate) use clean::{Cleaned, Cleaner};
pub(crate) use intake::StoredDocument;

use crate::Error;
use crate::job::{Job, JobContext, Output, Resolved, Scope};
use crate::pipeline::{IngestSpec, JobKind};
use intake::Intake;

impl Job for IngestSpec {
    fn kind(&self) -> JobKind {
        JobKind::Ingest
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    /// No refs go in; what decides the result is every file's content and, where nothing else dates a document, when
    /// it was last modified.
    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let identity = source::digests(self, scope.base_dir)?;
        Ok(Resolved { inputs: Vec::new(), identity })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let mut intake = Intake::new(self, job)?;
        for source in source::all(self, &job.info.name) {
            intake.read(&source)?;
        }
        intake.finish()
    }
}
