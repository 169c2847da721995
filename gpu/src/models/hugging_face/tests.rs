//! Configurations as `transformers` 4 and 5 write them, what is refused, and the way back.

use serde_json::{Value, json};

use crate::models::{DecoderConfig, DecoderFamily, EncoderFamily, Head, ModelConfig, RopeScaling};

/// Written by `LlamaConfig(...)` of transformers 5, shortened to what matters.
fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "head_dim": 16,
        "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 128,
        "mlp_bias": false, "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "vocab_size": 100, "pad_token_id": null,
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    })
}

fn bert() -> Value {
    json!({
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": 32, "intermediate_size": 64, "layer_norm_eps": 1e-12, "max_position_embeddings": 64,
        "num_attention_heads": 2, "num_hidden_layers": 2, "type_vocab_size": 2, "vocab_size": 50,
        "id2label": {"0": "LABEL_0"},
    })
}

fn with(mut config: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn decoder(config: &Value) -> DecoderConfig {
    match ModelConfig::from_hugging_face(config).unwrap() {
        ModelConfig::Decoder(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_llama_is_read_in_both_spellings() {
    let new = decoder(&llama());
    assert_eq!((new.kv_heads, new.head_width, new.norm_eps), (Some(2), None, 1e-6));
    assert_eq!(new.rope_theta, 500_000.0);
    let scaling =
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 32 };
    assert_eq!(new.rope_scaling, Some(scaling));
    let mut old = llama();
    let mut rope = old["rope_parameters"].take();
    old["rope_theta"] = rope["rope_theta"].take();
    old["rope_scaling"] = rope;
    old.as_object_mut().unwrap().remove("head_dim");
    assert_eq!(decoder(&old), new);
}

#[test]
fn windows_are_those_of_the_layers_that_have_them() {
    let qwen = json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rope_parameters": null,
        "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1});
    let config = decoder(&with(llama(), qwen.clone()));
    assert_eq!((config.sliding_window, config.window_layers.as_slice()), (Some(8), &[1, 2][..]));
    assert!(config.qkv_bias && !config.out_bias);
    let kinds = json!({"layer_types": ["sliding_attention", "full_attention", "full_attention"]});
    assert_eq!(decoder(&with(with(llama(), qwen.clone()), kinds)).window_layers, [0]);
    let off = decoder(&with(with(llama(), qwen), json!({"use_sliding_window": false})));
    assert_eq!(off.sliding_window, None);
    let mistral = json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 7});
    let config = decoder(&with(llama(), mistral));
    assert_eq!((config.sliding_window, config.window_of(2)), (Some(7), Some(7)));
}

#[test]
fn encoders_and_their_heads() {
    let ModelConfig::Encoder(config) = ModelConfig::from_hugging_face(&bert()).unwrap() else { panic!() };
    assert_eq!((config.head, config.context), (Head::Classification { labels: 1 }, 64));
    let roberta = json!({"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "pad_token_id": 1});
    let ModelConfig::Encoder(config) = ModelConfig::from_hugging_face(&with(bert(), roberta)).unwrap() else {
        panic!()
    };
    assert_eq!((config.family, config.head), (EncoderFamily::XlmRoberta, Head::None));
    assert_eq!((config.context, config.position_offset), (62, 2), "two rows are the padding's");
}

#[test]
fn what_is_written_is_read_back() {
    let yarn = json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
        "original_max_position_embeddings": 32}});
    let qwen3 = json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32,
        "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2});
    let gpt2 = json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 32, "n_layer": 2,
        "n_head": 4, "n_positions": 40, "vocab_size": 60});
    let roberta = json!({"architectures": ["RobertaForSequenceClassification"], "model_type": "roberta"});
    let mistral = json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": null});
    for config in [
        llama(),
        with(llama(), yarn),
        with(llama(), qwen3),
        with(llama(), mistral),
        with(llama(), json!({"attention_bias": true, "mlp_bias": true, "hidden_act": "gelu_pytorch_tanh"})),
        gpt2,
        bert(),
        with(bert(), roberta),
    ] {
        let read = ModelConfig::from_hugging_face(&config).unwrap();
        assert_eq!(ModelConfig::from_hugging_face(&read.to_hugging_face().unwrap()).unwrap(), read, "{config}");
    }
}

#[test]
fn what_a_family_cannot_say_is_refused_by_key() {
    let llama = DecoderConfig { qk_norm: true, ..DecoderConfig::default() };
    let refusal = ModelConfig::Decoder(llama).to_hugging_face().unwrap_err().to_string();
    assert!(refusal.starts_with("`qk_norm` is true") && refusal.contains("`llama`"), "{refusal}");
    let mistral = DecoderConfig { qkv_bias: true, family: DecoderFamily::Mistral, ..DecoderConfig::default() };
    let refusal = ModelConfig::Decoder(mistral).to_hugging_face().unwrap_err().to_string();
    assert!(refusal.starts_with("`qkv_bias` is true"), "{refusal}");
}

#[test]
fn refusals_name_what_was_found_and_what_would_do() {
    let cases = [
        (json!({"architectures": ["MambaForCausalLM"], "model_type": "mamba"}), "`mamba`", "Qwen3ForCausalLM"),
        (json!({"architectures": ["LlamaForSequenceClassification"]}), "LlamaForSequenceClassification", "(bert)"),
        (json!({"model_type": null}), "model_type ``", "LlamaForCausalLM (llama)"),
        (json!({"hidden_size": "64"}), "`hidden_size` is \"64\"", "a whole number"),
        (json!({"num_hidden_layers": null}), "`num_hidden_layers` is missing", "a whole number"),
        (json!({"num_hidden_layers": 0}), "`layers` is 0", "from 1"),
        (json!({"num_key_value_heads": 3}), "`kv_heads` is 3", "divisor"),
        (json!({"hidden_act": "xielu"}), "`hidden_act` is xielu", "gelu_new"),
        (json!({"rope_parameters": {"rope_type": "longrope"}}), "`rope_parameters.rope_type` is longrope", "yarn"),
        (json!({"rope_parameters": {"rope_type": "linear"}}), "`rope_parameters.factor` is missing", "a number"),
        (json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor` is 0.5", "1.0"),
        (json!({"quantization_config": {"quant_method": "gptq"}}), "`quantization_config` is \"gptq\"", "bf16"),
    ];
    for (changes, found, expected) in cases {
        let message = ModelConfig::from_hugging_face(&with(llama(), changes)).unwrap_err().to_string();
        assert!(message.contains(found) && message.contains(expected), "{message}");
    }
    let message = ModelConfig::from_hugging_face(&with(bert(), json!({"position_embedding_type": "relative_key"})));
    assert!(message.unwrap_err().to_string().contains("relative_key"));
    assert!(ModelConfig::from_hugging_face(&json!([])).is_err());
}

/// What matters of published configurations, and how many parameters those models are published with.
#[test]
fn published_models_are_read_and_have_their_size() {
    let llama = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 64, "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 131_072, "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500_000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128_256});
    let smol = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 576,
        "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192, "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_interleaved": false,
        "rope_scaling": null, "rope_theta": 100_000, "tie_word_embeddings": true, "vocab_size": 49_152});
    let mistral = json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096,
        "intermediate_size": 14_336, "max_position_embeddings": 32_768, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
        "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32_000});
    let qwen2 = json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896,
        "intermediate_size": 4864, "max_position_embeddings": 32_768, "max_window_layers": 21,
        "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0, "sliding_window": 32_768, "tie_word_embeddings": true, "use_mrope": false,
        "use_sliding_window": false, "vocab_size": 151_936});
    let qwen3 = json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false,
        "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40_960,
        "max_window_layers": 28, "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1_000_000, "sliding_window": null,
        "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151_936});
    let gpt2 = json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "summary_type": "cls_index", "vocab_size": 50_257});
    let minilm = json!({"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": 384,
        "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "num_attention_heads": 12,
        "num_hidden_layers": 6, "position_embedding_type": "absolute", "type_vocab_size": 2, "vocab_size": 30_522});
    let reranker = with(
        minilm.clone(),
        json!({"architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"}, "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
    );
    let pooler = 384 * 384 + 384;
    for (name, config, parameters) in [
        ("Llama-3.2-1B", llama, 1_235_814_400),
        ("SmolLM2-135M", smol, 134_515_008),
        ("Mistral-7B-v0.1", mistral, 7_241_732_096),
        ("Qwen2.5-0.5B", qwen2, 494_032_768),
        ("Qwen3-0.6B", qwen3, 596_049_920),
        ("gpt2", gpt2, 124_439_808),
        ("all-MiniLM-L6-v2, without its pooler", minilm, 22_713_216 - pooler),
        ("ms-marco-MiniLM-L6-v2", reranker, 22_713_216 + 384 + 1),
    ] {
        let config = ModelConfig::from_hugging_face(&config).unwrap();
        assert_eq!(config.parameters(), parameters, "{name}");
    }
}
