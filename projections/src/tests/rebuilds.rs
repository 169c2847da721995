//! New stores beside those in use: of another version, of another ledger, damaged, on another engine, or asked for.

use super::*;
use crate::ProjectionState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static V1: Projection = Projection::new("curves", 1, curves::PROJECTION.apply);
static V2: Projection = Projection::new("curves", 2, count_only);
static OLD: [&Projection; 1] = [&V1];
static NEW: [&Projection; 1] = [&V2];

fn count_only(_: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    *rows.edit::<u64>("test.count", &[1])? += 1;
    Ok(())
}

fn home(dir: &Path, engine: Engine) -> Option<Home> {
    Some(Home::open(dir, &TenantId::default(), Choice::Always(engine)).unwrap())
}

fn stores(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("default")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains("-v"));
    names.sort();
    names
}

/// A list with sources of its own.
struct Fixed(Vec<Recorded>);

impl Events for Fixed {
    fn head(&self) -> Option<Position> {
        self.0.last().map(|event| event.position)
    }
    fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
        Ok(self.0.iter().filter(|event| event.position >= from).take(count_max).cloned().collect())
    }
    fn wait_past(&self, _: Option<Position>, _: Duration) -> Option<Position> {
        self.head()
    }
}

/// A list that gives out events only as far as it was opened, and counts what it gave.
struct Gated {
    list: List,
    open_to: AtomicU64,
    read: AtomicU64,
}

impl Events for std::sync::Arc<Gated> {
    fn head(&self) -> Option<Position> {
        self.list.head()
    }
    fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
        while from.get() > self.open_to.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let events = self.list.read(from, count_max.min(50))?;
        self.read.fetch_add(events.len() as u64, Ordering::SeqCst);
        Ok(events)
    }
    fn wait_past(&self, head: Option<Position>, timeout: Duration) -> Option<Position> {
        self.list.wait_past(head, timeout)
    }
}

fn gated(list: &List, open_to: u64) -> std::sync::Arc<Gated> {
    let (open_to, read) = (AtomicU64::new(open_to), AtomicU64::new(0));
    std::sync::Arc::new(Gated { list: list.clone(), open_to, read })
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come to be");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn another_version_and_another_ledger_mean_a_rebuild() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let dir = tempfile::tempdir().unwrap();
        let list = List::of(history(7, 120));
        let named = |name: &str| vec![format!("{name}-{}", engine.name())];
        let old = Follower::open(Box::new(List::default()), home(dir.path(), engine), &OLD).unwrap();
        drop(old);
        assert_eq!(stores(dir.path()), named("curves-v1-1"), "a new ledger's store is in use at once");
        let old = Follower::open(Box::new(list.clone()), home(dir.path(), engine), &OLD).unwrap();
        old.catch_up().unwrap();
        assert!(old.lives()[0].read(|_| Ok(())).is_ok());
        drop(old);

        let new = Follower::open(Box::new(list.clone()), home(dir.path(), engine), &NEW).unwrap();
        let error = new.lives()[0].read(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("`curves` is being rebuilt, 0 of 121 events"), "{error}");
        assert_eq!(stores(dir.path()).len(), 2, "the old store is there until the new one is whole");
        new.catch_up().unwrap();
        assert_eq!((new.reached(), new.lives()[0].with(Filled::len)), (list.head(), 1));
        drop(new);
        assert_eq!(stores(dir.path()), named("curves-v2-2"));

        for (events, what) in [(history(7, 60), "behind the watermark"), (history(8, 200), "another at the watermark")]
        {
            let events = List::of(events);
            let moved = events.all().into_iter().map(|mut event| {
                event.source = what.into();
                event
            });
            let moved = Box::new(Fixed(moved.collect()));
            let follower = Follower::open(moved, home(dir.path(), engine), &NEW).unwrap();
            assert!(matches!(follower.lives()[0].read(|_| Ok(())), Err(Error::Rebuilding { .. })), "{what}");
            follower.catch_up().unwrap();
            assert_eq!(follower.reached(), events.head(), "{what}");
        }
    }
}

#[test]
fn while_one_is_rebuilt_after_opening_the_others_follow_and_progress_is_told() {
    static BOTH_OLD: [&Projection; 2] = [&V1, &lineage::PROJECTION];
    static BOTH_NEW: [&Projection; 2] = [&V2, &lineage::PROJECTION];
    let dir = tempfile::tempdir().unwrap();
    let list = List::of((0..600).map(ingested));
    let follower = Follower::open(Box::new(list.clone()), home(dir.path(), Engine::Sled), &BOTH_OLD).unwrap();
    follower.catch_up().unwrap();
    drop(follower);

    // The log can be read at its end, and only a part of its beginning.
    let events = gated(&list, u64::MAX);
    let follower = Follower::open(Box::new(events.clone()), home(dir.path(), Engine::Sled), &BOTH_NEW).unwrap();
    let follower = std::sync::Arc::new(follower);
    let told = std::sync::Mutex::new(Vec::new());
    let hold = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            follower.fill(&mut || {
                told.lock().unwrap().push(follower.lives()[0].status(list.head()).state);
                until("going on", || told.lock().unwrap().len() < 3 || !hold.load(Ordering::SeqCst));
                true
            })
        });
        until("some is filled", || told.lock().unwrap().len() == 3);
        assert!(matches!(follower.lives()[0].read(|_| Ok(())), Err(Error::Rebuilding { done: 150, total: 600, .. })));
        let [building, following] = follower.lives() else { panic!("two projections") };
        assert_eq!(building.status(list.head()).state, ProjectionState::Rebuilding { done: 150, total: 600 });
        assert_eq!(building.status(list.head()).state.name(), "rebuilding");
        assert!(!building.status(list.head()).answers && following.status(list.head()).answers);
        let on_disk = |projection| crate::home::on_disk(dir.path(), &TenantId::default(), projection).unwrap();
        let seen = on_disk(&V2);
        assert_eq!((seen.in_use, seen.filling.as_deref()), (None, Some("curves-v2-2-sled")), "seen from outside");
        list.extend((600..700).map(ingested));
        let handle = crate::FollowHandle::start(&follower);
        until("the other follows", || following.watermark().map(|w| w.position) == list.head());
        assert!(follower.wait_for(list.head().unwrap(), Duration::from_millis(20)).is_err(), "not all have it");
        hold.store(false, Ordering::SeqCst);
        filling.join().unwrap().unwrap();
        assert_eq!(building.with(Filled::len), 1);
        until("it follows too", || follower.reached() == list.head());
        assert_eq!(building.status(list.head()).state, ProjectionState::Following);
        assert!(building.status(list.head()).answers);
        let seen = on_disk(&V2);
        assert_eq!((seen.in_use.as_deref(), seen.filling), (Some("curves-v2-2-sled"), None));
        drop(handle);
    });
    drop(follower);
    assert_eq!(stores(dir.path()), ["curves-v2-2-sled", &format!("lineage-v{}-1-sled", lineage::PROJECTION.version)]);
}

#[test]
fn a_rebuild_that_was_broken_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let list = List::of((0..500).map(ingested));
    let follower = Follower::open(Box::new(list.clone()), home(dir.path(), Engine::Fjall), &OLD).unwrap();
    follower.catch_up().unwrap();
    drop(follower);
    let events = gated(&list, u64::MAX);
    let follower = Follower::open(Box::new(events.clone()), home(dir.path(), Engine::Fjall), &NEW).unwrap();
    follower.fill(&mut || follower.lives()[0].watermark().unwrap().position.get() < 200).unwrap();
    assert!(follower.lives()[0].is_unfinished());
    drop(follower);
    assert_eq!(stores(dir.path()), ["curves-v1-1-fjall", "curves-v2-2-fjall"]);

    let events = gated(&list, u64::MAX);
    let follower = Follower::open(Box::new(events.clone()), home(dir.path(), Engine::Fjall), &NEW).unwrap();
    assert!(matches!(follower.lives()[0].read(|_| Ok(())), Err(Error::Rebuilding { done: 200, total: 500, .. })));
    follower.catch_up().unwrap();
    assert_eq!(events.read.load(Ordering::SeqCst), 301, "what is left, and the event at the watermark");
    let count: u64 = follower.lives()[0].read(|store| decode("test", &store.get(&[1])?.unwrap())).unwrap();
    assert_eq!(count, 500);
    drop(follower);
    assert_eq!(stores(dir.path()), ["curves-v2-2-fjall"]);
}

#[test]
fn a_rebuild_may_be_broken_off_and_leaves_all_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let list = List::of(history(9, 700));
    let projections = open(&list, dir.path(), Engine::Sled);
    projections.catch_up().unwrap();
    let (before, there) = (projections.digests().unwrap(), stores(dir.path()));
    let rebuilt = projections.rebuild_while(None, &["catalog"], &mut |_, done, _| done == 0);
    assert!(!rebuilt.unwrap());
    assert_eq!((projections.digests().unwrap(), stores(dir.path())), (before, there));
    assert!(projections.status().iter().all(|status| status.state == ProjectionState::Following));
    assert!(projections.rebuild_while(None, &["catalog"], &mut |_, _, _| true).unwrap());
}

#[test]
fn the_old_store_answers_until_the_swap() {
    let dir = tempfile::tempdir().unwrap();
    let list = List::of(history(9, 700));
    let projections = open(&list, dir.path(), Engine::Sled);
    projections.catch_up().unwrap();
    let mut before = projections.digests().unwrap();
    let names = ["curves", "catalog"];
    let mut seen = 0;
    projections
        .rebuild_on(Some(Engine::Fjall), &names, &mut |name, done, total| {
            seen += 1;
            assert!(names.contains(&name) && done <= total);
            assert_eq!(projections.digests().unwrap(), before, "the old stores answer");
            if seen == 3 {
                // They go on too, and nobody who waits for a position waits for the rebuild.
                list.extend([ingested(9_999)]);
                projections.wait_for(list.head().unwrap(), Duration::from_secs(20)).unwrap();
                before = projections.digests().unwrap();
            }
            let states = projections.status();
            let rebuilding = |s: &crate::ProjectionStatus| matches!(s.state, ProjectionState::Rebuilding { .. });
            assert!(states.iter().all(|status| rebuilding(status) == names.contains(&status.name) || seen == 1));
        })
        .unwrap();
    assert!(seen >= 4);
    assert_eq!(projections.digests().unwrap(), before, "two rebuilds, two engines, the same rows");
    let engines: Vec<_> = projections.status().iter().map(|status| (status.name, status.engine)).collect();
    assert_eq!(engines, [("curves", "fjall"), ("evals", "sled"), ("catalog", "fjall"), ("lineage", "sled")]);
    assert!(projections.status().iter().all(|status| status.state == ProjectionState::Following && status.lag == 0));
    assert_eq!(stores(dir.path()).len(), 4);
}

#[test]
fn a_store_on_another_engine_than_is_wanted_moves_while_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let list = List::of(history(10, 300));
    let projections = open(&list, dir.path(), Engine::Sled);
    projections.catch_up().unwrap();
    let before = projections.digests().unwrap();
    drop(projections);
    let projections = open(&list, dir.path(), Engine::Fjall);
    assert_eq!(projections.digests().unwrap(), before);
    assert!(projections.status().iter().all(|status| status.engine == "sled"));
    let following = projections.follow();
    until("all have moved", || projections.status().iter().all(|status| status.engine == "fjall"));
    assert_eq!(projections.digests().unwrap(), before);
    drop(following);
    drop(projections);
    assert!(stores(dir.path()).iter().all(|name| name.ends_with("-2-fjall")), "{:?}", stores(dir.path()));
}

#[test]
fn damaged_stores_fail_neither_opening_nor_each_other() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let list = List::of(history(11, 400));
        let whole = tempfile::tempdir().unwrap();
        let projections = open(&list, whole.path(), engine);
        projections.catch_up().unwrap();
        let expected = projections.digests().unwrap();
        drop(projections);
        for seed in 0..12 {
            println!("{engine:?}, seed {seed}");
            let mut random = Random::new(seed);
            let dir = tempfile::tempdir().unwrap();
            faults::copy(whole.path(), dir.path());
            let evals = stores(dir.path()).into_iter().find(|name| name.starts_with("evals")).unwrap();
            faults::damage(&dir.path().join("default").join(evals), &mut random);
            let projections = open(&list, dir.path(), engine);
            // A store whose damage shows only when its rows are read is rebuilt when someone asks for that.
            let caught_up = projections.catch_up();
            assert_eq!(projections.status().len(), 4);
            if caught_up.is_err() || !matches!(projections.digests(), Ok(found) if found == expected) {
                projections.rebuild(&["evals"], &mut |_, _, _| {}).unwrap();
            }
            assert_eq!(projections.digests().unwrap(), expected);
        }
    }
}

#[test]
fn a_rebuild_that_fails_leaves_the_old_store_and_nothing_else() {
    static FINE: Projection = Projection::new("picky", 1, unless_told);
    static ONE: [&Projection; 1] = [&FINE];
    static TOLD: AtomicBool = AtomicBool::new(false);
    fn unless_told(event: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
        *rows.edit::<u64>("test", &[1])? += 1;
        match event.position.get() == 30 && TOLD.load(Ordering::SeqCst) {
            true => panic!("thirty is too much"),
            false => Ok(()),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let list = List::of((0..50).map(ingested));
    let follower = Follower::open(Box::new(list.clone()), home(dir.path(), Engine::Sled), &ONE).unwrap();
    follower.catch_up().unwrap();
    TOLD.store(true, Ordering::SeqCst);
    let lives = follower.lives().to_vec();
    let error = follower.rebuild(&lives, None, &mut |_, _, _| true).unwrap_err().to_string();
    assert!(error.contains("stopped at position 30") && error.contains("it panicked: thirty is too much"), "{error}");
    assert_eq!(lives[0].status(list.head()).state, ProjectionState::Following, "the old one is as it was");
    assert_eq!(stores(dir.path()), ["picky-v1-1-sled"]);

    // A new store that meets it answers for what is before it.
    drop((lives, follower));
    std::fs::remove_dir_all(dir.path().join("default")).unwrap();
    let follower = Follower::open(Box::new(list.clone()), home(dir.path(), Engine::Sled), &ONE).unwrap();
    follower.catch_up().unwrap_err();
    let status = follower.lives()[0].status(list.head());
    assert_eq!((status.watermark.unwrap().get(), status.lag), (29, 21));
    let ProjectionState::Stopped { position, error } = status.state else { panic!("it stopped") };
    assert_eq!((position.get(), error.as_str()), (30, "it panicked: thirty is too much"));
    let count: u64 = follower.lives()[0].read(|store| decode("test", &store.get(&[1])?.unwrap())).unwrap();
    assert_eq!(count, 29);
    // Told otherwise, as a later build may be, it goes on from there after it is opened again.
    drop(follower);
    TOLD.store(false, Ordering::SeqCst);
    let follower = Follower::open(Box::new(list.clone()), home(dir.path(), Engine::Sled), &ONE).unwrap();
    follower.catch_up().unwrap();
    assert_eq!(follower.reached(), list.head());
}

/// What erasure rests on: rows of what the log no longer says are in no file, journals and old tables among them.
#[test]
fn a_rebuild_leaves_no_bytes_of_what_the_log_no_longer_says() {
    const WORDS: &str = "somebody-whom-nothing-may-name";
    fn holds(dir: &Path) -> bool {
        std::fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => holds(&path),
                false => std::fs::read(&path).unwrap().windows(WORDS.len()).any(|window| window == WORDS.as_bytes()),
            }
        })
    }
    /// A log whose events can be replaced, as redaction does.
    struct Redacted(std::sync::Arc<std::sync::Mutex<Vec<Recorded>>>);
    impl Events for Redacted {
        fn head(&self) -> Option<Position> {
            Position::new(self.0.lock().unwrap().len() as u64)
        }
        fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
            let all = self.0.lock().unwrap();
            Ok(all.iter().skip(from.leaf_index() as usize).take(count_max).cloned().collect())
        }
        fn wait_past(&self, _: Option<Position>, _: Duration) -> Option<Position> {
            self.head()
        }
    }
    for engine in [Engine::Sled, Engine::Fjall] {
        let dir = tempfile::tempdir().unwrap();
        let mut all = List::of((0..400).map(ingested)).all();
        for event in all.iter_mut().step_by(7) {
            if let cairn_schemas::Event::DocumentIngested(document) = &mut event.event {
                document.source_uri = format!("file:///{WORDS}/{}.txt", event.position);
            }
        }
        let log = std::sync::Arc::new(std::sync::Mutex::new(all));
        let home = || home(dir.path(), engine);
        let projections = Projections::over(Box::new(Redacted(log.clone())), home()).unwrap();
        projections.catch_up().unwrap();
        drop(projections);
        assert!(holds(dir.path()), "{engine:?}: it was there");

        let projections = Projections::over(Box::new(Redacted(log.clone())), home()).unwrap();
        projections.catch_up().unwrap();
        for event in log.lock().unwrap().iter_mut() {
            if let cairn_schemas::Event::DocumentIngested(document) = &mut event.event {
                document.source_uri = String::new();
            }
        }
        projections.rebuild(&[], &mut |_, _, _| {}).unwrap();
        assert!(!holds(dir.path()), "{engine:?}: while the stores are open");
        drop(projections);
        assert!(!holds(dir.path()), "{engine:?}: and when they are closed");
    }
}
