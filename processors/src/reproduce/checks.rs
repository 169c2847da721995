//! What is not done twice is checked: a deployment would deploy again, and what an erasure cut is gone for good.

use super::{Comparison, Found, Manner};
use crate::dataset_reader::artifact_digest;
use crate::model::{Model, load_weights};
use crate::{Context, Error, history, provenance};
use cairn_projections::catalog::JobRecord;
use cairn_schemas::{Event, RawJson, Ref};
use serde_json::Value;

/// A deployment: the gate passed for this model, the weights are those that were promoted, the promotion is recorded.
pub(super) fn deploy(ctx: &Context, recorded: &JobRecord) -> Result<Found, Error> {
    let input = |kind: &str| {
        let found = recorded.inputs.iter().find(|input| input.kind() == kind);
        found.ok_or_else(|| Error::refused(format!("run:{}", recorded.run), format!("recorded no {kind} as its input")))
    };
    let (model, judgment) = (input("model")?, input("judgment")?);
    let (mut gate, mut promoted) = (None, None);
    let from = history::first_heard(ctx, judgment)?;
    history::all(ctx, from, &mut |event| match &event.event {
        Event::GateEvaluated(e) if e.judgment == *judgment => gate = Some(e.clone()),
        Event::Promoted(e) if e.model == *model && recorded.outputs.contains(&e.deployment) && promoted.is_none() => {
            promoted = Some(e.clone());
        }
        _ => {}
    })?;
    let summary = |name: &str| recorded.summary.get(name).and_then(Value::as_str).unwrap_or("absent").to_owned();
    let absent = || "absent".to_owned();
    let mut compared = vec![
        Comparison::new("gate's subject", model, gate.as_ref().map_or_else(absent, |gate| gate.subject.to_string())),
        Comparison::new(
            "gate's outcome",
            "pass",
            gate.as_ref().map_or_else(absent, |gate| format!("{:?}", gate.outcome).to_lowercase()),
        ),
    ];
    let found = Model::find(ctx, model)?;
    let weights = match load_weights(ctx, &found.weights, &found.weights_digest) {
        Ok(weights) => weights.digest(),
        Err(error) => format!("unreadable: {}", error.chain()),
    };
    compared.push(Comparison::new("weights", summary("weights_digest"), weights));
    compared.push(Comparison::new("tokenizer", &found.tokenizer, stored(ctx, &found.tokenizer)));
    if let Some(promoted) = promoted {
        compared.push(Comparison::new("promoted weights", summary("weights_digest"), promoted.weights_digest));
    }
    let code = recorded.spec.get("code").cloned().unwrap_or_default();
    Ok(Found {
        manner: Manner::Checked,
        notes: vec!["a deployment is checked, not done again: nothing was promoted".to_owned()],
        compared,
        environment_differences: provenance::program_differences(&RawJson::of(&code)),
    })
}

/// What an erasure left of artifacts: each is stored under the digest of its bytes, and what it was cut from is gone.
pub(super) fn erase(ctx: &Context, recorded: &JobRecord) -> Result<Found, Error> {
    let artifacts = ctx.ledger().artifacts(ctx.tenant());
    let mut compared = Vec::new();
    for output in &recorded.outputs {
        compared.push(Comparison::new("what stays", output, stored(ctx, output)));
    }
    for input in &recorded.inputs {
        let is_there = artifact_digest(input).is_ok_and(|digest| artifacts.contains(&digest));
        let found = if is_there { "stored" } else { "destroyed" };
        compared.push(Comparison::new(format!("what {input} was"), "destroyed", found));
    }
    Ok(Found {
        manner: Manner::Checked,
        notes: vec!["an erasure cannot be done again: what it read is destroyed; what it left was checked".to_owned()],
        compared,
        environment_differences: Vec::new(),
    })
}

/// The artifact itself where its bytes are stored and are what they should be; else why not.
fn stored(ctx: &Context, artifact: &Ref) -> String {
    let checked = artifact_digest(artifact)
        .and_then(|digest| Ok(ctx.ledger().artifacts(ctx.tenant()).check(&digest).map(|_| ())?));
    checked.map_or_else(|error| format!("absent: {}", error.chain()), |()| artifact.to_string())
}
