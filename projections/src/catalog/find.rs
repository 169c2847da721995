//! Lists by filter and order, page by page. A page costs the same however deep it is: it begins after a value and a row,
//! not after so many rows.

#[cfg(test)]
mod tests;

use super::columns::{Bits, Cell, Column, PathInfo, SortKey, Table};
use super::filter::{self, Direction, Filter, FilterError, OrderBy, Test};
use super::lists::Lists;
use super::query::{bounded, entity};
use super::{Catalog, Entity, KINDS, past_list, rows};
use crate::Error;
use crate::projection::{decode, encode};
use crate::store::{self, Store};
use bincode::{Decode, Encode};
use cairn_schemas::{Position, Real, Ref};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Longest text that a cursor carries; the place of a longer one is where its row is now.
const CURSOR_TEXT_MAX: usize = 100;

/// A question for a part of a list.
#[derive(Clone, Debug, Default)]
pub struct Find {
    /// One of [`KINDS`].
    pub kind: String,
    /// Which ones; all where absent. In the filter language.
    pub filter: Option<String>,
    /// And only those with these texts at these paths, which every entity of the kind knows.
    pub only: Vec<(&'static str, String)>,
    /// In which order: `metrics.loss DESC, name`. What is equal in it, and all where absent, by when it was first
    /// mentioned.
    pub order_by: Option<String>,
    /// Whether those first mentioned last come first among equals.
    pub newest_first: bool,
    /// After this item of the same question: a cursor that an answer gave.
    pub after: Option<String>,
    /// How many at most; 1 to 1,000.
    pub first: usize,
    /// As the list was when the log went up to this position.
    pub as_of: Option<Position>,
    /// Paths whose values are given with each item.
    pub columns: Vec<String>,
}

/// An entity and where it stands in the answer.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Item {
    pub entity: Entity,
    /// What to give as `after` to go on behind it.
    pub cursor: String,
    /// What stands at the paths that were asked for.
    pub values: Vec<Option<Value>>,
}

/// Part of what was found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    pub items: Vec<Item>,
    /// How many there are in all, on every page.
    pub total: u64,
    /// Whether others follow.
    pub has_more: bool,
}

/// Refs that a filter finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// By when they were first mentioned.
    pub refs: Vec<Ref>,
    /// How many there are in all.
    pub total: u64,
}

impl Catalog {
    /// Entities of a kind by filter and order.
    pub fn find(&self, question: &Find) -> Result<Found, Error> {
        let asked = Asked::new(question)?;
        if asked.is_plain() {
            return self.listed(&asked);
        }
        self.asked(&asked, |table, store| {
            let found = asked.matching(table)?;
            let mut keys = Vec::with_capacity(asked.order.len());
            for part in &asked.order {
                let wrong = |why| asked.wrong_order(part.path.at, why);
                keys.push((table.column(&part.path.name).map_err(wrong)?, part.direction));
            }
            let order = Order { keys, newest_first: question.newest_first };
            let after = question.after.as_deref().map(|cursor| asked.place(cursor, &order, table)).transpose()?;
            let columns = asked.columns(table)?;
            let (rows, has_more) = order.first(&found, after.as_ref(), bounded(question.first));
            let item = |row: &u32| {
                let reference = table.reference(*row);
                let entity = match question.as_of {
                    None => entity(store, reference)?,
                    Some(position) => self.state_in(store, reference, position)?,
                };
                let entity = entity.ok_or_else(|| Error::row("catalog.list", format!("{reference} is missing")))?;
                let values = columns.iter().map(|column| column.get(*row).map(shown)).collect();
                Ok(Item { entity, cursor: asked.cursor(*row, &order), values })
            };
            let items = rows.iter().map(item).collect::<Result<_, Error>>()?;
            Ok(Found { items, total: found.count(), has_more })
        })
    }

    /// How many entities of a kind a filter finds.
    pub fn count_where(&self, kind: &str, filter: Option<&str>, as_of: Option<Position>) -> Result<u64, Error> {
        if filter.is_none() && as_of.is_none() {
            return self.count(kind);
        }
        let question = Find { kind: kind.into(), filter: filter.map(Into::into), as_of, ..Find::default() };
        let asked = Asked::new(&question)?;
        self.asked(&asked, |table, _| Ok(asked.matching(table)?.count()))
    }

    /// The refs of the entities that a filter finds, `max` at most, oldest first. Of kinds that have refs.
    pub fn matching_refs(
        &self,
        kind: &str,
        filter: &str,
        as_of: Option<Position>,
        max: usize,
    ) -> Result<Matching, Error> {
        let question = Find { kind: kind.into(), filter: Some(filter.into()), as_of, ..Find::default() };
        let asked = Asked::new(&question)?;
        self.asked(&asked, |table, _| {
            let found = asked.matching(table)?;
            let refs = found.iter().take(max).map(|row| rows::parse(table.reference(row)));
            Ok(Matching { refs: refs.collect::<Result<_, _>>()?, total: found.count() })
        })
    }

    /// What stands at each path of a kind's entities.
    pub fn paths(&self, kind: &str) -> Result<Vec<PathInfo>, Error> {
        let (kind, _) = table_of(kind)?;
        self.0.read_view(|lists: &Lists, store| Ok(lists.table(kind, store)?.paths()))
    }

    /// A whole list in its own order: by its rows, so that nothing need be in memory for it.
    fn listed(&self, asked: &Asked<'_>) -> Result<Found, Error> {
        let question = asked.question;
        let after = question.after.as_deref().map(|cursor| asked.place_listed(cursor)).transpose()?;
        let order = if question.newest_first { store::Order::Descending } else { store::Order::Ascending };
        let total = self.count(&question.kind)?;
        self.0.read(|store| {
            let prefix = rows::list(&question.kind).done();
            let (found, next) = store::page(store, &prefix, after.as_deref(), bounded(question.first), order)?;
            let item = |(key, _): &store::Row| {
                let reference = rows::listed(key)?;
                let entity = entity(store, &reference)?;
                let entity = entity.ok_or_else(|| Error::row("catalog.list", format!("{reference} is missing")))?;
                Ok(Item { entity, cursor: asked.cursor_listed(key), values: Vec::new() })
            };
            let items = found.iter().map(item).collect::<Result<_, Error>>()?;
            Ok(Found { items, total, has_more: next.is_some() })
        })
    }

    /// Asks the table that a question is about: of now, or as it was.
    fn asked<T>(
        &self,
        asked: &Asked<'_>,
        answer: impl FnOnce(&Table, &dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.0.read_view(|lists: &Lists, store| {
            let table = lists.table(asked.table, store)?;
            match asked.question.as_of {
                None => answer(table, store),
                Some(position) => {
                    let then = past_list::as_of(self, table, store, position, &asked.paths(), &asked.within())?;
                    answer(&then, store)
                }
            }
        })
    }
}

/// What all entities of a part of a list have, where the list is a part.
type Part = Option<&'static str>;

/// The table of a kind, and what of it is meant.
fn table_of(kind: &str) -> Result<(&'static str, Part), Error> {
    let unknown = || Error::UnknownKind { given: kind.to_owned(), known: KINDS.to_vec() };
    let kind = KINDS.into_iter().find(|known| *known == kind).ok_or_else(unknown)?;
    Ok(match kind {
        "gate" => ("judgment", Some("gate IS NOT NULL")),
        "training" => ("run", Some("trains = true")),
        kind => (kind, None),
    })
}

/// A question that was understood.
struct Asked<'q> {
    question: &'q Find,
    table: &'static str,
    part: Part,
    filter: Option<Filter>,
    order: Vec<OrderBy>,
    /// Of the question without its page, so that cursors of others are known.
    fingerprint: u64,
}

/// A value as JSON says it.
fn shown(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Number(number) => json!(Real(number)),
        Cell::Bool(value) => value.into(),
        Cell::Text(text) => text.into(),
    }
}

fn wrong_cursor(cursor: &str) -> Error {
    Error::Cursor { given: cursor.chars().take(40).collect() }
}

/// What a cursor says: where the last item stood.
#[derive(Encode, Decode)]
struct Place {
    fingerprint: u64,
    row: u32,
    /// The values that it was sorted by.
    values: Vec<Kept>,
}

#[derive(Encode, Decode)]
enum Kept {
    Absent,
    Number(f64),
    Bool(bool),
    Text(String),
    TooLong,
}

impl<'q> Asked<'q> {
    fn new(question: &'q Find) -> Result<Self, Error> {
        let (table, part) = table_of(&question.kind)?;
        let parsed =
            question.filter.as_deref().filter(|text| !text.trim().is_empty()).map(filter::filter).transpose()?;
        let order = filter::order(question.order_by.as_deref().unwrap_or_default())?;
        let mut digest = blake3::Hasher::new();
        let shown = parsed.as_ref().map(Filter::to_string).unwrap_or_default();
        let by: Vec<String> = order.iter().map(OrderBy::to_string).collect();
        let as_of = question.as_of.map_or(0, Position::get).to_string();
        let mut parts = vec![question.kind.clone(), shown, by.join(","), question.newest_first.to_string(), as_of];
        parts.extend(question.only.iter().flat_map(|(path, text)| [(*path).to_owned(), text.clone()]));
        for text in &parts {
            digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let fingerprint = digest.finalize().as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Self { question, table, part, filter: parsed, order, fingerprint })
    }

    /// Whether it asks for a whole list in its own order.
    fn is_plain(&self) -> bool {
        let Find { only, columns, as_of, .. } = self.question;
        self.filter.is_none() && self.order.is_empty() && only.is_empty() && columns.is_empty() && as_of.is_none()
    }

    /// The paths that the question names.
    fn paths(&self) -> Vec<&str> {
        fn of<'f>(filter: &'f Filter, paths: &mut Vec<&'f str>) {
            match filter {
                Filter::Test(path, _) => paths.push(&path.name),
                Filter::Not(inner) => of(inner, paths),
                Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| of(part, paths)),
            }
        }
        let mut paths: Vec<&str> = self.order.iter().map(|part| part.path.name.as_str()).collect();
        self.filter.iter().for_each(|filter| of(filter, &mut paths));
        // What the parts of lists are told by.
        paths.extend(["trains", "gate"]);
        paths.extend(self.question.only.iter().map(|(path, _)| *path));
        paths.extend(self.question.columns.iter().map(String::as_str));
        paths
    }

    /// Those of the paths of which it asks whether anything is there.
    fn within(&self) -> Vec<&str> {
        fn of<'f>(filter: &'f Filter, paths: &mut Vec<&'f str>) {
            match filter {
                Filter::Test(path, Test::IsNull) => paths.push(&path.name),
                Filter::Test(..) => {}
                Filter::Not(inner) => of(inner, paths),
                Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| of(part, paths)),
            }
        }
        let mut paths = Vec::new();
        self.filter.iter().for_each(|filter| of(filter, &mut paths));
        paths
    }

    fn matching(&self, table: &Table) -> Result<Bits, Error> {
        let mut found = match &self.filter {
            Some(filter) => filter::matching(self.question.filter.as_deref().unwrap_or_default(), filter, table)?.yes,
            None => Bits::all(table.rows()),
        };
        for (path, text) in &self.question.only {
            let (mut yes, mut known) = (Bits::none(table.rows()), Bits::none(table.rows()));
            if let Ok(column) = table.column(path) {
                column.symbol(&mut yes, &mut known, Cell::Text(text));
            }
            found.and(&yes);
        }
        if let Some(part) = self.part {
            // A list of which no entity is of the part does not have its path.
            match filter::matching(part, &filter::filter(part)?, table) {
                Ok(matching) => found.and(&matching.yes),
                Err(_) => found = Bits::none(table.rows()),
            }
        }
        Ok(found)
    }

    /// The columns whose values are given with each item.
    fn columns<'t>(&self, table: &'t Table) -> Result<Vec<&'t Column>, FilterError> {
        let wrong = |path: &String, why| FilterError { what: "column", text: path.clone(), offset: 0, why };
        self.question.columns.iter().map(|path| table.column(path).map_err(|why| wrong(path, why))).collect()
    }

    fn cursor_listed(&self, key: &[u8]) -> String {
        let values = vec![Kept::Text(hex::encode(key))];
        hex::encode(encode(&Place { fingerprint: self.fingerprint, row: 0, values }))
    }

    /// The key of the last row that was seen, as `page` wants it.
    fn place_listed(&self, cursor: &str) -> Result<String, Error> {
        match self.decoded(cursor)?.values.pop() {
            Some(Kept::Text(key)) => Ok(key),
            _ => Err(wrong_cursor(cursor)),
        }
    }

    /// A cursor of this question.
    fn decoded(&self, cursor: &str) -> Result<Place, Error> {
        let place = hex::decode(cursor).ok().and_then(|bytes| decode::<Place>("cursor", &bytes).ok());
        place.filter(|place| place.fingerprint == self.fingerprint).ok_or_else(|| wrong_cursor(cursor))
    }

    fn wrong_order(&self, offset: usize, why: String) -> FilterError {
        FilterError { what: "order", text: self.question.order_by.clone().unwrap_or_default(), offset, why }
    }

    fn cursor(&self, row: u32, order: &Order<'_>) -> String {
        let value = |(column, _): &(&Column, Direction)| match column.get(row) {
            None => Kept::Absent,
            Some(Cell::Number(number)) => Kept::Number(number),
            Some(Cell::Bool(value)) => Kept::Bool(value),
            Some(Cell::Text(text)) if text.len() > CURSOR_TEXT_MAX => Kept::TooLong,
            Some(Cell::Text(text)) => Kept::Text(text.to_owned()),
        };
        let values = order.keys.iter().map(value).collect();
        hex::encode(encode(&Place { fingerprint: self.fingerprint, row, values }))
    }

    /// Where to go on, from a cursor of the same question.
    fn place(&self, cursor: &str, order: &Order<'_>, table: &Table) -> Result<After, Error> {
        let place = self.decoded(cursor)?;
        if place.values.len() != order.keys.len() || place.row as usize >= table.rows() {
            return Err(wrong_cursor(cursor));
        }
        let key = |((column, direction), value): (&(&Column, Direction), &Kept)| {
            let key = match value {
                Kept::Absent => SortKey::absent(),
                Kept::Number(number) => column.sort_key_of(Some(Cell::Number(*number))),
                Kept::Bool(value) => column.sort_key_of(Some(Cell::Bool(*value))),
                Kept::Text(text) => column.sort_key_of(Some(Cell::Text(text))),
                Kept::TooLong => column.sort_key(place.row),
            };
            turned(key, *direction)
        };
        Ok(After { keys: order.keys.iter().zip(&place.values).map(key).collect(), row: place.row })
    }
}

/// The place of the item that a page begins after.
struct After {
    keys: Vec<SortKey>,
    row: u32,
}

/// The order of an answer: by some columns, then by row.
struct Order<'t> {
    keys: Vec<(&'t Column, Direction)>,
    newest_first: bool,
}

fn turned(key: SortKey, direction: Direction) -> SortKey {
    match direction {
        Direction::Ascending => key,
        Direction::Descending => key.descending(),
    }
}

impl Order<'_> {
    fn key(&self, part: usize, row: u32) -> SortKey {
        let (column, direction) = self.keys[part];
        turned(column.sort_key(row), direction)
    }

    fn by_row(&self, one: u32, other: u32) -> Ordering {
        if self.newest_first { other.cmp(&one) } else { one.cmp(&other) }
    }

    /// By all but the first column.
    fn by_rest(&self, one: u32, other: u32) -> Ordering {
        let parts = (1..self.keys.len()).map(|part| self.key(part, one).cmp(&self.key(part, other)));
        parts.into_iter().find(|ordering| ordering.is_ne()).unwrap_or_else(|| self.by_row(one, other))
    }

    fn is_after(&self, key: SortKey, row: u32, after: &After) -> bool {
        let rest = || (1..self.keys.len()).map(|part| self.key(part, row).cmp(&after.keys[part])).find(|o| o.is_ne());
        let ordering = key.cmp(&after.keys[0]).then_with(|| rest().unwrap_or_else(|| self.by_row(row, after.row)));
        ordering == Ordering::Greater
    }

    /// The first so many of the rows after a place, and whether others follow.
    fn first(&self, found: &Bits, after: Option<&After>, count: usize) -> (Vec<u32>, bool) {
        let mut rows = match self.keys.is_empty() {
            true => self.first_by_row(found, after.map(|after| after.row), count + 1),
            false => self.first_by_key(found, after, count + 1),
        };
        let has_more = rows.len() > count;
        rows.truncate(count);
        (rows, has_more)
    }

    fn first_by_row(&self, found: &Bits, after: Option<u32>, count: usize) -> Vec<u32> {
        match self.newest_first {
            true => found.iter_down().filter(|row| after.is_none_or(|after| *row < after)).take(count).collect(),
            false => found.iter().filter(|row| after.is_none_or(|after| *row > after)).take(count).collect(),
        }
    }

    /// One pass: of twice as many as are wanted the better half is kept, and what is behind its last is passed over.
    fn first_by_key(&self, found: &Bits, after: Option<&After>, count: usize) -> Vec<u32> {
        let order = |one: &(SortKey, u32), other: &(SortKey, u32)| {
            one.0.cmp(&other.0).then_with(|| self.by_rest(one.1, other.1))
        };
        let mut best: Vec<(SortKey, u32)> = Vec::with_capacity(2 * count);
        let mut last: Option<(SortKey, u32)> = None;
        for row in found.iter() {
            let candidate = (self.key(0, row), row);
            let is_behind = last.as_ref().is_some_and(|last| order(&candidate, last) == Ordering::Greater);
            if is_behind || after.is_some_and(|after| !self.is_after(candidate.0, row, after)) {
                continue;
            }
            best.push(candidate);
            if best.len() == 2 * count {
                let (_, middle, _) = best.select_nth_unstable_by(count - 1, order);
                last = Some(*middle);
                best.truncate(count);
            }
        }
        best.sort_unstable_by(order);
        best.truncate(count);
        best.into_iter().map(|(_, row)| row).collect()
    }
}
