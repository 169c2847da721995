//! What loading a folder takes at its peak, measured by the kernel. Alone in its process, so that nothing else counts.

use std::io::Write;
use std::path::Path;

use cairn_gpu::{DecoderConfig, ModelConfig, ModelFolder};

/// Widest tensor: a third of the whole, so that a second copy of one would show.
fn config() -> DecoderConfig {
    DecoderConfig {
        layers: 6,
        width: 512,
        heads: 8,
        feed_forward: 2048,
        vocabulary: 32_768,
        ..DecoderConfig::default()
    }
}

/// A file of zeros with the header of a model.
fn write(dir: &Path, config: &DecoderConfig) -> u64 {
    let mut end = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in config.parameter_shapes() {
        let begin = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = std::fs::File::create(dir.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end as u64).unwrap();
    let keys = ModelConfig::Decoder(config.clone()).to_hugging_face().unwrap();
    std::fs::write(dir.join("config.json"), keys.to_string()).unwrap();
    end as u64
}

fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn loading_takes_little_more_than_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let config = config();
    let bytes = write(dir.path(), &config);
    let before = status("VmRSS");
    let weights = ModelFolder::open(dir.path()).unwrap().weights().unwrap();
    let peak = status("VmHWM") - before;
    println!("{bytes} bytes of weights, {peak} bytes more at the peak: {:.3}", peak as f64 / bytes as f64);
    assert_eq!(weights.parameters(), config.parameters());
    assert!(bytes > 100 << 20 && peak <= bytes * 12 / 10, "{peak} bytes for {bytes}");
    assert!(peak >= bytes, "zeros that nobody wrote would measure nothing: {peak} bytes for {bytes}");
}
