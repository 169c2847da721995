//! Errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`.

use crate::problem::{Kind, Problem};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal, and the part of the request that it is about.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    param: Option<String>,
    code: Option<&'static str>,
}

impl Refusal {
    /// A value of the request that cannot be used.
    pub(super) fn value(param: &str, message: impl Into<String>) -> Self {
        Self { problem: Problem::malformed(message).into(), param: Some(param.to_owned()), code: Some("invalid_value") }
    }

    /// A part of the request that is missing.
    pub(super) fn missing(param: &str, right: &str) -> Self {
        let problem = Problem::malformed(format!("`{param}` is missing; {right}"));
        Self { problem: problem.into(), param: Some(param.to_owned()), code: Some("missing_required_parameter") }
    }

    /// A part of the dialect that is not here.
    pub(super) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        let problem = Problem::new(Kind::Unsupported, message);
        Self { problem: problem.into(), param: Some(param.to_owned()), code: Some("unsupported_parameter") }
    }

    pub(super) fn unknown(param: &str, known: &[&str]) -> Self {
        let shown: String = param.chars().take(60).collect();
        let problem =
            Problem::new(Kind::Unsupported, format!("`{shown}` is not known; there are {}", known.join(", ")));
        Self { problem: problem.into(), param: Some(shown), code: Some("unknown_parameter") }
    }

    pub(super) fn no_model(name: &str, there: &[String]) -> Self {
        let there =
            if there.is_empty() { "none is served".to_owned() } else { format!("there are {}", there.join(", ")) };
        let shown: String = name.chars().take(100).collect();
        let problem = Problem::not_found(format!("there is no model `{shown}`; {there}"));
        Self { problem: problem.into(), param: Some("model".to_owned()), code: Some("model_not_found") }
    }

    /// More than the model's context.
    pub(super) fn context(param: &str, message: String) -> Self {
        let problem = Problem::malformed(message);
        Self { problem: problem.into(), param: Some(param.to_owned()), code: Some("context_length_exceeded") }
    }

    /// About this part, where the request is wrong and nothing is said of another.
    pub(super) fn about(mut self, param: &str) -> Self {
        if self.problem.kind.status().is_client_error() && self.problem.kind != Kind::Busy {
            self.param.get_or_insert_with(|| param.to_owned());
        }
        self
    }

    /// What was refused, for the server's figures.
    pub(super) fn problem(&self) -> &Problem {
        &self.problem
    }

    pub(super) fn to_json(&self) -> Value {
        let kind = self.problem.kind;
        let of_type = match kind.status() {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let code = self.code.unwrap_or_else(|| kind.slug());
        json!({ "error": { "message": self.problem.detail, "type": of_type, "param": self.param, "code": code } })
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: problem.into(), param: None, code: None }
    }
}

impl From<cairn_processors::Error> for Refusal {
    /// What the models refuse in a value is said of the parameter of that name.
    fn from(error: cairn_processors::Error) -> Self {
        use cairn_gpu::Error as Gpu;
        use cairn_processors::Error;
        match &error {
            Error::PromptTooLong { .. } => {
                let problem = Problem::malformed(error.to_string());
                Self { problem: problem.into(), param: None, code: Some("context_length_exceeded") }
            }
            Error::Gpu(Gpu::Invalid { key, found, expected }) => {
                let (param, shown) = match key.as_str() {
                    "max_new_tokens" => ("max_tokens", "max_tokens"),
                    other => (other, other),
                };
                Self::value(param, format!("`{shown}` is {found}, expected {expected}"))
            }
            Error::Refused { .. } => {
                let problem = Problem::malformed(error.chain());
                Self { problem: problem.into(), param: None, code: Some("invalid_value") }
            }
            _ => Problem::from(error).into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.problem.kind.status(), self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.problem.retry_after_s() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
