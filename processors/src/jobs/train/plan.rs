//! Everything that decides what a training run computes, with every name resolved to a digest. It is recorded in
//! `run_started` and is, with the artifacts it names, all that a replay reads.

use crate::Error;
use crate::pipeline::Method;
use cairn_gpu::{DecoderConfig, Schedule, TrainOptions};
use cairn_schemas::events::training::RunStarted;
use cairn_schemas::{Blake3, Ref, RunId};
use serde::{Deserialize, Serialize};

/// The weights a run begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a run")]
pub(crate) enum Start {
    /// Drawn from the seed.
    Scratch,
    /// Read from an artifact.
    Weights {
        artifact: Ref,
        weights_digest: Blake3,
        /// The registered model they are, where they are one.
        model: Option<Ref>,
        /// The run that made them, where one did.
        run: Option<RunId>,
    },
}

/// A training run, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) dataset: Ref,
    pub(crate) split: String,
    /// Scored at every checkpoint; absent where the version has none.
    pub(crate) validation_split: Option<String>,
    /// Artifact: the tokenizer.
    pub(crate) tokenizer: Ref,
    pub(crate) start: Start,
    pub(crate) architecture: DecoderConfig,
    pub(crate) seed: u64,
    /// Optimizer steps; where `epochs` was given, what it came to.
    pub(crate) steps: u64,
    pub(crate) epochs: Option<u64>,
    /// Rows of a step, all its micro-batches together.
    pub(crate) batch_size: usize,
    pub(crate) options: TrainOptions,
    pub(crate) schedule: Schedule,
    pub(crate) checkpoint_every: u64,
}

impl Plan {
    /// The plan that a run recorded when it started.
    pub(crate) fn recorded(started: &RunStarted) -> Result<Self, Error> {
        serde_json::from_str(started.config.as_str()).map_err(|e| Error::Stored {
            what: format!("the config of run:{}", started.run),
            why: format!("{e}; only runs of this program's train jobs can be resumed, replayed and built on"),
        })
    }

    /// Refuses what no step could be taken with.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.architecture.validate()?;
        self.options.validate(&self.architecture)?;
        self.schedule.validate()?;
        if self.options.rows_per_micro_batch * self.options.micro_batches != self.batch_size {
            return Err(Error::refused(
                format!(
                    "`batch_size` {} is not divided by `micro_batches` {}",
                    self.batch_size, self.options.micro_batches
                ),
                "choose a batch size that is a multiple of the micro-batches",
            ));
        }
        if self.steps == 0 || self.schedule.total_steps != self.steps {
            return Err(Error::refused(format!("`steps` is {}", self.steps), "train for at least 1 step"));
        }
        if self.checkpoint_every == 0 {
            return Err(Error::refused("`checkpoint_every` is 0", "use 1 or more steps"));
        }
        Ok(())
    }

    /// Whether a checkpoint is due after this step: at every multiple, and at the end.
    pub(crate) fn checkpoint_due(&self, step: u64) -> bool {
        step == self.steps || step.is_multiple_of(self.checkpoint_every)
    }

    /// The model it starts from, where that has a name.
    pub(crate) fn base_model(&self) -> Option<Ref> {
        match &self.start {
            Start::Weights { model: Some(model), .. } => Some(model.clone()),
            Start::Weights { artifact, .. } => Some(artifact.clone()),
            Start::Scratch => None,
        }
    }

    pub(crate) fn parent(&self) -> Option<RunId> {
        match &self.start {
            Start::Weights { run, .. } => *run,
            Start::Scratch => None,
        }
    }
}

/// Reads `scratch:layers=4,width=128,…`: keys of the decoder's configuration, `vocabulary` and `context` by default
/// those of the tokenizer and of the rows. Each key is refused by name where unknown, malformed or repeated.
pub(crate) fn parse_scratch(text: &str, vocabulary: usize, context: usize) -> Result<DecoderConfig, Error> {
    const RIGHT: &str = "write scratch:layers=4,width=128,heads=2,feed_forward=352 and, if wanted, vocabulary, context, \
                         rope_theta, norm_eps, tied_embeddings";
    let mut keys = serde_json::Map::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let refused = |why: String| Error::refused(format!("`base_model` scratch:{text}: {why}"), RIGHT);
        let (key, value) = pair.split_once('=').ok_or_else(|| refused(format!("`{pair}` has no `=`")))?;
        let (key, value) = (key.trim(), value.trim());
        let parsed: serde_json::Value =
            serde_json::from_str(value).map_err(|_| refused(format!("`{value}` of `{key}` is not a value")))?;
        if keys.insert(key.to_owned(), parsed).is_some() {
            return Err(refused(format!("`{key}` is given twice")));
        }
    }
    keys.entry("vocabulary").or_insert(vocabulary.into());
    keys.entry("context").or_insert(context.into());
    let config: DecoderConfig = serde_json::from_value(serde_json::Value::Object(keys))
        .map_err(|e| Error::refused(format!("`base_model` scratch:{text}: {e}"), RIGHT))?;
    config.validate()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_takes_defaults_from_tokenizer_and_rows() {
        let config = parse_scratch("layers=2,width=32,heads=2,feed_forward=64", 300, 48).unwrap();
        assert_eq!((config.layers, config.vocabulary, config.context), (2, 300, 48));
        let config =
            parse_scratch("layers=2, width=32,heads=2,feed_forward=64,context=96,tied_embeddings=false", 300, 48);
        let config = config.unwrap();
        assert_eq!((config.context, config.tied_embeddings), (96, false));
    }

    #[test]
    fn scratch_refuses_by_name() {
        for (text, why) in [
            ("layers=2,width=32,heads=2", "feed_forward"),
            ("layers=2,width=32,heads=2,feed_forward=64,experts=4", "experts"),
            ("layers", "`layers` has no `=`"),
            ("layers=two,width=32,heads=2,feed_forward=64", "`two` of `layers`"),
            ("layers=2,layers=3", "twice"),
            ("layers=0,width=32,heads=2,feed_forward=64", "`layers` is 0"),
        ] {
            let error = parse_scratch(text, 300, 48).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
