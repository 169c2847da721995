//! A list as it was: entities that changed since are taken from their past states, the others from the list of now. Only
//! the paths that a question names are filled.

use super::columns::{Cell, Column, Table, flatten, flatten_progress};
use super::{Catalog, past};
use crate::Error;
use crate::store::Store;
use cairn_schemas::{Position, RunId};

/// The rows that were there at a position. They have the numbers that they have now. `within` are those of the paths of
/// which it is asked whether anything stands at them or further on.
pub(super) fn as_of(
    catalog: &Catalog,
    now: &Table,
    store: &dyn Store,
    position: Position,
    paths: &[&str],
    within: &[&str],
) -> Result<Table, Error> {
    let mut then = Table::new(now.kind());
    let mut paths = paths.to_vec();
    paths.extend(within.iter().flat_map(|path| now.within(path)).map(|(path, _)| path));
    let paths = &paths[..];
    then.know(paths, now);
    let [created, updated] = ["created_position", "updated_position"].map(|path| now.known(path));
    // Metrics of evaluations are of the evaluations themselves.
    let stepped = now.known("step_position");
    let is_past = |column: Option<&Column>, row: u32| match column.and_then(|column| column.get(row)) {
        Some(Cell::Number(at)) => at <= position.get() as f64,
        _ => true,
    };
    let (of_steps, of_entities): (Vec<&str>, Vec<&str>) =
        paths.iter().partition(|path| now.kind() == "run" && is_of_steps(path));
    let (unchanged, unmoved) = (then.beside(now, &of_entities), then.beside(now, &of_steps));
    for row in 0..now.rows() as u32 {
        // Rows are in the order of their creation.
        if !is_past(created, row) {
            break;
        }
        let reference = now.reference(row).clone();
        then.push(reference.clone());
        if is_past(updated, row) {
            then.copy(row, &unchanged);
        } else if let Some(entity) = past::as_of(store, &reference, position)? {
            then.add(row, |each| flatten(&reference, &entity, &mut wanted(&of_entities, within, each)));
        }
        if is_past(stepped, row) {
            then.copy(row, &unmoved);
        } else if !of_steps.is_empty() {
            let run: RunId = reference.parse().map_err(|e| Error::row("catalog.list", e))?;
            if let Some(progress) = catalog.progress_as_of(&run, position)? {
                then.add(row, |each| flatten_progress(&progress, &mut wanted(&of_steps, &[], each)));
            }
        }
    }
    Ok(then)
}

/// Whether a path is filled by the steps of a run.
fn is_of_steps(path: &str) -> bool {
    path.starts_with("metrics.") || ["step", "tokens", "step_position"].contains(&path)
}

/// Lets through what stands at the paths that are wanted, or further on from those of `within`.
fn wanted<'w>(
    paths: &'w [&'w str],
    within: &'w [&'w str],
    each: &'w mut dyn FnMut(&str, Cell<'_>),
) -> impl FnMut(&str, Cell<'_>) + 'w {
    let is_further = |path: &str, from: &&str| path.strip_prefix(from).is_some_and(|rest| rest.starts_with('.'));
    move |path, cell| {
        if paths.contains(&path) || within.iter().any(|from| is_further(path, from)) {
            each(path, cell);
        }
    }
}
