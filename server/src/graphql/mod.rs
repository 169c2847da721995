//! GraphQL over everything the ledger's projections know: types, queries, mutations, subscriptions, and their limits.

mod as_of;
mod catalog;
mod connection;
mod curves;
mod evaluations;
mod events;
pub(crate) mod http;
mod limits;
mod lineage;
mod loaders;
mod log;
mod mutation;
mod observed;
mod persisted;
mod pipelines;
mod query;
mod results;
mod scalars;
mod subscription;
mod things;

use crate::state::App;
use async_graphql::{SDLExportOptions, Schema, SchemaBuilder};

pub(crate) type CairnSchema = Schema<query::Query, mutation::Mutation, subscription::Subscription>;

fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription> {
    Schema::build(query::Query::new(), mutation::Mutation, subscription::Subscription)
        .limit_recursive_depth(limits::NESTING_MAX)
        .limit_directives(32)
        .extension(limits::NamedLimits::default())
}

/// The schema over a running server's state.
pub(crate) fn schema(app: App) -> CairnSchema {
    let observed = observed::Observed::new(app.clone());
    builder().extension(observed).data(loaders::things(app.clone())).data(app).finish()
}

/// The schema in GraphQL's own language: what `schemas/graphql/cairn.graphql` holds.
pub fn sdl() -> String {
    builder().finish().sdl_with_options(SDLExportOptions::new())
}
