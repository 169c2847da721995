//! The decoder as graph pieces shared by training, scoring and generation: embedding, layer, head, masks.
//! Activations are matrices [rows·length, width]; parameters are graph inputs with their Hugging Face names.

use std::collections::HashMap;

use super::{Activation, DecoderConfig, Norm, Positions, rope};
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
        Self::declare_all(b, config.parameter_shapes())
    }

    /// Declares one f32 input per name and shape.
    pub(crate) fn declare_all(b: &mut Builder, shapes: Vec<(String, Vec<usize>)>) -> Self {
        let mut parameters = Self { values: HashMap::new(), order: Vec::new() };
        for (name, shape) in shapes {
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

    /// The bias beside a weight, where the model has one.
    fn bias(&self, weight: &str) -> Option<Value> {
        self.values.get(&format!("{}bias", weight.strip_suffix("weight")?)).copied()
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
    pub(crate) masks: Masks,
    /// Cosines and sines, where positions are rotations.
    rotations: Option<(Value, Value)>,
}

/// Added to the scores, 0 or `MASKED`: f32, broadcasts to [rows, heads, length, length], or with a past, whose tokens
/// come one at a time, to [rows, heads, 1, past].
#[derive(Clone, Copy)]
pub(crate) struct Masks {
    full: Value,
    /// In layers with a sliding window.
    windowed: Value,
}

impl Sequence {
    pub(crate) fn new(
        b: &mut Builder,
        config: &DecoderConfig,
        (rows, length): (usize, usize),
        positions: Value,
        masks: Masks,
    ) -> Self {
        let rotations = (config.positions == Positions::Rotary).then(|| rotary_tables(b, config));
        Self { rows, length, positions, masks, rotations }
    }
}

impl Masks {
    /// Of packed rows: a token sees itself and earlier tokens of its own document. `segments`: i64 [rows, length], the
    /// document's number in the row, 0 for padding. Each f32 [rows, 1, length, length].
    pub(crate) fn packed(b: &mut Builder, config: &DecoderConfig, segments: Value) -> Self {
        let length = b.shape(segments)[1];
        let of_query = b.unsqueeze(segments, &[1, 3]);
        let of_key = b.unsqueeze(segments, &[1, 2]);
        let same = b.equal(of_query, of_key);
        // Tokens of one document stand side by side: their distance in the row is that of their positions.
        let seen = |b: &mut Builder, window: usize| {
            let seen = |at: usize| at % length <= at / length && at / length - at % length < window;
            let seen: Vec<bool> = (0..length * length).map(seen).collect();
            let seen = b.constant_bool(&seen, &[1, 1, length, length]);
            let visible = b.and(same, seen);
            mask(b, visible)
        };
        let full = seen(b, usize::MAX);
        let windowed = config.sliding_window.map_or(full, |window| seen(b, window));
        Self { full, windowed }
    }

    /// Of one token a row after its past: the slots below its position. Each f32 [rows, 1, 1, capacity].
    pub(crate) fn past(b: &mut Builder, config: &DecoderConfig, positions: Value, capacity: usize) -> Self {
        let rows = b.shape(positions)[0];
        let lengths = b.reshape(positions, &[rows, 1, 1, 1]);
        let slots: Vec<i64> = (0..capacity as i64).collect();
        let slots = b.constant_i64(&slots, &[1, 1, 1, capacity]);
        let earlier = b.less(slots, lengths);
        let full = mask(b, earlier);
        let windowed = config.sliding_window.map_or(full, |window| {
            let ends: Vec<i64> = (0..capacity as i64).map(|slot| slot.saturating_add_unsigned(window as u64)).collect();
            let ends = b.constant_i64(&ends, &[1, 1, 1, capacity]);
            let near = b.less(lengths, ends);
            let visible = b.and(earlier, near);
            mask(b, visible)
        });
        Self { full, windowed }
    }

    fn of_layer(&self, config: &DecoderConfig, layer: usize) -> Value {
        if config.window_of(layer).is_some() { self.windowed } else { self.full }
    }
}

fn mask(b: &mut Builder, visible: Value) -> Value {
    let zero = b.scalar(ElementType::F32, 0.0);
    let masked = b.scalar(ElementType::F32, MASKED.into());
    b.select(visible, zero, masked)
}

/// Keys and values of one layer, each f32 [rows, kv heads, length, head width], keys already rotated. As a past, keys
/// are [rows, kv heads, head width, past].
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
    b.rows_by_product(parameters.get("model.embed_tokens.weight"), tokens)
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
    let normed = norm(b, config, parameters, &format!("model.layers.{index}.input_layernorm"), x);
    let (attended, cache) = attention(b, config, parameters, index, normed, sequence, past);
    let x = b.add(x, attended);
    let normed = norm(b, config, parameters, &format!("model.layers.{index}.post_attention_layernorm"), x);
    let inner = match config.plain_feed_forward {
        false => {
            let gate = projection(b, parameters, index, "mlp.gate_proj", normed);
            let gate = activate(b, config.activation, gate);
            let up = projection(b, parameters, index, "mlp.up_proj", normed);
            b.mul(gate, up)
        }
        true => {
            let up = projection(b, parameters, index, "mlp.up_proj", normed);
            activate(b, config.activation, up)
        }
    };
    let out = projection(b, parameters, index, "mlp.down_proj", inner);
    (b.add(x, out), cache)
}

/// Final norm and output projection: [n, width] to logits [n, vocabulary].
pub(crate) fn head(b: &mut Builder, config: &DecoderConfig, parameters: &Parameters, x: Value) -> Value {
    let normed = norm(b, config, parameters, "model.norm", x);
    b.gemm(normed, parameters.get(config.output_table()), None, (false, true))
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
    let mut x = place(b, config, parameters, embedded, sequence);
    for index in 0..config.layers {
        x = layer(b, config, parameters, index, x, sequence, None).0;
    }
    head(b, config, parameters, x)
}

/// Adds to embedded tokens where they stand, in models that learn it. By a product with one-hot rows, so that the
/// gradient has a fixed order on every device.
pub(crate) fn place(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    embedded: Value,
    sequence: &Sequence,
) -> Value {
    match config.positions {
        Positions::Rotary => embedded,
        Positions::Learned => {
            let rows = b.rows_by_product(parameters.get("model.embed_positions.weight"), sequence.positions);
            b.add(embedded, rows)
        }
    }
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
    let (rows, length, size) = (sequence.rows, sequence.length, config.head_width());
    let scale = 1.0 / (size as f32).sqrt();
    let [queries, own_keys, own_values] = ["q_proj", "k_proj", "v_proj"].map(|name| {
        let heads = if name == "q_proj" { config.heads } else { config.kv_heads() };
        let mut projected = projection(b, parameters, index, &format!("self_attn.{name}"), x);
        if let (true, "q_proj" | "k_proj") = (config.qk_norm, name) {
            let scale = parameters.layer(index, &format!("self_attn.{}_norm", &name[..1]));
            let by_head = b.reshape(projected, &[rows, length, heads, size]);
            projected = b.rms_norm(by_head, scale, config.norm_eps).0;
        }
        if let ("q_proj", Some(_)) = (name, past) {
            let scale = b.scalar(ElementType::F32, scale.into());
            projected = b.mul(projected, scale);
        }
        if let ("q_proj" | "k_proj", Some((cosines, sines))) = (name, sequence.rotations) {
            let flat = b.reshape(projected, &[rows, length, heads * size]);
            projected = b.rotary(flat, sequence.positions, cosines, sines);
        }
        let by_head = b.reshape(projected, &[rows, length, heads, size]);
        b.transpose(by_head, &[0, 2, 1, 3])
    });
    let own = Cache { keys: own_keys, values: own_values };
    let mask = sequence.masks.of_layer(config, index);
    let mixed = match past {
        Some(past) => attend_to_past(b, config, queries, own, past, mask),
        None => attend(b, config, queries, own, mask, scale),
    };
    let mixed = b.transpose(mixed, &[0, 2, 1, 3]);
    let mixed = b.reshape(mixed, &[rows * length, config.heads * size]);
    let out = projection(b, parameters, index, "self_attn.o_proj", mixed);
    (out, own)
}

/// Heads of queries that share a head of keys are taken as further rows of it: nothing is repeated.
fn attend(b: &mut Builder, config: &DecoderConfig, queries: Value, own: Cache, mask: Value, scale: f32) -> Value {
    let shape = b.shape(queries).to_vec();
    let [rows, heads, length, size] = [shape[0], shape[1], shape[2], shape[3]];
    let shared = [rows, config.kv_heads(), heads / config.kv_heads() * length];
    let queries = reshape_unless(b, queries, &[shared[0], shared[1], shared[2], size]);
    let scores = b.fused_matmul(queries, own.keys, (false, true), scale);
    let scores = reshape_unless(b, scores, &[rows, heads, length, length]);
    let scores = b.add(scores, mask);
    let shares = b.softmax(scores, 3);
    let shares = reshape_unless(b, shares, &[shared[0], shared[1], shared[2], length]);
    let mixed = b.matmul(shares, own.values);
    reshape_unless(b, mixed, &shape)
}

/// One new token a row, its query already scaled. Scores against the past and against itself are computed apart, so
/// that cached keys and values are read where they lie and never joined into new tensors. The past's keys are stored
/// as [rows, kv heads, head width, past]: a row vector by a plain matrix takes the runtime's vector kernel.
fn attend_to_past(
    b: &mut Builder,
    config: &DecoderConfig,
    queries: Value,
    own: Cache,
    past: Cache,
    mask: Value,
) -> Value {
    let shape = b.shape(queries).to_vec();
    assert_eq!(shape[2], 1, "with a past, tokens come one at a time");
    let queries = reshape_unless(b, queries, &[shape[0], config.kv_heads(), shape[1] / config.kv_heads(), shape[3]]);
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
    let mixed = b.add(from_past, from_own);
    reshape_unless(b, mixed, &shape)
}

/// No node where the shape is that already.
fn reshape_unless(b: &mut Builder, x: Value, shape: &[usize]) -> Value {
    if b.shape(x) == shape { x } else { b.reshape(x, shape) }
}

/// `x` [n, in] by a layer's weight [out, in], with its bias where there is one.
fn projection(b: &mut Builder, parameters: &Parameters, layer: usize, name: &str, x: Value) -> Value {
    let weight = format!("model.layers.{layer}.{name}.weight");
    b.gemm(x, parameters.get(&weight), parameters.bias(&weight), (false, true))
}

fn norm(b: &mut Builder, config: &DecoderConfig, parameters: &Parameters, name: &str, x: Value) -> Value {
    let weight = format!("{name}.weight");
    let scale = parameters.get(&weight);
    match config.norm {
        Norm::Rms => b.rms_norm(x, scale, config.norm_eps).0,
        Norm::Layer => {
            let bias = parameters.bias(&weight).expect("declared for this norm");
            b.layer_norm(x, scale, bias, config.norm_eps).0
        }
    }
}

pub(crate) fn activate(b: &mut Builder, activation: Activation, x: Value) -> Value {
    match activation {
        Activation::Silu => b.silu(x),
        Activation::Gelu => b.gelu(x, false),
        Activation::GeluTanh => b.gelu(x, true),
        Activation::Relu => b.relu(x),
    }
}

/// Cosines and sines of all positions as constants.
fn rotary_tables(b: &mut Builder, config: &DecoderConfig) -> (Value, Value) {
    let (cosines, sines) = rope::tables(config, config.context);
    let shape = [config.context, config.head_width() / 2];
    (b.constant_f32(&cosines, &shape), b.constant_f32(&sines, &shape))
}
