//! How a model reads what it is asked and what its tokens are called: a tokenizer trained here, or a folder's.

use crate::Error;
use crate::chat::{self, Message};
use crate::opened_model::{OpenedModel, Turns, now};
use cairn_gpu::{Detokenizer, Sampling, Tokenizer};
use serde_json::Value;

/// Tokenizer and template of a model that answers.
pub enum Reader {
    Trained(Box<Tokenizer>),
    Folder(Box<OpenedModel>),
}

impl Reader {
    /// Tokens of a conversation, up to where the answer begins.
    pub fn prompt_of_turns(&self, turns: &Turns) -> Result<Vec<u32>, Error> {
        match self {
            Reader::Folder(model) => model.prompt(turns, now()),
            Reader::Trained(tokenizer) => {
                if turns.tools.is_some() {
                    let why = "the models trained here know no functions; leave them out";
                    return Err(Error::refused("`tools` were given", why));
                }
                let messages = turns.messages.iter().enumerate().map(|(index, message)| {
                    let role = message.get("role").and_then(Value::as_str);
                    let content = message.get("content").and_then(Value::as_str);
                    match (role, content) {
                        (Some(role), Some(content)) => Ok(Message { role: role.into(), content: content.into() }),
                        _ => Err(Error::refused(format!("messages[{index}]"), "needs `role` and `content`, two texts")),
                    }
                });
                chat::render(&messages.collect::<Result<Vec<_>, _>>()?, tokenizer)
            }
        }
    }

    /// Tokens of a text that is to be continued.
    pub fn prompt_of_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        match self {
            Reader::Folder(model) => Ok(model.tokenizer.encode_prompt(text)?),
            Reader::Trained(tokenizer) => {
                let mut tokens = tokenizer.render_document(text);
                tokens.pop();
                Ok(tokens)
            }
        }
    }

    /// Tokens that end an answer.
    pub fn ends(&self) -> Vec<u32> {
        match self {
            Reader::Folder(model) => model.ends(),
            Reader::Trained(_) => vec![Tokenizer::EOS],
        }
    }

    /// How tokens are chosen where a request does not say: as the folder's makers would, or drawn at temperature 1.
    pub fn sampling(&self, max_new_tokens: usize) -> Sampling {
        let drawn = Sampling { temperature: 1.0, ..Sampling::greedy(max_new_tokens, self.ends()) };
        match self {
            Reader::Folder(model) if model.folder.generation().sample => model.sampling(max_new_tokens),
            _ => drawn,
        }
    }

    pub fn detokenizer(&self) -> &Detokenizer {
        match self {
            Reader::Folder(model) => model.tokenizer.detokenizer(),
            Reader::Trained(tokenizer) => tokenizer.detokenizer(),
        }
    }

    /// A token by itself, as a record of probabilities shows it: its bytes where it has some, else its name.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        match self.detokenizer().token_bytes(id) {
            Some(bytes) if !bytes.is_empty() => bytes.to_vec(),
            _ => match self {
                Reader::Folder(model) => model.tokenizer.token(id).unwrap_or_default().into_bytes(),
                Reader::Trained(_) => trained_special(id).into_bytes(),
            },
        }
    }
}

/// The name of a control token of tokenizers trained here.
fn trained_special(id: u32) -> String {
    match id {
        Tokenizer::PAD => "<|pad|>",
        Tokenizer::BOS => "<|bos|>",
        Tokenizer::EOS => "<|eos|>",
        Tokenizer::USER => "<|user|>",
        Tokenizer::ASSISTANT => "<|assistant|>",
        _ => "",
    }
    .to_owned()
}
