//! The content of the store, whatever panels it lies in: which depends on the batches that the events came in.

use super::read::Reader;
use super::rows::{self, NAME_TABLE, TOKENS_TABLE};
use crate::Error;
use crate::projection::{collect, encode};
use crate::store::{Order, Store, scan_prefix};
use cairn_schemas::RunId;
use std::ops::ControlFlow;

/// Takes in every name, every run with what its row says of it, and every point of every metric in order of arrival.
pub(super) fn digest(store: &dyn Store, digest: &mut blake3::Hasher) -> Result<(), Error> {
    for (prefix, table) in [(rows::name_prefix(), NAME_TABLE), (rows::tokens_prefix(), TOKENS_TABLE)] {
        digest.update(table.as_bytes());
        scan_prefix(store, &prefix, Order::Ascending, &mut |key, value| {
            part(digest, key);
            part(digest, value);
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let runs = collect(store, &rows::runs(), Order::Ascending, |key, _| rows::run_of(key).map(Some))?;
    for run in runs {
        one(store, run, digest)?;
    }
    Ok(())
}

fn one(store: &dyn Store, run: RunId, digest: &mut blake3::Hasher) -> Result<(), Error> {
    let Some(reader) = Reader::of(store, run, None)? else { return Ok(()) };
    part(digest, &encode(&run));
    part(digest, &encode(&reader.header.said()));
    let mut metrics = vec![blake3::Hasher::new(); reader.header.slots() as usize];
    reader.each_panel(&mut |panel| {
        for (slot, column) in panel.present() {
            let metric = metrics.get_mut(slot as usize);
            let metric =
                metric.ok_or_else(|| Error::row(super::panel::TABLE, "a metric that the run does not have"))?;
            for (at, value) in column.values.iter().enumerate() {
                let axis = panel.axes.at(column.presence.row(at));
                for number in [axis.step, axis.time, axis.tokens, axis.attempt.into(), axis.position, value.to_bits()] {
                    metric.update(&number.to_le_bytes());
                }
            }
        }
        Ok(())
    })?;
    for metric in metrics {
        digest.update(metric.finalize().as_bytes());
    }
    Ok(())
}

fn part(digest: &mut blake3::Hasher, bytes: &[u8]) {
    digest.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}
