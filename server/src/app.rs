//! The router: the one place that lists every route; and the server's life from binding to the end.

use crate::error::Error;
use crate::graphql::{self, CairnSchema};
use crate::pipelines::Pipelines;
use crate::problem::{Kind, Problem};
use crate::state::{App, Shared};
use crate::witnesses::{self, WitnessAddress};
use crate::{bulk, events, guard, health, inference, log, openai};
use axum::extract::FromRef;
use axum::http::{Method, Uri};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Router, middleware};
use cairn_gpu::EngineOptions;
use cairn_ledger::Ledger;
use cairn_processors::Context;
use cairn_schemas::{Position, TenantId};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a request that is under way may still take once the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How often the thread that follows the log looks whether the server stops.
const FOLLOW_TICK: Duration = Duration::from_millis(250);

/// How a server is run.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Loopback unless told otherwise: there is no authentication yet.
    pub listen: SocketAddr,
    /// Who is asked to cosign each new checkpoint.
    pub witnesses: Vec<WitnessAddress>,
    /// What relative paths of a pipeline sent to the server are relative to.
    pub pipeline_dir: PathBuf,
    /// Folders of models to serve, each under a name.
    pub models: Vec<(String, PathBuf)>,
    /// Bounds of each model's engine.
    pub engine: EngineOptions,
    /// Prompts in flight; more are refused.
    pub inferences_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8470)),
            pipeline_dir: PathBuf::from("."),
            witnesses: Vec::new(),
            models: Vec::new(),
            engine: EngineOptions::default(),
            inferences_max: 256,
        }
    }
}

/// What handlers are given.
#[derive(Clone, FromRef)]
pub(crate) struct Routes {
    app: App,
    schema: CairnSchema,
}

fn router(app: App, schema: CairnSchema) -> Router {
    Router::new()
        // producers and simple readers
        .route("/v1/events", post(events::append).get(events::list))
        .merge(bulk::routes())
        // proofs
        .route("/log/{tenant}/checkpoint", get(log::checkpoint))
        .route("/log/{tenant}/tile/{*path}", get(log::tile))
        .route("/log/{tenant}/proof/{position}", get(log::proof))
        .route("/log/{tenant}/consistency", get(log::consistency))
        // questions
        .route("/graphql", post(graphql::http::execute).get(graphql::http::page))
        .route("/graphql/ws", get(graphql::http::socket))
        .route("/graphql/assets/{file}", get(graphql::http::asset))
        .route("/graphql/schema.graphql", get(graphql::http::schema_text))
        // deployments
        .route("/v1/inference/chat", post(inference::chat))
        .merge(openai::routes())
        // operators
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/", get(|| async { Redirect::temporary("/graphql") }))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard::same_site))
        .layer(middleware::from_fn_with_state(app.clone(), guard::observe))
        .with_state(Routes { app, schema })
}

async fn no_route(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::not_found(format!(
        "there is no route {path}; there are /v1/events, {}, /v1/inference/chat, \
         /v1/{{chat/completions,completions,embeddings,rerank,models}}, /graphql, \
         /log/<tenant>/{{checkpoint,tile,proof,consistency}}, /healthz, /readyz and /metrics",
        bulk::named()
    ))
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    let other = if method == Method::GET || method == Method::HEAD { "POST" } else { "GET" };
    Problem::new(Kind::MethodNotAllowed, format!("{} does not take {method}; {other} may be what you want", uri.path()))
}

/// A server that listens and has not begun to answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    app: App,
    stop: watch::Sender<bool>,
    follower: JoinHandle<()>,
    witnesses: Vec<WitnessAddress>,
}

/// Binds the address, so that its port is known before anything is answered, and begins to follow the log.
pub async fn bind(ctx: Context, options: ServerOptions) -> Result<Server, Error> {
    let listen = |source| Error::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "listening beyond this machine without authentication: whoever reaches this address can read, append, run \
             pipelines and promote models"
        );
    }
    let (head_out, head) = watch::channel(ctx.ledger().head(ctx.tenant()));
    let (stop, stopping) = watch::channel(false);
    let follower = follow_head(ctx.ledger().clone(), ctx.tenant().clone(), head_out, stopping.clone())?;
    let pipelines = Pipelines::start(ctx.clone(), options.pipeline_dir.clone())?;
    let app: App = Arc::new(Shared::new(ctx, &options, pipelines, head, stopping));
    let (serving, models) = (app.clone(), options.models.clone());
    // Loading takes seconds of a processor; a folder that does not load keeps the server from beginning.
    let loaded = tokio::task::spawn_blocking(move || {
        models.iter().try_for_each(|(name, dir)| {
            let told = |source| Error::Model { name: name.clone(), dir: dir.clone(), source: Box::new(source) };
            serving.answerer.serve_folder(name, dir).map(drop).map_err(told)
        })
    });
    loaded.await.map_err(|error| Error::Serve { source: std::io::Error::other(error) })??;
    let router = router(app.clone(), graphql::schema(app.clone()));
    let server = Server { listener, address, router, app, stop, follower, witnesses: options.witnesses };
    server.app.ctx.ledger().set_note(&server.url())?;
    Ok(server)
}

/// Binds and answers until `shutdown` resolves.
pub async fn serve(
    ctx: Context,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    bind(ctx, options).await?.run(shutdown).await
}

impl Server {
    /// The address it listens on; its port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether whoever reaches the address is let in from beyond this machine; there is no authentication yet.
    pub fn is_open_to_others(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    /// Answers until `shutdown` resolves, then ends: what is under way has ten seconds, a running pipeline is cancelled
    /// and records that.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Server { listener, router, app, stop, follower, witnesses, .. } = self;
        let following = app.ctx.projections().follow();
        if !witnesses.is_empty() {
            tokio::spawn(witnesses::push_all(app.clone(), witnesses, stop.subscribe()));
        }
        let mut stopped = stop.subscribe();
        let until_stopped = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let mut serving =
            tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(until_stopped).into_future());
        let ended = tokio::select! {
            () = shutdown => None,
            ended = &mut serving => Some(ended),
        };
        let _ = stop.send(true);
        let last = app.clone();
        // Begun before the requests under way are waited for: a pipeline's job takes a while to stop.
        let wound_up = tokio::task::spawn_blocking(move || {
            last.pipelines.stop();
            drop(following);
            if let Err(error) = last.ctx.ledger().set_note("") {
                tracing::warn!(%error, "the note that names this server stays");
            }
            let _ = follower.join();
        });
        let ended = match ended {
            Some(ended) => Some(ended),
            None => tokio::time::timeout(GRACE, &mut serving).await.ok(),
        };
        serving.abort();
        let _ = wound_up.await;
        match ended {
            Some(Ok(Err(source))) => Err(Error::Serve { source }),
            Some(Err(error)) => Err(Error::Serve { source: std::io::Error::other(error) }),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

/// One thread watches the log for all subscribers.
fn follow_head(
    ledger: Ledger,
    tenant: TenantId,
    out: watch::Sender<Option<Position>>,
    stopping: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Error> {
    let name = "cairn-head";
    let watch = move || {
        while !*stopping.borrow() {
            let seen = *out.borrow();
            if let Some(head) = ledger.wait_past(&tenant, seen, FOLLOW_TICK) {
                out.send_if_modified(|known| known.replace(head) != Some(head));
            }
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(watch).map_err(|source| Error::Thread { name, source })
}
