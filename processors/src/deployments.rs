//! Which model a deployment answers with: promoted only behind a gate that passed for that very model, rolled back to
//! the one before. The catalog says where a deployment stands; here its changes are checked and recorded.

use crate::dataset_reader::artifact_digest;
use crate::model::Model;
use crate::{Context, Error, history};
use cairn_gpu::DecoderConfig;
use cairn_projections::catalog::DeploymentRecord;
use cairn_schemas::events::deployment::{DeploymentCreated, Promoted, RolledBack};
use cairn_schemas::events::judgment::{GateEvaluated, GateOutcome};
use cairn_schemas::{Blake3, Event, NewEvent, Ref, RunId};
use parking_lot::Mutex;

const SOURCE: &str = "cairn://processors/deployments";

/// Two changes at once would both read the state before either.
static CHANGE: Mutex<()> = Mutex::new(());

/// What a deployment answers with now.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    pub deployment: Ref,
    pub model: Ref,
    pub weights_digest: Blake3,
    pub weights: Ref,
    pub tokenizer: Ref,
    pub architecture: DecoderConfig,
    /// The model it would go back to.
    pub previous: Option<Ref>,
    /// Whether prompts and answers are recorded with `response_generated`.
    pub records_text: bool,
}

/// The ref of a deployment given as `name` or `deployment:name`.
pub fn reference(deployment: &str) -> Result<Ref, Error> {
    let name = deployment.strip_prefix("deployment:").unwrap_or(deployment);
    Ok(Ref::deployment(name)?)
}

/// What the deployment answers with.
pub fn active(ctx: &Context, deployment: &str) -> Result<Active, Error> {
    let reference = reference(deployment)?;
    let record = existing(ctx, &reference)?;
    let active =
        record.active.ok_or_else(|| Error::refused(format!("`{reference}`"), "has no model yet; promote one to it"))?;
    let parts = Model::find(ctx, &active.model)?;
    if parts.weights_digest != active.weights_digest {
        return Err(Error::Stored {
            what: format!("`{reference}`"),
            why: format!(
                "promoted weights {}, but `{}` has {}",
                active.weights_digest, active.model, parts.weights_digest
            ),
        });
    }
    Ok(Active {
        deployment: reference,
        model: active.model,
        weights_digest: active.weights_digest,
        weights: parts.weights,
        tokenizer: parts.tokenizer,
        architecture: parts.architecture,
        previous: record.previous.map(|previous| previous.model),
        records_text: record.config.get("record_text").and_then(serde_json::Value::as_bool).unwrap_or(false),
    })
}

/// Makes a model what an existing deployment answers with. Refused unless the latest gate on that very model passed.
pub fn promote(ctx: &Context, deployment: &str, model: &Ref, reason: Option<&str>) -> Result<Active, Error> {
    let reference = reference(deployment)?;
    existing(ctx, &reference)?;
    let gate = latest_gate(ctx, model)?.ok_or_else(|| {
        Error::refused(format!("`{model}`"), "no gate was evaluated on it; run a gate job, then promote")
    })?;
    let change = Change { reference: &reference, model, gate: &gate, reason };
    change.record(ctx, SOURCE, &RunId::generate().to_string())?;
    active(ctx, deployment)
}

/// Goes back to the model that was active before.
pub fn roll_back(ctx: &Context, deployment: &str, reason: &str) -> Result<Active, Error> {
    let deployment_ref = reference(deployment)?;
    {
        let _alone = CHANGE.lock();
        let record = existing(ctx, &deployment_ref)?;
        let (Some(active), Some(previous)) = (record.active, record.previous) else {
            return Err(Error::refused(
                format!("`{deployment_ref}`"),
                "has no earlier model to go back to; only a second promotion makes one",
            ));
        };
        let event = RolledBack {
            deployment: deployment_ref.clone(),
            model: previous.model.clone(),
            weights_digest: previous.weights_digest,
            from: active.model,
            reason: reason.to_owned(),
        };
        let id = format!("{}/rolled_back", RunId::generate());
        let event = in_project_of(&previous.model, NewEvent::new(SOURCE, &id, event));
        ctx.ledger().append(ctx.tenant(), vec![event])?;
    }
    active(ctx, deployment)
}

/// The latest gate on a model.
pub(crate) fn latest_gate(ctx: &Context, model: &Ref) -> Result<Option<GateEvaluated>, Error> {
    let Some(from) = history::first_heard(ctx, model)? else { return Ok(None) };
    let mut latest = None;
    history::all(ctx, Some(from), &mut |recorded| match &recorded.event {
        Event::GateEvaluated(event) if event.subject == *model => latest = Some(event.clone()),
        _ => {}
    })?;
    Ok(latest)
}

/// A promotion about to be made.
pub(crate) struct Change<'a> {
    pub(crate) reference: &'a Ref,
    pub(crate) model: &'a Ref,
    pub(crate) gate: &'a GateEvaluated,
    pub(crate) reason: Option<&'a str>,
}

impl Change<'_> {
    /// Records it, and the deployment's creation before it where it is new to the ledger and a job asks for it. Already
    /// active is already done. Gives the weights' digest and the model before.
    pub(crate) fn record(&self, ctx: &Context, source: &str, id: &str) -> Result<(Blake3, Option<Ref>), Error> {
        if self.gate.subject != *self.model {
            return Err(Error::refused(
                format!("`{}`", self.gate.judgment),
                format!(
                    "judged `{}`, not `{}`; a gate lets only the model pass that it judged",
                    self.gate.subject, self.model
                ),
            ));
        }
        if self.gate.outcome != GateOutcome::Pass {
            let failed: Vec<String> = self
                .gate
                .checks
                .iter()
                .filter(|check| check.outcome != GateOutcome::Pass)
                .map(|check| format!("{}: {}", check.condition, check.detail))
                .collect();
            return Err(Error::refused(
                format!("gate `{}` did not let `{}` pass", self.gate.gate, self.model),
                failed.join("; "),
            ));
        }
        let model = Model::find(ctx, self.model)?;
        refuse_broken(ctx, &model)?;
        let weights_digest = model.weights_digest;
        let _alone = CHANGE.lock();
        ctx.projections().catch_up()?;
        let record = ctx.projections().catalog().deployment(&self.reference.to_string())?;
        refuse_retired(self.reference, record.as_ref())?;
        let is_new = record.is_none();
        let (active, before) = record.map_or((None, None), |record| (record.active, record.previous));
        let previous = active.map(|active| active.model);
        if previous.as_ref() == Some(self.model) {
            return Ok((weights_digest, before.map(|before| before.model)));
        }
        let mut events = Vec::new();
        if is_new {
            let created = DeploymentCreated {
                deployment: self.reference.clone(),
                target: "local".to_owned(),
                config: Default::default(),
            };
            events.push(NewEvent::new(source, &format!("{id}/created"), created));
        }
        let promoted = Promoted {
            deployment: self.reference.clone(),
            model: self.model.clone(),
            weights_digest,
            gate: Some(self.gate.judgment.clone()),
            previous: previous.clone(),
            reason: self.reason.map(str::to_owned),
        };
        events.push(NewEvent::new(source, &format!("{id}/promoted"), promoted));
        let events = events.into_iter().map(|event| in_project_of(self.model, event)).collect();
        ctx.ledger().append(ctx.tenant(), events)?;
        Ok((weights_digest, previous))
    }
}

/// Refuses a model whose stored parts are gone or changed: it could not answer.
fn refuse_broken(ctx: &Context, model: &Model) -> Result<(), Error> {
    for (part, artifact) in [("weights", &model.weights), ("tokenizer", &model.tokenizer)] {
        let checked = artifact_digest(artifact).and_then(|digest| {
            ctx.ledger().artifacts(ctx.tenant()).check(&digest)?;
            Ok(())
        });
        checked.map_err(|e| Error::Stored {
            what: format!("the {part} of `{}`", model.reference),
            why: format!("{}; nothing was promoted, restore {artifact} or train the model again", e.chain()),
        })?;
    }
    Ok(())
}

/// A deployment is filed under its model's project.
fn in_project_of(model: &Ref, event: NewEvent) -> NewEvent {
    match model {
        Ref::Model { project, .. } => event.in_project(project.as_str()),
        _ => event,
    }
}

fn existing(ctx: &Context, deployment: &Ref) -> Result<DeploymentRecord, Error> {
    ctx.projections().catch_up()?;
    let record = ctx.projections().catalog().deployment(&deployment.to_string())?;
    refuse_retired(deployment, record.as_ref())?;
    record.ok_or_else(|| Error::UnknownRef {
        kind: "deployment",
        reference: deployment.to_string(),
        hint: "a `deploy` job of a pipeline makes one".into(),
    })
}

fn refuse_retired(deployment: &Ref, record: Option<&DeploymentRecord>) -> Result<(), Error> {
    match record {
        Some(record) if record.state == "retired" => {
            Err(Error::refused(format!("`{deployment}`"), "was retired for good"))
        }
        _ => Ok(()),
    }
}
