//! The shape of a decoder: what a run's identity, a weights file and a graph must agree on.
//! Parameter names and layouts are those of Hugging Face's Llama, whatever family the weights came from.

use serde::{Deserialize, Serialize};

use super::EncoderConfig;
use super::rope::RopeScaling;
use crate::Error;

const LAYERS_MAX: usize = 512;
const WIDTH_MAX: usize = 1 << 16;
const VOCABULARY_MAX: usize = 1 << 20;
const CONTEXT_MAX: usize = 1 << 20;

/// Every model that graphs can be built of.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ModelConfig {
    Decoder(DecoderConfig),
    Encoder(EncoderConfig),
}

impl ModelConfig {
    /// Refuses what cannot be built, naming the key, its value and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Decoder(config) => config.validate(),
            Self::Encoder(config) => config.validate(),
        }
    }

    /// Every parameter in the order of the forward pass: name and shape, matrices as [out, in].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Decoder(config) => config.parameter_shapes(),
            Self::Encoder(config) => config.parameter_shapes(),
        }
    }

    /// How many numbers the model learns.
    pub fn parameters(&self) -> u64 {
        count(&self.parameter_shapes())
    }

    /// Rows of the embedding table.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Decoder(config) => config.vocabulary,
            Self::Encoder(config) => config.vocabulary,
        }
    }

    /// Most tokens in one row.
    pub fn context(&self) -> usize {
        match self {
            Self::Decoder(config) => config.context,
            Self::Encoder(config) => config.context,
        }
    }
}

/// Whose names and `config.json` a decoder is saved under. It decides nothing about what is computed.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum DecoderFamily {
    #[default]
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gpt2,
}

/// What stands between the two products of a feed-forward.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    #[default]
    Silu,
    /// x · Φ(x), by the error function.
    Gelu,
    /// Its approximation by the hyperbolic tangent.
    GeluTanh,
    Relu,
}

/// How the residual stream is normalised.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// By its root mean square, with a scale.
    #[default]
    Rms,
    /// By mean and deviation, with a scale and a bias.
    Layer,
}

/// How a decoder knows where a token stands.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Queries and keys are rotated.
    #[default]
    Rotary,
    /// A learned row is added to each token's embedding.
    Learned,
}

/// A pre-norm decoder with causal attention. What has a default is that of Llama 2, and absent when serialised.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Inner width of the feed-forward.
    pub feed_forward: usize,
    /// Rows of the embedding table, special tokens included.
    pub vocabulary: usize,
    /// Most positions in one document, prompt and answer together.
    pub context: usize,
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f64,
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f64,
    /// Whether the output projection is the embedding table.
    #[serde(default = "default_tied_embeddings")]
    pub tied_embeddings: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub family: DecoderFamily,
    /// Heads of keys and values, each shared by `heads / kv_heads` heads of queries; as many as `heads` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_heads: Option<usize>,
    /// Width of one head; `width / heads` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_width: Option<usize>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub positions: Positions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Most tokens that a query sees, itself included; all earlier ones where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// The layers that `sliding_window` holds in, ascending; all of them where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window_layers: Vec<usize>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: Norm,
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// Feed-forward as down(act(up(x))) instead of down(act(gate(x)) · up(x)).
    #[serde(default, skip_serializing_if = "is_default")]
    pub plain_feed_forward: bool,
    /// Biases of the projections to queries, keys and values.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qkv_bias: bool,
    /// Bias of the attention's output projection.
    #[serde(default, skip_serializing_if = "is_default")]
    pub out_bias: bool,
    /// Biases of the feed-forward.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mlp_bias: bool,
    /// RMSNorm over each head of queries and keys, before they are rotated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qk_norm: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_rope_theta() -> f64 {
    10_000.0
}

fn default_norm_eps() -> f64 {
    1e-5
}

fn default_tied_embeddings() -> bool {
    true
}

/// A small Llama, to take fields from: `DecoderConfig { layers: 2, ..DecoderConfig::default() }`.
impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            layers: 1,
            width: 64,
            heads: 2,
            feed_forward: 128,
            vocabulary: 512,
            context: 128,
            rope_theta: default_rope_theta(),
            norm_eps: default_norm_eps(),
            tied_embeddings: default_tied_embeddings(),
            family: DecoderFamily::default(),
            kv_heads: None,
            head_width: None,
            positions: Positions::default(),
            rope_scaling: None,
            sliding_window: None,
            window_layers: Vec::new(),
            norm: Norm::default(),
            activation: Activation::default(),
            plain_feed_forward: false,
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            qk_norm: false,
        }
    }
}

impl DecoderConfig {
    /// Refuses what cannot be built, naming the key, its value and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        within("layers", self.layers, 1, LAYERS_MAX)?;
        within("width", self.width, 2, WIDTH_MAX)?;
        within("heads", self.heads, 1, self.width)?;
        within("feed_forward", self.feed_forward, 1, 4 * WIDTH_MAX)?;
        within("vocabulary", self.vocabulary, 2, VOCABULARY_MAX)?;
        within("context", self.context, 2, CONTEXT_MAX)?;
        self.validate_heads()?;
        self.validate_windows()?;
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Err(Error::invalid("rope_theta", self.rope_theta, "a number above 1"));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::invalid("norm_eps", self.norm_eps, "a number between 0 and 1"));
        }
        match (&self.rope_scaling, self.positions) {
            (Some(_), Positions::Learned) => {
                Err(Error::invalid("rope_scaling", "given", "none: learned positions are not rotated"))
            }
            (Some(scaling), Positions::Rotary) => scaling.validate(),
            (None, _) => Ok(()),
        }
    }

    fn validate_heads(&self) -> Result<(), Error> {
        match self.head_width {
            None if !self.width.is_multiple_of(2 * self.heads) => {
                let expected =
                    format!("a multiple of twice `heads` (2 x {}): every head is rotated in pairs", self.heads);
                return Err(Error::invalid("width", self.width, expected));
            }
            Some(size) if size == 0 || size > WIDTH_MAX || !size.is_multiple_of(2) => {
                return Err(Error::invalid("head_width", size, "an even number: every head is rotated in pairs"));
            }
            _ => {}
        }
        match self.kv_heads {
            Some(heads) if heads == 0 || !self.heads.is_multiple_of(heads) => {
                Err(Error::invalid("kv_heads", heads, format!("a divisor of `heads` ({})", self.heads)))
            }
            _ => Ok(()),
        }
    }

    fn validate_windows(&self) -> Result<(), Error> {
        if self.sliding_window == Some(0) {
            return Err(Error::invalid("sliding_window", 0, "a whole number from 1, or none"));
        }
        let ascending = self.window_layers.is_sorted_by(|a, b| a < b);
        let known = self.window_layers.last().is_none_or(|&last| last < self.layers);
        if !ascending || !known || (self.sliding_window.is_none() && !self.window_layers.is_empty()) {
            let expected = format!("layers from 0 to {} in ascending order, with a `sliding_window`", self.layers - 1);
            return Err(Error::invalid("window_layers", format!("{:?}", self.window_layers), expected));
        }
        Ok(())
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.head_width.unwrap_or(self.width / self.heads)
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.heads)
    }

    /// How many tokens a query of this layer sees at most, itself included; `None` where it sees all earlier ones.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.window_layers.is_empty() || self.window_layers.contains(&layer))
    }

    /// The table that the output projection multiplies with.
    pub fn output_table(&self) -> &'static str {
        if self.tied_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" }
    }

    /// Every parameter in the order of the forward pass: name and shape, matrices as [out, in].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.width, self.feed_forward);
        let (of_queries, of_keys) = (self.heads * self.head_width(), self.kv_heads() * self.head_width());
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocabulary, width])];
        if self.positions == Positions::Learned {
            shapes.push(("model.embed_positions.weight".to_owned(), vec![self.context, width]));
        }
        for layer in 0..self.layers {
            let mut push = |name: &str, shape: &[usize], bias: bool| {
                shapes.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
                if bias {
                    shapes.push((format!("model.layers.{layer}.{name}.bias"), shape[..1].to_vec()));
                }
            };
            let norm_bias = self.norm == Norm::Layer;
            push("input_layernorm", &[width], norm_bias);
            push("self_attn.q_proj", &[of_queries, width], self.qkv_bias);
            push("self_attn.k_proj", &[of_keys, width], self.qkv_bias);
            push("self_attn.v_proj", &[of_keys, width], self.qkv_bias);
            if self.qk_norm {
                push("self_attn.q_norm", &[self.head_width()], false);
                push("self_attn.k_norm", &[self.head_width()], false);
            }
            push("self_attn.o_proj", &[width, of_queries], self.out_bias);
            push("post_attention_layernorm", &[width], norm_bias);
            if !self.plain_feed_forward {
                push("mlp.gate_proj", &[inner, width], self.mlp_bias);
            }
            push("mlp.up_proj", &[inner, width], self.mlp_bias);
            push("mlp.down_proj", &[width, inner], self.mlp_bias);
        }
        shapes.push(("model.norm.weight".to_owned(), vec![width]));
        if self.norm == Norm::Layer {
            shapes.push(("model.norm.bias".to_owned(), vec![width]));
        }
        if !self.tied_embeddings {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocabulary, width]));
        }
        shapes
    }

    /// How many numbers the model learns.
    pub fn parameters(&self) -> u64 {
        count(&self.parameter_shapes())
    }
}

fn count(shapes: &[(String, Vec<usize>)]) -> u64 {
    shapes.iter().map(|(_, shape)| shape.iter().map(|&extent| extent as u64).product::<u64>()).sum()
}

pub(super) fn within(key: &str, found: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::invalid(key, found, format!("a whole number from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> DecoderConfig {
        serde_json::from_str(DEMO).unwrap()
    }

    const DEMO: &str = r#"{"layers":4,"width":128,"heads":2,"feed_forward":352,"vocabulary":2048,"context":384}"#;

    #[test]
    fn defaults_and_parameter_count_of_the_demo_model() {
        let config = demo();
        config.validate().unwrap();
        assert!(config.tied_embeddings);
        assert_eq!(config.head_width(), 64);
        let layer = 4 * 128 * 128 + 3 * 128 * 352 + 2 * 128;
        assert_eq!(config.parameters(), 2048 * 128 + 4 * layer + 128);
        let untied = DecoderConfig { tied_embeddings: false, ..config };
        assert_eq!(untied.parameters(), 2 * 2048 * 128 + 4 * layer + 128);
    }

    /// Golden: recorded runs name their model by these bytes.
    #[test]
    fn the_serialised_form_stays_what_it_was() {
        let expected =
            format!(r#"{},"rope_theta":10000.0,"norm_eps":0.00001,"tied_embeddings":true}}"#, &DEMO[..DEMO.len() - 1]);
        assert_eq!(serde_json::to_string(&demo()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<DecoderConfig>(&expected).unwrap(), demo());
    }

    #[test]
    fn what_differs_from_the_default_is_serialised_and_read_back() {
        let config = DecoderConfig {
            kv_heads: Some(1),
            head_width: Some(16),
            rope_scaling: Some(RopeScaling::Linear { factor: 2.0 }),
            sliding_window: Some(8),
            window_layers: vec![1, 2],
            qk_norm: true,
            family: DecoderFamily::Qwen3,
            ..demo()
        };
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.ends_with(r#""window_layers":[1,2],"qk_norm":true}"#), "{text}");
        assert_eq!(serde_json::from_str::<DecoderConfig>(&text).unwrap(), config);
        assert_eq!((0..4).map(|layer| config.window_of(layer)).collect::<Vec<_>>(), [None, Some(8), Some(8), None]);
        let shapes: std::collections::BTreeMap<_, _> = config.parameter_shapes().into_iter().collect();
        assert_eq!(shapes["model.layers.0.self_attn.q_proj.weight"], [32, 128]);
        assert_eq!(shapes["model.layers.0.self_attn.k_proj.weight"], [16, 128]);
        assert_eq!(shapes["model.layers.0.self_attn.o_proj.weight"], [128, 32]);
        assert_eq!(shapes["model.layers.3.self_attn.k_norm.weight"], [16]);
    }

    #[test]
    fn refusals_name_the_key_and_the_value() {
        let cases = [
            (DecoderConfig { layers: 0, ..demo() }, "`layers` is 0"),
            (DecoderConfig { heads: 0, ..demo() }, "`heads` is 0"),
            (DecoderConfig { heads: 3, ..demo() }, "`width` is 128"),
            (DecoderConfig { width: 2, heads: 2, ..demo() }, "`width` is 2"),
            (DecoderConfig { rope_theta: f64::NAN, ..demo() }, "`rope_theta` is NaN"),
            (DecoderConfig { norm_eps: 0.0, ..demo() }, "`norm_eps` is 0"),
            (DecoderConfig { kv_heads: Some(3), ..demo() }, "`kv_heads` is 3"),
            (DecoderConfig { head_width: Some(5), ..demo() }, "`head_width` is 5"),
            (DecoderConfig { sliding_window: Some(0), ..demo() }, "`sliding_window` is 0"),
            (DecoderConfig { window_layers: vec![0], ..demo() }, "`window_layers` is [0]"),
            (DecoderConfig { sliding_window: Some(4), window_layers: vec![4], ..demo() }, "`window_layers` is [4]"),
            (
                DecoderConfig { rope_scaling: Some(RopeScaling::Linear { factor: 0.5 }), ..demo() },
                "`rope_scaling.factor` is 0.5",
            ),
        ];
        for (config, expected) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = r#"{"layers":1,"width":8,"heads":1,"feed_forward":8,"vocabulary":8,"context":8,"experts":4}"#;
        let message = serde_json::from_str::<DecoderConfig>(text).unwrap_err().to_string();
        assert!(message.contains("experts"), "{message}");
    }
}
