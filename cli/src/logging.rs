//! The log, and the traces of a server: the one subscriber of the process.

use cairn_server::{TRACES_TARGET, Traces};
use std::io::IsTerminal;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, fmt};

/// Logs go to standard error: `CAIRN_LOG` sets the filter, `CAIRN_LOG_FORMAT=json` the form. Bodies, prompts and
/// personal data are never logged. A server's traces go where OpenTelemetry's variables name a collector, until what is
/// returned is dropped.
pub(crate) fn init(serving: bool) -> Result<Option<Traces>, cairn_server::Error> {
    let traces = if serving { Traces::from_env()? } else { None };
    let default = if serving { "info" } else { "warn" };
    // sled tells its own troubles by log lines as well as by the errors that we report.
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| format!("{default},sled=off").into());
    let spans_off = format!("{TRACES_TARGET}=off").parse().expect("it is a directive");
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match std::env::var("CAIRN_LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().boxed(),
        _ => lines.with_target(false).boxed(),
    };
    let lines = lines.with_filter(filter.add_directive(spans_off));
    tracing_subscriber::registry().with(lines).with(traces.as_ref().map(Traces::layer)).init();
    Ok(traces)
}
