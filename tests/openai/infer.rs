//! `cairn infer` as a process: folders in, numbers and texts out, and what it says of folders and input that are wrong.

use super::{made, minilm};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `cairn infer` with lines on its standard input.
fn infer(arguments: &[&str], lines: &[Value]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.arg("infer").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("CAIRN_ORT_LIB", cairn_tests::root().join(".cache/onnxruntime/libonnxruntime.so"));
    let mut child = command.spawn().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // A command that fails before it reads closes its input.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn refused(output: &Output, code: i32, said: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.starts_with("error: ") && told.contains(said), "`{said}` is not in {told}");
}

/// Shape and numbers of a NumPy file.
fn npy(path: &Path) -> ((usize, usize), Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    let shape: Vec<usize> = text
        .split_once("'shape': (")
        .unwrap()
        .1
        .split(')')
        .next()
        .unwrap()
        .split(", ")
        .map(|n| n.parse().unwrap())
        .collect();
    let numbers = bytes[header..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    ((shape[0], shape[1]), numbers)
}

#[test]
fn a_decoder_is_checked_asked_for_logits_and_generates() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("llama");
    made("llama", &dir);
    let model = dir.to_str().unwrap();

    let checked = &lines(&infer(&["check", "--json", "--model", model], &[]))[0];
    assert_eq!((&checked["kind"], &checked["loads"]), (&json!("decoder"), &json!(true)));
    assert_eq!(checked["ends"], json!(["<|im_end|>"]));
    let digest = blake3_of(&dir.join("model.safetensors"));
    assert_eq!(checked["weights"]["digest"], json!(digest));
    assert!(checked["needs"]["weight_bytes"].as_u64() > Some(300_000), "{checked}");

    let given = [json!("a"), json!([256, 97]), json!({"tokens": [256, 98, 99]})];
    let fused = lines(&infer(&["logits", "--model", model], &given));
    let primitive = lines(&infer(&["logits", "--primitive", "--model", model], &given));
    assert_eq!(fused[0], fused[1], "a text is its tokens");
    for (fused, primitive) in fused.iter().zip(&primitive) {
        assert_eq!(fused["tokens"], primitive["tokens"]);
        let flat = |line: &Value| -> Vec<f64> {
            let rows = line["logits"].as_array().unwrap().iter();
            rows.flat_map(|row| row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap())).collect()
        };
        let (fused, primitive) = (flat(fused), flat(primitive));
        let far = fused.iter().zip(&primitive).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-4 && fused.len() == primitive.len(), "{far}");
    }
    let out = folder.path().join("logits.npy");
    let written = infer(&["logits", "--model", model, "--out", out.to_str().unwrap()], &given);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let (shape, numbers) = npy(&out);
    assert_eq!((shape, numbers.len()), ((7, 259), 7 * 259));
    assert_eq!(f64::from(numbers[0]), fused[0]["logits"][0][0].as_f64().unwrap() as f32 as f64);

    let greedy = ["generate", "--model", model, "--temperature", "0", "--max-tokens", "6", "--ignore-eos"];
    let answers = lines(&infer(&greedy, &given));
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["tokens"], answers[1]["tokens"]);
    assert_eq!(answers[0]["tokens"].as_array().unwrap().len(), 6);
    let after: Vec<f64> = fused[0]["logits"][1].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    let likeliest = (0..after.len()).max_by(|a, b| after[*a].total_cmp(&after[*b])).unwrap();
    assert_eq!(answers[0]["tokens"][0], json!(likeliest), "the first token is the likeliest after the prompt");

    let turns = json!({"messages": [{"role": "user", "content": "hi"}]});
    let drawn = [
        "generate",
        "--model",
        model,
        "--temperature",
        "1",
        "--seed",
        "3",
        "-n",
        "2",
        "--logprobs",
        "1",
        "--max-tokens",
        "5",
    ];
    let turns = std::slice::from_ref(&turns);
    let twice = [lines(&infer(&drawn, turns)), lines(&infer(&drawn, turns))];
    assert_eq!(twice[0], twice[1], "the same seed gives the same answers");
    assert_ne!(twice[0][0]["tokens"], twice[0][1]["tokens"]);
    assert_eq!(twice[0][0]["logprobs"].as_array().unwrap().len(), twice[0][0]["tokens"].as_array().unwrap().len());
    let chat = lines(&infer(&["generate", "--model", model, "--chat", "hi", "--max-tokens", "1"], &[]));
    assert_eq!(chat[0]["prompt_tokens"], twice[0][0]["prompt_tokens"]);
}

#[test]
fn encoders_embed_and_score() {
    let folder = tempfile::tempdir().unwrap();
    let real = minilm();
    let model = real.to_str().unwrap();
    let texts = [json!("A man plays the guitar."), json!("Somebody is making music."), json!("The stock market fell.")];
    let out = folder.path().join("texts.npy");
    let written = infer(&["embed", "--model", model, "--out", out.to_str().unwrap()], &texts);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let ((rows, columns), numbers) = npy(&out);
    assert_eq!((rows, columns), (3, 384));
    let dot = |a: usize, b: usize| -> f32 { (0..384).map(|at| numbers[a * 384 + at] * numbers[b * 384 + at]).sum() };
    assert!((dot(0, 0) - 1.0).abs() < 1e-4 && dot(0, 1) > dot(0, 2) + 0.2, "{} {} {}", dot(0, 0), dot(0, 1), dot(0, 2));
    let one = &lines(&infer(&["embed", "--model", model], &texts[2..]))[0];
    assert_eq!(one["embedding"].as_array().unwrap().len(), 384);

    let judge = folder.path().join("judge");
    made("reranker", &judge);
    let judge = judge.to_str().unwrap();
    let question = json!({"query": "how many stones", "documents": ["seven", "none at all"]});
    let scores = &lines(&infer(&["rerank", "--model", judge], &[question]))[0]["scores"];
    assert_eq!(scores.as_array().unwrap().len(), 2);
    refused(&infer(&["embed", "--model", judge], &texts), 4, "is a reranker and embeds no texts");
    refused(
        &infer(&["rerank", "--model", model], &[json!({"query": "x", "documents": ["y"]})]),
        4,
        "scores no documents",
    );
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("llama");
    made("llama", &dir);
    let model = dir.to_str().unwrap();
    refused(&infer(&["check", "--model", "/nowhere/at/all"], &[]), 3, "there is no folder");
    for (line, said) in [
        (json!([]), "0 tokens"),
        (json!([999_999]), "vocabulary"),
        (json!([1.5]), "not a list of token ids"),
        (json!(7), "a text, a list of token ids or an object is expected"),
        (json!({"texts": "x"}), "has `texts`; known are text"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "the role robot is not known"),
    ] {
        refused(&infer(&["logits", "--model", model], &[line]), 4, said);
    }
    let long = json!("x".repeat(600));
    refused(&infer(&["generate", "--model", model], std::slice::from_ref(&long)), 4, "601 tokens");
    refused(&infer(&["generate", "--model", model, "--top-p", "2", "x"], &[]), 4, "`top_p` is 2");
    refused(&infer(&["generate", "--model", model, "--memory", "1000", "x"], &[]), 4, "are allowed");
    refused(&infer(&["logits", "--model", minilm().to_str().unwrap()], &[json!("x")]), 4, "holds an encoder");

    let weights = dir.join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused(&infer(&["check", "--model", model], &[]), 4, "model.safetensors");
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, &nan).unwrap();
    refused(&infer(&["check", "--model", model], &[]), 4, "NaN");
    std::fs::write(&weights, &whole).unwrap();
    let config = dir.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("LlamaForCausalLM", "MambaForCausalLM").replace("\"llama\"", "\"mamba\""))
        .unwrap();
    refused(&infer(&["check", "--model", model], &[]), 4, "mamba");
    std::fs::write(&config, text.replace("\"vocab_size\": 259", "\"vocab_size\": 200")).unwrap();
    refused(&infer(&["check", "--model", model], &[]), 4, "200");
}

fn blake3_of(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string()
}
