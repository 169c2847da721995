//! A model's folder opened for inference, with what reads its texts: tokenizer, chat template, ends of an answer.

use crate::Error;
use crate::chat_template::{ChatTemplate, Conversation};
use cairn_gpu::{EncoderOutput, FolderTokenizer, GenerationDefaults, ModelConfig, ModelFolder, Sampling};
use cairn_schemas::Blake3;
use jiff::Zoned;
use serde_json::{Map, Value};
use std::path::Path;

/// Control tokens that end a turn, where a folder's settings name another end or none.
const TURN_ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"];

/// A folder whose files were read and checked; its weights' numbers are read by whoever computes with them.
pub struct OpenedModel {
    pub folder: ModelFolder,
    pub tokenizer: FolderTokenizer,
    pub template: Option<ChatTemplate>,
    /// Of the files of weights.
    pub weights_digest: Blake3,
}

/// Messages as a request gives them.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    pub messages: Vec<Value>,
    pub tools: Option<Vec<Value>>,
    /// Further variables of the template.
    pub more: Map<String, Value>,
}

impl OpenedModel {
    /// Opens a folder. Errors name the file and what is wrong with it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let folder = ModelFolder::open(dir)?;
        let tokenizer = FolderTokenizer::of_folder(&folder)?;
        let template = ChatTemplate::of_folder(&folder)?;
        let weights_digest = folder.weights_digest()?.parse()?;
        Ok(Self { folder, tokenizer, template, weights_digest })
    }

    /// Tokens of a conversation, up to where the answer begins.
    pub fn prompt(&self, turns: &Turns, now: Zoned) -> Result<Vec<u32>, Error> {
        let text = self.render(turns, now)?;
        Ok(self.tokenizer.encode(&text)?)
    }

    /// What the chat template makes of a conversation.
    pub fn render(&self, turns: &Turns, now: Zoned) -> Result<String, Error> {
        let template = self.template.as_ref().ok_or_else(|| {
            let dir = self.folder.dir().display();
            Error::refused(
                format!("the model of {dir} has no chat template"),
                "give it a plain prompt, or its folder a chat_template.jinja",
            )
        })?;
        template.render(&Conversation {
            messages: &turns.messages,
            tools: turns.tools.as_deref(),
            add_generation_prompt: true,
            specials: &self.folder.texts().special_tokens,
            more: &turns.more,
            now,
        })
    }

    /// Tokens that end an answer: those of the settings, and the end of a turn where the template writes one.
    pub fn ends(&self) -> Vec<u32> {
        let mut ends = self.folder.generation().eos.clone();
        let named = self.folder.texts().special_tokens.get("eos_token");
        let of_turns = TURN_ENDS.iter().filter(|end| self.template_writes(end)).copied();
        let texts = named.map(String::as_str).into_iter().chain(of_turns);
        ends.extend(texts.filter_map(|text| self.tokenizer.id_of(text)));
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// How the folder's makers would have tokens chosen, by default: drawn, or the likeliest.
    pub fn sampling(&self, max_new_tokens: usize) -> Sampling {
        let GenerationDefaults { sample, temperature, top_k, top_p, min_p, repetition_penalty, .. } =
            self.folder.generation();
        let greedy = Sampling::greedy(max_new_tokens, self.ends());
        let repetition_penalty = repetition_penalty.map(|penalty| penalty as f32).filter(|penalty| *penalty != 1.0);
        match sample {
            false => Sampling { repetition_penalty, ..greedy },
            true => Sampling {
                temperature: temperature.unwrap_or(1.0) as f32,
                top_k: top_k.filter(|k| *k > 0).map(|k| k as u32),
                top_p: top_p.map(|p| p as f32).filter(|p| *p < 1.0),
                min_p: min_p.map(|p| p as f32),
                repetition_penalty,
                ..greedy
            },
        }
    }

    /// Most tokens of a text for an encoder: by its settings, and by its table of positions.
    pub fn text_tokens_max(&self) -> usize {
        let context = self.folder.config().context();
        self.folder.texts().tokens_max.map_or(context, |most| most.min(context))
    }

    /// What stands before each text that is embedded: by its name in the folder's settings, or the one that is always.
    pub fn text_prompt(&self, name: Option<&str>) -> Result<String, Error> {
        let texts = self.folder.texts();
        let Some(name) = name else { return Ok(texts.default_prompt.clone().unwrap_or_default()) };
        texts.prompts.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = texts.prompts.keys().map(String::as_str).collect();
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            Error::refused(format!("{} has no prompt `{name}`", self.folder.dir().display()), known)
        })
    }

    /// What its encoder is asked for.
    pub fn encoder_output(&self) -> EncoderOutput {
        self.folder.pooling().map_or(EncoderOutput::Scores, EncoderOutput::Embedding)
    }

    /// What it is, in a word: `decoder`, `embedder` or `reranker`.
    pub fn kind(&self) -> &'static str {
        match self.folder.config() {
            ModelConfig::Decoder(_) => "decoder",
            ModelConfig::Encoder(_) if self.folder.pooling().is_some() => "embedder",
            ModelConfig::Encoder(_) => "reranker",
        }
    }

    fn template_writes(&self, token: &str) -> bool {
        self.folder.texts().chat_template.as_ref().is_some_and(|template| template.contains(token))
    }
}

/// What the machine's clock says, in its time zone: what templates tell a model of today.
pub fn now() -> Zoned {
    Zoned::now()
}
