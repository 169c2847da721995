//! Settings of a `deploy` job.

use super::names::Target;
use serde::{Deserialize, Deserializer, Serialize, de};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploySpec {
    /// A train job that registered a model, or `model://project/name@3`.
    pub model: Target,
    /// The gate that must have passed: a gate job, or `judgment:<id>`.
    pub gate: Target,
    /// Name of the endpoint: `deployment:<name>`.
    #[serde(deserialize_with = "deployment_name")]
    pub deployment: String,
}

fn deployment_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    cairn_schemas::Ref::deployment(&name).map_err(de::Error::custom)?;
    Ok(name)
}
