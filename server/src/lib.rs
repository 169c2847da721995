//! The server: producers' API, GraphQL, inference, health and metrics, over one [`cairn_processors::Context`].

mod app;
mod bulk;
mod cursor;
mod error;
mod events;
mod filter;
mod graphql;
mod guard;
mod health;
mod inference;
mod log;
mod openai;
mod pipelines;
mod problem;
mod state;
mod telemetry;
mod traces;
mod witness;
mod witnesses;

pub use app::{Server, ServerOptions, bind, serve};
pub use error::Error;
pub use graphql::sdl;
pub use traces::{TARGET as TRACES_TARGET, Traces};
pub use witness::WitnessServer;
pub use witnesses::WitnessAddress;
