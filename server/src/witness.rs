//! `cairn witness`: the witness protocol over HTTP (C2SP tlog-witness), for logs of others.

use crate::error::Error;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cairn_ledger::{REQUEST_BYTES_MAX, Refusal, Witness};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What a conflict's body is: the size that the witness knows, in decimal.
const SIZE: &str = "text/x.tlog.size";
const TEXT: &str = "text/plain; charset=utf-8";

/// A witness that listens and has not begun to answer.
pub struct WitnessServer {
    listener: TcpListener,
    address: SocketAddr,
    witness: Arc<Witness>,
}

impl WitnessServer {
    pub async fn bind(listen: SocketAddr, witness: Witness) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, witness: Arc::new(witness) })
    }

    /// The address it listens on; its port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves; what is under way is finished.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let router = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/", get(describe))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(self.witness);
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(shutdown);
        serving.await.map_err(|source| Error::Serve { source })
    }
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let answer = tokio::task::spawn_blocking(move || match std::str::from_utf8(&body) {
        Ok(body) => witness.add_checkpoint(body),
        Err(_) => Err(Refusal::Malformed("the body is not UTF-8 text".into())),
    });
    match answer.await {
        Ok(Ok(line)) => ([(header::CONTENT_TYPE, TEXT)], line).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(error) => {
            tracing::error!(%error, "a request's work ended early");
            (StatusCode::INTERNAL_SERVER_ERROR, "the work for this request ended early\n").into_response()
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    if let Refusal::Failed(error) = refusal {
        tracing::error!(%error, "a checkpoint could not be kept, and so was not cosigned");
    }
    let status = StatusCode::from_u16(refusal.status()).expect("the specification's statuses are valid");
    let (kind, body) = match refusal {
        Refusal::Conflict { size } => (SIZE, format!("{size}\n")),
        // A path of this machine is nobody's business.
        Refusal::Failed(_) => (TEXT, "the checkpoint could not be kept; send it again later\n".to_owned()),
        other => (TEXT, format!("{other}\n")),
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// For people: who this is, and what it watches.
async fn describe(State(witness): State<Arc<Witness>>) -> Response {
    let mut text = format!("witness {}\n{}\n", witness.key().name(), witness.key().encode());
    for (origin, size) in witness.logs() {
        text += &format!("{size} {origin}\n");
    }
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}
