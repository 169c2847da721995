//! Asks witnesses to cosign each new checkpoint and keeps what they answer. Nothing waits for them.
//!
//! Source: C2SP tlog-witness.

use crate::state::App;
use cairn_ledger::{CosignerKey, Ledger, SignedCheckpoint};
use cairn_schemas::TenantId;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a log is looked at for a new checkpoint.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for a witness's answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause before a witness that failed is asked again; the pause doubles from one second.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A witness may tell its size once, and move on once while it is told of ours.
const ATTEMPTS: usize = 3;

/// A witness that checkpoints are pushed to: `URL=VERIFIER_KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAddress {
    /// What `/add-checkpoint` is appended to.
    pub url: String,
    pub key: CosignerKey,
}

impl FromStr for WitnessAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (url, key) = text.split_once('=').ok_or("a witness is URL=VERIFIER_KEY, such as the line it prints")?;
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(format!("a witness's address begins with http:// or https://, not `{url}`"));
        }
        let key =
            CosignerKey::decode(key).map_err(|expected| format!("`{key}` is no witness's key: expected {expected}"))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key })
    }
}

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it cosigned size {theirs}, but this log has only {ours}: entries that were published are gone")]
    Ahead { theirs: u64, ours: u64 },
    #[error(
        "it cosigned another tree of size {size}, or the proof does not lead from there: this log shows two histories"
    )]
    Fork { size: u64 },
    #[error("it refused with {status}: {text}")]
    Refused { status: u16, text: String },
    #[error("its answer holds no cosignature that its key accepts")]
    NoCosignature,
    #[error("the ledger could not prove it or keep it: {0}")]
    Ledger(#[from] cairn_ledger::Error),
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
}

impl Failure {
    /// Whether the witness says that this log broke its word. That is told loudly.
    fn is_accusation(&self) -> bool {
        matches!(self, Failure::Ahead { .. } | Failure::Fork { .. })
    }
    fn outcome(&self) -> &'static str {
        match self {
            Failure::Ahead { .. } => "ahead",
            Failure::Fork { .. } => "fork",
            Failure::Refused { .. } | Failure::NoCosignature => "refused",
            Failure::Ledger(_) => "failed",
            Failure::Unreachable(_) => "unreachable",
        }
    }
}

/// Pushes the checkpoints of every log until the server stops.
pub(crate) async fn push_all(app: App, witnesses: Vec<WitnessAddress>, mut stopping: watch::Receiver<bool>) {
    let client = match reqwest::Client::builder().timeout(TIMEOUT).build() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "no witness can be asked"),
    };
    let (mut logs, mut known) = (JoinSet::new(), BTreeSet::new());
    while !*stopping.borrow() {
        for tenant in app.ctx.ledger().tenants() {
            if known.insert(tenant.clone()) {
                for witness in &witnesses {
                    logs.spawn(push_log(app.clone(), tenant.clone(), witness.clone(), client.clone()));
                }
            }
        }
        let _ = tokio::time::timeout(TICK, stopping.wait_for(|stop| *stop)).await;
    }
    logs.shutdown().await;
}

/// Pushes one log's checkpoints to one witness: whoever is slow or gone delays nobody else.
async fn push_log(app: App, tenant: TenantId, witness: WitnessAddress, client: reqwest::Client) {
    let ledger = app.ctx.ledger().clone();
    let name = witness.key.name();
    let mut size = ledger.cosigned_size(&tenant, &witness.key);
    let mut pause = Duration::ZERO;
    loop {
        tokio::time::sleep(TICK.max(pause)).await;
        let Some(signed) = ledger.stored_checkpoint(&tenant).filter(|signed| signed.checkpoint.size > size) else {
            continue;
        };
        let outcome = match push(&ledger, &tenant, &client, &signed, &witness, size).await {
            Ok(lines) => keep(&ledger, &tenant, &signed, &witness, lines).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {
                app.telemetry.witnessed(name, "cosigned");
                (size, pause) = (signed.checkpoint.size, Duration::ZERO);
            }
            Err(failure) => {
                app.telemetry.witnessed(name, failure.outcome());
                pause = (pause * 2).clamp(Duration::from_secs(1), PAUSE_MAX);
                let url = &witness.url;
                match failure.is_accusation() {
                    true => tracing::error!(%tenant, witness = name, url, "a witness contradicts this log: {failure}"),
                    false => tracing::warn!(%tenant, witness = name, url, "a witness did not cosign: {failure}"),
                }
            }
        }
    }
}

async fn keep(
    ledger: &Ledger,
    tenant: &TenantId,
    signed: &SignedCheckpoint,
    witness: &WitnessAddress,
    lines: String,
) -> Result<(), Failure> {
    let (ledger, tenant, signed, key) = (ledger.clone(), tenant.clone(), signed.clone(), witness.key.clone());
    let kept = tokio::task::spawn_blocking(move || ledger.keep_cosignatures(&tenant, &signed, &[(key, lines)])).await;
    kept.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
    Ok(())
}

/// Sends the checkpoint with its proof from where the witness stands; if that is elsewhere, it says so and is asked again.
async fn push(
    ledger: &Ledger,
    tenant: &TenantId,
    client: &reqwest::Client,
    signed: &SignedCheckpoint,
    witness: &WitnessAddress,
    mut old: u64,
) -> Result<String, Failure> {
    let ours = signed.checkpoint.size;
    for _ in 0..ATTEMPTS {
        let (proving, of, to) = (ledger.clone(), tenant.clone(), signed.clone());
        let proof = tokio::task::spawn_blocking(move || proving.prove_consistency(&of, old, Some(&to))).await;
        let (_, proof) = proof.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        let url = format!("{}/add-checkpoint", witness.url);
        let response = client.post(url).body(proof.encode()).send().await?;
        let status = response.status().as_u16();
        let text = limited(response).await?;
        match status {
            200 if witness.key.has_cosigned(signed, &text) => return Ok(text),
            200 => return Err(Failure::NoCosignature),
            409 => match text.trim_end().parse::<u64>() {
                Ok(theirs) if theirs > ours => return Err(Failure::Ahead { theirs, ours }),
                Ok(theirs) if theirs == old => return Err(Failure::Fork { size: old }),
                Ok(theirs) => old = theirs,
                Err(_) => return Err(Failure::Refused { status, text }),
            },
            422 => return Err(Failure::Fork { size: old }),
            _ => return Err(Failure::Refused { status, text: text.chars().take(200).collect() }),
        }
    }
    Err(Failure::Refused { status: 409, text: "its size keeps changing: somebody else pushes this log".into() })
}

async fn limited(mut response: reqwest::Response) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX
        && let Some(chunk) = response.chunk().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(ANSWER_BYTES_MAX);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_an_address_and_a_key() {
        let key = "witness.example/w1+7ce4a3a5+BAGeXRBz9yVZ";
        for wrong in ["https://w.example", "w.example=x", key, &format!("https://w.example={key}")] {
            assert!(wrong.parse::<WitnessAddress>().is_err(), "{wrong}");
        }
    }
}
