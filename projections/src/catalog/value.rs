//! What one entity has at one path: for those who put entities into groups.

use super::columns::{Cell, flatten};
use super::{Catalog, past};
use crate::Error;
use cairn_schemas::Position;

impl Catalog {
    /// What stands at a path of an entity, as text; `None` where nothing does, or the entity was not yet.
    pub fn value_at(&self, reference: &str, path: &str, as_of: Option<Position>) -> Result<Option<String>, Error> {
        let position = as_of.or(Position::new(u64::MAX)).unwrap_or(Position::FIRST);
        self.0.read(|store| {
            let Some(row) = past::as_of(store, reference, position)? else { return Ok(None) };
            let mut found = None;
            flatten(reference, &row, &mut |at, cell| {
                if at == path {
                    found = Some(match cell {
                        Cell::Number(number) => number.to_string(),
                        Cell::Bool(is_true) => is_true.to_string(),
                        Cell::Text(text) => text.to_owned(),
                    });
                }
            });
            Ok(found)
        })
    }
}
