//! Folders as people have them: shards, half precision, settings beside the weights; and every way they are wrong.

#[allow(dead_code, reason = "shared with other tests")]
mod folders;

use std::path::Path;

use cairn_gpu::{Error, ModelConfig, ModelFolder, Pooling, PoolingKind, ScoreActivation, Weights};
use folders::{Golden, Named, write_tensors};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder(name: &str) -> (Golden, TempDir) {
    let (golden, dir) = (Golden::read(name), tempfile::tempdir().unwrap());
    golden.write(dir.path());
    (golden, dir)
}

fn put(dir: &Path, name: &str, value: &Value) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

fn weights(dir: &Path) -> Weights {
    ModelFolder::open(dir).unwrap().weights().unwrap()
}

fn refusal(dir: &Path) -> String {
    match ModelFolder::open(dir).and_then(|folder| folder.weights()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

/// Splits the file in three and removes it.
fn shard(golden: &Golden, dir: &Path) {
    let values = golden.values();
    let mut map = serde_json::Map::new();
    for (number, tensors) in values.chunks(values.len().div_ceil(3)).enumerate() {
        let file = format!("model-0000{}-of-00003.safetensors", number + 1);
        write_tensors(&dir.join(&file), tensors, Dtype::F32);
        map.extend(tensors.iter().map(|(name, _, _)| (name.clone(), Value::from(file.clone()))));
    }
    put(dir, "model.safetensors.index.json", &json!({"metadata": {"total_size": 1}, "weight_map": map}));
    std::fs::remove_file(dir.join("model.safetensors")).unwrap();
}

#[test]
fn shards_are_one_model() {
    for name in ["qwen3", "gpt2"] {
        let (golden, dir) = folder(name);
        let single = weights(dir.path());
        assert!(ModelFolder::is_model(dir.path()));
        shard(&golden, dir.path());
        assert!(ModelFolder::is_model(dir.path()));
        let folder = ModelFolder::open(dir.path()).unwrap();
        assert_eq!(folder.files(), (3, 4 * single.parameters()));
        assert_eq!(folder.weights().unwrap().digest(), single.digest(), "{name}");
    }
}

#[test]
fn half_precision_becomes_the_nearest_f32() {
    let (golden, dir) = folder("llama3");
    let single = weights(dir.path());
    for (dtype, kept) in [(Dtype::BF16, 8), (Dtype::F16, 11)] {
        golden.write_as(dir.path(), dtype);
        let folder = ModelFolder::open(dir.path()).unwrap();
        assert_eq!(folder.types(), [format!("{dtype:?}")]);
        assert_eq!(folder.loaded_bytes(), 2 * folder.files().1);
        let mut differs = false;
        for (name, tensor) in folder.weights().unwrap().iter() {
            for (found, exact) in tensor.data.iter().zip(&single.get(name).unwrap().data) {
                let bound = exact.abs() * 0.5f32.powi(kept);
                assert!((found - exact).abs() <= bound, "{dtype:?} {name}: {found} for {exact}");
                differs |= found != exact;
            }
        }
        assert!(differs, "{dtype:?} cannot hold these numbers exactly");
    }
}

#[test]
fn names_of_older_and_of_bare_models_are_found() {
    let rename = |name: &str, change: fn(&str) -> String| {
        let (golden, dir) = folder(name);
        let expected = weights(dir.path());
        let tensors: Vec<_> = golden.values().into_iter().map(|(name, shape, x)| (change(&name), shape, x)).collect();
        write_tensors(&dir.path().join("model.safetensors"), &tensors, Dtype::F32);
        assert_eq!(weights(dir.path()).digest(), expected.digest(), "{name}");
    };
    rename("gpt2", |name| name.replace("transformer.", ""));
    rename("llama3", |name| name.replace("model.", ""));
    rename("bert", |name| {
        format!("bert.{name}").replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta")
    });
    rename("bert_reranker", |name| name.replace("bert.", ""));
}

/// What is computed anew, or is a head that is not asked for, is not read; what else is there is refused.
#[test]
fn needless_tensors_are_left_and_strange_ones_refused() {
    for (name, needless) in [
        ("llama2", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("gpt2", "h.0.attn.bias"),
        ("bert", "embeddings.position_ids"),
        ("bert", "cls.predictions.bias"),
    ] {
        let (golden, dir) = folder(name);
        let mut tensors = golden.values();
        tensors.push((needless.to_owned(), vec![2], vec![0.0, 1.0]));
        write_tensors(&dir.path().join("model.safetensors"), &tensors, Dtype::F32);
        assert!(!weights(dir.path()).is_empty());
        tensors.push(("model.layers.0.self_attn.q_norm.weight".to_owned(), vec![1], vec![1.0]));
        write_tensors(&dir.path().join("model.safetensors"), &tensors, Dtype::F32);
        assert!(refusal(dir.path()).contains("`model.layers.0.self_attn.q_norm.weight`: not part of the model"));
    }
}

#[test]
fn an_output_table_beside_a_tied_one_counts_where_it_differs() {
    let (golden, dir) = folder("llama3");
    let tied = |dir: &Path| match ModelFolder::open(dir).unwrap().config() {
        ModelConfig::Decoder(config) => config.tied_embeddings,
        other => panic!("{other:?}"),
    };
    let mut tensors = golden.values();
    let (_, shape, numbers) = tensors.iter().find(|(name, _, _)| name.contains("embed_tokens")).unwrap().clone();
    tensors.push(("lm_head.weight".to_owned(), shape, numbers));
    write_tensors(&dir.path().join("model.safetensors"), &tensors, Dtype::F32);
    assert!(tied(dir.path()));
    tensors.last_mut().unwrap().2[7] += 1.0;
    write_tensors(&dir.path().join("model.safetensors"), &tensors, Dtype::F32);
    assert!(!tied(dir.path()));
    assert!(weights(dir.path()).get("lm_head.weight").is_some());
}

#[test]
fn damaged_shards_are_named() {
    let (golden, dir) = folder("llama2");
    shard(&golden, dir.path());
    let second = dir.path().join("model-00002-of-00003.safetensors");
    let whole = std::fs::read(&second).unwrap();
    let length = whole.len();
    for (bytes, expected) in [
        (&whole[..length - 1], format!("has {} bytes, expected {length}: truncated", length - 1)),
        (&whole[..3], "has 3 bytes, expected 8: truncated".to_owned()),
        (&whole[..20], "has 20 bytes, expected".to_owned()),
        (&[whole.as_slice(), b"more"].concat(), format!("has {} bytes, its header speaks of {length}", length + 4)),
        (b"\xff\xff\xff\xff\xff\xff\xff\x00", "not safetensors".to_owned()),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "not safetensors".to_owned()),
    ] {
        std::fs::write(&second, bytes).unwrap();
        let message = refusal(dir.path());
        assert!(message.contains(&second.display().to_string()) && message.contains(&expected), "{message}");
    }
    std::fs::remove_file(&second).unwrap();
    let message = refusal(dir.path());
    assert!(message.contains(&second.display().to_string()) && message.contains("missing"), "{message}");
    put(dir.path(), "model.safetensors.index.json", &json!({"weight_map": {"a": "../../etc/passwd"}}));
    assert!(refusal(dir.path()).contains("`../../etc/passwd`, expected one in this folder"));
    put(dir.path(), "model.safetensors.index.json", &json!({"weight_map": {"a": "model-00001-of-00003.safetensors"}}));
    assert!(refusal(dir.path()).contains("does not hold tensor `a`"));
}

#[test]
fn tensors_that_contradict_the_configuration_are_named() {
    let (golden, dir) = folder("llama2");
    let file = dir.path().join("model.safetensors");
    let name = "model.layers.1.mlp.up_proj.weight";
    let changed = |change: &dyn Fn(&mut Vec<Named>)| {
        let mut tensors = golden.values();
        change(&mut tensors);
        write_tensors(&file, &tensors, Dtype::F32);
        refusal(dir.path())
    };
    let at = golden.values().iter().position(|(known, _, _)| known == name).unwrap();
    let message = changed(&|tensors| tensors[at].1 = vec![32, 40]);
    assert!(message.contains("up_proj.weight` has shape [32, 40], expected [40, 32]"), "{message}");
    let message = changed(&|tensors| drop(tensors.remove(at)));
    assert!(message.contains(name) && message.contains("missing"), "{message}");
    for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let message = changed(&|tensors| tensors[at].2[1234] = bad);
        assert!(message.contains(name) && message.contains(&format!("element 1234 is {text}")), "{message}");
    }
    put(dir.path(), "config.json", &{
        let mut config = golden.config.clone();
        config["intermediate_size"] = 41.into();
        config
    });
    golden.values();
    let message = changed(&|_| {});
    assert!(message.contains("[40, 32], expected [41, 32]"), "{message}");
}

#[test]
fn other_types_of_numbers_are_refused() {
    let (golden, dir) = folder("llama2");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> =
        golden.values().into_iter().map(|(name, shape, x)| (name, shape, vec![0; x.len()])).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(Dtype::F8_E4M3, shape.clone(), bytes).unwrap())
    });
    std::fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    assert!(refusal(dir.path()).contains("holds F8_E4M3, expected F32, F16 or BF16"));
}

#[test]
fn a_folder_that_is_no_model_says_what_is_missing() {
    let (golden, dir) = folder("llama2");
    let path = |name: &str| dir.path().join(name);
    std::fs::rename(path("model.safetensors"), path("pytorch_model.bin")).unwrap();
    assert!(!ModelFolder::is_model(dir.path()));
    let message = refusal(dir.path());
    assert!(message.contains("pytorch_model.bin") && message.contains("as safetensors"), "{message}");
    std::fs::remove_file(path("pytorch_model.bin")).unwrap();
    assert!(refusal(dir.path()).contains("model.safetensors: missing, and model.safetensors.index.json too"));
    std::fs::write(path("config.json"), "{").unwrap();
    assert!(refusal(dir.path()).contains("config.json: is not what it should be"));
    put(dir.path(), "config.json", &json!({"architectures": ["MambaForCausalLM"], "model_type": "mamba"}));
    let error = ModelFolder::open(dir.path()).err().unwrap();
    assert!(matches!(error, Error::Architecture { .. }) && error.to_string().contains("Qwen3ForCausalLM"), "{error}");
    std::fs::remove_file(path("config.json")).unwrap();
    assert!(refusal(dir.path()).contains("config.json: missing; is this the folder of a model?"));
    golden.write(dir.path());
    let message = ModelFolder::open(dir.path()).unwrap().tokenizer_json().unwrap_err().to_string();
    assert!(message.contains("tokenizer.json: missing"), "{message}");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let (_, dir) = folder("llama2");
    let bpe = |id: u32| json!({"model": {"type": "BPE", "vocab": {"a": 0, "b": id}, "merges": []}, "added_tokens": []});
    put(dir.path(), "tokenizer.json", &bpe(52));
    assert!(ModelFolder::open(dir.path()).unwrap().tokenizer_json().unwrap().contains("BPE"));
    put(dir.path(), "tokenizer.json", &bpe(53));
    let message = refusal(dir.path());
    assert!(message.contains("gives `b` the id 53; the model's table has 53 rows"), "{message}");
    let mut added = bpe(1);
    added["added_tokens"] = json!([{"id": 60, "content": "<pad>", "special": true}]);
    put(dir.path(), "tokenizer.json", &added);
    assert!(refusal(dir.path()).contains("gives `<pad>` the id 60"));
    let unigram: Vec<Value> = (0..54).map(|id| json!([format!("t{id}"), -1.0])).collect();
    put(dir.path(), "tokenizer.json", &json!({"model": {"type": "Unigram", "vocab": unigram}}));
    assert!(refusal(dir.path()).contains("gives `t53` the id 53"));
    put(dir.path(), "tokenizer.json", &json!({"model": {}}));
    assert!(refusal(dir.path()).contains("tokenizer.json"));
}

#[test]
fn settings_of_texts_and_generation_are_read() {
    let (_, dir) = folder("llama2");
    put(
        dir.path(),
        "tokenizer_config.json",
        &json!({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null,
            "model_max_length": 1e30, "chat_template": [{"name": "tool_use", "template": "x"},
            {"name": "default", "template": "{{ messages }}"}]}),
    );
    put(
        dir.path(),
        "generation_config.json",
        &json!({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [2, 5], "bos_token_id": 1}),
    );
    let folder = ModelFolder::open(dir.path()).unwrap();
    let texts = folder.texts();
    assert_eq!(texts.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!(texts.special_tokens.get("eos_token").map(String::as_str), Some("</s>"));
    assert_eq!(texts.special_tokens.len(), 2);
    assert_eq!(texts.tokens_max, None);
    let generation = folder.generation();
    assert_eq!((generation.bos, generation.eos.as_slice(), generation.pad), (Some(1), &[2, 5][..], None));
    assert_eq!((generation.sample, generation.temperature, generation.top_k), (true, Some(0.6), None));
    std::fs::write(dir.path().join("chat_template.jinja"), "{{ newer }}").unwrap();
    assert_eq!(ModelFolder::open(dir.path()).unwrap().texts().chat_template.as_deref(), Some("{{ newer }}"));
    assert_eq!(folder.pooling(), None);
}

#[test]
fn pooling_is_as_sentence_transformers_says() {
    let (_, dir) = folder("bert");
    let pooling = |dir: &Path| ModelFolder::open(dir).unwrap().pooling().unwrap();
    assert_eq!(pooling(dir.path()), Pooling { kind: PoolingKind::Mean, normalise: false });
    let modules = |last: &str| {
        json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": format!("sentence_transformers.models.{last}")}])
    };
    put(dir.path(), "modules.json", &modules("Normalize"));
    let flags =
        json!({"word_embedding_dimension": 32, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
    put(dir.path(), "1_Pooling/config.json", &flags);
    put(dir.path(), "sentence_bert_config.json", &json!({"max_seq_length": 16, "do_lower_case": false}));
    put(
        dir.path(),
        "config_sentence_transformers.json",
        &json!({"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": "query"}),
    );
    assert_eq!(pooling(dir.path()), Pooling { kind: PoolingKind::Cls, normalise: true });
    let folder = ModelFolder::open(dir.path()).unwrap();
    assert_eq!(folder.texts().tokens_max, Some(16));
    assert_eq!(folder.texts().prompts["document"], "passage: ");
    assert_eq!(folder.texts().default_prompt.as_deref(), Some("query: "));
    put(dir.path(), "1_Pooling/config.json", &json!({"embedding_dimension": 32, "pooling_mode": "max"}));
    assert_eq!(pooling(dir.path()).kind, PoolingKind::Max);
    put(dir.path(), "1_Pooling/config.json", &json!({"pooling_mode": ["cls", "mean"]}));
    assert!(refusal(dir.path()).contains(r#"pools by ["cls", "mean"], expected one of cls"#));
    put(dir.path(), "modules.json", &modules("Dense"));
    put(dir.path(), "1_Pooling/config.json", &json!({"pooling_mode": "lasttoken"}));
    assert!(refusal(dir.path()).contains("lasttoken"));
    put(dir.path(), "1_Pooling/config.json", &flags);
    assert!(refusal(dir.path()).contains("has the module Dense, expected Transformer, Pooling or Normalize"));
}

#[test]
fn scores_go_through_what_sentence_transformers_puts_there() {
    let (golden, dir) = folder("bert_reranker");
    let activation = |dir: &Path| ModelFolder::open(dir).unwrap().score_activation();
    assert_eq!(activation(dir.path()), ScoreActivation::Sigmoid);
    assert_eq!(ScoreActivation::Sigmoid.apply(0.0), 0.5);
    let mut config = golden.config.clone();
    config["sentence_transformers"] = json!({"activation_fn": "torch.nn.modules.linear.Identity"});
    put(dir.path(), "config.json", &config);
    assert_eq!(activation(dir.path()), ScoreActivation::Identity);
    config["sentence_transformers"] = json!({"activation_fn": "my.own.Thing"});
    put(dir.path(), "config.json", &config);
    assert!(refusal(dir.path()).contains("`activation_fn` is Thing"));
    let (_, dir) = folder("xlm_roberta_classifier");
    assert_eq!(activation(dir.path()), ScoreActivation::Identity);
}
