//! What people look at: curves, evaluations, catalog and lineage, each a store that follows the ledger and can be
//! deleted and rebuilt from it.

mod attempts;
pub mod catalog;
pub mod curves;
mod error;
pub mod evals;
mod events;
mod follower;
mod home;
mod key;
pub mod lineage;
mod live;
#[doc(hidden)]
pub mod measure;
mod projection;
mod pump;
mod real;
mod rebuild;
mod rows;
mod status;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod views;

pub use catalog::Catalog;
pub use curves::Curves;
pub use error::Error;
pub use evals::Evals;
pub use follower::FollowHandle;
pub use home::StoresOnDisk;
pub use lineage::Lineage;
pub(crate) use real::real;
pub use status::{ProjectionState, ProjectionStatus};
pub use store::{Choice, Engine};
pub use views::Projections;
