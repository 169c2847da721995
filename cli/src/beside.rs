//! The server that holds the data directory, asked over HTTP by commands that run beside it.

use crate::exit;
use serde_json::{Value, json};
use std::time::Duration;

/// How long one that listens may take to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a question may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A server that was started on this data directory.
pub(crate) struct Server {
    pub(crate) url: String,
    http: reqwest::Client,
}

/// Who holds the data directory, where opening it failed because another process does: as it described itself.
pub(crate) fn holder(error: &anyhow::Error) -> Option<String> {
    let find = |cause: &(dyn std::error::Error + 'static)| {
        let processors = cause.downcast_ref::<cairn_processors::Error>().and_then(|error| match error {
            cairn_processors::Error::Ledger(error) => Some(error),
            _ => None,
        });
        match processors.or_else(|| cause.downcast_ref()) {
            Some(cairn_ledger::Error::AlreadyOpen { holder, .. }) => Some(holder.clone()),
            _ => None,
        }
    };
    error.chain().find_map(find)
}

impl Server {
    /// The server that a holder says it is; `None`: it is another command.
    pub(crate) fn of(holder: &str) -> Option<Self> {
        let url = holder.split([' ', ',']).find(|word| word.starts_with("http://"))?.to_owned();
        // It is on this machine, or said so itself: no proxy stands between.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).build().ok()?;
        Some(Self { url, http })
    }

    /// The data of a question; each field that failed is null, and its error stands beside it.
    pub(crate) async fn ask(&self, query: &str) -> anyhow::Result<(Value, Vec<String>)> {
        let asked = self.send(query, &json!({}), Some(ANSWER_MAX)).await?;
        let errors = asked["errors"].as_array().into_iter().flatten();
        let errors = errors.map(|error| error["message"].as_str().unwrap_or_default().to_owned()).collect();
        Ok((asked["data"].clone(), errors))
    }

    /// Has something done; takes as long as it takes.
    pub(crate) async fn make(&self, mutation: &str, variables: Value) -> anyhow::Result<Value> {
        let answer = self.send(mutation, &variables, None).await?;
        match answer["errors"].get(0) {
            None => Ok(answer["data"].clone()),
            Some(error) => {
                let message = format!("{}: {}", self.url, error["message"].as_str().unwrap_or("it failed"));
                let code = match error["extensions"]["status"].as_u64() {
                    Some(400..=499) => exit::WRONG_INPUT,
                    _ => exit::FAILED,
                };
                Err(exit::Coded { code, message }.into())
            }
        }
    }

    async fn send(&self, query: &str, variables: &Value, within: Option<Duration>) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}/graphql", self.url)).header("content-type", "application/json");
        let request = request.body(json!({ "query": query, "variables": variables }).to_string());
        let request = match within {
            Some(within) => request.timeout(within),
            None => request,
        };
        let failed = |error: reqwest::Error| anyhow::Error::new(error).context(format!("asking {}", self.url));
        let text = request.send().await.map_err(failed)?.text().await.map_err(failed)?;
        serde_json::from_str(&text).map_err(|_| {
            let shown: String = text.chars().take(200).collect();
            anyhow::anyhow!("{} answered what is no GraphQL answer: {shown}", self.url)
        })
    }
}

/// Runs one question to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_the_note_it_leaves() {
        let of = |holder: &str| Server::of(holder).map(|server| server.url);
        assert_eq!(of("process 12, http://127.0.0.1:8470"), Some("http://127.0.0.1:8470".to_owned()));
        assert_eq!(of("process 12"), None);
        assert_eq!(of("its holder left no note"), None);
        let error = cairn_ledger::Error::AlreadyOpen { dir: "d".into(), holder: "process 12, http://[::1]:1".into() };
        let error = anyhow::Error::new(cairn_processors::Error::Ledger(error));
        assert_eq!(holder(&error).as_deref(), Some("process 12, http://[::1]:1"));
        assert_eq!(holder(&exit::not_found("x".into())), None);
    }
}
