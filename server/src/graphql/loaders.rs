//! Dataloaders: refs that many fields of one query name are read from the catalog together, once.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Error, Result};
use cairn_schemas::Position;
use std::collections::HashMap;

use super::scalars::Ref;
use super::things::Thing;

/// Refs of one read.
const BATCH_MAX: usize = 500;

/// Reads things of the catalog by ref.
pub(crate) struct Things(App);

/// A ref, and the past position at which it is asked for.
type Key = (String, Option<Position>);

impl Loader<Key> for Things {
    type Value = Thing;
    type Error = Error;

    async fn load(&self, keys: &[Key]) -> Result<HashMap<Key, Thing>, Error> {
        let keys = keys.to_vec();
        let found = self.0.read(move |ctx| {
            let found = ctx.projections().catalog().states(&keys)?;
            let known = keys.into_iter().zip(found).filter_map(|(key, entity)| Some((key, entity?)));
            let things = known.map(|(key, entity)| {
                let thing = Thing::new(entity, key.1);
                (key, thing)
            });
            Ok::<_, Problem>(things.collect())
        });
        Ok(found.await?)
    }
}

pub(crate) fn things(app: App) -> DataLoader<Things> {
    DataLoader::new(Things(app), tokio::spawn).max_batch_size(BATCH_MAX)
}

/// The things of some refs in their order, as they were at a position where one is given; those that the catalog has
/// not heard of are left out.
pub(crate) async fn load_all(ctx: &Context<'_>, refs: Vec<Ref>, as_of: Option<Position>) -> Result<Vec<Thing>> {
    let keys: Vec<Key> = refs.iter().map(|reference| (reference.0.to_string(), as_of)).collect();
    let mut found = ctx.data::<DataLoader<Things>>()?.load_many(keys.clone()).await?;
    Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
}

/// The thing of a ref, as it was at a position where one is given; `None` where the catalog has not heard of it.
pub(crate) async fn load(
    ctx: &Context<'_>,
    reference: impl ToString,
    as_of: Option<Position>,
) -> Result<Option<Thing>> {
    ctx.data::<DataLoader<Things>>()?.load_one((reference.to_string(), as_of)).await
}
