//! A store's rows with the changes of a batch on top, which `apply` reads and writes. A row that it edits is decoded
//! once a batch, changed in place, and encoded once when the batch is committed.

use crate::Error;
use crate::store::{Changes, Store};
use bincode::{Decode, Encode};
use foldhash::fast::RandomState;
use std::any::Any;
use std::collections::HashMap;

/// A value that can be held decoded while events change it.
pub(crate) trait Row: Encode + Decode<()> + Default + Clone + Send + 'static {}
impl<T: Encode + Decode<()> + Default + Clone + Send + 'static> Row for T {}

/// A decoded row whose type is known to those who ask for it.
trait Held: Any + Send {
    fn to_bytes(&self) -> Vec<u8>;
}
impl<T: Row> Held for T {
    fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }
}

/// What the batch knows of a row.
enum Slot {
    Deleted,
    Bytes(Vec<u8>),
    /// As an event left it, or as it was looked at.
    Held {
        row: Box<dyn Held>,
        is_changed: bool,
    },
}

/// A store's rows with the changes that are not committed yet on top.
pub(crate) struct Rows<'a> {
    store: &'a dyn Store,
    slots: HashMap<Vec<u8>, Slot, RandomState>,
    /// Bytes of the values that the slots were made of: a measure of the batch's memory.
    bytes: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn over(store: &'a dyn Store) -> Self {
        Self { store, slots: HashMap::default(), bytes: 0 }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, Error> {
        match self.slots.get(key) {
            Some(Slot::Deleted) => Ok(false),
            Some(_) => Ok(true),
            None => Ok(self.store.get(key)?.is_some()),
        }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += value.len();
        self.slots.insert(key, Slot::Bytes(value));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.slots.insert(key, Slot::Deleted);
    }

    /// A copy of a row as it is now. What is read often is better looked at or edited.
    pub(crate) fn read<T: Decode<()>>(&self, table: &'static str, key: &[u8]) -> Result<Option<T>, Error> {
        match self.slots.get(key) {
            Some(Slot::Deleted) => Ok(None),
            Some(Slot::Bytes(bytes)) => decode(table, bytes).map(Some),
            Some(Slot::Held { row, .. }) => decode(table, &row.to_bytes()).map(Some),
            None => self.store.get(key)?.map(|bytes| decode(table, &bytes)).transpose(),
        }
    }

    pub(crate) fn write<T: Encode>(&mut self, key: Vec<u8>, row: &T) {
        self.put(key, encode(row));
    }

    /// A row to change in place; a new one where there is none. It is written when the batch is committed.
    pub(crate) fn edit<T: Row>(&mut self, table: &'static str, key: &[u8]) -> Result<&mut T, Error> {
        if !self.hold::<T>(table, key)? {
            let slot = Slot::Held { row: Box::new(T::default()), is_changed: true };
            self.slots.insert(key.to_vec(), slot);
        }
        self.held(table, key)
    }

    /// A row to change in place; `None` where there is none.
    pub(crate) fn edit_known<T: Row>(&mut self, table: &'static str, key: &[u8]) -> Result<Option<&mut T>, Error> {
        match self.hold::<T>(table, key)? {
            true => self.held(table, key).map(Some),
            false => Ok(None),
        }
    }

    /// A row to look at: decoded once a batch, and not written for that. `None` where there is none.
    pub(crate) fn look<T: Row>(&mut self, table: &'static str, key: &[u8]) -> Result<Option<&T>, Error> {
        if !self.hold::<T>(table, key)? {
            return Ok(None);
        }
        match self.slots.get(key) {
            Some(Slot::Held { row, .. }) => Ok((&**row as &dyn Any).downcast_ref()),
            _ => Ok(None),
        }
    }

    /// Has a row decoded, and says whether there is one.
    fn hold<T: Row>(&mut self, table: &'static str, key: &[u8]) -> Result<bool, Error> {
        let held = |row: T, is_changed| Slot::Held { row: Box::new(row), is_changed };
        match self.slots.get_mut(key) {
            Some(Slot::Deleted) => return Ok(false),
            Some(slot @ Slot::Bytes(_)) => {
                let Slot::Bytes(bytes) = &*slot else { unreachable!("it was matched") };
                *slot = held(decode(table, bytes)?, true);
            }
            Some(Slot::Held { row, .. }) => {
                if !(&**row as &dyn Any).is::<T>() {
                    // The row is of another type than before, as its bytes may well be.
                    let again: T = decode(table, &row.to_bytes())?;
                    *row = Box::new(again);
                }
            }
            None => {
                let Some(bytes) = self.store.get(key)? else { return Ok(false) };
                self.bytes += bytes.len();
                self.slots.insert(key.to_vec(), held(decode(table, &bytes)?, false));
            }
        }
        Ok(true)
    }

    /// The row that is held under a key, noted as changed.
    fn held<T: Row>(&mut self, table: &'static str, key: &[u8]) -> Result<&mut T, Error> {
        match self.slots.get_mut(key) {
            Some(Slot::Held { row, is_changed }) => {
                *is_changed = true;
                let row = (&mut **row as &mut dyn Any).downcast_mut();
                row.ok_or_else(|| Error::row(table, "it is held as another type"))
            }
            _ => Err(Error::row(table, "it is not held")),
        }
    }

    /// Rows that the batch holds.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Roughly the bytes that the batch holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the events changed.
    pub(crate) fn into_changes(self) -> Changes {
        Changes::of(self.slots.into_iter().filter_map(|(key, slot)| match slot {
            Slot::Deleted => Some((key, None)),
            Slot::Bytes(bytes) => Some((key, Some(bytes))),
            Slot::Held { row, is_changed: true } => Some((key, Some(row.to_bytes()))),
            Slot::Held { is_changed: false, .. } => None,
        }))
    }
}

pub(crate) fn encode<T: Encode>(row: &T) -> Vec<u8> {
    bincode::encode_to_vec(row, bincode::config::standard()).expect("encoding to memory cannot fail")
}

pub(crate) fn decode<T: Decode<()>>(table: &'static str, bytes: &[u8]) -> Result<T, Error> {
    match bincode::decode_from_slice(bytes, bincode::config::standard()) {
        Ok((row, used)) if used == bytes.len() => Ok(row),
        Ok((_, used)) => Err(Error::row(table, format!("{} bytes follow it", bytes.len() - used))),
        Err(e) => Err(Error::row(table, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{Filled, Projection, fill};
    use crate::store::Memory;
    use crate::testing::{List, Random, ingested};
    use cairn_schemas::Recorded;
    use parking_lot::Mutex;
    use std::collections::BTreeMap;

    /// A store that counts what is asked of it.
    #[derive(Default)]
    struct Asked {
        rows: Memory,
        gets: Mutex<usize>,
    }

    impl Store for Asked {
        fn engine(&self) -> crate::store::Engine {
            self.rows.engine()
        }

        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            *self.gets.lock() += 1;
            self.rows.get(key)
        }
        fn scan(
            &self,
            from: &[u8],
            to: Option<&[u8]>,
            order: crate::store::Order,
            visit: &mut crate::store::Visit<'_>,
        ) -> Result<(), Error> {
            self.rows.scan(from, to, order, visit)
        }
        fn commit(&self, changes: &Changes) -> Result<(), Error> {
            self.rows.commit(changes)
        }
        fn sync(&self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn an_edited_row_is_read_and_written_once() {
        let store = Asked::default();
        store.commit(&Changes::of([(vec![1, 1], Some(encode(&vec![7u64])))])).unwrap();
        let mut rows = Rows::over(&store);
        for number in 0..100u64 {
            rows.edit::<Vec<u64>>("test", &[1, 1]).unwrap().push(number);
            rows.edit::<Vec<u64>>("test", &[1, 2]).unwrap().push(number);
        }
        assert_eq!(*store.gets.lock(), 2);
        assert_eq!(rows.look::<Vec<u64>>("test", &[1, 2]).unwrap().unwrap().len(), 100);
        assert_eq!(rows.read::<Vec<u64>>("test", &[1, 1]).unwrap().unwrap().len(), 101);
        assert!(rows.contains(&[1, 2]).unwrap());
        assert_eq!(*store.gets.lock(), 2);
        let changes = rows.into_changes();
        assert_eq!(changes.len(), 2);
        store.commit(&changes).unwrap();
        let written: Vec<u64> = decode("test", &store.get(&[1, 1]).unwrap().unwrap()).unwrap();
        assert_eq!(written[..3], [7, 0, 1]);
    }

    #[test]
    fn a_row_that_was_only_looked_at_is_not_written() {
        let store = Memory::default();
        store.commit(&Changes::of([(vec![1], Some(encode(&5u64)))])).unwrap();
        let mut rows = Rows::over(&store);
        assert_eq!(rows.look::<u64>("test", &[1]).unwrap(), Some(&5));
        assert_eq!(rows.look::<u64>("test", &[2]).unwrap(), None);
        assert_eq!(rows.edit_known::<u64>("test", &[2]).unwrap(), None);
        assert!(rows.into_changes().is_empty());
        let mut rows = Rows::over(&store);
        rows.look::<u64>("test", &[1]).unwrap();
        *rows.edit_known::<u64>("test", &[1]).unwrap().unwrap() += 1;
        assert_eq!(rows.into_changes().get(&[1]), Some(Some(&encode(&6u64)[..])));
    }

    #[test]
    fn puts_and_deletes_and_edits_see_each_other() {
        let store = Memory::default();
        store.commit(&Changes::of([(vec![1], Some(encode(&5u64)))])).unwrap();
        let mut rows = Rows::over(&store);
        *rows.edit::<u64>("test", &[1]).unwrap() += 1;
        rows.write(vec![1], &10u64);
        assert_eq!(*rows.edit::<u64>("test", &[1]).unwrap(), 10);
        rows.delete(vec![1]);
        assert_eq!(rows.read::<u64>("test", &[1]).unwrap(), None);
        assert_eq!(rows.edit_known::<u64>("test", &[1]).unwrap(), None);
        assert!(!rows.contains(&[1]).unwrap());
        assert_eq!(*rows.edit::<u64>("test", &[1]).unwrap(), 0, "a new one");
        // One row may be read as another type, where its bytes are one of that type too.
        *rows.edit::<u64>("test", &[1]).unwrap() = 3;
        *rows.edit::<u32>("test", &[1]).unwrap() += 1;
        assert_eq!(rows.look::<u64>("test", &[1]).unwrap(), Some(&4));
        rows.put(vec![2], vec![0xff; 40]);
        let error = rows.edit::<u64>("test.table", &[2]).unwrap_err().to_string();
        assert!(error.contains("`test.table`"), "{error}");
    }

    /// Any mixture of verbs, against a plain map.
    #[test]
    fn rows_are_as_a_plain_map_has_them() {
        for seed in 0..20 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let (store, mut model) = (Memory::default(), BTreeMap::<Vec<u8>, u64>::new());
            for _ in 0..20 {
                let mut rows = Rows::over(&store);
                for _ in 0..random.below(40) {
                    let (key, value) = (vec![1, random.below(6) as u8], random.below(1_000));
                    match random.below(6) {
                        0 => {
                            rows.write(key.clone(), &value);
                            model.insert(key, value);
                        }
                        1 => {
                            rows.delete(key.clone());
                            model.remove(&key);
                        }
                        2 => {
                            *rows.edit::<u64>("test", &key).unwrap() += value;
                            *model.entry(key).or_default() += value;
                        }
                        3 => {
                            let (row, known) = (rows.edit_known::<u64>("test", &key).unwrap(), model.get_mut(&key));
                            assert_eq!(row.is_some(), known.is_some());
                            row.into_iter().chain(known).for_each(|row| *row += value);
                        }
                        4 => assert_eq!(rows.look::<u64>("test", &key).unwrap(), model.get(&key)),
                        _ => {
                            assert_eq!(rows.read::<u64>("test", &key).unwrap(), model.get(&key).copied());
                            assert_eq!(rows.contains(&key).unwrap(), model.contains_key(&key));
                        }
                    }
                }
                store.commit(&rows.into_changes()).unwrap();
            }
            for number in 0..6u8 {
                let found = store.get(&[1, number]).unwrap().map(|bytes| decode::<u64>("test", &bytes).unwrap());
                assert_eq!(found, model.get(&vec![1, number]).copied(), "seed {seed}");
            }
        }
    }

    #[test]
    fn an_event_that_fails_after_an_edit_leaves_nothing_of_it() {
        static COUNTING: Projection = Projection::new("counting", 1, count);
        fn count(event: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
            *rows.edit::<u64>("test", &[1])? += 1;
            match event.position.get() {
                4 => Err(Error::row("test", "four is too much")),
                _ => Ok(()),
            }
        }
        let mut filled = Filled::over(Box::new(Memory::default())).unwrap();
        fill(&COUNTING, &mut filled, &List::of((0..9).map(ingested)).all()).unwrap_err();
        let count: u64 = decode("test", &filled.store.get(&[1]).unwrap().unwrap()).unwrap();
        assert_eq!((count, filled.watermark.unwrap().position.get()), (3, 3));
    }
}
