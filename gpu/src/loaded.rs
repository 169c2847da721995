//! A model's weights where its device can read them, as inputs of the graphs that only read them.

use crate::models::inference::{upload_graph, uploaded};
use crate::{DecoderConfig, Device, Error, Feed, Resident, Runtime, Weights};

/// Weights that do not change: borrowed from host memory on the CPU, copied once to another device.
pub(crate) enum Loaded {
    Host(Weights),
    Device(Vec<(String, Resident)>),
}

impl Loaded {
    /// Checks the weights against `config` first.
    pub(crate) fn new(runtime: &Runtime, config: &DecoderConfig, weights: &Weights) -> Result<Self, Error> {
        Self::of(runtime, config, weights.clone())
    }

    /// The same without a copy in host memory.
    pub(crate) fn of(runtime: &Runtime, config: &DecoderConfig, weights: Weights) -> Result<Self, Error> {
        config.validate()?;
        weights.check(config)?;
        if runtime.device() == Device::Cpu {
            return Ok(Self::Host(weights));
        }
        let feeds: Vec<_> = weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect();
        let mut outputs = runtime.session(&upload_graph(config))?.run(&feeds)?;
        let take = |(name, _)| Ok((String::from(name), outputs.take(&uploaded(name))?));
        Ok(Self::Device(weights.iter().map(take).collect::<Result<_, Error>>()?))
    }

    /// One feed per parameter.
    pub(crate) fn feeds(&self) -> Vec<(&str, Feed<'_>)> {
        match self {
            Self::Host(weights) => weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect(),
            Self::Device(tensors) => {
                tensors.iter().map(|(name, tensor)| (name.as_str(), Feed::Resident(tensor))).collect()
            }
        }
    }
}
