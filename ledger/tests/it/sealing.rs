//! Sealing: small segments are rolled and sealed, and read the same as before, by everyone.

use crate::common::*;
use cairn_ledger::{Ledger, Options};
use cairn_schemas::Position;

fn small_segments() -> Options {
    Options { segment_bytes_max: 4 << 10, ..options() }
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(segments_dir(dir)).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn segments_are_sealed_and_read_the_same() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    append_each(&ledger, 0..40);
    let batch = (0..600).map(|n| event(&format!("b{n}"), "in a batch longer than two bundles")).collect();
    ledger.append(&tenant(), batch).unwrap();
    append_each(&ledger, 40..60);
    let written = read_all(&ledger);
    assert_eq!(written.len(), 660);
    let chain = ledger.chain_head(&tenant());
    let checkpoint = ledger.checkpoint(&tenant()).unwrap();
    drop(ledger);

    let names = names(dir.path());
    let count = |suffix: &str| names.iter().filter(|name| name.ends_with(suffix)).count();
    assert!(count(".entries") >= 4, "{names:?}");
    assert_eq!(
        (count(".entries"), count(".frames")),
        (count(".g0.payloads"), 1),
        "all but the last are sealed: {names:?}"
    );

    let reader = Ledger::open_read_only(dir.path()).unwrap();
    assert_eq!(read_all(&reader), written);
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    assert_eq!(read_all(&ledger), written);
    assert_eq!((ledger.chain_head(&tenant()), ledger.checkpoint(&tenant()).unwrap()), (chain, checkpoint));
    for at in [1, 2, 255, 256, 257, 300, 512, 513, 660] {
        assert_eq!(ledger.read(&tenant(), position(at), 1).unwrap()[0], written[at as usize - 1]);
    }
    assert!(ledger.append(&tenant(), vec![event("b599", "in a batch longer than two bundles")]).unwrap()[0].duplicate);
    append_each(&ledger, 60..61);
    assert_eq!(ledger.head(&tenant()), Position::new(661));
}

/// A follower that reads while segments roll under it misses nothing and sees nothing twice.
#[test]
fn a_follower_reads_across_rolls() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let (mut seen, mut head) = (Vec::new(), None);
            while seen.len() < 150 {
                ledger.wait_past(&tenant(), head, std::time::Duration::from_secs(60)).expect("events keep coming");
                let from = head.map_or(Position::FIRST, |head: Position| head.next().unwrap());
                seen.extend(ledger.read(&tenant(), from, 10).unwrap());
                head = seen.last().map(|event| event.position);
            }
            seen
        });
        append_each(&ledger, 0..150);
        follower.join().unwrap()
    });
    assert_eq!(followed, read_all(&ledger));
}

/// Readers may begin at any moment of a seal.
#[test]
fn readers_open_while_segments_are_sealed() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), Options { segment_bytes_max: 1 << 10, ..options() }).unwrap();
    append_each(&ledger, 0..1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| append_each(&ledger, 1..120));
        while !writer.is_finished() {
            let at_least = ledger.head(&tenant()).unwrap().get() as usize;
            let read = read_all(&Ledger::open_read_only(dir.path()).unwrap());
            assert!(read.len() >= at_least, "a reader sees what was durable when it came");
        }
    });
}
