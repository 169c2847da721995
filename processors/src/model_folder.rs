//! A model as a folder that other tools read too: `model.safetensors`, `config.json` as Hugging Face's Llama has it,
//! `tokenizer.json`. What is written here can be read back; anything the decoder here does not do is refused by key.

use crate::Error;
use cairn_gpu::{DecoderConfig, Tokenizer, Weights};
use serde_json::{Value, json};
use std::path::Path;

pub const WEIGHTS_FILE: &str = "model.safetensors";
pub const CONFIG_FILE: &str = "config.json";
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Longest `config.json` and `tokenizer.json` that are read.
const JSON_BYTES_MAX: u64 = 64 << 20;

/// A model's three parts.
pub struct FolderModel {
    pub architecture: DecoderConfig,
    pub weights: Weights,
    pub tokenizer: Tokenizer,
}

/// Whether the folder holds all three files.
pub fn is_model(dir: &Path) -> bool {
    [WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE].iter().all(|name| dir.join(name).is_file())
}

/// Reads and checks a folder.
pub fn read(dir: &Path) -> Result<FolderModel, Error> {
    let config = text(&dir.join(CONFIG_FILE))?;
    let config: Value = serde_json::from_str(&config)
        .map_err(|e| Error::refused(format!("{}", dir.join(CONFIG_FILE).display()), format!("is not JSON: {e}")))?;
    let architecture =
        architecture_of(&config).map_err(|why| Error::refused(format!("{}", dir.join(CONFIG_FILE).display()), why))?;
    let of = |name: &str| {
        let file = dir.join(name).display().to_string();
        move |e: cairn_gpu::Error| Error::refused(file, format!("{e}; export the model anew"))
    };
    architecture.validate().map_err(of(CONFIG_FILE))?;
    let path = dir.join(WEIGHTS_FILE);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let weights = Weights::from_safetensors(&bytes).map_err(of(WEIGHTS_FILE))?;
    weights.check(&architecture).map_err(of(WEIGHTS_FILE))?;
    let tokenizer = Tokenizer::from_json(&text(&dir.join(TOKENIZER_FILE))?).map_err(of(TOKENIZER_FILE))?;
    Ok(FolderModel { architecture, weights, tokenizer })
}

/// Writes a folder from stored parts; `weights` are safetensors bytes, `tokenizer` its JSON.
pub fn write(dir: &Path, architecture: &DecoderConfig, weights: &[u8], tokenizer: &[u8]) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let mut config = serde_json::to_string_pretty(&config_of(architecture)).expect("a config serialises");
    config.push('\n');
    for (name, bytes) in [(WEIGHTS_FILE, weights), (CONFIG_FILE, config.as_bytes()), (TOKENIZER_FILE, tokenizer)] {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, Error> {
    let length = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if length > JSON_BYTES_MAX {
        return Err(Error::refused(
            format!("{}", path.display()),
            format!("has {length} bytes; at most {JSON_BYTES_MAX} are read"),
        ));
    }
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}

/// `config.json` as `transformers` reads it for `LlamaForCausalLM`.
fn config_of(config: &DecoderConfig) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "torch_dtype": "float32",
        "pad_token_id": Tokenizer::PAD,
        "bos_token_id": Tokenizer::BOS,
        "eos_token_id": Tokenizer::EOS,
    })
}

fn architecture_of(config: &Value) -> Result<DecoderConfig, String> {
    let heads = whole(config, "num_attention_heads")?;
    let fixed = [
        ("model_type", json!("llama")),
        ("hidden_act", json!("silu")),
        ("attention_bias", json!(false)),
        ("mlp_bias", json!(false)),
        ("num_key_value_heads", json!(heads)),
        ("rope_scaling", Value::Null),
    ];
    for (key, supported) in fixed {
        match config.get(key) {
            Some(given) if *given != supported => {
                return Err(format!("`{key}` is {given}; only {supported} is supported"));
            }
            None if key == "model_type" => return Err("`model_type` is missing; only \"llama\" is supported".into()),
            _ => {}
        }
    }
    Ok(DecoderConfig {
        layers: whole(config, "num_hidden_layers")?,
        width: whole(config, "hidden_size")?,
        heads,
        feed_forward: whole(config, "intermediate_size")?,
        vocabulary: whole(config, "vocab_size")?,
        context: whole(config, "max_position_embeddings")?,
        rope_theta: real(config, "rope_theta")?,
        norm_eps: real(config, "rms_norm_eps")?,
        tied_embeddings: config
            .get("tie_word_embeddings")
            .and_then(Value::as_bool)
            .ok_or("`tie_word_embeddings` is missing or not true or false")?,
        ..DecoderConfig::default()
    })
}

fn whole(config: &Value, key: &str) -> Result<usize, String> {
    let number = config.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("`{key}` is missing or not a whole number"))
}

fn real(config: &Value, key: &str) -> Result<f64, String> {
    config.get(key).and_then(Value::as_f64).ok_or_else(|| format!("`{key}` is missing or not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> DecoderConfig {
        serde_json::from_value(json!({
            "layers": 1, "width": 8, "heads": 2, "feed_forward": 16, "vocabulary": 270, "context": 16
        }))
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let weights = Weights::initialize(&tiny(), 3);
        let tokenizer = Tokenizer::train(["one two".to_owned()].into_iter(), 270).unwrap();
        assert!(!is_model(dir.path()));
        write(dir.path(), &tiny(), &weights.to_safetensors(), tokenizer.to_json().as_bytes()).unwrap();
        assert!(is_model(dir.path()));
        let read = read(dir.path()).unwrap();
        assert_eq!(read.architecture, tiny());
        assert_eq!(read.weights.digest(), weights.digest());
        assert_eq!(read.tokenizer.digest(), tokenizer.digest());
    }

    #[test]
    fn a_broken_part_is_named_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let weights = Weights::initialize(&tiny(), 3).to_safetensors();
        let tokenizer = Tokenizer::train(["one two".to_owned()].into_iter(), 270).unwrap();
        write(dir.path(), &tiny(), &weights, tokenizer.to_json().as_bytes()).unwrap();
        for (name, bytes) in [(TOKENIZER_FILE, &b"{}"[..]), (WEIGHTS_FILE, &weights[..weights.len() / 2])] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            let error = read(dir.path()).err().unwrap().to_string();
            assert!(error.contains(&dir.path().join(name).display().to_string()), "{error}");
        }
    }

    #[test]
    fn what_the_decoder_does_not_do_is_refused_by_key() {
        for (key, value) in [
            ("model_type", json!("mistral")),
            ("num_key_value_heads", json!(1)),
            ("rope_scaling", json!({"type": "linear"})),
            ("hidden_size", json!("8")),
        ] {
            let mut config = config_of(&tiny());
            config[key] = value;
            let error = architecture_of(&config).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
