//! An encoder that runs: rows of tokens in, states, embeddings or scores out, in either form.

use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::Tensor;

use super::encoder::{self, EncoderOutput};
use super::forward::check_tokens;
use super::{EncoderConfig, Head, ModelConfig, ModelFolder, encoder_fused};
use crate::engine::{INLINE_BYTES_MAX, Places, WeightSource};
use crate::{Error, Feed, Runtime, Session, Weights};

const GRAPH: &str = "encoder_fused";
/// Tokens of one run, padding included: what bounds the memory of a run.
const RUN_TOKENS_MAX: usize = 1 << 20;

/// One text for an encoder.
#[derive(Clone, Copy, Debug)]
pub struct EncoderInput<'a> {
    pub tokens: &'a [u32],
    /// Which segment each token is of; all 0 where empty.
    pub types: &'a [u32],
}

/// An encoder on a device, for one kind of output.
pub struct Encoder {
    config: EncoderConfig,
    output: EncoderOutput,
    runner: Runner,
}

enum Runner {
    Fused(OrtSession),
    Primitive {
        runtime: Runtime,
        weights: Weights,
        /// Of the shape met last.
        session: Option<((usize, usize), Session)>,
    },
}

impl Encoder {
    /// The inference form of a folder's model. Large weights are read by the runtime itself, from the folder.
    pub fn open_folder(runtime: &Runtime, folder: &ModelFolder, output: EncoderOutput) -> Result<Self, Error> {
        let ModelConfig::Encoder(config) = folder.config() else {
            let expected = "an encoder; a decoder generates, it does not embed or score";
            return Err(Error::invalid("model", folder.dir().display(), expected));
        };
        folder.check_numbers()?;
        Self::fused(runtime, config, folder, output)
    }

    /// The inference form.
    pub fn open(
        runtime: &Runtime,
        config: &EncoderConfig,
        weights: &Weights,
        output: EncoderOutput,
    ) -> Result<Self, Error> {
        weights.check_model(&ModelConfig::Encoder(config.clone()))?;
        Self::fused(runtime, config, weights, output)
    }

    /// The primitive form, whose operators have gradients: what the inference form is checked against.
    pub fn primitive(
        runtime: &Runtime,
        config: &EncoderConfig,
        weights: Weights,
        output: EncoderOutput,
    ) -> Result<Self, Error> {
        check(config, output)?;
        weights.check_model(&ModelConfig::Encoder(config.clone()))?;
        let runner = Runner::Primitive { runtime: runtime.clone(), weights, session: None };
        Ok(Self { config: config.clone(), output, runner })
    }

    fn fused(
        runtime: &Runtime,
        config: &EncoderConfig,
        source: &dyn WeightSource,
        output: EncoderOutput,
    ) -> Result<Self, Error> {
        check(config, output)?;
        let names: Vec<String> = config.parameter_shapes().into_iter().map(|(name, _)| name).collect();
        let mut places = Places::new(source, &names, None, INLINE_BYTES_MAX)?;
        let graph = encoder_fused::graph(config, output, &mut places)?;
        let folder = places.folder()?;
        let session = runtime.bare_session(&graph, folder.as_deref())?;
        Ok(Self { config: config.clone(), output, runner: Runner::Fused(session) })
    }

    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Runs texts as one batch, padded to the longest: best of about equal lengths. Gives, for each, the numbers of
    /// its output, in order.
    pub fn run(&mut self, texts: &[EncoderInput<'_>]) -> Result<Vec<Vec<f32>>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.check_texts(texts)?;
        let length = texts.iter().map(|text| text.tokens.len()).max().expect("there is a text");
        let shape = (texts.len(), length);
        let padded = |fill: &dyn Fn(&EncoderInput<'_>, usize) -> u32| -> Vec<i64> {
            let row = |text| (0..length).map(move |at| i64::from(fill(text, at)));
            texts.iter().flat_map(row).collect()
        };
        let tokens = padded(&|text, at| text.tokens.get(at).copied().unwrap_or(0));
        // Tokenizers number segments even for models that know only one.
        let kinds = self.config.token_types > 1;
        let types = padded(&|text, at| text.types.get(at).filter(|_| kinds).copied().unwrap_or(0));
        let mask = padded(&|text, at| u32::from(at < text.tokens.len()));
        let out = match &mut self.runner {
            Runner::Primitive { runtime, weights, session } => {
                if session.as_ref().is_none_or(|(known, _)| *known != shape) {
                    *session = Some((shape, runtime.session(&encoder::graph(&self.config, self.output, shape))?));
                }
                let mut feeds: Vec<_> = weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect();
                feeds.extend([("tokens", &tokens), ("types", &types), ("mask", &mask)].map(|(n, x)| (n, Feed::I64(x))));
                session.as_mut().expect("made above").1.run(&feeds)?.take_f32("output")?
            }
            Runner::Fused(session) => {
                let lengths = texts.iter().map(|text| text.tokens.len() as i32).collect();
                let positions = (0..length).map(|at| (self.config.position_offset + at) as i64).collect();
                run_fused(session, shape, [tokens, types, mask], lengths, positions)
                    .map_err(|source| Error::Run { graph: GRAPH.to_owned(), source: source.into() })?
            }
        };
        let each = out.len() / texts.len();
        let kept = |text: &EncoderInput<'_>| match self.output {
            EncoderOutput::States => text.tokens.len() * self.config.width,
            EncoderOutput::Embedding(_) | EncoderOutput::Scores => each,
        };
        Ok(texts.iter().zip(out.chunks_exact(each)).map(|(text, row)| row[..kept(text)].to_vec()).collect())
    }

    fn check_texts(&self, texts: &[EncoderInput<'_>]) -> Result<(), Error> {
        let mut longest = 0;
        for text in texts {
            check_tokens("text", text.tokens, self.config.vocabulary, self.config.context)?;
            longest = longest.max(text.tokens.len());
            if !text.types.is_empty() && text.types.len() != text.tokens.len() {
                let expected = format!("as many as tokens ({})", text.tokens.len());
                return Err(Error::invalid("types", text.types.len(), expected));
            }
            let known = |kind: u32| self.config.token_types == 1 || (kind as usize) < self.config.token_types;
            if let Some(kind) = text.types.iter().find(|&&kind| !known(kind)) {
                return Err(Error::invalid("types", kind, format!("below {}", self.config.token_types)));
            }
        }
        match texts.len() * longest {
            tokens if tokens > RUN_TOKENS_MAX => {
                let found = format!("{} texts of up to {longest} tokens", texts.len());
                Err(Error::invalid(
                    "texts",
                    found,
                    format!("at most {RUN_TOKENS_MAX} tokens together, padding included"),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn check(config: &EncoderConfig, output: EncoderOutput) -> Result<(), Error> {
    config.validate()?;
    match (output, config.head) {
        (EncoderOutput::Scores, Head::None) => {
            Err(Error::invalid("output", "scores", "embeddings: the model has no classification head"))
        }
        (EncoderOutput::Embedding(_), Head::Classification { .. }) => {
            Err(Error::invalid("output", "embeddings", "scores: the model has a classification head"))
        }
        _ => Ok(()),
    }
}

fn run_fused(
    session: &mut OrtSession,
    (rows, length): (usize, usize),
    [tokens, types, mask]: [Vec<i64>; 3],
    lengths: Vec<i32>,
    positions: Vec<i64>,
) -> Result<Vec<f32>, ort::Error> {
    let needed: Vec<String> = session.inputs().iter().map(|input| input.name().to_owned()).collect();
    let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
        ("tokens", Tensor::from_array(([rows, length], tokens))?.into()),
        ("types", Tensor::from_array(([rows, length], types))?.into()),
        ("mask", Tensor::from_array(([rows, length], mask))?.into()),
        ("lengths", Tensor::from_array(([rows], lengths))?.into()),
        ("positions", Tensor::from_array(([length], positions))?.into()),
    ];
    inputs.retain(|(name, _)| needed.iter().any(|known| known == name));
    let outputs = session.run(inputs)?;
    Ok(outputs["output"].try_extract_tensor::<f32>()?.1.to_vec())
}
