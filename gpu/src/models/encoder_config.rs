//! The shape of a bidirectional encoder of the BERT family, its head and how its states become one embedding.
//! Parameter names are those of Hugging Face's `BertModel`, whatever family the weights came from.

use serde::{Deserialize, Serialize};

use super::Activation;
use super::config::within;
use crate::Error;

const LAYERS_MAX: usize = 512;
const WIDTH_MAX: usize = 1 << 16;
const VOCABULARY_MAX: usize = 1 << 20;
const CONTEXT_MAX: usize = 1 << 16;
const LABELS_MAX: usize = 1 << 16;

/// Whose names and `config.json` an encoder is saved under, and what its classification head is made of.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum EncoderFamily {
    /// Head: a tanh layer over the first token (the pooler), then one projection.
    #[default]
    Bert,
    /// Head: the same with names of its own; positions count from after the padding id.
    Roberta,
    XlmRoberta,
}

/// What is computed from the last layer.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// States, to be pooled to an embedding.
    #[default]
    None,
    /// Scores of so many labels from the first token; one label is a reranker's.
    Classification { labels: usize },
}

/// How the states of a text's tokens become one vector.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Pooling {
    pub kind: PoolingKind,
    /// Scales the vector to length 1.
    pub normalise: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PoolingKind {
    /// The first token's state.
    Cls,
    Mean,
    /// Sum over the square root of the number of tokens.
    MeanSqrtLength,
    Max,
}

/// A post-norm encoder with learned positions.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    /// Inner width of the feed-forward.
    pub feed_forward: usize,
    /// Rows of the embedding table, special tokens included.
    pub vocabulary: usize,
    /// Most tokens in one text, special tokens included.
    pub context: usize,
    /// Row of the first position in the table of positions, which has `context` rows after it.
    pub position_offset: usize,
    /// Kinds of segments, such as question and passage.
    pub token_types: usize,
    pub norm_eps: f64,
    pub activation: Activation,
    pub family: EncoderFamily,
    pub head: Head,
}

impl EncoderConfig {
    /// Refuses what cannot be built, naming the key, its value and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        within("layers", self.layers, 1, LAYERS_MAX)?;
        within("width", self.width, 1, WIDTH_MAX)?;
        within("heads", self.heads, 1, self.width)?;
        within("feed_forward", self.feed_forward, 1, 4 * WIDTH_MAX)?;
        within("vocabulary", self.vocabulary, 2, VOCABULARY_MAX)?;
        within("context", self.context, 2, CONTEXT_MAX)?;
        within("position_offset", self.position_offset, 0, VOCABULARY_MAX)?;
        within("token_types", self.token_types, 1, WIDTH_MAX)?;
        if !self.width.is_multiple_of(self.heads) {
            return Err(Error::invalid("width", self.width, format!("a multiple of `heads` ({})", self.heads)));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::invalid("norm_eps", self.norm_eps, "a number between 0 and 1"));
        }
        match self.head {
            Head::None => Ok(()),
            Head::Classification { labels } => within("labels", labels, 1, LABELS_MAX),
        }
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Every parameter in the order of the forward pass: name and shape, matrices as [out, in].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.width, self.feed_forward);
        let mut shapes = Vec::new();
        let mut push = |name: String, shape: &[usize]| shapes.push((format!("{name}.weight"), shape.to_vec()));
        push("embeddings.word_embeddings".into(), &[self.vocabulary, width]);
        push("embeddings.position_embeddings".into(), &[self.position_offset + self.context, width]);
        push("embeddings.token_type_embeddings".into(), &[self.token_types, width]);
        let mut push = |name: &str, shape: &[usize]| {
            shapes.push((format!("{name}.weight"), shape.to_vec()));
            shapes.push((format!("{name}.bias"), shape[..1].to_vec()));
        };
        push("embeddings.LayerNorm", &[width]);
        for layer in 0..self.layers {
            let mut push = |name: &str, shape: &[usize]| push(&format!("encoder.layer.{layer}.{name}"), shape);
            push("attention.self.query", &[width, width]);
            push("attention.self.key", &[width, width]);
            push("attention.self.value", &[width, width]);
            push("attention.output.dense", &[width, width]);
            push("attention.output.LayerNorm", &[width]);
            push("intermediate.dense", &[inner, width]);
            push("output.dense", &[width, inner]);
            push("output.LayerNorm", &[width]);
        }
        if let Head::Classification { labels } = self.head {
            push("pooler.dense", &[width, width]);
            push("classifier", &[labels, width]);
        }
        shapes
    }
}
