//! Power fails at any moment: from every state that it may leave, the ledger opens with all that was acknowledged.
//!
//! One run is recorded, and the crash is put between any two of its changes. `CAIRN_SOAK` (seconds) looks at more states.

use crate::client::*;
use crate::run::*;
use crate::sim_disk::choose::{Choose, Every, Nothing, Sampled, Seed, Seeded};
use crate::sim_disk::durable::Sectors;
use crate::sim_disk::{Change, SimDisk};
use cairn_ledger::Error;
use std::collections::HashSet;

/// Every state of every moment; of a moment with more than `states_max`, the first so many and as many at random.
fn try_every(run: &Run, states_max: usize, mut numbers: Seeded) -> (usize, usize) {
    let (mut seen, mut sampled) = (HashSet::new(), 0);
    for changes in 0..=run.changes.len() {
        let durable = run.durable_at(changes, Sectors::Atomic, &mut Every::default());
        let known = run.known_at(changes);
        let mut look = |choose: &mut dyn Choose| {
            let state = durable.crash(choose);
            if seen.insert((state.digest(), known.len())) {
                run.at(changes, || assert_recovers(SimDisk::holding(state), known));
            }
        };
        let mut every = Every::default();
        let mut n = 0;
        let more = loop {
            look(&mut every);
            n += 1;
            match every.advance() {
                true if n == states_max => break true,
                true => {}
                false => break false,
            }
        };
        if more {
            sampled += 1;
            (0..states_max).for_each(|_| look(&mut Sampled::new(numbers.fork())));
        }
    }
    (seen.len(), sampled)
}

#[test]
fn a_tiny_ledger_recovers_from_every_state_of_every_moment() {
    let seed = Seed::of_test();
    let run = Run::of(tiny);
    let (states, sampled) = try_every(&run, 20_000, seed.numbers());
    println!("{states} states of {} moments, {sampled} moments sampled", run.changes.len() + 1);
    assert!(states > run.changes.len(), "{states}");
}

#[test]
fn whatever_a_crash_leaves_of_the_vault_no_acknowledged_event_lost_its_key() {
    let seed = Seed::of_test();
    let run = Run::of(about_people);
    let (states, sampled) = try_every(&run, 2_000, seed.numbers());
    println!("{states} states of {} moments, {sampled} moments sampled", run.changes.len() + 1);
    assert!(states > run.changes.len(), "{states}");
}

/// Names and bytes that only the page cache had when the process was killed: the next one must not build on them.
#[test]
fn a_ledger_opened_after_a_kill_stands_even_if_power_fails_then() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let run = Run::of(tiny);
    for changes in 0..=run.changes.len() {
        let recovery = run.at(changes, || assert_recovers(run.kill(changes), run.known_at(changes)));
        // Nothing that was not synced stays; and then whatever may.
        let end = recovery.changes.len();
        recovery.at(end, || assert_recovers(recovery.lose_power(end, Sectors::Atomic, &mut Nothing), &recovery.known));
        try_deep(&recovery, numbers.fork(), 1);
    }
}

#[test]
fn a_long_life_recovers_from_crashes_and_from_crashes_of_its_recovery() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let mut run = Run::of(|client| long(client, numbers.fork(), 30));
    sample(120, |n| {
        if n % 60 == 59 {
            run = Run::of(|client| long(client, numbers.fork(), 30));
        }
        try_deep(&run, numbers.fork(), 3);
    });
}

/// No disk should tear a sector. If one does, an unfinished frame may look like a changed one and be refused; nothing
/// that was acknowledged is lost or cut even then.
#[test]
fn a_torn_sector_costs_no_acknowledged_event() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let run = Run::of(|client| long(client, numbers.fork(), 30));
    let writes: Vec<usize> =
        (1..=run.changes.len()).filter(|n| matches!(run.changes[n - 1], Change::Write { .. })).collect();
    let (mut opened, mut refused) = (0, 0);
    sample(300, |_| {
        let changes = writes[numbers.below(writes.len())];
        let known = run.known_at(changes);
        let disk = run.lose_power(changes, Sectors::Torn, &mut Sampled::new(numbers.fork()));
        let before = disk.live();
        run.at(changes, || match open(&disk).map(drop) {
            Ok(()) => {
                opened += 1;
                assert_recovers(SimDisk::holding(before), known);
            }
            Err(Error::Damaged(damage)) => {
                refused += 1;
                let acknowledged = known.iter().filter_map(|item| match item {
                    Known::Acknowledged { of, places } if log_of(&known[*of]) == damage.log => places.last(),
                    _ => None,
                });
                let last = acknowledged.map(|place| place.position.get()).max().unwrap_or(0);
                // A key of the vault has no position; one that was not synced, no event was accepted under.
                let is_later = damage.log == "-" || damage.position.is_some_and(|position| position > last);
                assert!(is_later, "{last} was acknowledged: {damage}");
                let segments = |tree: &crate::sim_disk::Tree| {
                    let named = tree.named().into_iter().filter(|(path, _)| path.ends_with(&damage.file));
                    named.map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>()
                };
                assert_eq!(segments(&disk.live()), segments(&before), "what is refused is left as it is");
            }
            Err(other) => panic!("{other}"),
        });
    });
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0);
}

fn log_of(known: &Known) -> String {
    let Known::Sent { tenant, .. } = known else { unreachable!("it points at what was sent") };
    format!("{tenant}/main/0")
}
