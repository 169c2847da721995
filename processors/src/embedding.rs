//! Texts to vectors, and pairs of texts to scores, with an encoder's folder.

use crate::Error;
use crate::opened_model::OpenedModel;
use cairn_gpu::{Encoded, Encoder, EncoderEngine, EncoderOptions, Runtime, ScoreActivation};

/// Vectors of texts, as the folder's pooling and normalisation make them.
pub struct Embedder {
    engine: EncoderEngine,
}

impl Embedder {
    /// Loads the model. A decoder or a reranker is refused.
    pub fn open(runtime: &Runtime, model: &OpenedModel) -> Result<Self, Error> {
        if model.folder.pooling().is_none() {
            return Err(refused(model, "embeds no texts"));
        }
        Ok(Self { engine: engine(runtime, model)? })
    }

    /// A vector for each row, in order.
    pub fn embed(&self, rows: Vec<Encoded>) -> Result<Vec<Vec<f32>>, Error> {
        Ok(self.engine.run(rows)?)
    }
}

/// Scores of documents for a query.
pub struct Reranker {
    engine: EncoderEngine,
    activation: ScoreActivation,
}

impl Reranker {
    /// Loads the model. One without a head of one score is refused.
    pub fn open(runtime: &Runtime, model: &OpenedModel) -> Result<Self, Error> {
        if model.kind() != "reranker" {
            return Err(refused(model, "scores no documents"));
        }
        Ok(Self { engine: engine(runtime, model)?, activation: model.folder.score_activation() })
    }

    /// A score for each document, in order, and the tokens that were read.
    pub fn score(&self, model: &OpenedModel, query: &str, documents: &[&str]) -> Result<(Vec<f32>, u64), Error> {
        let most = model.text_tokens_max();
        let rows = documents.iter().map(|document| model.tokenizer.encode_pair(query, document, most));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let tokens = rows.iter().map(|row| row.tokens.len() as u64).sum();
        let scores = self.engine.run(rows)?;
        let mut found = Vec::with_capacity(scores.len());
        for row in scores {
            match row.as_slice() {
                [score] => found.push(self.activation.apply(*score)),
                several => {
                    let why = format!("gives {} numbers a pair; a reranker gives one", several.len());
                    return Err(Error::refused(model.folder.dir().display().to_string(), why));
                }
            }
        }
        Ok((found, tokens))
    }
}

/// The folder's encoder on a thread of its own, where rows of all callers run together.
fn engine(runtime: &Runtime, model: &OpenedModel) -> Result<EncoderEngine, Error> {
    let encoder = Encoder::open_folder(runtime, &model.folder, model.encoder_output())?;
    Ok(EncoderEngine::new(encoder, EncoderOptions::default())?)
}

fn refused(model: &OpenedModel, what: &str) -> Error {
    let why = format!("is a {} and {what}; name an encoder that does", model.kind());
    Error::refused(model.folder.dir().display().to_string(), why)
}
