//! What every store must do, against a sorted map.

use super::*;
use crate::testing::Random;
use std::collections::BTreeMap;

fn rows(store: &dyn Store, from: &[u8], to: Option<&[u8]>, order: Order) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    };
    store.scan(from, to, order, &mut visit).unwrap();
    found
}

/// What every store must do, against a sorted map.
fn conforms(store: &dyn Store, seed: u64) {
    let mut random = Random::new(seed);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for _ in 0..60 {
        let mut changes = BTreeMap::new();
        for _ in 0..random.below(40) {
            let key: Vec<u8> =
                (0..1 + random.below(3)).map(|_| [0, 1, 7, 0xfe, 0xff][random.below(5) as usize]).collect();
            let value = (random.below(4) > 0).then(|| vec![random.below(256) as u8; random.below(2_000) as usize]);
            changes.insert(key, value);
        }
        for (key, value) in &changes {
            match value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(key),
            };
        }
        store.commit(&Changes::of(changes)).unwrap();
    }
    store.sync().unwrap();
    for (key, value) in &model {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(value), "seed {seed}");
    }
    assert_eq!(store.get(b"absent").unwrap(), None);
    for (from, to) in [(vec![], None), (vec![1], Some(vec![7])), (vec![7, 0xff], None), (vec![9], Some(vec![2]))] {
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(rows(store, &from, to.as_deref(), Order::Ascending), expected, "seed {seed}");
        expected.reverse();
        assert_eq!(rows(store, &from, to.as_deref(), Order::Descending), expected, "seed {seed}");
    }
    let mut seen = 0;
    let mut first_only = |_: &[u8], _: &[u8]| {
        seen += 1;
        Ok(ControlFlow::Break(()))
    };
    scan_prefix(store, &[0xff], Order::Ascending, &mut first_only).unwrap();
    assert!(seen <= 1);
}

#[test]
fn stores_conform() {
    conforms(&Memory::default(), 1);
    let dir = tempfile::tempdir().unwrap();
    for engine in [Engine::Sled, Engine::Fjall] {
        let dir = dir.path().join(engine.name());
        let store = engine.open(&dir).unwrap();
        assert_eq!(store.engine(), engine);
        conforms(&*store, 2);
        // What was synced is there after the store was closed, and a store may be closed and opened at once.
        let before = rows(&*store, &[], None, Order::Ascending);
        drop(store);
        let store = engine.open(&dir).unwrap();
        assert_eq!(rows(&*store, &[], None, Order::Ascending), before);
        conforms(&*engine.open(&dir.with_extension("other")).unwrap(), 3);
    }
}
