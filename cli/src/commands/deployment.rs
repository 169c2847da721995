//! `cairn promote` and `cairn roll-back`: which model a deployment answers with.

use super::{Outcome, done, print_json, resolve};
use crate::Globals;
use cairn_processors::{Context, deployments};

#[derive(clap::Args)]
pub(crate) struct PromoteArgs {
    #[arg(value_name = "DEPLOYMENT")]
    deployment: String,
    #[arg(value_name = "MODEL")]
    model: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(clap::Args)]
pub(crate) struct RollBackArgs {
    #[arg(value_name = "DEPLOYMENT")]
    deployment: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

fn bare(deployment: &str) -> &str {
    deployment.strip_prefix("deployment:").unwrap_or(deployment)
}

pub(crate) fn promote(globals: &Globals, args: &PromoteArgs) -> Outcome {
    let context = super::writer(globals)?;
    let model = resolve(&context, &args.model)?;
    deployments::promote(&context, bare(&args.deployment), &model, Some(&args.reason))?;
    tell(globals, &context, bare(&args.deployment))
}

pub(crate) fn roll_back(globals: &Globals, args: &RollBackArgs) -> Outcome {
    let context = super::writer(globals)?;
    deployments::roll_back(&context, bare(&args.deployment), &args.reason)?;
    tell(globals, &context, bare(&args.deployment))
}

fn tell(globals: &Globals, context: &Context, deployment: &str) -> Outcome {
    context.projections().catch_up()?;
    let active = deployments::active(context, deployment)?;
    if globals.json {
        print_json(&serde_json::json!({
            "deployment": format!("deployment:{deployment}"), "model": active.model, "weights_digest": active.weights_digest,
        }));
    } else {
        say!("deployment:{deployment} answers with {} (weights {})", active.model, active.weights_digest);
    }
    done()
}
