//! From a model's shape to the `config.json` that `transformers` reads, old versions and new.

use serde_json::{Map, Value, json};

use crate::Error;
use crate::models::{
    Activation, DecoderConfig, DecoderFamily, EncoderConfig, EncoderFamily, Head, ModelConfig, RopeScaling,
};

impl ModelConfig {
    /// The `config.json` of this shape. Refuses, by key, what its family's form has no words for.
    pub fn to_hugging_face(&self) -> Result<Value, Error> {
        let written = match self {
            Self::Decoder(config) if config.family == DecoderFamily::Gpt2 => gpt2(config),
            Self::Decoder(config) => decoder(config),
            Self::Encoder(config) => encoder(config),
        };
        // What does not come back as it was would be another model to whoever reads it.
        let read = Self::from_hugging_face(&written)?;
        match (self.keys(), read.keys()) {
            (own, read) if own == read => Ok(written),
            (own, read) => {
                let differs = own.keys().chain(read.keys()).find(|key| own.get(*key) != read.get(*key));
                let key = differs.expect("unequal configurations differ in a key").clone();
                let found = own.get(&key).unwrap_or(&Value::Null);
                let kept = read.get(&key).map_or("absent".to_owned(), Value::to_string);
                let family = written["model_type"].as_str().unwrap_or_default();
                Err(Error::invalid(&key, found, format!("{kept}: all that a `config.json` of `{family}` can say")))
            }
        }
    }

    fn keys(&self) -> Map<String, Value> {
        let value = match self {
            Self::Decoder(config) => serde_json::to_value(config),
            Self::Encoder(config) => serde_json::to_value(config),
        };
        match value {
            Ok(Value::Object(keys)) => keys,
            other => unreachable!("a configuration serialises to an object, not {other:?}"),
        }
    }
}

fn decoder(config: &DecoderConfig) -> Value {
    let (name, kind) = match config.family {
        DecoderFamily::Llama => ("LlamaForCausalLM", "llama"),
        DecoderFamily::Mistral => ("MistralForCausalLM", "mistral"),
        DecoderFamily::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        DecoderFamily::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        DecoderFamily::Gpt2 => unreachable!("written by `gpt2`"),
    };
    let mut written = json!({
        "architectures": [name],
        "model_type": kind,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads(),
        "head_dim": config.head_width(),
        "intermediate_size": config.feed_forward,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "hidden_act": activation(config.activation),
        "torch_dtype": "float32",
    });
    if let Some(scaling) = &config.rope_scaling {
        written["rope_scaling"] = rope_scaling(scaling);
    }
    match config.family {
        DecoderFamily::Llama => {
            written["attention_bias"] = config.qkv_bias.into();
            written["mlp_bias"] = config.mlp_bias.into();
        }
        DecoderFamily::Mistral => written["sliding_window"] = json!(config.sliding_window),
        DecoderFamily::Qwen2 | DecoderFamily::Qwen3 => {
            let windowed: Vec<bool> = (0..config.layers).map(|layer| config.window_of(layer).is_some()).collect();
            let kinds = windowed.iter().map(|&short| if short { "sliding_attention" } else { "full_attention" });
            written["use_sliding_window"] = config.sliding_window.is_some().into();
            written["sliding_window"] = json!(config.sliding_window);
            written["max_window_layers"] = windowed.iter().position(|&short| short).unwrap_or(config.layers).into();
            written["layer_types"] = kinds.collect();
            if config.family == DecoderFamily::Qwen3 {
                written["attention_bias"] = config.qkv_bias.into();
            }
        }
        DecoderFamily::Gpt2 => {}
    }
    written
}

fn gpt2(config: &DecoderConfig) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.feed_forward,
        "n_positions": config.context,
        "n_ctx": config.context,
        "vocab_size": config.vocabulary,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": activation(config.activation),
        "tie_word_embeddings": config.tied_embeddings,
        "torch_dtype": "float32",
    })
}

fn encoder(config: &EncoderConfig) -> Value {
    let (name, kind) = match config.family {
        EncoderFamily::Bert => ("Bert", "bert"),
        EncoderFamily::Roberta => ("Roberta", "roberta"),
        EncoderFamily::XlmRoberta => ("XLMRoberta", "xlm-roberta"),
    };
    let task = match config.head {
        Head::None => "Model",
        Head::Classification { .. } => "ForSequenceClassification",
    };
    let mut written = json!({
        "architectures": [format!("{name}{task}")],
        "model_type": kind,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context + config.position_offset,
        "type_vocab_size": config.token_types,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": activation(config.activation),
        "position_embedding_type": "absolute",
        "pad_token_id": config.position_offset.saturating_sub(1),
        "torch_dtype": "float32",
    });
    if let Head::Classification { labels } = config.head {
        let name = |label: usize| format!("LABEL_{label}");
        let names: Map<String, Value> = (0..labels).map(|label| (label.to_string(), name(label).into())).collect();
        let numbers: Map<String, Value> = (0..labels).map(|label| (name(label), label.into())).collect();
        written["id2label"] = names.into();
        written["label2id"] = numbers.into();
    }
    written
}

fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
    }
}

fn rope_scaling(scaling: &RopeScaling) -> Value {
    match *scaling {
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor } => json!({"rope_type": "dynamic", "type": "dynamic", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_context,
        }),
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, truncate } => json!({
            "rope_type": "yarn",
            "type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original_context,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "attention_factor": attention_factor,
            "truncate": truncate,
        }),
    }
}
