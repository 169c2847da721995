//! Sets the keys that a log's events name against what the vault holds: none may be lost, none destroyed be back.
//!
//! Grows with the number of people's keys, some 40 bytes each.

use crate::error::{Error, Mismatch};
use crate::layout::Layout;
use crate::log::{FoundLog, Mode};
use crate::site::Site;
use crate::storage::Storage;
use crate::vault::{Held, Vaults};
use cairn_schemas::{KeyId, Position, SealedField};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const UNFINISHED: &str = "(erasure not finished: open the ledger for writing)";

/// Ids of keys that are said to be destroyed, each with the event that says so; `None` where the register alone does.
pub(crate) type DestroyedIds = BTreeMap<String, Option<Position>>;

/// Keys that sealed fields name, each with the first position that does.
#[derive(Default)]
pub(super) struct NamedKeys(HashMap<KeyId, u64>);

impl NamedKeys {
    pub(super) fn look(&mut self, position: Position, sealed: &[SealedField]) {
        for field in sealed {
            self.0.entry(field.key).or_insert(position.get());
        }
    }

    /// Damage of the vault itself is not looked for here.
    pub(super) fn check(
        self,
        disk: &Arc<dyn Storage>,
        layout: &Layout,
        log: &FoundLog,
        destroyed: &DestroyedIds,
    ) -> Result<(), Error> {
        let vault = match Vaults::new(disk.clone(), layout, Mode::ReadOnly).of(&log.id.tenant) {
            Err(Error::Damaged(_)) => return Ok(()),
            other => other?,
        };
        if vault.is_closed() {
            return Ok(());
        }
        let site = Site::new(&log.id.to_string(), &layout.dir, layout.persons(&log.id.tenant));
        for (name, by) in destroyed {
            let Ok(id) = name.parse::<KeyId>() else { continue };
            if let Held::Key(_) = vault.key(id)? {
                let says = by.map_or("the register".to_owned(), |by| format!("the event at position {by}"));
                let expected = format!("no key {id}, which {says} says was destroyed {UNFINISHED}");
                return Err(site.damage(by.map(Position::get), 0, Mismatch::new(0, expected, "the key")));
            }
        }
        let mut named: Vec<(u64, KeyId)> = self.0.into_iter().map(|(id, first)| (first, id)).collect();
        named.sort_unstable();
        for (first, id) in named {
            if let Held::Unknown = vault.key(id)? {
                let mismatch = Mismatch::new(0, format!("the key {id} or its tombstone"), "neither");
                return Err(site.damage(Some(first), 0, mismatch));
            }
        }
        Ok(())
    }
}
