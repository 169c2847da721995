//! Bodies of requests: JSON objects whose parts are read by name and kind, each refused in words about itself.

use super::error::Refusal;
use crate::events::body;
use crate::problem::{Kind, Problem};
use axum::extract::Request;
use axum::http::header;
use serde_json::{Map, Value};

/// An object of a request.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a whole body.
    pub(super) async fn of(request: Request) -> Result<Self, Refusal> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.unwrap_or("a body without a content-type");
        if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let shown: String = media.chars().take(100).collect();
            let detail = format!("{shown} is not supported; send application/json");
            return Err(Problem::new(Kind::UnsupportedMedia, detail).into());
        }
        let bytes = body(request, super::REQUEST_BYTES_MAX).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Problem::malformed("the body is JSON, but no object; send {\"model\": …}").into()),
            Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}")).into()),
        }
    }

    #[cfg(test)]
    pub(super) fn of_json(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self(fields),
            other => panic!("{other} is no object"),
        }
    }

    /// Takes a part out; null counts as absent, as in OpenAI's clients.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, &other, "a text")),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, &other, "true or false")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<f32>, Refusal> {
        let number = self.take(name).map(|value| value.as_f64().ok_or_else(|| wrong(name, &value, "a number")));
        Ok(number.transpose()?.map(|number| number as f32))
    }

    pub(super) fn whole(&mut self, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let right = format!("a whole number from 0 to {most}");
        let number = self
            .take(name)
            .map(|value| value.as_u64().filter(|number| *number <= most).ok_or_else(|| wrong(name, &value, &right)));
        number.transpose()
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong(name, &other, "a list")),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(wrong(name, &other, "an object")),
        }
    }

    /// A text, or several.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let right = "a text or a list of texts";
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(wrong(name, &other, right)),
                })
                .collect(),
            Some(other) => Err(wrong(name, &other, right)),
        }
    }

    pub(super) fn model(&mut self) -> Result<String, Refusal> {
        let name = self.text("model")?;
        name.filter(|name| !name.is_empty())
            .ok_or_else(|| Refusal::missing("model", "name one that GET /v1/models lists"))
    }

    /// Drops what only accounts and caches elsewhere read, and refuses everything else that is left.
    pub(super) fn end(mut self, known: &[&str]) -> Result<(), Refusal> {
        const WITHOUT_EFFECT: [&str; 9] = [
            "user",
            "metadata",
            "store",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "parallel_tool_calls",
            "verbosity",
        ];
        for name in WITHOUT_EFFECT {
            self.0.shift_remove(name);
        }
        match self.0.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(Refusal::unknown(name, known)),
            None => Ok(()),
        }
    }
}

pub(super) fn wrong(name: &str, value: &Value, right: &str) -> Refusal {
    let shown: String = value.to_string().chars().take(80).collect();
    Refusal::value(name, format!("`{name}` is {shown}, expected {right}"))
}

/// Texts or token ids to work on: one text, several, one list of ids, several.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

pub(super) fn inputs(name: &str, value: Value, most: usize) -> Result<Vec<Input>, Refusal> {
    let right = "a text, a list of texts, a list of token ids, or a list of such lists";
    let ids = |value: Value| serde_json::from_value::<Vec<u32>>(value).ok().map(Input::Tokens);
    let found = match value {
        Value::String(text) => vec![Input::Text(text)],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            vec![ids(Value::Array(items)).ok_or_else(|| Refusal::value(name, format!("`{name}` is not {right}")))?]
        }
        Value::Array(items) => {
            let one = |(index, item)| match item {
                Value::String(text) => Ok(Input::Text(text)),
                Value::Array(_) => {
                    ids(item).ok_or_else(|| Refusal::value(name, format!("`{name}[{index}]` is no list of token ids")))
                }
                other => Err(wrong(name, &other, right)),
            };
            items.into_iter().enumerate().map(one).collect::<Result<_, _>>()?
        }
        other => return Err(wrong(name, &other, right)),
    };
    match found.len() {
        0 => Err(Refusal::value(name, format!("`{name}` is empty; send at least one text"))),
        given if given > most => {
            Err(Refusal::value(name, format!("`{name}` has {given} entries, at most {most} are taken")))
        }
        _ => Ok(found),
    }
}
