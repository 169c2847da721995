//! The `tokenizer` job: byte-level BPE, trained on one split of a dataset version and nothing else.

use crate::Error;
use crate::dataset_reader::{DatasetVersion, Row};
use crate::job::{Job, JobContext, Output, Resolved, Scope};
use crate::pipeline::{JobKind, TokenizerSpec};
use cairn_gpu::Tokenizer;
use cairn_schemas::Ref;
use serde_json::json;

impl Job for TokenizerSpec {
    fn kind(&self) -> JobKind {
        JobKind::Tokenizer
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let dataset = scope.dataset(&self.dataset)?;
        DatasetVersion::find(scope.ctx, &dataset)?.split(&self.split)?;
        Ok(Resolved { inputs: vec![dataset], identity: json!(null) })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let dataset = job.scope.dataset(&self.dataset)?;
        let rows = DatasetVersion::find(job.ctx(), &dataset)?.rows(job.ctx(), &self.split, None)?;
        let texts: Vec<String> = rows.into_iter().flat_map(texts_of).collect();
        if texts.is_empty() {
            let why = "has no rows; give it some in the dataset's `split`";
            return Err(Error::refused(format!("split `{}` of {dataset}", self.split), why));
        }
        job.check_cancelled()?;
        let (count, bytes) = (texts.len(), texts.iter().map(String::len).sum::<usize>());
        job.progress(0, 0, &format!("learning {} entries from {bytes} bytes", self.vocabulary));
        let tokenizer = Tokenizer::train(texts.into_iter(), self.vocabulary)?;
        job.check_cancelled()?;
        let artifact = Ref::Artifact(job.put_artifact(tokenizer.to_json().as_bytes())?.blake3);
        let summary = json!({
            "tokenizer": artifact,
            "entries": tokenizer.vocabulary_size(),
            "entries_asked": self.vocabulary,
            "dataset": dataset,
            "split": self.split,
            "texts": count,
            "bytes": bytes,
        });
        Ok(Output::new(vec![artifact], summary))
    }
}

/// What a model will read of a row: its text, and its question and answer where the text does not hold them.
fn texts_of(row: Row) -> Vec<String> {
    let prompt = row.prompt().unwrap_or_default();
    let beside = |part: &String| !row.text.contains(part.as_str());
    let parts: Vec<String> = [prompt, row.output.clone()].into_iter().filter(beside).collect();
    [vec![row.text], parts].concat().into_iter().filter(|text| !text.trim().is_empty()).collect()
}
