//! The `deploy` job: a model behind a gate that passed for that very model becomes what a deployment answers with.

use crate::deployments::{self, Change};
use crate::job::{Job, JobContext, Output, Resolved, Scope};
use crate::pipeline::{DeploySpec, JobKind};
use crate::{Error, history};
use cairn_schemas::events::judgment::GateEvaluated;
use cairn_schemas::{Event, Ref};
use serde_json::json;

impl Job for DeploySpec {
    fn kind(&self) -> JobKind {
        JobKind::Deploy
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let model = scope.one(&self.model, "model")?;
        let gate = scope.one(&self.gate, "judgment")?;
        Ok(Resolved { inputs: vec![model, gate], identity: json!(null) })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let model = job.scope.one(&self.model, "model")?;
        let judgment = job.scope.one(&self.gate, "judgment")?;
        let gate = gate(job, &judgment)?;
        let deployment = deployments::reference(&self.deployment)?;
        let change = Change { reference: &deployment, model: &model, gate: &gate, reason: None };
        let id = format!("{}/{}", job.run(), job.attempt());
        let (weights_digest, previous) = change.record(job.ctx(), &job.source(), &id)?;
        let summary = json!({
            "deployment": deployment,
            "model": model,
            "weights_digest": weights_digest,
            "gate": judgment,
            "previous": previous,
        });
        Ok(Output::new(vec![deployment], summary))
    }
}

/// The gate's judgment as recorded; any other judgment is no gate.
fn gate(job: &JobContext<'_>, judgment: &Ref) -> Result<GateEvaluated, Error> {
    let from = history::first_heard(job.ctx(), judgment)?;
    let mut found = None;
    history::all(job.ctx(), from, &mut |recorded| match &recorded.event {
        Event::GateEvaluated(event) if event.judgment == *judgment => found = Some(event.clone()),
        _ => {}
    })?;
    found.ok_or_else(|| Error::refused(format!("`{judgment}`"), "is no gate's judgment; name a gate job"))
}
