//! What can be told before the first job runs: sources that are not there, refs that nothing has made or will make, and
//! jobs that are needed beside those asked for.

use super::{Runner, past, recorded};
use crate::Error;
use crate::job::{JobResult, Scope};
use crate::pipeline::{BaseModel, JobEntry, JobSpec, Target};
use cairn_schemas::{ProjectName, Ref};
use std::collections::BTreeMap;
use std::path::Path;

impl Runner<'_> {
    /// Refuses what must fail; nothing is recorded of it.
    pub(super) fn check_first(&self) -> Result<(), Error> {
        self.ctx.projections().catch_up()?;
        for (at, entry) in self.pipeline.jobs.iter().enumerate().filter(|(_, entry)| self.is_asked_for(entry)) {
            sources_are_there(entry, &self.pipeline.base_dir)?;
            self.refs_are_there(entry, &self.pipeline.jobs[..at])?;
        }
        match self.options.only {
            Some(_) => self.needed_jobs_are_completed(),
            None => Ok(()),
        }
    }

    fn is_asked_for(&self, entry: &JobEntry) -> bool {
        self.options.only.as_ref().is_none_or(|only| only.contains(&entry.name))
    }

    fn refs_are_there(&self, entry: &JobEntry, earlier: &[JobEntry]) -> Result<(), Error> {
        let scope = self.scope(&entry.name, None);
        let made = |reference: &Ref| earlier.iter().any(|job| makes(job, &self.pipeline.project, reference));
        for reference in refs(&entry.spec).into_iter().filter(|reference| !made(reference)) {
            scope.must_exist(reference).map_err(|error| match error {
                Error::UnknownRef { kind, reference, hint } => {
                    Error::UnknownRef { kind, reference, hint: format!("job `{}` names it; {hint}", entry.name) }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    fn needed_jobs_are_completed(&self) -> Result<(), Error> {
        let completed = self.completed_before()?;
        let jobs = &self.pipeline.jobs;
        for entry in jobs.iter().filter(|entry| self.is_asked_for(entry) && !completed.contains_key(&entry.name)) {
            let mut missing: Vec<&str> = Vec::new();
            let mut open = vec![entry];
            while let Some(job) = open.pop() {
                for name in job.spec.names() {
                    let needed = jobs.iter().find(|job| job.name == name.as_str());
                    let absent = |job: &&JobEntry| !self.is_asked_for(job) && !completed.contains_key(&job.name);
                    if let Some(needed) = needed.filter(absent).filter(|job| !missing.contains(&job.name.as_str())) {
                        missing.push(&needed.name);
                        open.push(needed);
                    }
                }
            }
            if !missing.is_empty() {
                let order = |name: &&str| jobs.iter().position(|job| job.name == **name);
                missing.sort_by_key(order);
                return Err(Error::refused(
                    format!("job `{}`", entry.name),
                    format!("needs {}, not completed yet; run them too, or before", missing.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// The jobs that would be skipped, by name.
    fn completed_before(&self) -> Result<BTreeMap<String, JobResult>, Error> {
        let mut results = BTreeMap::new();
        for entry in &self.pipeline.jobs {
            let scope =
                Scope { results: &results, ..self.scope(&entry.name, self.ctx.ledger().head(self.ctx.tenant())) };
            let job = entry.spec.as_job();
            // What cannot be resolved was not completed; whether that matters is seen by who needs it.
            let Ok(resolved) = super::caught(|| job.resolve(&scope)) else { continue };
            let past = past::find(self.ctx, &super::key::of(job, &scope, &resolved))?;
            if let Some((_, result)) = recorded(entry, &scope, past.as_ref())? {
                results.insert(entry.name.clone(), result);
            }
        }
        Ok(results)
    }
}

fn sources_are_there(entry: &JobEntry, base_dir: &Path) -> Result<(), Error> {
    let JobSpec::Ingest(spec) = &entry.spec else { return Ok(()) };
    for path in spec.paths.iter().map(|given| base_dir.join(given)) {
        // What cannot be looked at for another reason is told by the job.
        if let Ok(false) = path.try_exists() {
            let why = format!("there is no file or folder at {}; correct its `paths`", path.display());
            return Err(Error::refused(format!("job `{}`", entry.name), why));
        }
    }
    Ok(())
}

/// The refs without which a job fails. A gate only needs its subject: what else is missing is its finding.
fn refs(spec: &JobSpec) -> Vec<&Ref> {
    fn of(target: &Target) -> Option<&Ref> {
        match target {
            Target::Ref(reference) => Some(reference),
            Target::Job(_) => None,
        }
    }
    match spec {
        JobSpec::Ingest(_) => Vec::new(),
        JobSpec::Dataset(spec) => spec.parents.iter().collect(),
        JobSpec::Tokenizer(spec) => of(&spec.dataset).into_iter().collect(),
        JobSpec::Train(spec) => {
            let base = match &spec.base_model {
                Some(BaseModel::Ref(reference)) => Some(reference),
                _ => None,
            };
            let data = [&spec.dataset, &spec.tokenizer].into_iter().flatten().filter_map(of);
            base.into_iter().chain(data).collect()
        }
        JobSpec::Evaluate(spec) => [&spec.subject, &spec.dataset].into_iter().filter_map(of).collect(),
        JobSpec::Judge(spec) => of(&spec.evaluation).into_iter().collect(),
        JobSpec::Gate(spec) => of(&spec.subject).into_iter().collect(),
        JobSpec::Deploy(spec) => [&spec.model, &spec.gate].into_iter().filter_map(of).collect(),
    }
}

/// Whether a job may come to make this. Which version of a model it makes is known only then.
fn makes(job: &JobEntry, of: &ProjectName, reference: &Ref) -> bool {
    match (&job.spec, reference) {
        (JobSpec::Dataset(spec), Ref::Dataset { project, name, version }) => {
            project == of && *name == job.name && *version == spec.version
        }
        (JobSpec::Train(spec), Ref::Model { project, name, .. }) => {
            project == of && spec.register.as_deref() == Some(name.as_str())
        }
        _ => false,
    }
}
