//! What a run needs to continue bitwise: weights, both moments, step, and where the data and the generators stand.
//! One safetensors file. Neither bytes nor digest depend on a clock, a machine or a run's id.

use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::weights::{decode, encode, unreadable};
use crate::{Error, LoaderState, RngState, Tensor, TrainState, Weights};

const METADATA_KEY: &str = "cairn.checkpoint";
const FORMAT: u32 = 1;
const DIGEST_DOMAIN: &[u8] = b"cairn-gpu checkpoint 1";
const WEIGHTS: &str = "weights.";
const FIRST_MOMENT: &str = "first_moment.";
const SECOND_MOMENT: &str = "second_moment.";

/// A run between two optimizer steps. Taken nowhere else, so gradients half accumulated are never part of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    pub state: TrainState,
    pub loader: LoaderState,
    /// Counters of the generators that training draws from.
    pub rng: RngState,
    /// Micro-batches accumulated into all finished steps.
    pub micro_batches: u64,
}

/// The small state, in the order in which it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: u32,
    step: u64,
    micro_batches: u64,
    loader: LoaderState,
    rng: RngState,
}

impl Checkpoint {
    pub fn to_safetensors(&self) -> Vec<u8> {
        let state = &self.state;
        let sets =
            [(WEIGHTS, &state.weights), (FIRST_MOMENT, &state.first_moment), (SECOND_MOMENT, &state.second_moment)];
        let tensors: Vec<(String, &Tensor)> = sets
            .into_iter()
            .flat_map(|(prefix, set)| set.iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor)))
            .collect();
        encode(&tensors, Some((METADATA_KEY, self.metadata())))
    }

    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let text = text
            .ok_or_else(|| unreadable(format!("no `{METADATA_KEY}` entry: not a checkpoint, but perhaps weights")))?;
        let metadata: Metadata = serde_json::from_str(text).map_err(unreadable)?;
        if metadata.format != FORMAT {
            return Err(unreadable(format!("checkpoint format {}, this program reads {FORMAT}", metadata.format)));
        }
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let [mut weights, mut first_moment, mut second_moment] =
            [Weights::default(), Weights::default(), Weights::default()];
        for (name, view) in file.iter() {
            let sets =
                [(WEIGHTS, &mut weights), (FIRST_MOMENT, &mut first_moment), (SECOND_MOMENT, &mut second_moment)];
            let mut matching = sets.into_iter().filter_map(|(prefix, set)| Some((name.strip_prefix(prefix)?, set)));
            let (short, set) = matching.next().ok_or_else(|| Error::Tensor {
                name: name.to_owned(),
                problem: format!(
                    "does not belong to a checkpoint; names begin with {WEIGHTS}, {FIRST_MOMENT} or {SECOND_MOMENT}"
                ),
            })?;
            set.insert(short.to_owned(), decode(name, &view)?);
        }
        let state = TrainState { weights, first_moment, second_moment, step: metadata.step };
        Ok(Self { state, loader: metadata.loader, rng: metadata.rng, micro_batches: metadata.micro_batches })
    }

    /// BLAKE3 in hex over everything in the checkpoint.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DIGEST_DOMAIN);
        let metadata = self.metadata();
        hasher.update(&(metadata.len() as u64).to_le_bytes());
        hasher.update(metadata.as_bytes());
        for set in [&self.state.weights, &self.state.first_moment, &self.state.second_moment] {
            set.hash_into(&mut hasher);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Compact JSON, keys in the order of `Metadata`.
    fn metadata(&self) -> String {
        let metadata = Metadata {
            format: FORMAT,
            step: self.state.step,
            micro_batches: self.micro_batches,
            loader: self.loader,
            rng: self.rng,
        };
        serde_json::to_string(&metadata).expect("integers encode")
    }
}
