//! Named f32 tensors: a model's weights, or one optimizer moment of each.
//! Order, bytes and digest depend on names and values only, never on how the set was put together.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::models::DecoderConfig;
use crate::{CounterRng, Error};

const DIGEST_DOMAIN: &[u8] = b"cairn-gpu weights 1";
const INITIAL_DEVIATION: f64 = 0.02;

/// One dense tensor, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Tensor {
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// Little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

/// Tensors by name, in the order of their names. Matrices are [out, in], named as in Hugging Face's Llama.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Fresh weights: N(0, 0.02), the two projections into the residual stream scaled by 1 / sqrt(2 x layers)
    /// (Radford et al. 2019), norms 1, biases 0. Parameter i of `parameter_shapes` draws from stream i of the seed.
    pub fn initialize(config: &DecoderConfig, seed: u64) -> Self {
        let into_residual = INITIAL_DEVIATION / libm::sqrt(2.0 * config.layers as f64);
        let mut weights = Self::default();
        for (stream, (name, shape)) in config.parameter_shapes().into_iter().enumerate() {
            let mut tensor = Tensor::zeros(&shape);
            if name.ends_with(".bias") {
                tensor.data.fill(0.0);
            } else if shape.len() == 1 {
                tensor.data.fill(1.0);
            } else {
                let scaled = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                let deviation = if scaled { into_residual } else { INITIAL_DEVIATION };
                let mut rng = CounterRng::new(seed, stream as u64);
                tensor.data.fill_with(|| (rng.next_normal() * deviation) as f32);
            }
            weights.insert(name, tensor);
        }
        weights
    }

    /// Zeros in the shapes of a model: fresh optimizer moments.
    pub fn zeros(config: &DecoderConfig) -> Self {
        let zeros = |(name, shape): (String, Vec<usize>)| (name, Tensor::zeros(&shape));
        config.parameter_shapes().into_iter().map(zeros).collect()
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.tensors.get_mut(name)
    }

    /// Adds or replaces; a tensor whose data does not fill its shape is our own mistake.
    pub fn insert(&mut self, name: String, tensor: Tensor) -> Option<Tensor> {
        assert_eq!(
            tensor.data.len(),
            tensor.shape.iter().product::<usize>(),
            "tensor `{name}` does not fill its shape"
        );
        self.tensors.insert(name, tensor)
    }

    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// In the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// How many numbers there are in all.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.data.len() as u64).sum()
    }

    /// Exactly the tensors of `config`, in its shapes, all of them finite.
    pub fn check(&self, config: &DecoderConfig) -> Result<(), Error> {
        self.check_shapes(config.parameter_shapes())
    }

    pub(crate) fn check_shapes(&self, shapes: Vec<(String, Vec<usize>)>) -> Result<(), Error> {
        let shapes: BTreeMap<String, Vec<usize>> = shapes.into_iter().collect();
        for (name, shape) in &shapes {
            let tensor = self.get(name).ok_or_else(|| problem(name, "missing; the model needs it"))?;
            if tensor.shape != *shape {
                return Err(problem(name, format!("has shape {:?}, the model needs {shape:?}", tensor.shape)));
            }
            if let Some(at) = tensor.data.iter().position(|value| !value.is_finite()) {
                return Err(problem(name, format!("element {at} is {}, expected a finite number", tensor.data[at])));
            }
        }
        match self.tensors.keys().find(|name| !shapes.contains_key(*name)) {
            Some(name) => Err(problem(name, "not part of the model")),
            None => Ok(()),
        }
    }

    /// BLAKE3 in hex over names, shapes and bytes.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.hash_into(&mut hasher);
        hasher.finalize().to_hex().to_string()
    }

    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let count = |hasher: &mut blake3::Hasher, value: usize| {
            hasher.update(&(value as u64).to_le_bytes());
        };
        hasher.update(DIGEST_DOMAIN);
        count(hasher, self.tensors.len());
        for (name, tensor) in &self.tensors {
            count(hasher, name.len());
            hasher.update(name.as_bytes());
            count(hasher, tensor.shape.len());
            tensor.shape.iter().for_each(|&extent| count(hasher, extent));
            // In pieces: a copy of a large model's table would double what it takes.
            for piece in tensor.data.chunks(1 << 16) {
                let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
                hasher.update(&bytes);
            }
        }
    }

    /// A safetensors file, the same bytes for the same tensors.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let tensors: Vec<_> = self.iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        encode(&tensors, None)
    }

    /// Reads a safetensors file of f32 tensors.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        file.iter().map(|(name, view)| Ok((name.to_owned(), decode(name, &view)?))).collect()
    }
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        let mut weights = Self::default();
        weights.extend(tensors);
        weights
    }
}

impl Extend<(String, Tensor)> for Weights {
    fn extend<I: IntoIterator<Item = (String, Tensor)>>(&mut self, tensors: I) {
        for (name, tensor) in tensors {
            self.insert(name, tensor);
        }
    }
}

/// Safetensors bytes with at most one metadata entry: with more, their order would be a hash map's.
pub(crate) fn encode(tensors: &[(String, &Tensor)], metadata: Option<(&str, String)>) -> Vec<u8> {
    let buffers: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| tensor.bytes()).collect();
    let views = tensors.iter().zip(&buffers).map(|((name, tensor), bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
        (name.as_str(), view.expect("a tensor fills its shape"))
    });
    let metadata = metadata.map(|(key, value)| [(key.to_owned(), value)].into());
    safetensors::serialize(views, metadata).expect("tensor names are distinct and the header is bounded")
}

pub(crate) fn decode(name: &str, view: &TensorView<'_>) -> Result<Tensor, Error> {
    if view.dtype() != Dtype::F32 {
        return Err(problem(name, format!("holds {:?}, expected F32", view.dtype())));
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    let data = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Tensor { shape: view.shape().to_vec(), data })
}

pub(crate) fn unreadable(reason: impl std::fmt::Display) -> Error {
    Error::Format { what: "safetensors".to_owned(), reason: reason.to_string() }
}

fn problem(name: &str, problem: impl Into<String>) -> Error {
    Error::Tensor { name: name.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> DecoderConfig {
        DecoderConfig {
            layers: 2,
            width: 16,
            heads: 2,
            feed_forward: 24,
            vocabulary: 40,
            context: 32,
            tied_embeddings: false,
            ..DecoderConfig::default()
        }
    }

    #[test]
    fn initial_weights_are_a_function_of_the_seed() {
        let weights = Weights::initialize(&tiny(), 5);
        weights.check(&tiny()).unwrap();
        assert_eq!(weights.parameters(), tiny().parameters());
        assert_eq!(weights.digest(), Weights::initialize(&tiny(), 5).digest());
        assert_ne!(weights.digest(), Weights::initialize(&tiny(), 6).digest());
        assert!(weights.get("model.norm.weight").unwrap().data.iter().all(|&value| value == 1.0));
        let deviation = |name: &str| {
            let data = &weights.get(name).unwrap().data;
            (data.iter().map(|value| value * value).sum::<f32>() / data.len() as f32).sqrt()
        };
        assert!((deviation("model.embed_tokens.weight") - 0.02).abs() < 0.002);
        assert!((deviation("model.layers.1.mlp.down_proj.weight") - 0.01).abs() < 0.002);
    }

    /// Golden: initial weights must never change under a recorded seed (bits confirmed in Python).
    #[test]
    fn initial_weights_stay_what_they_were() {
        let weights = Weights::initialize(&tiny(), 5);
        let embedding = &weights.get("model.embed_tokens.weight").unwrap().data;
        assert_eq!(embedding[..4].iter().map(|value| value.to_bits()).collect::<Vec<_>>(), GOLDEN_BITS);
    }

    const GOLDEN_BITS: [u32; 4] = [1_005_805_806, 1_007_396_427, 1_008_475_007, 1_022_153_918];

    #[test]
    fn safetensors_round_trip_and_alignment() {
        let weights = Weights::initialize(&tiny(), 1);
        let bytes = weights.to_safetensors();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(header % 8, 0);
        assert_eq!(Weights::from_safetensors(&bytes).unwrap(), weights);
        assert_eq!(weights.to_safetensors(), bytes);
        let cut = Weights::from_safetensors(&bytes[..bytes.len() - 3]).unwrap_err().to_string();
        assert!(cut.starts_with("cannot read safetensors"), "{cut}");
    }

    #[test]
    fn check_names_what_does_not_fit() {
        let mut weights = Weights::initialize(&tiny(), 1);
        let norm = weights.remove("model.norm.weight").unwrap();
        assert!(weights.check(&tiny()).unwrap_err().to_string().contains("`model.norm.weight`: missing"));
        weights.insert("model.norm.weight".into(), Tensor::zeros(&[3]));
        assert!(weights.check(&tiny()).unwrap_err().to_string().contains("[3]"));
        weights.insert("model.norm.weight".into(), norm);
        weights.insert("extra".into(), Tensor::zeros(&[1]));
        assert!(weights.check(&tiny()).unwrap_err().to_string().contains("`extra`: not part"));
        weights.remove("extra");
        weights.get_mut("model.norm.weight").unwrap().data[2] = f32::NAN;
        assert!(weights.check(&tiny()).unwrap_err().to_string().contains("element 2 is NaN"));
    }

    #[test]
    fn digest_sees_names_shapes_and_values() {
        let base: Weights = [("a".to_owned(), Tensor { shape: vec![2, 3], data: vec![0.0; 6] })].into_iter().collect();
        let mut reshaped = base.clone();
        reshaped.insert("a".into(), Tensor::zeros(&[3, 2]));
        let mut renamed = base.clone();
        let tensor = renamed.remove("a").unwrap();
        renamed.insert("b".into(), tensor);
        let mut negative_zero = base.clone();
        negative_zero.get_mut("a").unwrap().data[0] = -0.0;
        for other in [reshaped, renamed, negative_zero] {
            assert_ne!(base.digest(), other.digest());
        }
    }
}
