//! Which tensors of a folder hold which parameters: each family's names and layouts in files, beside our own.

use std::ops::Range;

use crate::models::{DecoderConfig, DecoderFamily, EncoderConfig, EncoderFamily, Head, ModelConfig};

/// One tensor as a file has it.
pub(crate) struct Stored {
    /// The name `transformers` saves it under.
    pub(crate) name: String,
    /// Other names it is found under in published files.
    pub(crate) aliases: Vec<String>,
    pub(crate) shape: Vec<usize>,
    /// The parameters it holds; together they are all of it.
    pub(crate) parts: Vec<Part>,
}

/// A parameter as columns of a stored tensor.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) columns: Range<usize>,
    /// Whether the file has it as [in, out].
    pub(crate) transposed: bool,
}

impl Stored {
    fn same(name: String, parameter: String, shape: Vec<usize>) -> Self {
        let columns = 0..shape.last().copied().unwrap_or(1);
        let parts = vec![Part { name: parameter, shape: shape.clone(), columns, transposed: false }];
        Self { name, aliases: Vec::new(), shape, parts }
    }

    /// Numbers in one row; vectors are one row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    pub(crate) fn rows(&self) -> usize {
        self.shape.iter().product::<usize>() / self.columns().max(1)
    }
}

/// All tensors of a model as its family's files have them, in the order of the forward pass.
pub(crate) fn stored(config: &ModelConfig) -> Vec<Stored> {
    match config {
        ModelConfig::Decoder(config) if config.family == DecoderFamily::Gpt2 => gpt2(config),
        ModelConfig::Decoder(config) => {
            let with_aliases = |(name, shape): (String, Vec<usize>)| {
                let mut stored = Stored::same(name.clone(), name, shape);
                stored.aliases.extend(stored.name.strip_prefix("model.").map(str::to_owned));
                stored
            };
            config.parameter_shapes().into_iter().map(with_aliases).collect()
        }
        ModelConfig::Encoder(config) => encoder(config),
    }
}

/// Whether a tensor in a file may be left unread: buffers that are computed anew, and heads that are not asked for.
pub(crate) fn needless(config: &ModelConfig, name: &str) -> bool {
    match config {
        ModelConfig::Decoder(config) => {
            let mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
            name.ends_with("rotary_emb.inv_freq")
                || (config.family == DecoderFamily::Gpt2 && mask)
                || (config.tied_embeddings && name == "lm_head.weight")
        }
        ModelConfig::Encoder(config) => {
            let prefix = encoder_prefix(config.family);
            let name = name.strip_prefix(prefix).unwrap_or(name);
            ["pooler.", "cls.", "lm_head.", "classifier."].iter().any(|head| name.starts_with(head))
                || matches!(name, "embeddings.position_ids" | "embeddings.token_type_ids")
        }
    }
}

/// GPT-2's linear layers are stored as [in, out], those of queries, keys and values side by side.
fn gpt2(config: &DecoderConfig) -> Vec<Stored> {
    let (width, inner) = (config.width, config.feed_forward);
    let mut all = Vec::new();
    let mut same = |name: &str, parameter: &str, shape: &[usize]| {
        all.push(gpt2_tensor(name, shape, vec![(parameter.to_owned(), 0..*shape.last().expect("an axis"))]));
    };
    same("wte.weight", "model.embed_tokens.weight", &[config.vocabulary, width]);
    same("wpe.weight", "model.embed_positions.weight", &[config.context, width]);
    for layer in 0..config.layers {
        let mut push = |name: &str, inputs: usize, parameters: &[(&str, usize)]| {
            let (from, to) = (format!("h.{layer}.{name}"), format!("model.layers.{layer}"));
            let outputs = parameters.iter().map(|(_, outputs)| outputs).sum();
            for (kind, shape) in [("weight", vec![inputs, outputs]), ("bias", vec![outputs])] {
                let mut at = 0;
                let parts = parameters.iter().map(|(name, outputs)| {
                    at += outputs;
                    (format!("{to}.{name}.{kind}"), at - outputs..at)
                });
                let shape = if inputs == 0 { vec![outputs] } else { shape };
                all.push(gpt2_tensor(&format!("{from}.{kind}"), &shape, parts.collect()));
            }
        };
        push("ln_1", 0, &[("input_layernorm", width)]);
        let projections = ["q_proj", "k_proj", "v_proj"].map(|name| format!("self_attn.{name}"));
        push("attn.c_attn", width, &projections.each_ref().map(|name| (name.as_str(), width)));
        push("attn.c_proj", width, &[("self_attn.o_proj", width)]);
        push("ln_2", 0, &[("post_attention_layernorm", width)]);
        push("mlp.c_fc", width, &[("mlp.up_proj", inner)]);
        push("mlp.c_proj", inner, &[("mlp.down_proj", width)]);
    }
    for kind in ["weight", "bias"] {
        all.push(gpt2_tensor(&format!("ln_f.{kind}"), &[width], vec![(format!("model.norm.{kind}"), 0..width)]));
    }
    if !config.tied_embeddings {
        all.push(Stored::same("lm_head.weight".into(), "lm_head.weight".into(), vec![config.vocabulary, width]));
    }
    all
}

fn gpt2_tensor(name: &str, shape: &[usize], parts: Vec<(String, Range<usize>)>) -> Stored {
    // Embedding tables are matrices too, but rows of them are looked up and not multiplied with.
    let transposed = shape.len() == 2 && !matches!(name, "wte.weight" | "wpe.weight");
    let part = |(name, columns): (String, Range<usize>)| {
        let shape = match (transposed, shape) {
            (true, _) => vec![columns.len(), shape[0]],
            (false, [rows, _]) => vec![*rows, columns.len()],
            (false, _) => vec![columns.len()],
        };
        Part { name, shape, columns, transposed }
    };
    Stored {
        name: format!("transformer.{name}"),
        aliases: vec![name.to_owned()],
        shape: shape.to_vec(),
        parts: parts.into_iter().map(part).collect(),
    }
}

fn encoder(config: &EncoderConfig) -> Vec<Stored> {
    let prefix = encoder_prefix(config.family);
    let stored = |(parameter, shape): (String, Vec<usize>)| {
        let (body, name) = match (config.family, parameter.as_str()) {
            (EncoderFamily::Roberta | EncoderFamily::XlmRoberta, name) if name.starts_with("pooler.dense.") => {
                (false, name.replace("pooler.", "classifier."))
            }
            (EncoderFamily::Roberta | EncoderFamily::XlmRoberta, name) if name.starts_with("classifier.") => {
                (false, name.replace("classifier.", "classifier.out_proj."))
            }
            (EncoderFamily::Bert, name) if name.starts_with("classifier.") => (false, name.to_owned()),
            (_, name) => (true, name.to_owned()),
        };
        let long = format!("{prefix}{name}");
        let mut names = match (body, config.head) {
            (false, _) => vec![name],
            (true, Head::None) => vec![name, long],
            (true, Head::Classification { .. }) => vec![long, name],
        };
        // Files made from TensorFlow's checkpoints.
        let old = |name: &String| {
            let stem = |end: &str| name.strip_suffix(end).filter(|stem| stem.ends_with("LayerNorm."));
            stem("weight").map(|stem| format!("{stem}gamma")).or(stem("bias").map(|stem| format!("{stem}beta")))
        };
        names.extend(names.clone().iter().filter_map(old));
        let mut stored = Stored::same(names.remove(0), parameter, shape);
        stored.aliases = names;
        stored
    };
    config.parameter_shapes().into_iter().map(stored).collect()
}

fn encoder_prefix(family: EncoderFamily) -> &'static str {
    match family {
        EncoderFamily::Bert => "bert.",
        EncoderFamily::Roberta | EncoderFamily::XlmRoberta => "roberta.",
    }
}
