//! Graphs as data: the ONNX wire format, a typed builder, reverse-mode gradients, losses and optimizers.

mod autodiff;
mod builder;
mod loss;
mod onnx;
pub(crate) mod operators;
pub(crate) mod optimizer;
mod rules;

pub use autodiff::gradients;
pub(crate) use builder::Attribute;
pub use builder::{Builder, ElementType, Graph, Port, Value};
pub use loss::CrossEntropy;
pub(crate) use onnx::MICROSOFT;
pub(crate) use optimizer::AdamW;
