//! Dataloaders: refs that many fields of one query name are read from the catalog together, once.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Error, Result};
use std::collections::HashMap;

use super::scalars::Ref;
use super::things::Thing;

/// Refs of one read.
const BATCH_MAX: usize = 500;

/// Reads things of the catalog by ref.
pub(crate) struct Things(App);

impl Loader<String> for Things {
    type Value = Thing;
    type Error = Error;

    async fn load(&self, refs: &[String]) -> Result<HashMap<String, Thing>, Error> {
        let refs = refs.to_vec();
        let found = self.0.read(move |ctx| {
            let mut found = HashMap::with_capacity(refs.len());
            for reference in refs {
                if let Some(entity) = ctx.projections().catalog().get(&reference)? {
                    found.insert(reference, Thing::from(entity));
                }
            }
            Ok::<_, Problem>(found)
        });
        Ok(found.await?)
    }
}

pub(crate) fn things(app: App) -> DataLoader<Things> {
    DataLoader::new(Things(app), tokio::spawn).max_batch_size(BATCH_MAX)
}

/// The things of some refs in their order; those that the catalog has not heard of are left out.
pub(crate) async fn load_all(ctx: &Context<'_>, refs: Vec<Ref>) -> Result<Vec<Thing>> {
    let refs: Vec<String> = refs.iter().map(|reference| reference.0.to_string()).collect();
    let mut found = ctx.data::<DataLoader<Things>>()?.load_many(refs.clone()).await?;
    Ok(refs.iter().filter_map(|reference| found.remove(reference)).collect())
}

/// The thing of a ref; `None` where the catalog has not heard of it.
pub(crate) async fn load(ctx: &Context<'_>, reference: impl ToString) -> Result<Option<Thing>> {
    ctx.data::<DataLoader<Things>>()?.load_one(reference.to_string()).await
}
