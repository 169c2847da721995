//! The encoder in its primitive form: embedding, layers, pooling and head as graph pieces of fixed shapes, each of
//! operators that have a gradient. Activations are matrices [rows·length, width].

use super::decoder::{MASKED, Parameters, activate};
use super::{EncoderConfig, Head, ModelConfig, Pooling, PoolingKind};
use crate::graph::{Builder, ElementType, Graph, Value};

use ElementType::{F32, I64};

/// Least divisor where a vector is scaled to length 1, as PyTorch has it.
const LENGTH_MIN: f64 = 1e-12;

/// What an encoder gives for each text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EncoderOutput {
    /// The last layer's state of every token: [tokens, width].
    States,
    /// One vector: `[width]`.
    Embedding(Pooling),
    /// One number a label: `[labels]`. Needs a head.
    Scores,
}

/// `tokens`, `types` and `mask` (1 where there is a token), each i64 [rows, length], to `output`.
pub(crate) fn graph(config: &EncoderConfig, output: EncoderOutput, (rows, length): (usize, usize)) -> Graph {
    let mut b = Builder::new("encoder");
    let parameters = Parameters::declare_all(&mut b, ModelConfig::Encoder(config.clone()).parameter_shapes());
    let [tokens, types, mask] = ["tokens", "types", "mask"].map(|name| b.input(name, I64, &[rows, length]));
    let states = states(&mut b, config, &parameters, (tokens, types, mask));
    let out = match output {
        EncoderOutput::States => b.reshape(states, &[rows, length, config.width]),
        EncoderOutput::Embedding(pooling) => {
            let states = b.reshape(states, &[rows, length, config.width]);
            pool(&mut b, pooling, states, mask)
        }
        EncoderOutput::Scores => scores(&mut b, config, &parameters, states, (rows, length)),
    };
    b.output("output", out);
    b.finish()
}

/// The last layer's states, [rows·length, width].
fn states(
    b: &mut Builder,
    config: &EncoderConfig,
    parameters: &Parameters,
    (tokens, types, mask): (Value, Value, Value),
) -> Value {
    let (rows, length) = (b.shape(tokens)[0], b.shape(tokens)[1]);
    let words = b.reshape(tokens, &[rows * length]);
    let words = b.gather(parameters.get("embeddings.word_embeddings.weight"), words, 0);
    let kinds = b.rows_by_product(parameters.get("embeddings.token_type_embeddings.weight"), types);
    let x = b.add(words, kinds);
    let places = parameters.get("embeddings.position_embeddings.weight");
    let places = b.slice(places, 0, config.position_offset, config.position_offset + length);
    let x = b.reshape(x, &[rows, length, config.width]);
    let x = b.add(x, places);
    let x = b.reshape(x, &[rows * length, config.width]);
    let mut x = norm(b, config, parameters, "embeddings.LayerNorm", x);
    let mask = additive_mask(b, mask);
    for layer in 0..config.layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let mixed = attention(b, config, parameters, layer, x, mask);
        let attended = linear(b, parameters, &name("attention.output.dense"), mixed);
        let sum = b.add(attended, x);
        x = norm(b, config, parameters, &name("attention.output.LayerNorm"), sum);
        let inner = linear(b, parameters, &name("intermediate.dense"), x);
        let inner = activate(b, config.activation, inner);
        let out = linear(b, parameters, &name("output.dense"), inner);
        let sum = b.add(out, x);
        x = norm(b, config, parameters, &name("output.LayerNorm"), sum);
    }
    x
}

/// f32 [rows, 1, 1, length]: 0 where there is a token, `MASKED` elsewhere.
fn additive_mask(b: &mut Builder, mask: Value) -> Value {
    let present = present(b, mask);
    let present = b.unsqueeze(present, &[1, 2]);
    let [zero, masked] = [0.0, MASKED.into()].map(|x| b.scalar(F32, x));
    b.select(present, zero, masked)
}

fn present(b: &mut Builder, mask: Value) -> Value {
    let none = b.constant_i64(&[0], &[]);
    b.greater(mask, none)
}

fn attention(
    b: &mut Builder,
    config: &EncoderConfig,
    parameters: &Parameters,
    layer: usize,
    x: Value,
    mask: Value,
) -> Value {
    let (rows, length) = (b.shape(mask)[0], b.shape(mask)[3]);
    let size = config.head_width();
    let [queries, keys, values] = ["query", "key", "value"].map(|which| {
        let projected = linear(b, parameters, &format!("encoder.layer.{layer}.attention.self.{which}"), x);
        let by_head = b.reshape(projected, &[rows, length, config.heads, size]);
        b.transpose(by_head, &[0, 2, 1, 3])
    });
    let scores = b.fused_matmul(queries, keys, (false, true), 1.0 / (size as f32).sqrt());
    let scores = b.add(scores, mask);
    let shares = b.softmax(scores, 3);
    let mixed = b.matmul(shares, values);
    let mixed = b.transpose(mixed, &[0, 2, 1, 3]);
    b.reshape(mixed, &[rows * length, config.width])
}

fn linear(b: &mut Builder, parameters: &Parameters, name: &str, x: Value) -> Value {
    let [weight, bias] = ["weight", "bias"].map(|kind| parameters.get(&format!("{name}.{kind}")));
    b.gemm(x, weight, Some(bias), (false, true))
}

fn norm(b: &mut Builder, config: &EncoderConfig, parameters: &Parameters, name: &str, x: Value) -> Value {
    let [scale, bias] = ["weight", "bias"].map(|kind| parameters.get(&format!("{name}.{kind}")));
    b.layer_norm(x, scale, bias, config.norm_eps).0
}

/// States [rows, length, width] to [rows, width]. `mask`: i64 [rows, length], with at least one token a row.
pub(crate) fn pool(b: &mut Builder, pooling: Pooling, states: Value, mask: Value) -> Value {
    let pooled = match pooling.kind {
        PoolingKind::Cls => first(b, states),
        PoolingKind::Max => {
            let present = present(b, mask);
            let present = b.unsqueeze(present, &[2]);
            let masked = b.scalar(F32, MASKED.into());
            let states = b.select(present, states, masked);
            b.reduce_max(states, &[1], false)
        }
        PoolingKind::Mean | PoolingKind::MeanSqrtLength => {
            let weights = b.cast(mask, F32);
            let count = b.reduce_sum(weights, &[1], true);
            let weights = b.unsqueeze(weights, &[2]);
            let states = b.mul(states, weights);
            let sum = b.reduce_sum(states, &[1], false);
            let divisor = if pooling.kind == PoolingKind::Mean { count } else { b.sqrt(count) };
            b.div(sum, divisor)
        }
    };
    match pooling.normalise {
        false => pooled,
        true => {
            let length = b.reduce_l2(pooled, &[1], true);
            let least = b.scalar(F32, LENGTH_MIN);
            let length = b.max(length, least);
            b.div(pooled, length)
        }
    }
}

/// The first token's state of each row: [rows, width].
pub(crate) fn first(b: &mut Builder, states: Value) -> Value {
    let first = b.slice(states, 1, 0, 1);
    b.squeeze(first, &[1])
}

/// A tanh layer over the first token and one projection: [rows, labels].
fn scores(
    b: &mut Builder,
    config: &EncoderConfig,
    parameters: &Parameters,
    states: Value,
    (rows, length): (usize, usize),
) -> Value {
    assert!(matches!(config.head, Head::Classification { .. }), "scores need a head");
    let states = b.reshape(states, &[rows, length, config.width]);
    let first = first(b, states);
    let inner = linear(b, parameters, "pooler.dense", first);
    let inner = b.tanh(inner);
    linear(b, parameters, "classifier", inner)
}
