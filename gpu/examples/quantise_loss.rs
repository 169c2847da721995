//! What fewer bits cost a model that has learned something: `cargo run -p cairn-gpu --example quantise_loss [steps]`.
//! A small decoder learns this repository's documentation; its perplexity on paragraphs it has not seen, and how often
//! its likeliest token stays the same, are taken with whole weights and with 8 and 4 bits.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_gpu::{
    DecoderConfig, DecoderParts, Device, Engine, EngineOptions, Example, Loader, Overlong, Quantisation, Runtime,
    RuntimeOptions, Tokenizer, TrainOptions, Trainer, Weights, pack,
};

/// Every so many paragraphs, one is kept for the end.
const HELD_OUT_EVERY: usize = 10;
const VOCABULARY: usize = 1_024;

fn main() -> Result<(), Box<dyn Error>> {
    let steps: usize = std::env::args().nth(1).map_or(Ok(400), |text| text.parse())?;
    let runtime = Runtime::load(&RuntimeOptions { threads: 2, device: Device::Cpu })?;
    let paragraphs = paragraphs()?;
    let tokenizer = Tokenizer::train(paragraphs.clone().into_iter(), VOCABULARY)?;
    let config = DecoderConfig {
        layers: 4,
        width: 128,
        heads: 4,
        feed_forward: 352,
        vocabulary: tokenizer.vocabulary_size(),
        context: 256,
        ..DecoderConfig::default()
    };
    let documents: Vec<Vec<u32>> = paragraphs.iter().map(|text| tokenizer.render_document(text)).collect();
    let (held_out, learned): (Vec<_>, Vec<_>) =
        documents.into_iter().enumerate().partition(|(number, _)| number % HELD_OUT_EVERY == 0);
    let weights = trained(&runtime, &config, learned.into_iter().map(|(_, tokens)| tokens), steps)?;
    let held_out: Vec<Vec<u32>> = held_out.into_iter().map(|(_, tokens)| tokens).collect();
    let whole = measure(&runtime, &config, &weights, &held_out, None)?;
    println!("32 bits: perplexity {:.3} on {} tokens", whole.perplexity, whole.likeliest.len());
    for quantise in [Quantisation::Bits8, Quantisation::Bits4] {
        let found = measure(&runtime, &config, &weights, &held_out, Some(quantise))?;
        let same = found.likeliest.iter().zip(&whole.likeliest).filter(|(found, whole)| found == whole).count();
        println!(
            "{:2} bits: perplexity {:.3}, {:+.2}%; the likeliest token is the same for {:.1}%; weights {:.2} MB of {:.2}",
            quantise.bits(),
            found.perplexity,
            100.0 * (found.perplexity / whole.perplexity - 1.0),
            100.0 * same as f64 / found.likeliest.len() as f64,
            found.weight_bytes as f64 / 1e6,
            whole.weight_bytes as f64 / 1e6,
        );
    }
    Ok(())
}

fn trained(
    runtime: &Runtime,
    config: &DecoderConfig,
    documents: impl Iterator<Item = Vec<u32>>,
    steps: usize,
) -> Result<Weights, Box<dyn Error>> {
    let options = TrainOptions { rows_per_micro_batch: 8, sequence_length: 256, ..TrainOptions::default() };
    let examples: Vec<Example> = documents.map(Example::plain).collect();
    let mut loader = Loader::new(pack(&examples, 256, Overlong::Split)?, 256, 1)?;
    let mut trainer = Trainer::new(runtime, config, Weights::initialize(config, 1), &options)?;
    for step in 0..steps {
        // Warm up for a tenth, then down to nothing in a straight line.
        let done = step as f64 / steps as f64;
        let rate = 3e-3 * (done / 0.1).min((1.0 - done) / 0.9);
        let report = trainer.step(&[loader.next_batch(8)?], rate)?;
        if step % 100 == 0 {
            println!("step {step}: loss {:.3}", report.loss);
        }
    }
    Ok(trainer.weights()?)
}

struct Measured {
    perplexity: f64,
    likeliest: Vec<usize>,
    weight_bytes: u64,
}

fn measure(
    runtime: &Runtime,
    config: &DecoderConfig,
    weights: &Weights,
    texts: &[Vec<u32>],
    quantise: Option<Quantisation>,
) -> Result<Measured, Box<dyn Error>> {
    let parts = DecoderParts { config: config.clone(), weights: Arc::new(weights.clone()), detokenizer: None };
    let engine = Engine::open(runtime, parts, EngineOptions { quantise, ..EngineOptions::default() })?;
    let (mut surprise, mut likeliest) = (0.0, Vec::new());
    for text in texts {
        let text = &text[..text.len().min(config.context)];
        let logits = engine.logits(text)?;
        for (row, &next) in logits.chunks_exact(config.vocabulary).zip(&text[1..]) {
            let (best, highest) =
                row.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).ok_or("no logits")?;
            let sum: f64 = row.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
            surprise += sum.ln() - f64::from(row[next as usize] - highest);
            likeliest.push(best);
        }
    }
    let perplexity = (surprise / likeliest.len() as f64).exp();
    Ok(Measured { perplexity, likeliest, weight_bytes: engine.plan().weight_bytes })
}

/// Of the documentation, those of some length.
fn paragraphs() -> Result<Vec<String>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        entries.sort();
        folders.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        files.extend(entries.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        found.extend(text.split("\n\n").filter(|text| text.len() > 120).map(str::to_owned));
    }
    Ok(found)
}
