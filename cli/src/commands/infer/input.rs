//! What these commands read: one JSON value a line, a text, token ids or a conversation.

use crate::exit;
use anyhow::Context as _;
use cairn_processors::opened_model::{OpenedModel, Turns};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of one line.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Where prompts and texts come from.
#[derive(clap::Args)]
pub(crate) struct InputArgs {
    /// A file of JSON lines; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
}

impl InputArgs {
    /// Calls `each` with every line that is not empty and its number.
    pub(super) fn each(&self, mut each: impl FnMut(usize, Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut input: Box<dyn BufRead> = match self.input == Path::new("-") {
            true => Box::new(std::io::stdin().lock()),
            false => {
                let open = std::fs::File::open(&self.input);
                let told = || format!("cannot read {}", self.input.display());
                match open {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        return Err(exit::not_found(format!("there is no file {}", self.input.display())));
                    }
                    opened => Box::new(BufReader::new(opened.with_context(told)?)),
                }
            }
        };
        for number in 1.. {
            let mut line = Vec::new();
            let most = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut input).take(most).read_until(b'\n', &mut line).context("cannot read the input")?;
            if read == 0 {
                break;
            }
            if read > LINE_BYTES_MAX {
                return Err(wrong(number, format!("is longer than {LINE_BYTES_MAX} bytes")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value = serde_json::from_slice(&line).map_err(|error| {
                let right = "write a text in double quotes, a list of token ids, or an object";
                wrong(number, format!("is not JSON: {error}; {right}"))
            })?;
            each(number, value)?;
        }
        Ok(())
    }

    /// All lines as texts or tokens.
    pub(super) fn all(&self) -> anyhow::Result<Vec<Given>> {
        let mut all = Vec::new();
        self.each(|line, value| {
            all.push(Given::of(line, value)?);
            Ok(())
        })?;
        Ok(all)
    }
}

/// One line.
pub(super) struct Given {
    pub(super) line: usize,
    pub(super) what: What,
}

pub(super) enum What {
    Text(String),
    Tokens(Vec<u32>),
    Turns(Turns),
}

impl Given {
    fn of(line: usize, value: Value) -> anyhow::Result<Self> {
        let what = match value {
            Value::String(text) => What::Text(text),
            Value::Array(_) => What::Tokens(tokens(line, value)?),
            Value::Object(mut object) => {
                let mut taken = Vec::new();
                let mut take = |key: &str| {
                    let value = object.remove(key);
                    taken.extend(value.is_some().then(|| key.to_owned()));
                    value
                };
                let (text, ids) = (take("text").or_else(|| take("prompt")), take("tokens"));
                let (messages, tools, more) = (take("messages"), take("tools"), take("chat_template_kwargs"));
                if let Some(other) = object.keys().next() {
                    let known = "text, prompt, tokens, messages, tools, chat_template_kwargs";
                    return Err(wrong(line, format!("has `{other}`; known are {known}")));
                }
                match (text, ids, messages) {
                    (Some(Value::String(text)), None, None) => What::Text(text),
                    (None, Some(ids), None) => What::Tokens(tokens(line, ids)?),
                    (None, None, Some(messages)) => What::Turns(turns(line, messages, tools, more)?),
                    _ => {
                        let problem =
                            "has none, or more than one, of a text, `tokens` (a list) and `messages` (a list)";
                        return Err(wrong(line, problem.to_owned()));
                    }
                }
            }
            other => {
                return Err(wrong(line, format!("is {other}; a text, a list of token ids or an object is expected")));
            }
        };
        Ok(Self { line, what })
    }

    pub(super) fn text(line: usize, text: String) -> Self {
        Self { line, what: What::Text(text) }
    }

    /// The tokens that a decoder reads.
    pub(super) fn prompt(&self, model: &OpenedModel) -> anyhow::Result<Vec<u32>> {
        match &self.what {
            What::Text(text) => model.tokenizer.encode_prompt(text).map_err(super::told),
            What::Tokens(tokens) => Ok(tokens.clone()),
            What::Turns(turns) => Ok(model.prompt(turns, cairn_processors::opened_model::now())?),
        }
    }

    /// The same words, said of this line.
    pub(super) fn wrong(&self, error: &dyn std::fmt::Display) -> anyhow::Error {
        wrong(self.line, format!("cannot be used: {error}"))
    }
}

pub(super) fn wrong(line: usize, problem: String) -> anyhow::Error {
    exit::wrong_input(format!("line {line} of the input {problem}"))
}

fn tokens(line: usize, value: Value) -> anyhow::Result<Vec<u32>> {
    serde_json::from_value(value)
        .map_err(|error| wrong(line, format!("is not a list of token ids: {error}; they are whole numbers from 0")))
}

fn turns(line: usize, messages: Value, tools: Option<Value>, more: Option<Value>) -> anyhow::Result<Turns> {
    let list = |name: &str, value: Value| match value {
        Value::Array(items) if items.iter().all(Value::is_object) => Ok(items),
        _ => Err(wrong(line, format!("has `{name}` that is no list of objects"))),
    };
    let more = match more {
        None => Default::default(),
        Some(Value::Object(more)) => more,
        Some(_) => return Err(wrong(line, "has `chat_template_kwargs` that is no object".to_owned())),
    };
    Ok(Turns {
        messages: list("messages", messages)?,
        tools: tools.map(|tools| list("tools", tools)).transpose()?,
        more,
    })
}
