//! Answers are generated for a split's prompts and compared with the rows' own answers.

use super::sample::Sample;
use super::{Measured, Work, measure, median};
use crate::dataset_reader::Row;
use crate::job::JobContext;
use crate::metrics::{squad, stats};
use crate::model::{LoadedModel, Model};
use crate::pipeline::{Metric, Pattern, TaskSpec};
use crate::serving::finish_word;
use crate::{Error, cpu};
use cairn_gpu::{Generator, Sampling, Tokenizer};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// Prompts that are answered together.
const BATCH: usize = 32;
/// Prompts answered alone after all others, to measure what one answer takes; one more goes before to warm up.
const LATENCY_PROMPTS: usize = 5;

struct Question<'a> {
    row: &'a Row,
    prompt: String,
    reference: &'a str,
    tokens: Vec<u32>,
}

pub(super) fn sampling(task: &TaskSpec, seed: u64) -> Sampling {
    Sampling {
        temperature: task.temperature.unwrap_or(0.0) as f32,
        top_k: task.top_k.map(|k| k as u32),
        top_p: task.top_p.map(|p| p as f32),
        seed,
        ..Sampling::greedy(task.max_new_tokens(), vec![Tokenizer::EOS])
    }
}

pub(super) fn run(
    job: &JobContext<'_>,
    rows: &[Row],
    subject: &Model,
    model: &LoadedModel,
    task: &TaskSpec,
    timed: bool,
) -> Result<Measured, Error> {
    let sampling = sampling(task, job.scope.seed);
    sampling.validate()?;
    let questions: Vec<Question<'_>> = rows.iter().filter_map(|row| question(row, model)).collect();
    if questions.is_empty() {
        return Err(Error::refused("the split", "has no row with `instruction` and `output` to answer and compare"));
    }
    let generator = Generator::new(job.ctx().runtime()?, &subject.architecture, &model.weights)?;
    let answerable = |question: &&Question<'_>| question.tokens.len() < subject.architecture.context;
    let cpu_before = cpu::seconds();
    let mut samples = Vec::with_capacity(questions.len());
    for (number, batch) in questions.chunks(BATCH).enumerate() {
        job.check_cancelled()?;
        // Draws are keyed by the row in its call: without this, row n of every batch would draw alike.
        let sampling = Sampling { seed: sampling.seed.wrapping_add(number as u64), ..sampling.clone() };
        let prompts: Vec<Vec<u32>> = batch.iter().filter(answerable).map(|question| question.tokens.clone()).collect();
        let mut answers = match prompts.is_empty() {
            true => Vec::new(),
            false => generator.generate(&prompts, &sampling)?,
        }
        .into_iter();
        for question in batch {
            let answer = if answerable(&question) { answers.next() } else { None };
            let (tokens, finish) = match &answer {
                Some(answer) => (answer.tokens.as_slice(), finish_word(answer.finish)),
                None => (&[][..], "prompt_too_long"),
            };
            samples.push(scored(task, question, model.tokenizer.decode(tokens), tokens.len() as u64, finish));
        }
        job.progress(samples.len() as u64, questions.len() as u64, &format!("answers to `{}`", task.name));
    }
    let tokens: u64 = samples.iter().map(|sample| sample.tokens).sum();
    let cpu_seconds = cpu::seconds() - cpu_before;
    let latencies = match timed {
        true => latencies(&generator, &sampling, questions.iter().filter(answerable).map(|q| &q.tokens))?,
        false => Vec::new(),
    };
    let mut metrics = Vec::new();
    for metric in &task.metrics {
        let values: Vec<f64> = samples.iter().map(|sample| sample.scores[metric.as_str()]).collect();
        metrics.push(measure(metric.as_str(), stats::mean(&values).expect("there are questions"), true, None));
    }
    let too_long = samples.iter().filter(|sample| sample.finish.as_deref() == Some("prompt_too_long")).count();
    Ok(Measured {
        metrics,
        protocol: json!({
            "prompt": "chat template: bos, user, instruction and input, assistant",
            "sampling": sampling,
            "batch": BATCH,
            "metrics": task.metrics,
            "exact_match": "SQuAD v1.1, on what `extract` finds where it is given",
            "f1": "SQuAD v1.1, on the whole answer",
            "format": task.format,
            "extract": task.extract,
            "reference_extract": task.reference_extract,
        }),
        counts: json!({ "without_answer": rows.len() - questions.len(), "prompts_too_long": too_long }),
        samples,
        work: timed.then(|| Work {
            tokens,
            cpu_seconds,
            latency_ms: median(&latencies),
            latencies: latencies.len() as u64,
        }),
    })
}

fn question<'a>(row: &'a Row, model: &LoadedModel) -> Option<Question<'a>> {
    let (prompt, reference) = row.exchange()?;
    let tokens = model.tokenizer.render(&prompt);
    Some(Question { row, prompt, reference, tokens })
}

/// What the pattern finds: its first group where it has one, else the whole match; all of the text without a pattern.
fn extract<'t>(pattern: Option<&Pattern>, text: &'t str) -> Option<&'t str> {
    let Some(pattern) = pattern else { return Some(text) };
    let found = pattern.regex().captures(text)?;
    found.get(1).or_else(|| found.get(0)).map(|part| part.as_str())
}

fn scored(task: &TaskSpec, question: &Question<'_>, answer: String, tokens: u64, finish: &str) -> Sample {
    let reference_pattern = task.reference_extract.as_ref().or(task.extract.as_ref());
    let extracted = extract(task.extract.as_ref(), &answer);
    let expected = extract(reference_pattern, question.reference);
    let score = |metric: &Metric| match metric {
        // A reference in which nothing is found cannot be met.
        Metric::ExactMatch => match (extracted, expected) {
            (Some(found), Some(expected)) => squad::exact_match(found, expected),
            _ => 0.0,
        },
        Metric::F1 => squad::f1(&answer, question.reference),
        Metric::FormatValidity => {
            let valid = task.format.as_ref().is_some_and(|format| format.regex().is_match(&answer));
            f64::from(u8::from(valid))
        }
    };
    let scores: BTreeMap<String, f64> =
        task.metrics.iter().map(|metric| (metric.as_str().to_owned(), score(metric))).collect();
    Sample {
        sample: question.row.id.clone(),
        prompt: question.prompt.clone(),
        extracted: task.extract.is_some().then(|| extracted.map(str::to_owned)).flatten(),
        answer: Some(answer),
        reference: Some(question.reference.to_owned()),
        finish: Some(finish.to_owned()),
        tokens,
        scores,
    }
}

/// Milliseconds of single answers, one prompt a call, after one that warms up the graphs of that shape.
fn latencies<'a>(
    generator: &Generator,
    sampling: &Sampling,
    prompts: impl Iterator<Item = &'a Vec<u32>>,
) -> Result<Vec<f64>, Error> {
    let mut measured = Vec::new();
    for (number, prompt) in prompts.take(LATENCY_PROMPTS + 1).enumerate() {
        let begun = Instant::now();
        generator.generate(std::slice::from_ref(prompt), sampling)?;
        if number > 0 {
            measured.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extraction_takes_the_first_group_or_the_match() {
        let group = Pattern::parse(r"####\s*(-?[\d,.]+)").unwrap();
        let whole = Pattern::parse(r"\d+").unwrap();
        assert_eq!(extract(Some(&group), "so #### 42"), Some("42"));
        assert_eq!(extract(Some(&whole), "so 42"), Some("42"));
        assert_eq!(extract(Some(&whole), "none"), None);
        assert_eq!(extract(None, "all"), Some("all"));
    }
}
