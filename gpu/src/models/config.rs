//! The shape of a decoder: what a run's identity and a weights file must agree on.
//! Parameter names and layouts are those of Hugging Face's Llama, so that weights move both ways.

use serde::{Deserialize, Serialize};

use crate::Error;

const LAYERS_MAX: usize = 512;
const WIDTH_MAX: usize = 1 << 16;
const VOCABULARY_MAX: usize = 1 << 20;
const CONTEXT_MAX: usize = 1 << 20;

/// A Llama-shaped decoder: pre-norm RMSNorm, rotary positions, causal attention, SwiGLU.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; each is `width / heads` wide.
    pub heads: usize,
    /// Inner width of the SwiGLU feed-forward.
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

impl DecoderConfig {
    /// Refuses what cannot be built, naming the key, its value and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        within("layers", self.layers, 1, LAYERS_MAX)?;
        within("width", self.width, 2, WIDTH_MAX)?;
        within("heads", self.heads, 1, self.width)?;
        within("feed_forward", self.feed_forward, 1, 4 * WIDTH_MAX)?;
        within("vocabulary", self.vocabulary, 2, VOCABULARY_MAX)?;
        within("context", self.context, 2, CONTEXT_MAX)?;
        if !self.width.is_multiple_of(2 * self.heads) {
            let expected = format!("a multiple of twice `heads` (2 x {}): every head is rotated in pairs", self.heads);
            return Err(Error::invalid("width", self.width, expected));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Err(Error::invalid("rope_theta", self.rope_theta, "a number above 1"));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::invalid("norm_eps", self.norm_eps, "a number between 0 and 1"));
        }
        Ok(())
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Every parameter in the order of the forward pass: name and shape, matrices as [out, in].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.width, self.feed_forward);
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocabulary, width])];
        for layer in 0..self.layers {
            let mut push = |name: &str, shape: Vec<usize>| {
                shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
            };
            push("input_layernorm", vec![width]);
            push("self_attn.q_proj", vec![width, width]);
            push("self_attn.k_proj", vec![width, width]);
            push("self_attn.v_proj", vec![width, width]);
            push("self_attn.o_proj", vec![width, width]);
            push("post_attention_layernorm", vec![width]);
            push("mlp.gate_proj", vec![inner, width]);
            push("mlp.up_proj", vec![inner, width]);
            push("mlp.down_proj", vec![width, inner]);
        }
        shapes.push(("model.norm.weight".to_owned(), vec![width]));
        if !self.tied_embeddings {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocabulary, width]));
        }
        shapes
    }

    /// How many numbers the model learns.
    pub fn parameters(&self) -> u64 {
        self.parameter_shapes()
            .iter()
            .map(|(_, shape)| shape.iter().map(|&extent| extent as u64).product::<u64>())
            .sum()
    }
}

fn within(key: &str, found: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::invalid(key, found, format!("a whole number from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> DecoderConfig {
        serde_json::from_str(r#"{"layers":4,"width":128,"heads":2,"feed_forward":352,"vocabulary":2048,"context":384}"#)
            .unwrap()
    }

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

    #[test]
    fn refusals_name_the_key_and_the_value() {
        let cases = [
            (DecoderConfig { layers: 0, ..demo() }, "`layers` is 0"),
            (DecoderConfig { heads: 0, ..demo() }, "`heads` is 0"),
            (DecoderConfig { heads: 3, ..demo() }, "`width` is 128"),
            (DecoderConfig { width: 2, heads: 2, ..demo() }, "`width` is 2"),
            (DecoderConfig { rope_theta: f64::NAN, ..demo() }, "`rope_theta` is NaN"),
            (DecoderConfig { norm_eps: 0.0, ..demo() }, "`norm_eps` is 0"),
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
