//! Model shapes, how they stand in Hugging Face's folders, and the graphs that compute them.

mod config;
pub(crate) mod decoder;
pub(crate) mod encoder;
mod encoder_config;
mod encoder_fused;
mod encoder_session;
mod export;
mod folder;
pub(crate) mod forward;
mod hugging_face;
pub(crate) mod inference;
pub(crate) mod rope;

pub use config::{Activation, DecoderConfig, DecoderFamily, ModelConfig, Norm, Positions};
pub use encoder::EncoderOutput;
pub use encoder_config::{EncoderConfig, EncoderFamily, Head, Pooling, PoolingKind};
pub use encoder_session::{Encoder, EncoderInput};
pub use folder::{FolderParts, GenerationDefaults, ModelFolder, ScoreActivation, TextSettings};
pub use forward::Forward;
pub(crate) use forward::check_tokens;
pub use rope::RopeScaling;
