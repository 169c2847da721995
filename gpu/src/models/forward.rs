//! A decoder's whole pass in its primitive form: logits at every position, without a cache. The form that is trained,
//! and what the fused form is checked against.

use super::DecoderConfig;
use super::inference::logits_graph;
use crate::loaded::Loaded;
use crate::{Error, Feed, Runtime, Session, Weights};

/// Texts are padded to multiples of this, so that few sessions serve all lengths.
const LENGTH_STEP: usize = 32;
/// Sessions kept, of the lengths met last.
const SESSIONS_MAX: usize = 4;

/// Logits of texts, one at a time.
pub struct Forward {
    runtime: Runtime,
    config: DecoderConfig,
    weights: Loaded,
    sessions: Vec<(usize, Session)>,
}

impl Forward {
    /// Checks the weights against the configuration.
    pub fn new(runtime: &Runtime, config: &DecoderConfig, weights: Weights) -> Result<Self, Error> {
        let loaded = Loaded::of(runtime, config, weights)?;
        Ok(Self { runtime: runtime.clone(), config: config.clone(), weights: loaded, sessions: Vec::new() })
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Logits after each of `tokens`: [tokens, vocabulary], row-major.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        check_tokens("prompt", tokens, self.config.vocabulary, self.config.context)?;
        let length = tokens.len().next_multiple_of(LENGTH_STEP).min(self.config.context);
        let session = match self.sessions.iter().position(|(known, _)| *known == length) {
            Some(at) => at,
            None => {
                if self.sessions.len() == SESSIONS_MAX {
                    self.sessions.remove(0);
                }
                self.sessions.push((length, self.runtime.session(&logits_graph(&self.config, 1, length))?));
                self.sessions.len() - 1
            }
        };
        let mut ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        ids.resize(length, 0);
        let positions: Vec<i64> = (0..length as i64).collect();
        let segments: Vec<i64> = (0..length).map(|at| i64::from(at < tokens.len())).collect();
        let mut feeds = self.weights.feeds();
        feeds.extend([
            ("tokens", Feed::I64(&ids)),
            ("positions", Feed::I64(&positions)),
            ("segments", Feed::I64(&segments)),
        ]);
        let mut logits = self.sessions[session].1.run(&feeds)?.take_f32("logits")?;
        logits.truncate(tokens.len() * self.config.vocabulary);
        Ok(logits)
    }
}

/// Refuses an empty text, one longer than the context, and ids without a row.
pub(crate) fn check_tokens(key: &str, tokens: &[u32], vocabulary: usize, context: usize) -> Result<(), Error> {
    if tokens.is_empty() || tokens.len() > context {
        let expected = format!("1 to {context} tokens: the model's context");
        return Err(Error::invalid(key, format!("{} tokens long", tokens.len()), expected));
    }
    match tokens.iter().find(|&&token| token as usize >= vocabulary) {
        Some(token) => Err(Error::invalid("token", token, format!("an id below {vocabulary}: the model's vocabulary"))),
        None => Ok(()),
    }
}
