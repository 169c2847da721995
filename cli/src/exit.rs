//! Exit codes, and how an error is told at the edge: what was wrong, why, and a hint.

use std::process::ExitCode;

pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    failed: a job, the disk, the network
  2    the command line is wrong
  3    what was named does not exist
  4    input is wrong: a pipeline, an event, a ref
  5    verification found damage, or a reproduction differs
  6    another process holds the data directory
  7    a gate, or a legal hold, blocked
  130  stopped on request";

pub(crate) const FAILED: u8 = 1;
pub(crate) const NOT_FOUND: u8 = 3;
pub(crate) const WRONG_INPUT: u8 = 4;
pub(crate) const DIFFERS: u8 = 5;
pub(crate) const HELD: u8 = 6;
pub(crate) const BLOCKED: u8 = 7;
pub(crate) const STOPPED: u8 = 130;

/// An error with its own exit code, for what this crate finds itself.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Coded {}

pub(crate) fn not_found(message: String) -> anyhow::Error {
    Coded { code: NOT_FOUND, message }.into()
}
pub(crate) fn wrong_input(message: String) -> anyhow::Error {
    Coded { code: WRONG_INPUT, message }.into()
}
pub(crate) fn differs(message: String) -> anyhow::Error {
    Coded { code: DIFFERS, message }.into()
}

/// Prints the error and its causes to standard error and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = code_of(error);
    let message = chain(error);
    if json {
        eprintln!("{}", serde_json::json!({ "error": message, "exit_code": code }));
    } else {
        eprintln!("error: {message}");
        if let Some(hint) = hint(code) {
            eprintln!("hint: {hint}");
        }
    }
    ExitCode::from(code)
}

/// The messages of an error and its causes, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut whole = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !whole.contains(&cause) {
            whole.push_str(": ");
            whole.push_str(&cause);
        }
    }
    whole
}

fn hint(code: u8) -> Option<&'static str> {
    match code {
        HELD => Some(
            "`cairn log`, `lineage`, `curves`, `best`, `compare`, `status` and `verify` work beside the process that holds it; \
             `cairn rebuild` does beside `cairn serve`",
        ),
        DIFFERS => Some("keep the directory as it is: `cairn verify --json` gives the finding for a report"),
        _ => None,
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(coded) = cause.downcast_ref::<Coded>() {
            return coded.code;
        }
        if cause.downcast_ref::<cairn_schemas::Error>().is_some() {
            return WRONG_INPUT;
        }
        if let Some(error) = cause.downcast_ref::<cairn_ledger::Error>() {
            return of_ledger(error);
        }
        if let Some(code) = cause.downcast_ref().and_then(of_projections) {
            return code;
        }
        if let Some(error) = cause.downcast_ref::<cairn_processors::Error>()
            && let Some(code) = of_processors(error)
        {
            return code;
        }
    }
    FAILED
}

fn of_ledger(error: &cairn_ledger::Error) -> u8 {
    use cairn_ledger::Error as E;
    match error {
        E::AlreadyOpen { .. } => HELD,
        E::Damaged(_) | E::Forked(_) => DIFFERS,
        E::NoArtifact { .. } | E::NoLog { .. } | E::NotCovered { .. } | E::NoTile { .. } => NOT_FOUND,
        E::Proof { .. } => DIFFERS,
        E::Held { .. } => BLOCKED,
        E::NoSuchPosition { .. } => NOT_FOUND,
        E::NotRedactable { .. } => WRONG_INPUT,
        E::BatchLength { .. }
        | E::TooLarge { .. }
        | E::TooManyRefs { .. }
        | E::Missing { .. }
        | E::Conflict { .. }
        | E::PartlyRepeated { .. }
        | E::RepeatedInBatch { .. }
        | E::WrongVersion { .. }
        | E::AsOf { .. }
        | E::NotALedger { .. }
        | E::NotABundle { .. }
        | E::Backup { .. }
        | E::RestoredReadOnly { .. }
        | E::Schemas(_) => WRONG_INPUT,
        _ => FAILED,
    }
}

fn of_projections(error: &cairn_projections::Error) -> Option<u8> {
    use cairn_projections::Error as E;
    match error {
        E::Ledger(error) => Some(of_ledger(error)),
        E::Unknown { .. } => Some(NOT_FOUND),
        E::Commit { .. }
        | E::Cursor { .. }
        | E::Family { .. }
        | E::Filter(_)
        | E::Question { .. }
        | E::Schemas(_)
        | E::UnknownKind { .. }
        | E::UnknownProjection { .. } => Some(WRONG_INPUT),
        _ => None,
    }
}

fn of_processors(error: &cairn_processors::Error) -> Option<u8> {
    use cairn_processors::Error as E;
    match error {
        E::Ledger(error) => Some(of_ledger(error)),
        E::Projections(error) => of_projections(error),
        E::NoData { .. } | E::UnknownRef { .. } => Some(NOT_FOUND),
        E::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(NOT_FOUND),
        E::Config { .. }
        | E::Import { .. }
        | E::NotUtf8 { .. }
        | E::PromptTooLong { .. }
        | E::Refused { .. }
        | E::Template { .. }
        | E::VersionExists { .. } => Some(WRONG_INPUT),
        E::Leak { .. } | E::Schemas(_) | E::Read(_) => Some(WRONG_INPUT),
        E::Gpu(
            cairn_gpu::Error::Invalid { .. }
            | cairn_gpu::Error::Architecture { .. }
            | cairn_gpu::Error::File { .. }
            | cairn_gpu::Error::Tensor { .. }
            | cairn_gpu::Error::Format { .. }
            | cairn_gpu::Error::DoesNotFit { .. },
        ) => Some(WRONG_INPUT),
        E::Stored { .. } => Some(DIFFERS),
        E::Cancelled => Some(STOPPED),
        _ => None,
    }
}
