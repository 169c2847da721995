//! `cairn`, the one binary. Offline commands work without a server.

#[macro_use]
mod out;
mod beside;
mod commands;
mod exit;
mod logging;
mod render;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The system of record for how a language model came to be.
#[derive(Parser)]
#[command(name = "cairn", version, about, after_help = exit::HELP, propagate_version = true)]
struct Cli {
    /// The data directory.
    #[arg(long, global = true, default_value = ".cairn", value_name = "DIR")]
    data: PathBuf,
    /// Write JSON for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What every command is given.
struct Globals {
    data: PathBuf,
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Look at data and write a commented pipeline that runs unedited.
    Init(commands::init::Args),
    /// Run a pipeline, or a training config; takes up where an earlier run stopped.
    Run(commands::run::Args),
    /// Serve the events API, GraphQL and inference.
    Serve(commands::serve::Args),
    /// Cosign the checkpoints of others' logs.
    Witness(commands::witness::Args),
    /// Append CloudEvents, one JSON object a line on standard input.
    Append(commands::append::Args),
    /// Take in runs that others published, from files about them.
    Import(commands::import::Args),
    /// Print events, or export the log for outside verifiers.
    Log(commands::log::Args),
    /// Prove that an event is in the log, to be checked without it.
    Prove(commands::prove::Args),
    /// Check every stored byte of a ledger, an exported bundle, or a proof.
    Verify(commands::verify::Args),
    /// List runs by filter and order, now or as of any time.
    Runs(commands::runs::Args),
    /// Show all that is known of a thing, now or as of any time.
    Show(commands::show::Args),
    /// Show what a thing was made of, or what was made of it.
    Lineage(commands::lineage::Args),
    /// Show everything that a document, a person's documents, a dataset version or a commit went into.
    Impact(commands::impact::Args),
    /// Explain how two things are connected, by the events that say so.
    Explain(commands::explain::Args),
    /// Compare two runs: data, code, config, environment, metrics.
    Diff(commands::diff::Args),
    /// Plot a metric of one or more runs.
    Curves(commands::curves::Args),
    /// Rank subjects on a task.
    Best(commands::best::Args),
    /// Compare subjects on a task, sample by sample.
    Compare(commands::compare::Args),
    /// Compute with a model's folder, without a ledger: logits, text, vectors, scores.
    #[command(subcommand)]
    Infer(commands::infer::Args),
    /// Ask a deployment.
    Ask(commands::ask::Args),
    /// Make a model what a deployment answers with.
    Promote(commands::deployment::PromoteArgs),
    /// Take a deployment back to the model before.
    RollBack(commands::deployment::RollBackArgs),
    /// Run a recorded run again and compare digests.
    Reproduce(commands::reproduce::Args),
    /// Erase a person: destroy their keys and everything that holds their data.
    Erase(commands::erase::Args),
    /// Write a bundle that can be verified alone.
    Export(commands::export::Args),
    /// Replace payloads by what may stay of them: a mistake, free text, what is too old.
    Redact(commands::redact::Args),
    /// Say for how long payloads are kept; `cairn redact --retention` does it.
    #[command(subcommand)]
    Retention(commands::redact::RetentionArgs),
    /// Place and lift legal holds, under which nothing is erased.
    #[command(subcommand)]
    Hold(commands::hold::Args),
    /// Back the ledger up, beside whoever writes it; keys and vault apart.
    Backup(commands::backup::Args),
    /// Restore a ledger from its backups, verified.
    Restore(commands::restore::Args),
    /// Back up keys and vault, or give them to a restored ledger.
    Vault(commands::vault::Args),
    /// Rebuild projections from the ledger; beside `cairn serve` the server does it, and answers on.
    Rebuild(commands::rebuild::Args),
    /// Show what is here: head, checkpoint, projections, what is deployed.
    Status(commands::status::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let globals = Globals { data: cli.data, json: cli.json };
    let _traces = match logging::init(matches!(cli.command, Command::Serve(_) | Command::Witness(_))) {
        Ok(traces) => traces,
        Err(error) => return exit::report(&error.into(), globals.json),
    };
    let result = match cli.command {
        Command::Init(args) => commands::init::run(&globals, &args),
        Command::Run(args) => commands::run::run(&globals, &args),
        Command::Serve(args) => commands::serve::run(&globals, &args),
        Command::Witness(args) => commands::witness::run(&args),
        Command::Append(args) => commands::append::run(&globals, &args),
        Command::Import(args) => commands::import::run(&globals, &args),
        Command::Log(args) => commands::log::run(&globals, &args),
        Command::Prove(args) => commands::prove::run(&globals, &args),
        Command::Verify(args) => commands::verify::run(&globals, &args),
        Command::Runs(args) => commands::runs::run(&globals, &args),
        Command::Show(args) => commands::show::run(&globals, &args),
        Command::Lineage(args) => commands::lineage::run(&globals, &args),
        Command::Impact(args) => commands::impact::run(&globals, &args),
        Command::Explain(args) => commands::explain::run(&globals, &args),
        Command::Diff(args) => commands::diff::run(&globals, &args),
        Command::Curves(args) => commands::curves::run(&globals, &args),
        Command::Best(args) => commands::best::run(&globals, &args),
        Command::Compare(args) => commands::compare::run(&globals, &args),
        Command::Infer(args) => commands::infer::run(&globals, &args),
        Command::Ask(args) => commands::ask::run(&globals, &args),
        Command::Promote(args) => commands::deployment::promote(&globals, &args),
        Command::RollBack(args) => commands::deployment::roll_back(&globals, &args),
        Command::Reproduce(args) => commands::reproduce::run(&globals, &args),
        Command::Erase(args) => commands::erase::run(&globals, &args),
        Command::Export(args) => commands::export::run(&globals, &args),
        Command::Redact(args) => commands::redact::run(&globals, &args),
        Command::Retention(args) => commands::redact::retention(&globals, &args),
        Command::Hold(args) => commands::hold::run(&globals, &args),
        Command::Backup(args) => commands::backup::run(&globals, &args),
        Command::Restore(args) => commands::restore::run(&globals, &args),
        Command::Vault(args) => commands::vault::run(&globals, &args),
        Command::Rebuild(args) => commands::rebuild::run(&globals, &args),
        Command::Status(args) => commands::status::run(&globals, &args),
    };
    match result {
        Ok(_) if out::failed() => ExitCode::from(exit::FAILED),
        Ok(code) => code,
        Err(error) => exit::report(&error, globals.json),
    }
}
