//! `cairn infer rerank`: how well each document answers a query, by a cross-encoder.

use super::input::{InputArgs, wrong};
use super::{ModelArgs, Out, is_npy, npy, numbers};
use crate::commands::{Outcome, done};
use cairn_processors::embedding::Reranker;
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// JSON lines {"index", "scores"}, or a NumPy file [documents of all queries one after another, 1] where it ends
    /// in .npy.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let model = args.model.open()?;
    let mut questions = Vec::new();
    args.input.each(|line, value| {
        questions.push(question(line, &value)?);
        Ok(())
    })?;
    let reranker = Reranker::open(&args.model.runtime()?, &model)?;
    let npy_path = args.out.as_ref().filter(|_| is_npy(args.out.as_ref()));
    let (mut out, mut column) = (Out::open(args.out.as_deref().filter(|_| npy_path.is_none()))?, Vec::new());
    for (index, (query, documents)) in questions.iter().enumerate() {
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let scores = reranker.score(&model, query, &documents)?.0;
        match npy_path {
            Some(_) => column.extend(scores.into_iter().map(|score| vec![score])),
            None => out.line(&format!("{{\"index\":{index},\"scores\":{}}}", numbers(&scores)))?,
        }
    }
    match npy_path {
        Some(path) => {
            npy::write(path, &column, 1)?;
            done()
        }
        None => out.finish(),
    }
}

fn question(line: usize, value: &Value) -> anyhow::Result<(String, Vec<String>)> {
    let query = value.get("query").and_then(Value::as_str);
    let documents = value.get("documents").and_then(Value::as_array);
    let documents: Option<Vec<String>> =
        documents.and_then(|documents| documents.iter().map(|text| text.as_str().map(str::to_owned)).collect());
    match (query, documents) {
        (Some(query), Some(documents)) => Ok((query.to_owned(), documents)),
        _ => Err(wrong(line, "is not {\"query\": \"…\", \"documents\": [\"…\", …]}".to_owned())),
    }
}
