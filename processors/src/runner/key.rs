//! What makes two executions the same work: kind, settings, resolved inputs, and the code's version.

use crate::job::{Job, Resolved, Scope};
use crate::provenance;
use cairn_schemas::Blake3;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// BLAKE3 of the canonical JSON of everything that decides the result.
pub(super) fn of(job: &dyn Job, scope: &Scope<'_>, resolved: &Resolved) -> Blake3 {
    by_version(job, scope, resolved, env!("CARGO_PKG_VERSION"))
}

/// The same as another version of this program would have it.
pub(crate) fn by_version(job: &dyn Job, scope: &Scope<'_>, resolved: &Resolved, version: &str) -> Blake3 {
    let whole = json!({
        "kind": job.kind().as_str(),
        "revision": job.revision(),
        "code": version,
        "project": scope.project,
        "seed": scope.seed,
        "settings": job.settings(),
        "inputs": resolved.inputs,
        "identity": resolved.identity,
    });
    Blake3::of(crate::job::canonical_json(&whole).as_bytes())
}

/// What is recorded of a job's settings: enough to read it again, with the runs that its names stood for and the
/// program that read them.
pub(super) fn spec(job: &dyn Job, scope: &Scope<'_>) -> Value {
    let settings = job.settings();
    let named: BTreeMap<&str, String> = scope
        .results
        .iter()
        .filter(|(name, _)| names(&settings, name))
        .map(|(name, result)| (name.as_str(), format!("run:{}", result.run)))
        .collect();
    json!({ "project": scope.project, "seed": scope.seed, "settings": settings, "jobs": named, "code": provenance::code() })
}

/// Whether some text of the settings is this job's name.
fn names(settings: &Value, job: &str) -> bool {
    match settings {
        Value::String(text) => text == job,
        Value::Array(values) => values.iter().any(|value| names(value, job)),
        Value::Object(members) => members.values().any(|value| names(value, job)),
        _ => false,
    }
}
