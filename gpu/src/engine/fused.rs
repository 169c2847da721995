//! The inference form of a decoder: fused norms, one attention operator over a cache that grows in place, rotary
//! positions inside it. One graph reads prompts in chunks and advances many answers by a token: only extents differ.

use super::place::Places;
use crate::Error;
use crate::graph::{Attribute, Builder, ElementType, Graph, MICROSOFT, Value};
use crate::models::{Activation, DecoderConfig, Norm, Positions, rope};

use ElementType::{F16, F32, I32, I64};

/// Names of the graph's inputs and outputs that are not caches.
pub(crate) const TOKENS: &str = "tokens";
pub(crate) const POSITIONS: &str = "positions";
pub(crate) const LAST: &str = "last";
pub(crate) const TOTAL: &str = "total";
pub(crate) const READ: &str = "read";
pub(crate) const LOGITS: &str = "logits";

/// Caches of one layer on their way in and out, keys first.
pub(crate) fn cache_names(layer: usize) -> [(String, String); 2] {
    ["keys", "values"].map(|what| (format!("past_{what}.{layer}"), format!("{what}.{layer}")))
}

/// Width of a head in the cache: the attention operator rotates heads of whole sixteens only, so others are filled up.
pub(crate) fn cache_width(config: &DecoderConfig) -> usize {
    match config.positions {
        Positions::Rotary => config.head_width().next_multiple_of(16),
        Positions::Learned => config.head_width(),
    }
}

/// What the graph is built for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Positions that one row of the cache holds.
    pub(crate) capacity: usize,
    /// Element of the cache: F32, or F16 where the attention operator has no other kernel.
    pub(crate) cache: ElementType,
}

/// `tokens` i64 [rows, length] with `last` i32 [rows], the index of each row's last position, and `total` i32, one more
/// than the largest of them, to `logits` [reads, vocabulary] at `read` i64 [reads], indices among all rows·length.
/// Caches are [rows, kv heads, capacity, cache width]; past and present are one buffer. Learned positions are given as
/// `positions` i64 [rows, length]. More than one row may be longer than one token only where there is no past.
pub(crate) fn graph(config: &DecoderConfig, form: Form, places: &mut Places<'_>) -> Result<Graph, Error> {
    let mut b = Builder::new("decoder_fused");
    let [rows, length, reads] = ["rows", "length", "reads"].map(|name| b.open_extent(name));
    let mut decoder = Fused::new(config, form, places, &mut b, rows, length);
    decoder.held = [form.capacity; 2];
    let tokens = b.input(TOKENS, I64, &[rows, length]);
    decoder.last = b.input(LAST, I32, &[rows]);
    decoder.total = b.input(TOTAL, I32, &[]);
    let read = b.input(READ, I64, &[reads]);
    let learned = config.positions == Positions::Learned;
    let positions = learned.then(|| b.input(POSITIONS, I64, &[rows, length]));
    let normed = decoder.layers(&mut b, tokens, positions)?;
    let flat = reshape(&mut b, normed, &[-1, config.width as i64], vec![rows, config.width]);
    let chosen = b.gather(flat, read, 0);
    let logits = decoder.places.product(&mut b, chosen, &[config.output_table()])?;
    b.output_directly(LOGITS, logits);
    b.write_first(logits);
    Ok(b.finish())
}

/// What the layers share.
struct Fused<'a, 'p> {
    config: &'a DecoderConfig,
    form: Form,
    places: &'a mut Places<'p>,
    rows: usize,
    length: usize,
    last: Value,
    total: Value,
    rotation: Option<(Value, Value)>,
    /// Positions in the caches that come in and in those that go out.
    held: [usize; 2],
    names: fn(usize) -> [(String, String); 2],
}

/// `tokens` with a cache as `transformers` and the tools around it name them: `input_ids` i64 [batch, sequence],
/// `attention_mask` i64 [batch, past + sequence], which ends in zeros where a row is shorter, `position_ids` where
/// positions are learned, and the caches to `logits` [batch, sequence, vocabulary] and the caches grown.
pub(crate) fn exported(config: &DecoderConfig, places: &mut Places<'_>) -> Result<Graph, Error> {
    let mut b = Builder::new("decoder");
    let [rows, length, past, total] =
        ["batch", "sequence", "past", "past_and_sequence"].map(|name| b.open_extent(name));
    let form = Form { capacity: config.context, cache: F32 };
    let mut decoder = Fused::new(config, form, places, &mut b, rows, length);
    decoder.held = [past, total];
    decoder.names = |layer| {
        let name = |side: &str, what: &str| format!("{side}.{layer}.{what}");
        ["key", "value"].map(|what| (name("past_key_values", what), name("present", what)))
    };
    let tokens = b.input("input_ids", I64, &[rows, length]);
    let mask = b.input("attention_mask", I64, &[rows, total]);
    let learned = config.positions == Positions::Learned;
    let positions = learned.then(|| b.input("position_ids", I64, &[rows, length]));
    let seen = b.reduce_sum(mask, &[1], false);
    let one = b.constant_i64(&[1], &[]);
    let last = b.sub(seen, one);
    decoder.last = b.cast(last, I32);
    let shape = b.node(("", "Shape"), &[mask], &[(I64, vec![2])], vec![])[0];
    let total = b.gather(shape, one, 0);
    decoder.total = b.cast(total, I32);
    let normed = decoder.layers(&mut b, tokens, positions)?;
    let logits = decoder.places.product(&mut b, normed, &[config.output_table()])?;
    b.output_directly("logits", logits);
    Ok(b.finish())
}

impl<'a, 'p> Fused<'a, 'p> {
    fn new(
        config: &'a DecoderConfig,
        form: Form,
        places: &'a mut Places<'p>,
        b: &mut Builder,
        rows: usize,
        length: usize,
    ) -> Self {
        let rotation = (config.positions == Positions::Rotary).then(|| {
            let (cosines, sines) = rope::tables(config, form.capacity);
            let (half, filled) = (config.head_width() / 2, cache_width(config) / 2);
            let [cosines, sines] = [cosines, sines].map(|table| {
                // What fills a head up is zero, so it does not matter how it is rotated.
                let row = |row: &[f32]| row.iter().copied().chain(std::iter::repeat_n(0.0, filled - half)).collect();
                let rows: Vec<Vec<f32>> = table.chunks_exact(half).map(row).collect();
                b.constant_f32(&rows.concat(), &[form.capacity, filled])
            });
            match form.cache {
                F16 => (b.cast(cosines, F16), b.cast(sines, F16)),
                _ => (cosines, sines),
            }
        });
        let (last, total) = (Value::NONE, Value::NONE);
        Self { config, form, places, rows, length, last, total, rotation, held: [0; 2], names: cache_names }
    }

    /// From tokens to the normed states of the last layer: [rows, length, width].
    fn layers(&mut self, b: &mut Builder, tokens: Value, positions: Option<Value>) -> Result<Value, Error> {
        let table = self.places.table(b, "model.embed_tokens.weight")?;
        let mut x = b.gather(table, tokens, 0);
        if let Some(positions) = positions {
            let table = self.places.table(b, "model.embed_positions.weight")?;
            let learned = b.gather(table, positions, 0);
            x = b.add(x, learned);
        }
        let mut addend = None;
        for layer in 0..self.config.layers {
            let (normed, stream) = self.norm(b, x, addend, &format!("model.layers.{layer}.input_layernorm"))?;
            let attended = self.attention(b, layer, normed)?;
            let norm = format!("model.layers.{layer}.post_attention_layernorm");
            let (normed, stream) = self.norm(b, stream, Some(attended), &norm)?;
            addend = Some(self.feed_forward(b, layer, normed)?);
            x = stream;
        }
        Ok(self.norm(b, x, addend, "model.norm")?.0)
    }

    /// The norm of `x + addend`, and that sum: the residual stream as it goes on.
    fn norm(&mut self, b: &mut Builder, x: Value, addend: Option<Value>, name: &str) -> Result<(Value, Value), Error> {
        let shape = vec![self.rows, self.length, self.config.width];
        let scale = self.places.vector(b, &[&format!("{name}.weight")])?;
        // The CPU's kernel of the operator that adds and normalises is the slower one: twice the time of both by themselves.
        let (x, addend) = match (addend, self.form.cache) {
            (Some(addend), F32) => (b.add(x, addend), None),
            other => (x, other.0),
        };
        let mut inputs = vec![x];
        inputs.extend(addend);
        inputs.push(scale);
        if self.config.norm == Norm::Layer {
            inputs.push(self.places.vector(b, &[&format!("{name}.bias")])?);
        }
        let epsilon = ("epsilon", Attribute::Float(self.config.norm_eps as f32));
        let outputs = vec![(F32, shape); 4];
        let (operator, attributes) = match (self.config.norm, addend) {
            (Norm::Rms, None) => (("", "SimplifiedLayerNormalization"), vec![("axis", Attribute::Int(-1)), epsilon]),
            (Norm::Layer, None) => (("", "LayerNormalization"), vec![("axis", Attribute::Int(-1)), epsilon]),
            (Norm::Rms, Some(_)) => ((MICROSOFT, "SkipSimplifiedLayerNormalization"), vec![epsilon]),
            (Norm::Layer, Some(_)) => ((MICROSOFT, "SkipLayerNormalization"), vec![epsilon]),
        };
        if addend.is_none() {
            return Ok((b.node(operator, &inputs, &outputs[..1], attributes)[0], x));
        }
        let outputs = b.node(operator, &inputs, &outputs, attributes);
        outputs[1..3].iter().for_each(|&statistic| b.leave_out(statistic));
        Ok((outputs[0], outputs[3]))
    }

    /// `x` by the weights named, one after another, with their biases.
    fn linear(&mut self, b: &mut Builder, x: Value, names: &[String], biased: bool) -> Result<Value, Error> {
        let of = |ending: &str| names.iter().map(|name| format!("{name}.{ending}")).collect::<Vec<_>>();
        let weights = of("weight");
        let product = self.places.product(b, x, &weights.iter().map(String::as_str).collect::<Vec<_>>())?;
        if !biased {
            return Ok(product);
        }
        let biases = of("bias");
        let bias = self.places.vector(b, &biases.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(b.add(product, bias))
    }

    fn attention(&mut self, b: &mut Builder, layer: usize, x: Value) -> Result<Value, Error> {
        let config = self.config;
        let (size, heads, kv_heads) = (config.head_width(), config.heads, config.kv_heads());
        let filled = cache_width(config);
        let [q, k, v] = ["q", "k", "v"].map(|which| format!("model.layers.{layer}.self_attn.{which}_proj"));
        let widths = [heads * size, kv_heads * size, kv_heads * size];
        let [mut queries, mut keys, mut values] = match (self.places.joins(), config.qk_norm || filled != size) {
            (true, false) => [self.linear(b, x, &[q, k, v], config.qkv_bias)?, Value::NONE, Value::NONE],
            (true, true) => {
                let joined = self.linear(b, x, &[q, k, v], config.qkv_bias)?;
                let parts = b.split(joined, 2, &widths);
                [parts[0], parts[1], parts[2]]
            }
            (false, _) => [
                self.linear(b, x, &[q], config.qkv_bias)?,
                self.linear(b, x, &[k], config.qkv_bias)?,
                self.linear(b, x, &[v], config.qkv_bias)?,
            ],
        };
        if config.qk_norm {
            queries = self.head_norm(b, queries, heads, &format!("model.layers.{layer}.self_attn.q_norm.weight"))?;
            keys = self.head_norm(b, keys, kv_heads, &format!("model.layers.{layer}.self_attn.k_norm.weight"))?;
        }
        if filled != size {
            queries = self.fill_heads(b, queries, heads);
            [keys, values] = [keys, values].map(|value| self.fill_heads(b, value, kv_heads));
        }
        if self.form.cache == F16 {
            for value in [&mut queries, &mut keys, &mut values] {
                if *value != Value::NONE {
                    *value = b.cast(*value, F16);
                }
            }
        }
        let [past, present] = self.held.map(|positions| vec![self.rows, kv_heads, positions, filled]);
        let names = (self.names)(layer);
        let [past_keys, past_values] = names.each_ref().map(|(name, _)| b.input(name, self.form.cache, &past));
        let mut inputs = vec![queries, keys, values, past_keys, past_values, self.last, self.total];
        let mut attributes = vec![
            ("num_heads", Attribute::Int(heads as i64)),
            ("kv_num_heads", Attribute::Int(kv_heads as i64)),
            ("scale", Attribute::Float(1.0 / (size as f32).sqrt())),
        ];
        if let Some((cosines, sines)) = self.rotation {
            inputs.extend([cosines, sines]);
            attributes.push(("do_rotary", Attribute::Int(1)));
        }
        if let Some(window) = config.window_of(layer) {
            attributes.push(("local_window_size", Attribute::Int(window as i64)));
        }
        let mixed = (self.form.cache, vec![self.rows, self.length, heads * filled]);
        let cache = (self.form.cache, present);
        let outputs = [mixed, cache.clone(), cache];
        let outputs = b.node((MICROSOFT, "GroupQueryAttention"), &inputs, &outputs, attributes);
        names.iter().zip(&outputs[1..]).for_each(|((_, present), &value)| b.output_directly(present, value));
        let mixed = if self.form.cache == F16 { b.cast(outputs[0], F32) } else { outputs[0] };
        let mixed = if filled == size { mixed } else { self.cut_heads(b, mixed) };
        self.linear(b, mixed, &[format!("model.layers.{layer}.self_attn.o_proj")], config.out_bias)
    }

    /// RMSNorm over each head of [rows, length, heads · head width].
    fn head_norm(&mut self, b: &mut Builder, x: Value, heads: usize, name: &str) -> Result<Value, Error> {
        let size = self.config.head_width();
        let scale = self.places.vector(b, &[name])?;
        let whole = b.shape(x).to_vec();
        let split = vec![self.rows, self.length, heads, size];
        let heads = reshape(b, x, &[0, 0, heads as i64, size as i64], split.clone());
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(self.config.norm_eps as f32))];
        let normed = b.node(("", "SimplifiedLayerNormalization"), &[heads, scale], &[(F32, split)], attributes)[0];
        let width = whole[2] as i64;
        Ok(reshape(b, normed, &[0, 0, width], whole))
    }

    /// Zeros after each half of each head of [rows, length, heads · head width], up to the cache's width: the two halves
    /// are rotated against each other.
    fn fill_heads(&self, b: &mut Builder, x: Value, heads: usize) -> Value {
        let [half, filled] = [self.config.head_width(), cache_width(self.config)].map(|width| width / 2);
        let shape = |half| vec![self.rows, self.length, 2 * heads, half];
        let split = reshape(b, x, &[0, 0, 2 * heads as i64, half as i64], shape(half));
        let ends = b.constant_i64(&[0, 0, 0, 0, 0, 0, 0, (filled - half) as i64], &[8]);
        let padded = b.node(("", "Pad"), &[split, ends], &[(F32, shape(filled))], vec![])[0];
        let width = 2 * heads * filled;
        reshape(b, padded, &[0, 0, width as i64], vec![self.rows, self.length, width])
    }

    /// What `fill_heads` added, taken off the attention's result.
    fn cut_heads(&self, b: &mut Builder, x: Value) -> Value {
        let [half, filled] = [self.config.head_width(), cache_width(self.config)].map(|width| width / 2);
        let halves = 2 * self.config.heads;
        let shape = vec![self.rows, self.length, halves, filled];
        let split = reshape(b, x, &[0, 0, halves as i64, filled as i64], shape);
        let cut = b.slice(split, 3, 0, half);
        let width = halves * half;
        reshape(b, cut, &[0, 0, width as i64], vec![self.rows, self.length, width])
    }

    fn feed_forward(&mut self, b: &mut Builder, layer: usize, x: Value) -> Result<Value, Error> {
        let config = self.config;
        let [gate, up, down] = ["gate", "up", "down"].map(|which| format!("model.layers.{layer}.mlp.{which}_proj"));
        let inner = match (config.plain_feed_forward, self.places.joins()) {
            (true, _) => {
                let up = self.linear(b, x, &[up], config.mlp_bias)?;
                activation(b, config.activation, up)
            }
            (false, true) => {
                let joined = self.linear(b, x, &[gate, up], config.mlp_bias)?;
                let parts = b.split(joined, 2, &[config.feed_forward, config.feed_forward]);
                let gate = activation(b, config.activation, parts[0]);
                b.mul(gate, parts[1])
            }
            (false, false) => {
                let gate = self.linear(b, x, &[gate], config.mlp_bias)?;
                let gate = activation(b, config.activation, gate);
                let up = self.linear(b, x, &[up], config.mlp_bias)?;
                b.mul(gate, up)
            }
        };
        self.linear(b, inner, &[down], config.mlp_bias)
    }
}

fn activation(b: &mut Builder, activation: Activation, x: Value) -> Value {
    match activation {
        Activation::Silu => b.silu(x),
        Activation::Gelu => b.gelu(x, false),
        Activation::GeluTanh => b.gelu(x, true),
        Activation::Relu => b.relu(x),
    }
}

/// `sizes` as the operator reads them: 0 keeps an extent, -1 is what is left. `shape` is what that comes to.
fn reshape(b: &mut Builder, x: Value, sizes: &[i64], shape: Vec<usize>) -> Value {
    let element = b.element(x);
    let sizes = b.constant_i64(sizes, &[sizes.len()]);
    b.node(("", "Reshape"), &[x, sizes], &[(element, shape)], vec![])[0]
}
