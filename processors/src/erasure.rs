//! Erasure of a data subject: what holds their data is found by lineage, their keys are destroyed, artifacts are rewritten
//! without their documents or destroyed, projections are built anew, and a signed receipt says what was done.
//!
//! Order: request, register, artifacts, event, keys, projections, receipt. A call that was cut short is finished by the
//! same call with the same request id: what was destroyed by then is read from the events.

mod carry_out;
mod plan;
mod receipt;
mod rewrite;

pub use carry_out::{Erased, erase};
pub use plan::{ArtifactFate, ErasurePlan, PlannedArtifact};

use crate::{Context, Error};
use cairn_schemas::Ref;

/// What an erasure would do; changes nothing.
pub fn preview(ctx: &Context, request: &ErasureRequest) -> Result<ErasurePlan, Error> {
    let plan = plan::plan(ctx, request)?;
    match plan.keys.is_empty() && plan.documents.is_empty() {
        true => Err(carry_out::nobody(request)),
        false => Ok(plan),
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ErasureRequest {
    /// The request's own id, such as its number in a register of requests. Kept for ever; must name nobody.
    pub request: String,
    /// Whom to erase, as their events name them.
    pub data_subject: String,
    /// Why it must be done. Kept for ever; must name nobody.
    pub basis: String,
    /// Documents that are about the person although their events do not say so.
    pub documents: Vec<Ref>,
}
