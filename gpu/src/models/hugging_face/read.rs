//! From a `config.json` to a model's shape. What would change the numbers and is not computed here is refused by key.

use serde_json::{Value, json};

use super::KNOWN;
use super::keys::Keys;
use crate::Error;
use crate::models::{
    Activation, DecoderConfig, DecoderFamily, EncoderConfig, EncoderFamily, Head, ModelConfig, Norm, Positions,
    RopeScaling,
};

const ROPE_TYPES: &str = "default, linear, dynamic, llama3 or yarn";
const ACTIVATIONS: &str = "silu, gelu, gelu_new, gelu_pytorch_tanh or relu";

impl ModelConfig {
    /// Reads a `config.json` as `transformers` writes it, old (`rope_theta`, `rope_scaling`) or new
    /// (`rope_parameters`). An architecture that is not known is refused by name, with those that are.
    pub fn from_hugging_face(config: &Value) -> Result<Self, Error> {
        let keys = Keys::of(config)?;
        let kind = keys.text("model_type")?.unwrap_or("");
        let architecture = keys.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
        let unknown = || Error::Architecture {
            found: format!("{} (model_type `{kind}`)", architecture.unwrap_or("no entry in `architectures`")),
            known: KNOWN.to_owned(),
        };
        if let Some(found) = keys.get("quantization_config") {
            let method = found.get("quant_method").unwrap_or(found);
            return Err(keys.invalid("quantization_config", method, "absent: weights in fp32, fp16 or bf16"));
        }
        let (prefix, of_decoder, of_encoder) = match kind {
            "llama" => ("Llama", Some(DecoderFamily::Llama), None),
            "mistral" => ("Mistral", Some(DecoderFamily::Mistral), None),
            "qwen2" => ("Qwen2", Some(DecoderFamily::Qwen2), None),
            "qwen3" => ("Qwen3", Some(DecoderFamily::Qwen3), None),
            "gpt2" => ("GPT2", Some(DecoderFamily::Gpt2), None),
            "bert" => ("Bert", None, Some(EncoderFamily::Bert)),
            "roberta" => ("Roberta", None, Some(EncoderFamily::Roberta)),
            "xlm-roberta" => ("XLMRoberta", None, Some(EncoderFamily::XlmRoberta)),
            _ => return Err(unknown()),
        };
        let task = match architecture {
            None => None,
            Some(name) => Some(name.strip_prefix(prefix).ok_or_else(unknown)?),
        };
        let config = match (of_decoder, of_encoder, task) {
            (Some(DecoderFamily::Gpt2), _, None | Some("LMHeadModel")) => Self::Decoder(gpt2(&keys)?),
            (Some(family), _, None | Some("ForCausalLM")) if family != DecoderFamily::Gpt2 => {
                Self::Decoder(decoder(&keys, family)?)
            }
            (_, Some(family), None | Some("Model" | "ForMaskedLM" | "ForPreTraining")) => {
                Self::Encoder(encoder(&keys, family, Head::None)?)
            }
            (_, Some(family), Some("ForSequenceClassification")) => {
                Self::Encoder(encoder(&keys, family, Head::Classification { labels: labels(&keys)? })?)
            }
            _ => return Err(unknown()),
        };
        config.validate()?;
        Ok(config)
    }
}

fn decoder(keys: &Keys<'_>, family: DecoderFamily) -> Result<DecoderConfig, Error> {
    let heads = keys.whole("num_attention_heads")?;
    let (layers, width) = (keys.whole("num_hidden_layers")?, keys.whole("hidden_size")?);
    let context = keys.whole("max_position_embeddings")?;
    let (rope_theta, rope_scaling) = rope(keys, context)?;
    let (sliding_window, window_layers) = windows(keys, family, layers)?;
    let default_head_width = if family == DecoderFamily::Qwen3 { Some(128) } else { None };
    let head_width = keys.whole_maybe("head_dim")?.or(default_head_width);
    let head_width = head_width.filter(|&found| found.checked_mul(heads) != Some(width));
    let everywhere = match family {
        DecoderFamily::Llama | DecoderFamily::Qwen3 => keys.flag("attention_bias", false)?,
        _ => false,
    };
    Ok(DecoderConfig {
        layers,
        width,
        heads,
        feed_forward: keys.whole("intermediate_size")?,
        vocabulary: keys.whole("vocab_size")?,
        context,
        rope_theta,
        norm_eps: keys.real_maybe("rms_norm_eps")?.unwrap_or(1e-6),
        tied_embeddings: keys.flag("tie_word_embeddings", false)?,
        family,
        kv_heads: keys.whole_maybe("num_key_value_heads")?.filter(|&found| found != heads),
        head_width,
        rope_scaling,
        sliding_window,
        window_layers,
        activation: activation(keys, "hidden_act", Activation::Silu)?,
        qkv_bias: everywhere || family == DecoderFamily::Qwen2,
        out_bias: everywhere,
        mlp_bias: family == DecoderFamily::Llama && keys.flag("mlp_bias", false)?,
        qk_norm: family == DecoderFamily::Qwen3,
        ..DecoderConfig::default()
    })
}

fn gpt2(keys: &Keys<'_>) -> Result<DecoderConfig, Error> {
    keys.only("scale_attn_weights", json!(true))?;
    keys.only("scale_attn_by_inverse_layer_idx", json!(false))?;
    keys.only("add_cross_attention", json!(false))?;
    let width = keys.whole("n_embd")?;
    let context = match keys.whole_maybe("n_positions")? {
        Some(context) => context,
        None => keys.whole("n_ctx")?,
    };
    Ok(DecoderConfig {
        layers: keys.whole("n_layer")?,
        width,
        heads: keys.whole("n_head")?,
        feed_forward: keys.whole_maybe("n_inner")?.unwrap_or(4 * width),
        vocabulary: keys.whole("vocab_size")?,
        context,
        norm_eps: keys.real_maybe("layer_norm_epsilon")?.unwrap_or(1e-5),
        tied_embeddings: keys.flag("tie_word_embeddings", true)?,
        family: DecoderFamily::Gpt2,
        positions: Positions::Learned,
        norm: Norm::Layer,
        activation: activation(keys, "activation_function", Activation::GeluTanh)?,
        plain_feed_forward: true,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..DecoderConfig::default()
    })
}

fn encoder(keys: &Keys<'_>, family: EncoderFamily, head: Head) -> Result<EncoderConfig, Error> {
    keys.only("position_embedding_type", json!("absolute"))?;
    keys.only("is_decoder", json!(false))?;
    keys.only("add_cross_attention", json!(false))?;
    let rows = keys.whole("max_position_embeddings")?;
    let position_offset = match family {
        EncoderFamily::Bert => 0,
        EncoderFamily::Roberta | EncoderFamily::XlmRoberta => keys.whole_maybe("pad_token_id")?.unwrap_or(1) + 1,
    };
    let context = rows.checked_sub(position_offset).ok_or_else(|| {
        keys.invalid("max_position_embeddings", rows, format!("more than `pad_token_id` + 1 ({position_offset})"))
    })?;
    Ok(EncoderConfig {
        layers: keys.whole("num_hidden_layers")?,
        width: keys.whole("hidden_size")?,
        heads: keys.whole("num_attention_heads")?,
        feed_forward: keys.whole("intermediate_size")?,
        vocabulary: keys.whole("vocab_size")?,
        context,
        position_offset,
        token_types: keys.whole_maybe("type_vocab_size")?.unwrap_or(2),
        norm_eps: keys.real_maybe("layer_norm_eps")?.unwrap_or(1e-12),
        activation: activation(keys, "hidden_act", Activation::Gelu)?,
        family,
        head,
    })
}

/// `num_labels` is written only by old versions; the names of the labels always are.
fn labels(keys: &Keys<'_>) -> Result<usize, Error> {
    let named = keys.get("id2label").and_then(Value::as_object).map(serde_json::Map::len);
    Ok(named.or(keys.whole_maybe("num_labels")?).unwrap_or(2))
}

fn activation(keys: &Keys<'_>, key: &str, default: Activation) -> Result<Activation, Error> {
    match keys.text(key)? {
        None => Ok(default),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("relu") => Ok(Activation::Relu),
        Some(other) => Err(keys.invalid(key, other, ACTIVATIONS)),
    }
}

fn rope(keys: &Keys<'_>, context: usize) -> Result<(f64, Option<RopeScaling>), Error> {
    let above = keys.real_maybe("rope_theta")?;
    let found = match keys.object("rope_parameters", "rope_parameters.")? {
        Some(found) => Some(found),
        None => keys.object("rope_scaling", "rope_scaling.")?,
    };
    keys.only("partial_rotary_factor", json!(1.0))?;
    let Some(rope) = found else { return Ok((above.unwrap_or(10_000.0), None)) };
    rope.only("partial_rotary_factor", json!(1.0))?;
    let theta = rope.real_maybe("rope_theta")?.or(above).unwrap_or(10_000.0);
    let kind = match rope.text("rope_type")? {
        Some(kind) => kind,
        None => rope.text("type")?.unwrap_or("default"),
    };
    let original = || match rope.whole_maybe("original_max_position_embeddings")? {
        Some(original) => Ok(original),
        None => Ok(keys.whole_maybe("original_max_position_embeddings")?.unwrap_or(context)),
    };
    let scaling = match kind {
        "default" => return Ok((theta, None)),
        "linear" => RopeScaling::Linear { factor: rope.real("factor")? },
        "dynamic" => RopeScaling::Dynamic { factor: rope.real("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: rope.real("factor")?,
            low_freq_factor: rope.real("low_freq_factor")?,
            high_freq_factor: rope.real("high_freq_factor")?,
            original_context: original()?,
        },
        "yarn" => yarn(&rope, original()?, context)?,
        other => return Err(rope.invalid("rope_type", other, ROPE_TYPES)),
    };
    Ok((theta, Some(scaling)))
}

fn yarn(rope: &Keys<'_>, original_context: usize, context: usize) -> Result<RopeScaling, Error> {
    rope.only("mscale", json!(1.0))?;
    rope.only("mscale_all_dim", json!(0.0))?;
    let factor = rope.real_maybe("factor")?.unwrap_or(context as f64 / original_context as f64);
    Ok(RopeScaling::Yarn {
        factor,
        original_context,
        beta_fast: rope.real_maybe("beta_fast")?.unwrap_or(32.0),
        beta_slow: rope.real_maybe("beta_slow")?.unwrap_or(1.0),
        attention_factor: match rope.real_maybe("attention_factor")? {
            Some(factor) => factor,
            None => RopeScaling::yarn_attention_factor(factor),
        },
        truncate: rope.flag("truncate", true)?,
    })
}

/// The window and the layers it holds in, those left out where it is all of them.
fn windows(keys: &Keys<'_>, family: DecoderFamily, layers: usize) -> Result<(Option<usize>, Vec<usize>), Error> {
    let given = match keys.mentions("sliding_window") {
        true => keys.whole_maybe("sliding_window")?,
        false => Some(4096),
    };
    let layers_of_qwen = || match keys.get("layer_types") {
        None => {
            let first = keys.whole_maybe("max_window_layers")?.unwrap_or(28);
            Ok((first.min(layers)..layers).collect::<Vec<_>>())
        }
        Some(found) => {
            let kinds: Option<Vec<&str>> = found.as_array().and_then(|kinds| kinds.iter().map(Value::as_str).collect());
            let kinds = kinds.filter(|kinds| {
                kinds.len() == layers
                    && kinds.iter().all(|kind| matches!(*kind, "full_attention" | "sliding_attention"))
            });
            let expected = || format!("\"full_attention\" or \"sliding_attention\" for each of {layers} layers");
            let kinds = kinds.ok_or_else(|| keys.invalid("layer_types", found, expected()))?;
            Ok((0..layers).filter(|&layer| kinds[layer] == "sliding_attention").collect())
        }
    };
    match (family, given) {
        (DecoderFamily::Mistral, given) => Ok((given, Vec::new())),
        (DecoderFamily::Qwen2 | DecoderFamily::Qwen3, Some(window)) if keys.flag("use_sliding_window", false)? => {
            let chosen: Vec<usize> = layers_of_qwen()?;
            match chosen.len() {
                0 => Ok((None, chosen)),
                n if n == layers => Ok((Some(window), Vec::new())),
                _ => Ok((Some(window), chosen)),
            }
        }
        _ => Ok((None, Vec::new())),
    }
}
