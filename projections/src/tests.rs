//! The promises that all projections share: rebuilt to the same rows, whole after a crash, one event's failure kept to
//! one projection, nobody else's store.

use crate::events::Events;
use crate::follower::Follower;
use crate::home::Home;
use crate::projection::{Filled, Projection, Rows, decode, fill};
use crate::store::{Changes, Choice, Engine, Memory, Sled, Store};
use crate::testing::{List, Random, history, ingested};
use crate::{Error, Projections, catalog, curves, evals, lineage};
use cairn_ledger::{Ledger, Options};
use cairn_schemas::{NewEvent, Position, Recorded, TenantId};
use std::path::Path;
use std::time::Duration;

mod faults;
mod rebuilds;

const ALL: [&Projection; 4] = [&curves::PROJECTION, &evals::PROJECTION, &catalog::PROJECTION, &lineage::PROJECTION];

fn open(list: &List, dir: &Path, engine: Engine) -> Projections {
    let home = Home::open(dir, &TenantId::default(), Choice::Always(engine)).unwrap();
    Projections::over(Box::new(list.clone()), Some(home)).unwrap()
}

/// Digests of the projections of `events`, computed in memory, one event a batch.
fn expected(projection: &Projection, events: &[Recorded]) -> String {
    let mut filled = Filled::over(Box::new(Memory::default())).unwrap();
    events.iter().for_each(|event| fill(projection, &mut filled, std::slice::from_ref(event)).unwrap());
    filled.digest(projection).unwrap()
}

#[test]
fn the_real_ledger_is_followed_and_rebuilt_to_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = TenantId::default();
    let ledger = Ledger::open(&dir.path().join("ledger"), Options::default()).unwrap();
    let append = |events: &[cairn_schemas::Event], first: usize| {
        let named = |(number, event): (usize, &cairn_schemas::Event)| {
            NewEvent::new("test", &(first + number).to_string(), event.clone())
        };
        ledger.append(&tenant, events.iter().enumerate().map(named).collect()).unwrap()
    };
    let events = history(1, 500);
    append(&events[..200], 0);

    let home = dir.path().join("projections");
    let projections = Projections::open(&home, ledger.clone(), tenant.clone()).unwrap();
    projections.catch_up().unwrap();
    assert_eq!(projections.reached(), Position::new(200));
    let following = projections.follow();
    let last = append(&events[200..], 200).last().unwrap().position;
    projections.wait_for(last, Duration::from_secs(30)).unwrap();
    drop(following);
    let first = projections.digests().unwrap();
    assert_eq!(first.len(), 4);
    assert!(first.iter().all(|(_, watermark, _)| *watermark == events.len() as u64));

    let mut seen = Vec::new();
    projections.rebuild(&[], &mut |name, done, total| seen.push((name.to_owned(), done, total))).unwrap();
    assert_eq!(projections.digests().unwrap(), first);
    assert!(seen.contains(&("lineage".to_owned(), events.len() as u64, events.len() as u64)));
    assert!(matches!(Projections::open(&home, ledger.clone(), tenant.clone()), Err(Error::Held { .. })));

    // Closed and opened again, it is where it was; deleted, it comes back the same.
    drop(projections);
    let projections = Projections::open(&home, ledger.clone(), tenant.clone()).unwrap();
    assert_eq!(projections.digests().unwrap(), first);
    drop(projections);
    std::fs::remove_dir_all(&home).unwrap();
    let projections = Projections::open(&home, ledger.clone(), tenant.clone()).unwrap();
    assert_eq!(projections.reached(), None);
    projections.catch_up().unwrap();
    assert_eq!(projections.digests().unwrap(), first);

    let beside = Projections::in_memory(ledger, tenant).unwrap();
    beside.catch_up().unwrap();
    assert_eq!(beside.digests().unwrap(), first);
}

#[test]
fn rows_do_not_depend_on_the_batches_they_came_in() {
    let list = List::of(history(2, 2_600));
    let all = list.all();
    for projection in ALL {
        let one_by_one = expected(projection, &all);
        for seed in [3, 4] {
            let mut random = Random::new(seed);
            let dir = tempfile::tempdir().unwrap();
            let mut filled = Filled::over(Box::new(Sled::open(dir.path()).unwrap())).unwrap();
            let mut rest = &all[..];
            while !rest.is_empty() {
                let (batch, left) = rest.split_at(rest.len().min(1 + random.below(400) as usize));
                fill(projection, &mut filled, batch).unwrap();
                rest = left;
            }
            assert_eq!(filled.digest(projection).unwrap(), one_by_one, "{}, seed {seed}", projection.name);
            assert!(filled.len() > 5, "{} has rows", projection.name);
        }
    }
}

#[test]
fn a_projection_that_cannot_go_on_does_not_hold_up_the_others() {
    static STUCK: Projection = Projection::new("stuck", 1, until_seven);
    static BOTH: [&Projection; 2] = [&STUCK, &lineage::PROJECTION];
    fn until_seven(event: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
        rows.put(vec![1, event.position.get() as u8], Vec::new());
        match event.position.get() {
            7 => Err(Error::row("test", "seven is too much")),
            _ => Ok(()),
        }
    }
    let list = List::of((0..20).map(ingested));
    let follower = Follower::open(Box::new(list.clone()), None, &BOTH).unwrap();
    for _ in 0..2 {
        let error = follower.catch_up().unwrap_err().to_string();
        assert!(error.contains("`stuck` stopped at position 7") && error.contains("seven is too much"), "{error}");
        let [stuck, other] = follower.lives() else { panic!("two projections") };
        assert_eq!(stuck.watermark().unwrap().position.get(), 6);
        assert_eq!(stuck.with(Filled::len), 6, "nothing of the event that failed is kept");
        assert_eq!(other.watermark().unwrap().position.get(), 20);
    }
}

#[test]
fn waiting_ends_with_the_position_or_says_why_not() {
    let list = List::of((0..5).map(ingested));
    let projections = Projections::over(Box::new(list.clone()), None).unwrap();
    let at = |position| Position::new(position).unwrap();
    projections.wait_for(at(5), Duration::ZERO).unwrap();
    let error = projections.wait_for(at(6), Duration::from_millis(10)).unwrap_err();
    assert!(matches!(error, Error::Beyond { .. }) && error.to_string().contains("position 5"), "{error}");

    let waiting = projections.clone();
    let waiter = std::thread::spawn(move || waiting.wait_for(at(6), Duration::from_secs(60)));
    list.extend([ingested(6)]);
    waiter.join().unwrap().unwrap();
    assert_eq!(projections.watermarks().len(), 4);
    assert!(projections.watermarks().iter().all(|(_, position)| *position == Position::new(6)));

    let error = projections.rebuild(&["curve"], &mut |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("`curve`") && error.contains("curves, evals, catalog, lineage"), "{error}");
}

#[test]
fn a_damaged_row_is_an_error_that_names_its_table() {
    let store = Memory::default();
    store.commit(&Changes::of([(vec![0, b'w'], Some(vec![1]))])).unwrap();
    let error = Filled::over(Box::new(store)).map(drop).unwrap_err().to_string();
    assert!(error.contains("watermark") && error.contains("cairn rebuild"), "{error}");
}
