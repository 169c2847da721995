//! Exported models run in plain onnxruntime, which knows nothing of this crate, and give what transformers gave.

#[allow(dead_code, reason = "shared with other tests")]
mod folders;

use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_gpu::{ModelFolder, Quantisation};
use cairn_tests::outside::{python, run, skipped};
use folders::Golden;
use tempfile::TempDir;

const FAMILIES: [&str; 12] = [
    "llama2",
    "llama3",
    "llama_linear_biased",
    "llama_yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "bert",
    "bert_reranker",
    "roberta",
    "xlm_roberta_classifier",
];

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn exported(family: &str, quantise: Option<Quantisation>) -> TempDir {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Golden::read(family).write(from.path());
    ModelFolder::open(from.path()).unwrap().export_onnx(to.path(), quantise).unwrap();
    to
}

/// The largest difference that the script finds; none where there is no Python.
fn furthest(dir: &Path, family: &str) -> Option<f64> {
    let python = match python("python-onnx", 11, &here("exports/requirements.txt")) {
        Ok(python) => python,
        Err(why) => {
            skipped("exports in plain onnxruntime", &why);
            return None;
        }
    };
    let golden = here("golden/models").join(format!("{family}.json"));
    let said = run(Command::new(python).arg(here("exports/run_onnx.py")).arg(dir).arg(golden));
    Some(String::from_utf8(said.unwrap_or_else(|why| panic!("{family}: {why}"))).unwrap().trim().parse().unwrap())
}

#[test]
fn plain_onnxruntime_gives_what_transformers_gave() {
    for family in FAMILIES {
        let dir = exported(family, None);
        assert!(dir.path().join("config.json").is_file());
        let Some(furthest) = furthest(dir.path(), family) else { return };
        println!("{family}: {furthest:.1e}");
        assert!(furthest < 1e-4, "{family}: {furthest}");
    }
}

#[test]
fn weights_lie_beside_the_graph() {
    let dir = exported("llama2", None);
    let bytes = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let golden = Golden::read("llama2");
    let of_matrices: usize =
        golden.tensors.values().filter(|shape| shape.len() > 1).map(|shape| shape.iter().product::<usize>()).sum();
    assert!(bytes("model.onnx.data") >= 4 * of_matrices as u64);
    assert!(bytes("model.onnx") < 4 * of_matrices as u64);
    let again = ModelFolder::open(dir.path());
    assert!(again.is_err(), "an export holds no safetensors");
}

#[test]
fn a_quantised_export_runs_and_is_near() {
    let dir = exported("llama2", Some(Quantisation::Bits8));
    let Some(furthest) = furthest(dir.path(), "llama2") else { return };
    // Random weights forgive nothing, and products are of 8-bit inputs too: near is what can be asked of them.
    assert!((1e-4..0.3).contains(&furthest), "{furthest}");
}

#[test]
fn an_earlier_export_is_not_replaced() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Golden::read("bert").write(from.path());
    let folder = ModelFolder::open(from.path()).unwrap();
    folder.export_onnx(to.path(), None).unwrap();
    let before = std::fs::read(to.path().join("model.onnx")).unwrap();
    let message = folder.export_onnx(to.path(), None).unwrap_err().to_string();
    assert!(message.contains("model.onnx: exists; name a folder without"), "{message}");
    assert_eq!(std::fs::read(to.path().join("model.onnx")).unwrap(), before);
}
