//! How surprised a model is by a split: loss per token, and perplexity, over texts or over answers.

use super::sample::Sample;
use super::{Measured, Work, measure, median};
use crate::dataset_reader::Row;
use crate::job::JobContext;
use crate::jobs::train::example;
use crate::metrics::stats::{DocumentNll, likelihood};
use crate::model::{LoadedModel, Model};
use crate::pipeline::Method;
use crate::{Error, cpu};
use cairn_gpu::{Example, Scorer};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

const ROWS_PER_BATCH: usize = 8;
/// Samples scored alone after all others, to measure what one takes; one more goes before to warm up.
const LATENCY_SAMPLES: usize = 5;
/// Samples scored between two looks at a request to stop.
const CHUNK: usize = 64;

/// What of a row is scored: its text where it has one, else its answer given its prompt.
fn scored(row: &Row, model: &LoadedModel) -> Option<(&'static str, Example)> {
    let text = example(row, Method::Pretrain, &model.tokenizer).map(|example| ("text", example));
    text.or_else(|| example(row, Method::Sft, &model.tokenizer).map(|example| ("answer", example)))
}

pub(super) fn run(
    job: &JobContext<'_>,
    rows: &[Row],
    subject: &Model,
    model: &LoadedModel,
    timed: bool,
) -> Result<Measured, Error> {
    let chosen: Vec<(&Row, &str, Example)> =
        rows.iter().filter_map(|row| scored(row, model).map(|(part, example)| (row, part, example))).collect();
    let longest = chosen.iter().map(|(_, _, example)| example.tokens.len().saturating_sub(1)).max().unwrap_or(1);
    let length = longest.clamp(1, subject.architecture.context);
    let scorer = Scorer::new(job.ctx().runtime()?, &subject.architecture, &model.weights, ROWS_PER_BATCH, length)?;
    let cpu_before = cpu::seconds();
    let mut samples = Vec::with_capacity(chosen.len());
    let mut documents = Vec::with_capacity(chosen.len());
    for chunk in chosen.chunks(CHUNK) {
        job.check_cancelled()?;
        let examples: Vec<Example> = chunk.iter().map(|(_, _, example)| example.clone()).collect();
        for ((row, _, _), score) in chunk.iter().zip(scorer.score_examples(&examples)?) {
            if score.tokens == 0 {
                continue;
            }
            documents.push(DocumentNll { nll_sum: score.nll_sum, tokens: score.tokens });
            samples.push(Sample {
                sample: row.id.clone(),
                prompt: String::new(),
                answer: None,
                reference: None,
                extracted: None,
                finish: None,
                tokens: score.tokens,
                scores: BTreeMap::from([("loss".to_owned(), score.nll_sum / score.tokens as f64)]),
            });
        }
        job.progress(samples.len() as u64, chosen.len() as u64, "scored");
    }
    let Some(found) = likelihood(&documents) else {
        return Err(Error::refused("the split", "has no row with a text or an answer to score"));
    };
    let work = match timed {
        true => Some(work(job, subject, model, &chosen, length, (found.tokens, cpu::seconds() - cpu_before))?),
        false => None,
    };
    let parts = |part: &str| chosen.iter().filter(|(_, of, _)| *of == part).count();
    Ok(Measured {
        metrics: vec![
            measure("loss", found.nll, false, Some("nats/token")),
            measure("perplexity", found.perplexity, false, None),
        ],
        // Losses per token of two tokenizers are not comparable, nor are windows of another length.
        protocol: json!({
            "scored": "text, else answer given prompt",
            "tokenizer": model.tokenizer.digest(),
            "window": length,
            "standard_error": "ratio estimator over samples",
        }),
        counts: json!({
            "texts": parts("text"),
            "answers": parts("answer"),
            "without_content": rows.len() - chosen.len(),
        }),
        samples,
        work,
    })
}

/// Of one sample alone, and of all of them together.
fn work(
    job: &JobContext<'_>,
    subject: &Model,
    model: &LoadedModel,
    chosen: &[(&Row, &str, Example)],
    length: usize,
    (tokens, cpu_seconds): (u64, f64),
) -> Result<Work, Error> {
    let alone = Scorer::new(job.ctx().runtime()?, &subject.architecture, &model.weights, 1, length)?;
    let mut latencies = Vec::new();
    for (number, (.., example)) in chosen.iter().take(LATENCY_SAMPLES + 1).enumerate() {
        let begun = Instant::now();
        alone.score_examples(std::slice::from_ref(example))?;
        if number > 0 {
            latencies.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Work { tokens, cpu_seconds, latency_ms: median(&latencies), latencies: latencies.len() as u64 })
}
