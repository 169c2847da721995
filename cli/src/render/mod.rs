//! What people see: tables, trees, plots, progress. Quiet where standard error is not a terminal.

pub(crate) mod plot;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod tree;
