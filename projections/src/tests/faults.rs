//! Crashes: whatever is on disk when the process dies, what is opened afterwards is whole and goes on to the same rows.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            // A file may go away while it is copied, as sled's snapshots do.
            false => drop(std::fs::copy(entry.path(), target)),
        }
    }
}

#[test]
fn a_crash_leaves_rows_and_watermark_of_one_age() {
    for engine in [Engine::Sled, Engine::Fjall] {
        crashes_while_following(engine);
    }
}

fn crashes_while_following(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let (list, events) = (List::default(), history(5, 900));
    let projections = open(&list, &dir.path().join("live"), engine);
    let mut random = Random::new(6);
    let (mut rest, mut crashes) = (&events[..], Vec::new());
    while !rest.is_empty() {
        let (batch, left) = rest.split_at(rest.len().min(1 + random.below(120) as usize));
        list.extend(batch.iter().cloned());
        projections.catch_up().unwrap();
        if random.below(3) == 0 {
            projections.0.follower.lives().iter().for_each(|live| live.with(|filled| filled.store.sync()).unwrap());
        }
        // What lies on disk now is what a crash would leave: the store's buffers are lost.
        if random.below(3) == 0 {
            let crash = dir.path().join(format!("crash-{}", crashes.len()));
            copy(&dir.path().join("live"), &crash);
            crashes.push(crash);
        }
        rest = left;
    }
    let all = list.all();
    let whole = projections.digests().unwrap();
    let mut partly = 0;
    for crash in crashes {
        let after = open(&list, &crash, engine);
        for (live, (name, watermark, digest)) in after.0.follower.lives().iter().zip(after.digests().unwrap()) {
            assert_eq!(digest, expected(live.projection, &all[..watermark as usize]), "{name} at {watermark}");
            partly += usize::from(watermark > 0 && watermark < all.len() as u64);
        }
        after.catch_up().unwrap();
        assert_eq!(after.digests().unwrap(), whole);
    }
    assert!(partly > 0, "no crash came in the middle");
}

/// Changes, cuts or removes some of the files in a store's folder.
pub(super) fn damage(store: &Path, random: &mut Random) {
    let mut files = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    for _ in 0..1 + random.below(2) {
        let file = &files[random.below(files.len() as u64) as usize];
        let Ok(mut bytes) = std::fs::read(file) else { continue };
        let at = random.below(bytes.len().max(1) as u64) as usize;
        match random.below(3) {
            0 => std::fs::remove_file(file).unwrap(),
            1 => std::fs::write(file, &bytes[..at.min(bytes.len())]).unwrap(),
            _ => {
                bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte ^= 0x5a);
                std::fs::write(file, &bytes).unwrap();
            }
        }
    }
}

/// A store whose commits fail when told to: before anything is there, or after all of it is.
struct Failing {
    rows: Memory,
    commits: AtomicU64,
    /// The commit that fails, and whether its rows are there all the same.
    at: u64,
    is_persisted: bool,
}

impl Store for Failing {
    fn engine(&self) -> Engine {
        self.rows.engine()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
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
        let fails = self.commits.fetch_add(1, Ordering::SeqCst) == self.at;
        if !fails || self.is_persisted {
            self.rows.commit(changes)?;
        }
        match fails {
            true => Err(Error::io("writing", Path::new("rows"), std::io::Error::other("the disk failed"))),
            false => Ok(()),
        }
    }
    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn every_commit_may_fail_with_its_rows_there_or_not() {
    let all = List::of(history(12, 260)).all();
    for projection in ALL {
        let whole = expected(projection, &all);
        let batches: Vec<&[Recorded]> = all.chunks(13).collect();
        for at in 0..batches.len() as u64 {
            for is_persisted in [false, true] {
                let store = Failing { rows: Memory::default(), commits: AtomicU64::new(0), at, is_persisted };
                let live = crate::live::Live::new(projection, Filled::over(Box::new(store)).unwrap());
                let mut failures = 0;
                for batch in &batches {
                    // Whoever follows tries again.
                    while let Err(error) = live.apply(batch) {
                        assert!(error.is_transient(), "{error}");
                        failures += 1;
                    }
                }
                assert_eq!(failures, 1);
                assert!(live.stopped().is_none());
                let found = live.with(|filled| filled.digest(projection)).unwrap();
                assert_eq!(found, whole, "{}: commit {at}, rows there: {is_persisted}", projection.name);
            }
        }
    }
}

const CHILD: &str = "CAIRN_TEST_KILLED_CHILD";
const EVENTS: usize = 1_500;

/// A process that follows, fills new stores and rebuilds, killed at any moment, again and again in one folder.
#[test]
fn a_killed_process_leaves_whole_stores() {
    if let Ok(given) = std::env::var(CHILD) {
        let [dir, engine, seed] = given.split('|').collect::<Vec<_>>()[..] else { panic!("three parts") };
        return work_until_killed(Path::new(dir), Engine::on_disk(engine).unwrap(), seed.parse().unwrap());
    }
    let all = List::of(history(13, EVENTS)).all();
    let whole: Vec<String> = ALL.iter().map(|projection| expected(projection, &all)).collect();
    for engine in [Engine::Sled, Engine::Fjall] {
        let dir = tempfile::tempdir().unwrap();
        let mut partly = 0;
        for seed in 0..6u64 {
            println!("{engine:?}, seed {seed}");
            let given = format!("{}|{}|{seed}", dir.path().display(), engine.name());
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "tests::faults::a_killed_process_leaves_whole_stores", "--nocapture"])
                .env(CHILD, given)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(150 + Random::new(seed).below(700)));
            assert_eq!(child.try_wait().unwrap(), None, "it works until it is killed");
            child.kill().unwrap();
            child.wait().unwrap();

            let after = open(&List::of(history(13, EVENTS)), dir.path(), engine);
            for (live, (name, watermark, digest)) in after.0.follower.lives().iter().zip(after.digests().unwrap()) {
                assert_eq!(digest, expected(live.projection, &all[..watermark as usize]), "{name} at {watermark}");
                partly += usize::from(watermark > 0 && watermark < all.len() as u64);
            }
            // Every other time the next process finds what this one left, and not a whole store.
            if seed % 2 == 1 {
                after.catch_up().unwrap();
                let digests: Vec<String> = after.digests().unwrap().into_iter().map(|(_, _, digest)| digest).collect();
                assert_eq!(digests, whole);
            }
        }
        println!("{engine:?}: {partly} stores were on their way");
    }
}

fn work_until_killed(dir: &Path, engine: Engine, seed: u64) {
    let mut random = Random::new(seed + 100);
    let events = history(13, EVENTS);
    loop {
        // A log of another source makes the stores another ledger's; deleted ones are filled anew.
        if random.below(2) == 0 {
            let _ = std::fs::remove_dir_all(dir.join("default"));
        }
        let list = List::default();
        let mut rest = &events[..];
        if dir.join("default").exists() {
            list.extend(events.iter().cloned());
            rest = &[];
        }
        let projections = open(&list, dir, engine);
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(rest.len().min(1 + random.below(60) as usize));
            list.extend(batch.iter().cloned());
            projections.catch_up().unwrap();
            rest = left;
        }
        projections.catch_up().unwrap();
        projections.rebuild(&[], &mut |_, _, _| {}).unwrap();
    }
}
