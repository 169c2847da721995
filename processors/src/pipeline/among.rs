//! What a job asks of the earlier jobs that it names: that they are of the right kind, that a dataset has the split, and
//! that a model which began from scratch reads rows of the length.

use super::{BaseModel, JobEntry, JobKind, JobRef, JobSpec, Target, TrainSpec};
use crate::jobs::train::SEQUENCE_LENGTH_DEFAULT;

/// Why a job cannot follow those before it, and where the name stands that is wrong.
pub(super) struct Found {
    pub(super) place: Option<(u64, u64)>,
    pub(super) why: String,
}

/// All names are known to be of earlier jobs.
pub(super) fn check(spec: &JobSpec, earlier: &[JobEntry]) -> Result<(), Found> {
    for (name, kind) in kinds(spec) {
        if let Some(job) = find(name, earlier)
            && job.spec.kind() != kind
        {
            let why = format!("`{name}` is a job of kind {}; name one of kind {kind} here", job.spec.kind());
            return Err(Found { place: name.place(), why });
        }
    }
    if let Some((Target::Job(name), split)) = data(spec)
        && let Some(JobEntry { spec: JobSpec::Dataset(dataset), .. }) = find(name, earlier)
    {
        let mut splits: Vec<&str> = dataset.rows.iter().flat_map(|rows| rows.split.names()).collect();
        if !splits.contains(&split) {
            splits.sort_unstable();
            splits.dedup();
            let why = format!("dataset `{name}` has no split `{split}`; its splits are {}", splits.join(", "));
            return Err(Found { place: name.place(), why });
        }
    }
    match spec {
        JobSpec::Train(train) => {
            train.check_with(scratch(train, earlier).as_deref()).map_err(|why| Found { place: None, why })
        }
        _ => Ok(()),
    }
}

fn find<'a>(name: &JobRef, earlier: &'a [JobEntry]) -> Option<&'a JobEntry> {
    earlier.iter().find(|job| job.name == name.as_str())
}

/// The names that only a job of one kind can bear.
fn kinds(spec: &JobSpec) -> Vec<(&JobRef, JobKind)> {
    fn of(target: &Target, kind: JobKind) -> Option<(&JobRef, JobKind)> {
        target.job().map(|name| (name, kind))
    }
    match spec {
        JobSpec::Ingest(_) | JobSpec::Gate(_) => Vec::new(),
        JobSpec::Dataset(spec) => spec.rows.iter().map(|rows| (&rows.from, JobKind::Ingest)).collect(),
        JobSpec::Tokenizer(spec) => of(&spec.dataset, JobKind::Dataset).into_iter().collect(),
        JobSpec::Train(spec) => {
            let base = match &spec.base_model {
                Some(BaseModel::Job(name)) => Some((name, JobKind::Train)),
                _ => None,
            };
            let dataset = spec.dataset.as_ref().and_then(|target| of(target, JobKind::Dataset));
            let tokenizer = spec.tokenizer.as_ref().and_then(|target| of(target, JobKind::Tokenizer));
            [base, dataset, tokenizer].into_iter().flatten().collect()
        }
        JobSpec::Evaluate(spec) => {
            [of(&spec.subject, JobKind::Train), of(&spec.dataset, JobKind::Dataset)].into_iter().flatten().collect()
        }
        JobSpec::Judge(spec) => of(&spec.evaluation, JobKind::Evaluate).into_iter().collect(),
        JobSpec::Deploy(spec) => {
            [of(&spec.model, JobKind::Train), of(&spec.gate, JobKind::Gate)].into_iter().flatten().collect()
        }
    }
}

/// The dataset and split that a job reads.
fn data(spec: &JobSpec) -> Option<(&Target, &str)> {
    match spec {
        JobSpec::Tokenizer(spec) => Some((&spec.dataset, &spec.split)),
        JobSpec::Train(spec) => spec.dataset.as_ref().map(|dataset| (dataset, spec.split.as_str())),
        JobSpec::Evaluate(spec) => Some((&spec.dataset, &spec.split)),
        _ => None,
    }
}

/// The shape of the model that a job starts from, where this or an earlier job makes it from scratch. Of an earlier one
/// that leaves its context to the rows, the rows say it.
fn scratch(spec: &TrainSpec, earlier: &[JobEntry]) -> Option<String> {
    match spec.base_model.as_ref()? {
        BaseModel::Scratch(shape) => Some(shape.clone()),
        BaseModel::Job(name) => {
            let JobSpec::Train(base) = &find(name, earlier)?.spec else { return None };
            let shape = scratch(base, earlier)?;
            if shape.contains("context") {
                return Some(shape);
            }
            let context = base.sequence_length.unwrap_or(SEQUENCE_LENGTH_DEFAULT as u64);
            Some(format!("{shape},context={context}"))
        }
        _ => None,
    }
}
