//! The decoder as graph pieces shared by training, scoring and generation: embedding, layer, head, masks.
//! Activations are matrices [rows·length, width]; parameters are graph inputs with their Hugging Face names.

use std::collections::HashMap;

use super::{DecoderConfig, rope};
use crate::graph::{Builder, ElementType, Value};

/// Added to a score that must not be attended to. `exp` of it is exactly 0 in f32 and f64, and unlike an infinity it
/// gives no NaN where a whole row is masked.
pub(crate) const MASKED: f32 = -1e9;

/// The graph inputs that hold a model's parameters.
pub(crate) struct Parameters {
    values: HashMap<String, Value>,
    order: Vec<String>,
}

impl Parameters {
    /// Declares one f32 input per parameter, in the order of `DecoderConfig::parameter_shapes`.
    pub(crate) fn declare(b: &mut Builder, config: &DecoderConfig) -> Self {
        let mut parameters = Self { values: HashMap::new(), order: Vec::new() };
        for (name, shape) in config.parameter_shapes() {
            let value = b.input(&name, ElementType::F32, &shape);
            parameters.values.insert(name.clone(), value);
            parameters.order.push(name);
        }
        parameters
    }

    pub(crate) fn get(&self, name: &str) -> Value {
        self.values[name]
    }

    fn layer(&self, layer: usize, name: &str) -> Value {
        self.values[&format!("model.layers.{layer}.{name}.weight")]
    }

    /// Names and inputs in declaration order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Value)> {
        self.order.iter().map(|name| (name.as_str(), self.values[name]))
    }
}

/// What the layers share about the tokens they see.
pub(crate) struct Sequence {
    pub(crate) rows: usize,
    /// Tokens of each row in this pass.
    pub(crate) length: usize,
    /// i64 [rows, length]; each below `DecoderConfig::context`.
    pub(crate) positions: Value,
    /// Added to the scores, 0 or `MASKED`: f32, broadcasts to [rows, heads, length, length], or with a past, whose
    /// tokens come one at a time, to [rows, heads, 1, past].
    pub(crate) mask: Value,
    cosines: Value,
    sines: Value,
}

impl Sequence {
    pub(crate) fn new(
        b: &mut Builder,
        config: &DecoderConfig,
        (rows, length): (usize, usize),
        positions: Value,
        mask: Value,
    ) -> Self {
        let (cosines, sines) = rotary_tables(b, config);
        Self { rows, length, positions, mask, cosines, sines }
    }
}

/// Keys and values of one layer, each f32 [rows, heads, length, head width], keys already rotated. As a past, keys are
/// [rows, heads, head width, past].
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) keys: Value,
    pub(crate) values: Value,
}

/// Rows of the embedding table: `tokens` i64 [rows, length] to [rows·length, width].
pub(crate) fn embed(b: &mut Builder, parameters: &Parameters, tokens: Value) -> Value {
    let count = b.shape(tokens).iter().product();
    let flat = b.reshape(tokens, &[count]);
    b.gather(parameters.get("model.embed_tokens.weight"), flat, 0)
}

/// The same by a product with one-hot rows, whose gradient is a product too. For devices on which adding rows at
/// repeated ids has no fixed order; costs a matrix [rows·length, vocabulary].
pub(crate) fn embed_by_product(b: &mut Builder, parameters: &Parameters, tokens: Value) -> Value {
    let table = parameters.get("model.embed_tokens.weight");
    let (count, vocabulary) = (b.shape(tokens).iter().product(), b.shape(table)[0]);
    let ids: Vec<i64> = (0..vocabulary as i64).collect();
    let ids = b.constant_i64(&ids, &[1, vocabulary]);
    let column = b.reshape(tokens, &[count, 1]);
    let chosen = b.equal(column, ids);
    let chosen = b.cast(chosen, b.element(table));
    b.gemm(chosen, table, None, (false, false))
}

/// One layer. Gives the residual stream and the keys and values of this pass' own tokens, without the `past`.
pub(crate) fn layer(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    index: usize,
    x: Value,
    sequence: &Sequence,
    past: Option<Cache>,
) -> (Value, Cache) {
    let scale = parameters.layer(index, "input_layernorm");
    let (normed, _) = b.rms_norm(x, scale, config.norm_eps);
    let (attended, cache) = attention(b, config, parameters, index, normed, sequence, past);
    let x = b.add(x, attended);
    let scale = parameters.layer(index, "post_attention_layernorm");
    let (normed, _) = b.rms_norm(x, scale, config.norm_eps);
    let gate = linear(b, normed, parameters.layer(index, "mlp.gate_proj"));
    let gate = b.silu(gate);
    let up = linear(b, normed, parameters.layer(index, "mlp.up_proj"));
    let inner = b.mul(gate, up);
    let out = linear(b, inner, parameters.layer(index, "mlp.down_proj"));
    (b.add(x, out), cache)
}

/// Final norm and output projection: [n, width] to logits [n, vocabulary].
pub(crate) fn head(b: &mut Builder, config: &DecoderConfig, parameters: &Parameters, x: Value) -> Value {
    let (normed, _) = b.rms_norm(x, parameters.get("model.norm.weight"), config.norm_eps);
    let table = if config.tied_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
    linear(b, normed, parameters.get(table))
}

/// The whole forward pass without a cache: logits [rows·length, vocabulary].
pub(crate) fn forward(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    tokens: Value,
    sequence: &Sequence,
) -> Value {
    let embedded = embed(b, parameters, tokens);
    forward_embedded(b, config, parameters, embedded, sequence)
}

/// The forward pass from embedded tokens [rows·length, width] on.
pub(crate) fn forward_embedded(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    embedded: Value,
    sequence: &Sequence,
) -> Value {
    let mut x = embedded;
    for index in 0..config.layers {
        x = layer(b, config, parameters, index, x, sequence, None).0;
    }
    head(b, config, parameters, x)
}

/// The mask of packed rows: a token sees itself and earlier tokens of its own document. `segments`: i64
/// [rows, length], the document's number in the row, 0 for padding. Gives f32 [rows, 1, length, length].
pub(crate) fn packed_mask(b: &mut Builder, segments: Value) -> Value {
    let length = b.shape(segments)[1];
    let of_query = b.unsqueeze(segments, &[1, 3]);
    let of_key = b.unsqueeze(segments, &[1, 2]);
    let same = b.equal(of_query, of_key);
    let causal: Vec<bool> = (0..length * length).map(|at| at % length <= at / length).collect();
    let causal = b.constant_bool(&causal, &[1, 1, length, length]);
    let visible = b.and(same, causal);
    let zero = b.scalar(ElementType::F32, 0.0);
    let masked = b.scalar(ElementType::F32, MASKED.into());
    b.select(visible, zero, masked)
}

fn attention(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    index: usize,
    x: Value,
    sequence: &Sequence,
    past: Option<Cache>,
) -> (Value, Cache) {
    let flat = [sequence.rows, sequence.length, config.width];
    let split = [sequence.rows, sequence.length, config.heads, config.head_width()];
    let scale = 1.0 / (config.head_width() as f32).sqrt();
    let [queries, own_keys, own_values] = ["q_proj", "k_proj", "v_proj"].map(|name| {
        let projected = linear(b, x, parameters.layer(index, &format!("self_attn.{name}")));
        let projected = match (name, past) {
            ("q_proj", Some(_)) => {
                let scale = b.scalar(ElementType::F32, scale.into());
                b.mul(projected, scale)
            }
            _ => projected,
        };
        let rotated = match name {
            "v_proj" => projected,
            _ => {
                let projected = b.reshape(projected, &flat);
                b.rotary(projected, sequence.positions, sequence.cosines, sequence.sines)
            }
        };
        let heads = b.reshape(rotated, &split);
        b.transpose(heads, &[0, 2, 1, 3])
    });
    let own = Cache { keys: own_keys, values: own_values };
    let mixed = match past {
        Some(past) => attend_to_past(b, queries, own, past, sequence.mask),
        None => {
            let scores = b.fused_matmul(queries, own_keys, (false, true), scale);
            let scores = b.add(scores, sequence.mask);
            let shares = b.softmax(scores, 3);
            b.matmul(shares, own_values)
        }
    };
    let mixed = b.transpose(mixed, &[0, 2, 1, 3]);
    let mixed = b.reshape(mixed, &[sequence.rows * sequence.length, config.width]);
    let out = linear(b, mixed, parameters.layer(index, "self_attn.o_proj"));
    (out, own)
}

/// One new token a row, its query already scaled. Scores against the past and against itself are computed apart, so
/// that cached keys and values are read where they lie and never joined into new tensors. The past's keys are stored
/// as [rows, heads, head width, past]: a row vector by a plain matrix takes the runtime's vector kernel.
fn attend_to_past(b: &mut Builder, queries: Value, own: Cache, past: Cache, mask: Value) -> Value {
    assert_eq!(b.shape(queries)[2], 1, "with a past, tokens come one at a time");
    let length = b.shape(past.values)[2];
    let scores = b.matmul(queries, past.keys);
    let scores = b.add(scores, mask);
    let score = b.mul(queries, own.keys);
    let score = b.reduce_sum(score, &[3], true);
    let scores = b.concat(&[scores, score], 3);
    let shares = b.softmax(scores, 3);
    let shares = b.split(shares, 3, &[length, 1]);
    let from_past = b.matmul(shares[0], past.values);
    let from_own = b.mul(shares[1], own.values);
    b.add(from_past, from_own)
}

/// `x` [n, in] by a weight [out, in].
fn linear(b: &mut Builder, x: Value, weight: Value) -> Value {
    b.gemm(x, weight, None, (false, true))
}

/// Cosines and sines of all positions as constants.
fn rotary_tables(b: &mut Builder, config: &DecoderConfig) -> (Value, Value) {
    let (cosines, sines) = rope::tables(config, config.context);
    let shape = [config.context, config.head_width() / 2];
    (b.constant_f32(&cosines, &shape), b.constant_f32(&sines, &shape))
}
