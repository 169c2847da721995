//! From a dataset to a deployed model that answers, on a model of two layers: training and its resumption after any
//! end, fine-tuning, gates, deployments, replays.

mod configs;
mod deploy;
mod gates;
mod replay;
mod resume;
mod support;
mod train;
