//! The lists in memory, each loaded when it is first asked for and then kept in step with the rows.

use super::columns::{Table, flatten, flatten_progress};
use super::rows::{self, EntityRow, Progress};
use crate::Error;
use crate::key::Fields;
use crate::projection::{View, decode};
use crate::store::{Changes, Order, Store, scan_prefix};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// Lists that have a table; the others are parts of these. In front of each what its refs begin with.
const TABLES: [(&str, &str); 10] = [
    ("artifact:", "artifact"),
    ("ds://", "dataset"),
    ("deployment:", "deployment"),
    ("doc:", "document"),
    ("eval:", "evaluation"),
    ("judgment:", "judgment"),
    ("model://", "model"),
    ("run:", "run"),
    ("schema:", "schema"),
    ("source:", "source"),
];

/// The view of the catalog.
pub(super) struct Lists {
    tables: [OnceLock<Table>; TABLES.len()],
    loading: Mutex<()>,
}

pub(super) fn load(_: &dyn Store) -> Result<Box<dyn View>, Error> {
    Ok(Box::new(Lists { tables: Default::default(), loading: Mutex::new(()) }))
}

impl Lists {
    /// The table of a kind that has one.
    pub(super) fn table(&self, kind: &str, store: &dyn Store) -> Result<&Table, Error> {
        let index = TABLES.iter().position(|(_, of)| *of == kind).expect("kinds without a table are not asked for");
        if let Some(table) = self.tables[index].get() {
            return Ok(table);
        }
        let _turn = self.loading.lock();
        if let Some(table) = self.tables[index].get() {
            return Ok(table);
        }
        let (prefix, kind) = TABLES[index];
        let table = read(prefix, kind, store)?;
        Ok(self.tables[index].get_or_init(|| table))
    }
}

fn read(prefix: &str, kind: &'static str, store: &dyn Store) -> Result<Table, Error> {
    let mut table = Table::new(kind);
    scan_prefix(store, &rows::list(kind).done(), Order::Ascending, &mut |key, _| {
        table.push(rows::listed(key)?);
        Ok(ControlFlow::Continue(()))
    })?;
    scan_prefix(store, &rows::entities(prefix), Order::Ascending, &mut |key, row| {
        set_entity(&mut table, key, row)?;
        Ok(ControlFlow::Continue(()))
    })?;
    if kind == "run" {
        scan_prefix(store, rows::PROGRESSES, Order::Ascending, &mut |key, row| {
            set_progress(&mut table, key, row)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(table)
}

fn set_entity(table: &mut Table, key: &[u8], row: &[u8]) -> Result<(), Error> {
    let reference = Fields::of("catalog.entity", key).text()?;
    let Some(number) = table.row(&reference) else { return Ok(()) };
    let row: EntityRow = decode("catalog.entity", row)?;
    table.set(number, |each| flatten(&reference, &row, each));
    Ok(())
}

/// A run is known from its first step on.
fn set_progress(table: &mut Table, key: &[u8], row: &[u8]) -> Result<(), Error> {
    let reference = format!("run:{}", rows::run_of_progress(key)?);
    let progress: Progress = decode("catalog.progress", row)?;
    if let Some(number) = table.row(&reference) {
        table.add(number, |each| flatten_progress(&progress, each));
    }
    Ok(())
}

impl View for Lists {
    fn take(&mut self, changes: &Changes) -> Result<(), Error> {
        for ((prefix, kind), table) in TABLES.iter().zip(&mut self.tables) {
            let Some(table) = table.get_mut() else { continue };
            // In the order of their keys, so by position: rows have the numbers that a load would give them.
            for (key, _) in changes.under(&rows::list(kind).done()) {
                table.push(rows::listed(key)?);
            }
            for (key, row) in changes.under(&rows::entities(prefix)) {
                if let Some(row) = row {
                    set_entity(table, key, row)?;
                }
            }
            if *kind == "run" {
                for (key, row) in changes.under(rows::PROGRESSES) {
                    if let Some(row) = row {
                        set_progress(table, key, row)?;
                    }
                }
            }
        }
        Ok(())
    }
}
