//! The inference form of an encoder: fused attention, norms and activation over open extents, its constants embedded.
//! One graph serves every shape. No operator in it is told an extent, so nothing is padded to fit.

use super::encoder::{self, EncoderOutput};
use super::{Activation, EncoderConfig, Head, Pooling, decoder};
use crate::Error;
use crate::engine::Places;
use crate::graph::{Attribute, Builder, ElementType, Graph, MICROSOFT, Value};

use ElementType::{F32, I32, I64};

/// `tokens`, `types` and `mask` (1 where there is a token) i64 [rows, length], `lengths` i32 [rows] and `positions` i64
/// [length] to `output`.
pub(crate) fn graph(config: &EncoderConfig, output: EncoderOutput, places: &mut Places<'_>) -> Result<Graph, Error> {
    let mut b = Builder::new("encoder_fused");
    let [rows, length] = ["rows", "length"].map(|name| b.open_extent(name));
    let [tokens, types, mask] = ["tokens", "types", "mask"].map(|name| b.input(name, I64, &[rows, length]));
    let lengths = b.input("lengths", I32, &[rows]);
    let positions = b.input("positions", I64, &[length]);
    let mut fused = Fused { config, places, lengths };
    let x = fused.states(&mut b, (tokens, types, positions))?;
    let out = match output {
        EncoderOutput::States => x,
        EncoderOutput::Embedding(pooling) => encoder::pool(&mut b, pooling, x, mask),
        EncoderOutput::Scores => fused.scores(&mut b, x)?,
    };
    b.output("output", out);
    Ok(b.finish())
}

/// The same with the names that `transformers` and the tools around it use: `input_ids`, `attention_mask` and
/// `token_type_ids` i64 [batch, sequence] to `last_hidden_state` and, where there is a pooling, `sentence_embedding`
/// [batch, width], or to `logits` [batch, labels].
pub(crate) fn exported(
    config: &EncoderConfig,
    pooling: Option<Pooling>,
    places: &mut Places<'_>,
) -> Result<Graph, Error> {
    let mut b = Builder::new("encoder");
    let [rows, length] = ["batch", "sequence"].map(|name| b.open_extent(name));
    let [tokens, mask, types] =
        ["input_ids", "attention_mask", "token_type_ids"].map(|name| b.input(name, I64, &[rows, length]));
    let lengths = b.reduce_sum(mask, &[1], false);
    let lengths = b.cast(lengths, I32);
    let [first, one] = [config.position_offset as i64, 1].map(|number| b.constant_i64(&[number], &[]));
    let shape = b.node(("", "Shape"), &[tokens], &[(I64, vec![2])], vec![])[0];
    let count = b.gather(shape, one, 0);
    let end = b.add(first, count);
    let positions = b.node(("", "Range"), &[first, end, one], &[(I64, vec![length])], vec![])[0];
    let mut fused = Fused { config, places, lengths };
    let x = fused.states(&mut b, (tokens, types, positions))?;
    match config.head {
        Head::Classification { .. } => {
            let scores = fused.scores(&mut b, x)?;
            b.output("logits", scores);
        }
        Head::None => {
            b.output("last_hidden_state", x);
            if let Some(pooling) = pooling {
                let pooled = encoder::pool(&mut b, pooling, x, mask);
                b.output("sentence_embedding", pooled);
            }
        }
    }
    Ok(b.finish())
}

struct Fused<'a, 'p> {
    config: &'a EncoderConfig,
    places: &'a mut Places<'p>,
    lengths: Value,
}

impl Fused<'_, '_> {
    /// The last layer's states, [rows, length, width].
    fn states(&mut self, b: &mut Builder, inputs: (Value, Value, Value)) -> Result<Value, Error> {
        let mut x = self.embed(b, inputs)?;
        for layer in 0..self.config.layers {
            x = self.layer(b, layer, x)?;
        }
        Ok(x)
    }

    /// A tanh layer over the first token and one projection: [rows, labels].
    fn scores(&mut self, b: &mut Builder, states: Value) -> Result<Value, Error> {
        let first = encoder::first(b, states);
        let inner = self.linear(b, "pooler.dense", first)?;
        let inner = b.tanh(inner);
        self.linear(b, "classifier", inner)
    }

    fn embed(&mut self, b: &mut Builder, (tokens, types, positions): (Value, Value, Value)) -> Result<Value, Error> {
        let mut rows = |b: &mut Builder, table: &str, ids| {
            let table = self.places.table(b, &format!("embeddings.{table}_embeddings.weight"))?;
            Ok::<_, Error>(b.gather(table, ids, 0))
        };
        let [words, kinds, places] = [("word", tokens), ("token_type", types), ("position", positions)];
        let [words, kinds, places] =
            [rows(b, words.0, words.1)?, rows(b, kinds.0, kinds.1)?, rows(b, places.0, places.1)?];
        let x = b.add(words, kinds);
        let x = b.add(x, places);
        let [scale, bias] = self.norm_parameters(b, "embeddings.LayerNorm")?;
        Ok(b.layer_norm(x, scale, bias, self.config.norm_eps).0)
    }

    fn layer(&mut self, b: &mut Builder, layer: usize, x: Value) -> Result<Value, Error> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let mixed = self.attention(b, layer, x)?;
        let attended = self.product(b, &name("attention.output.dense"), mixed)?;
        let x = self.add_and_norm(b, attended, x, &name("attention.output"))?;
        let inner = self.product(b, &name("intermediate.dense"), x)?;
        let bias = self.places.vector(b, &[&name("intermediate.dense.bias")])?;
        let inner = self.activate(b, inner, bias);
        let out = self.product(b, &name("output.dense"), inner)?;
        self.add_and_norm(b, out, x, &name("output"))
    }

    fn attention(&mut self, b: &mut Builder, layer: usize, x: Value) -> Result<Value, Error> {
        let names = ["query", "key", "value"].map(|which| format!("encoder.layer.{layer}.attention.self.{which}"));
        let mut inputs = Vec::new();
        for name in &names {
            inputs.push(self.product(b, name, x)?);
        }
        let biases = names.each_ref().map(|name| format!("{name}.bias"));
        inputs.push(self.places.vector(b, &biases.each_ref().map(String::as_str))?);
        inputs.push(self.lengths);
        let shape = b.shape(x).to_vec();
        let attributes = vec![("num_heads", Attribute::Int(self.config.heads as i64))];
        Ok(b.node((MICROSOFT, "MultiHeadAttention"), &inputs, &[(F32, shape)], attributes)[0])
    }

    /// Norm of `x` with the bias of `{name}.dense` and the stream added.
    fn add_and_norm(&mut self, b: &mut Builder, x: Value, stream: Value, name: &str) -> Result<Value, Error> {
        let [scale, shift] = self.norm_parameters(b, &format!("{name}.LayerNorm"))?;
        let bias = self.places.vector(b, &[&format!("{name}.dense.bias")])?;
        let biased = b.add(x, bias);
        let shape = b.shape(x).to_vec();
        // The runtime makes one operator of `Add` and a norm, whose kernel is scalar: ten times slower than these two.
        let sum = b.node(("", "Sum"), &[biased, stream], &[(F32, shape)], vec![])[0];
        Ok(b.layer_norm(sum, scale, shift, self.config.norm_eps).0)
    }

    fn activate(&self, b: &mut Builder, x: Value, bias: Value) -> Value {
        let shape = b.shape(x).to_vec();
        let mut fused = |operator| b.node((MICROSOFT, operator), &[x, bias], &[(F32, shape.clone())], vec![])[0];
        match self.config.activation {
            Activation::Gelu => fused("BiasGelu"),
            Activation::GeluTanh => fused("FastGelu"),
            other => {
                let biased = b.add(x, bias);
                decoder::activate(b, other, biased)
            }
        }
    }

    fn norm_parameters(&mut self, b: &mut Builder, name: &str) -> Result<[Value; 2], Error> {
        Ok([self.places.vector(b, &[&format!("{name}.weight")])?, self.places.vector(b, &[&format!("{name}.bias")])?])
    }

    fn product(&mut self, b: &mut Builder, name: &str, x: Value) -> Result<Value, Error> {
        self.places.product(b, x, &[&format!("{name}.weight")])
    }

    fn linear(&mut self, b: &mut Builder, name: &str, x: Value) -> Result<Value, Error> {
        let product = self.product(b, name, x)?;
        let bias = self.places.vector(b, &[&format!("{name}.bias")])?;
        Ok(b.add(product, bias))
    }
}
