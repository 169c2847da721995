//! One small file a command.

pub(crate) mod append;
pub(crate) mod ask;
pub(crate) mod backup;
pub(crate) mod best;
pub(crate) mod compare;
pub(crate) mod curves;
pub(crate) mod deployment;
pub(crate) mod diff;
pub(crate) mod erase;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod hold;
pub(crate) mod impact;
pub(crate) mod import;
pub(crate) mod infer;
pub(crate) mod init;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod proof;
pub(crate) mod prove;
pub(crate) mod rebuild;
pub(crate) mod redact;
pub(crate) mod reproduce;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod vault;
pub(crate) mod verify;
pub(crate) mod witness;

use crate::exit;
use cairn_ledger::AsOf;
use cairn_processors::Context;
use cairn_schemas::{Position, Ref};
use std::process::ExitCode;

/// How every command ends.
pub(crate) type Outcome = anyhow::Result<ExitCode>;

pub(crate) fn done() -> Outcome {
    Ok(ExitCode::SUCCESS)
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &serde_json::Value) {
    say!("{value}");
}

/// A writing context on a data directory that is there: a mistyped `--data` must not make a ledger.
pub(crate) fn writer(globals: &crate::Globals) -> anyhow::Result<Context> {
    let context = writer_as_it_is(globals)?;
    catch_up(&context)?;
    Ok(context)
}

/// As [`writer`], with the projections wherever they are.
pub(crate) fn writer_as_it_is(globals: &crate::Globals) -> anyhow::Result<Context> {
    if !globals.data.is_dir() {
        return Err(cairn_processors::Error::NoData { path: globals.data.clone() }.into());
    }
    Ok(Context::open(&globals.data)?)
}

/// Brings the projections to the head. One that stopped keeps nobody from the others; it says so.
pub(crate) fn catch_up(context: &Context) -> anyhow::Result<()> {
    match context.projections().catch_up() {
        Err(error @ cairn_projections::Error::Stopped { .. }) => eprintln!("warning: {error}; the others go on"),
        other => other?,
    }
    Ok(())
}

/// A reading context with projections that cover the head.
pub(crate) fn reader(globals: &crate::Globals) -> anyhow::Result<Context> {
    let context = Context::open_reader(&globals.data)?;
    catch_up(&context)?;
    Ok(context)
}

/// The position that `--as-of` means; `None` where it was not given.
pub(crate) fn position(context: &Context, as_of: Option<AsOf>) -> anyhow::Result<Option<Position>> {
    Ok(as_of.map(|as_of| context.ledger().resolve(context.tenant(), as_of)).transpose()?)
}

/// What a person names as a ref: a full ref, or a deployment's bare name.
pub(crate) fn thing(text: &str) -> anyhow::Result<Ref> {
    match text.parse() {
        Ok(reference) => Ok(reference),
        Err(error) => match text.contains(':') {
            true => Err(error.into()),
            false => Ok(format!("deployment:{text}").parse().map_err(|_| anyhow::Error::from(error))?),
        },
    }
}

/// The same, of a thing that the ledger has heard of.
pub(crate) fn resolve(context: &Context, text: &str) -> anyhow::Result<Ref> {
    let reference = thing(text)?;
    if context.projections().catalog().get(&reference.to_string())?.is_none() {
        return Err(exit::not_found(format!(
            "nothing in this ledger is called {reference}; `cairn status` lists datasets, models, runs and deployments"
        )));
    }
    Ok(reference)
}
