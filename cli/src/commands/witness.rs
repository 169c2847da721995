//! `cairn witness`: cosign the checkpoints of others' logs, each only if it continues the one before.

use super::{Outcome, done};
use crate::exit;
use cairn_ledger::{LogVerifier, Witness, WitnessOptions};
use cairn_server::WitnessServer;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8471", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// The witness's folder: its key, and what it cosigned last. It must outlive the logs' own folders.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Verifier key of a log to watch; may be repeated.
    #[arg(long = "log", required = true, value_name = "VERIFIER_KEY")]
    logs: Vec<String>,
    /// Name of a new witness: a URL without scheme. Drawn at random if left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key = |text: &String| {
        LogVerifier::decode(text).map_err(|expected| {
            exit::wrong_input(format!("--log {text}: expected {expected}, as `cairn status` shows it"))
        })
    };
    let logs = args.logs.iter().map(key).collect::<anyhow::Result<Vec<_>>>()?;
    let options = WitnessOptions { name: args.name.clone(), ..WitnessOptions::default() };
    let witness = Witness::open(&args.dir, logs, options)?;
    let (key, watched) = (witness.key().encode(), witness.logs());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = WitnessServer::bind(args.listen, witness).await?;
        let address = server.local_addr();
        say!("listening on http://{address}");
        say!("  verifier key  {key}");
        for (origin, size) in watched {
            say!("  watches       {origin}, cosigned up to size {size}");
        }
        say!("a log is pushed here with: cairn serve --witness 'http://{address}={key}'");
        server.run(super::serve::stopped()).await
    })?;
    done()
}
