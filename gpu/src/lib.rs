//! Models: ONNX graphs written here, their gradients, training and inference on ONNX Runtime, tokenizers.
//! Pure except for the runtime, which owns the library and the device. No type of `ort` is public.

pub mod graph;

mod checkpoint;
mod data;
mod detokenizer;
mod engine;
mod error;
mod evaluate;
mod folder_tokenizer;
mod generate;
mod loaded;
mod models;
mod rng;
mod runtime;
mod sampling;
mod schedule;
mod tokenizer;
mod train;
mod weights;

pub use checkpoint::Checkpoint;
pub use data::{Batch, Example, IGNORE, Loader, LoaderState, Overlong, Row, batches, pack};
pub use detokenizer::{Detokenizer, TextStream};
pub use engine::{
    Answer, Canceller, Chunk, DecoderParts, EncoderEngine, EncoderOptions, Engine, EngineOptions, Handle, Load, Output,
    Plan, Quantisation, Request, TokenLogprob, Usage,
};
pub use error::Error;
pub use evaluate::{ExampleScore, RowScore, Scorer};
pub use folder_tokenizer::{Encoded, FolderTokenizer};
pub use generate::{Finish, Generated, Generator};
pub use models::{
    Activation, DecoderConfig, DecoderFamily, Encoder, EncoderConfig, EncoderFamily, EncoderInput, EncoderOutput,
    FolderParts, Forward, GenerationDefaults, Head, ModelConfig, ModelFolder, Norm, Pooling, PoolingKind, Positions,
    RopeScaling, ScoreActivation, TextSettings,
};
pub use rng::{CounterRng, RngState};
pub use runtime::{Device, Environment, Feed, Outputs, Resident, Runtime, RuntimeOptions, Session};
pub use sampling::Sampling;
pub use schedule::{Decay, Schedule};
pub use tokenizer::Tokenizer;
pub use train::{StepReport, TrainOptions, TrainState, Trainer};
pub use weights::{Tensor, Weights};
