//! What this crate can fail with. The library's own error types stay inside as sources.

use std::path::PathBuf;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The error of every public function of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No ONNX Runtime library in any of the places searched.
    #[error(
        "no ONNX Runtime library found: looked at {looked}; run `make setup`, or set CAIRN_ORT_LIB to the path of libonnxruntime.so (1.24 or later)"
    )]
    LibraryMissing { looked: String },

    /// A file was found and could not be used.
    #[error(
        "cannot use the ONNX Runtime library {path}: {reason}; a build of 1.24 or later for this machine is needed"
    )]
    Library { path: PathBuf, reason: String },

    /// One process can use one library only.
    #[error("the ONNX Runtime library {loaded} is already loaded in this process; {wanted} needs a process of its own")]
    LibraryAlreadyLoaded { loaded: PathBuf, wanted: PathBuf },

    /// The device asked for cannot be used.
    #[error("device {device} is not usable: {reason}; choose `cpu`, or a machine where it is")]
    Device { device: String, reason: String },

    /// A graph was refused by the runtime.
    #[error("the runtime refuses graph `{graph}`")]
    Session { graph: String, source: Source },

    /// A run failed inside the runtime.
    #[error("running graph `{graph}` failed")]
    Run { graph: String, source: Source },

    /// The tensors given to a graph are not the ones it declares.
    #[error("graph `{graph}`: {problem}")]
    Feed { graph: String, problem: String },

    /// An operator on the way from the loss to a parameter has no gradient rule.
    #[error("operator `{operator}` has no gradient rule (node `{node}`); express it by operators that have one")]
    NoGradient { operator: String, node: String },

    /// A setting is outside what is accepted.
    #[error("`{key}` is {found}, expected {expected}")]
    Invalid { key: String, found: String, expected: String },

    /// A model of another kind than those that graphs are built of.
    #[error("architecture {found} is not known; known are {known}")]
    Architecture { found: String, known: String },

    /// Stored weights, moments or checkpoints that do not fit the model.
    #[error("tensor `{name}`: {problem}")]
    Tensor { name: String, problem: String },

    /// A file of a model's folder that is missing, damaged or of another model.
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },

    /// Bytes that are not what they should be (safetensors, tokenizer JSON).
    #[error("cannot read {what}: {reason}")]
    Format { what: String, reason: String },

    /// More memory than was allowed.
    #[error("{what} need {needed} bytes, {limit} are allowed; allow more, or use fewer bits, slots or positions")]
    DoesNotFit { what: String, needed: u64, limit: u64 },

    /// As many requests wait as may.
    #[error("{waiting} requests are waiting and no more may; try again later")]
    Busy { waiting: usize },

    /// A step failed, and with it all that was under way.
    #[error("the engine could not go on: {reason}")]
    Failed { reason: String },

    /// The thread that owned the device has ended.
    #[error("the engine has stopped; open it again")]
    Stopped,

    /// A loss or norm that is no longer a number.
    #[error("step {step}: {what} is {value}; lower the learning rate, or look at the data of this step")]
    NotFinite { step: u64, what: String, value: f32 },
}

impl Error {
    /// `Invalid`, with values printed.
    pub(crate) fn invalid(key: &str, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { key: key.to_owned(), found: found.to_string(), expected: expected.into() }
    }
}
