//! Power fails, or the process is killed, while runs of the index are merged: whichever files are left, the ledger
//! opens, knows what it recorded, and goes on.

use crate::client::*;
use crate::run::*;
use crate::sim_disk::choose::{Nothing, Sampled, Seed};
use crate::sim_disk::durable::Sectors;
use crate::sim_disk::{Change, Node};
use std::collections::BTreeSet;

/// Events of each batch, and so of each sealed segment.
const EVENTS: usize = 2;

/// Segments enough for two merges of eight.
fn merging(client: &mut Client) {
    for n in 0..19 {
        client.append(&tenant_named(1), batch(&format!("m{n}"), EVENTS, 600));
    }
    client.close();
}

/// How many events the run of this name covers, be it finished or not.
fn events_of_run(name: &str) -> Option<u64> {
    let (first, last) = name.trim_end_matches(".tmp").strip_suffix(".run")?.split_once('-')?;
    Some(last.parse::<u64>().ok()? - first.parse::<u64>().ok()? + 1)
}

#[test]
fn a_merge_that_is_cut_short_loses_nothing() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let run = Run::of(merging);
    // From the first change to a merged run until the runs that went into it are removed.
    let mut merged: BTreeSet<Node> = BTreeSet::new();
    let (mut merges, mut removed, mut moments) = (0, 0, BTreeSet::new());
    for (n, change) in run.changes.iter().enumerate() {
        let is_merge = match change {
            Change::CreateFile { name, node, .. } if events_of_run(name).is_some_and(|count| count > EVENTS as u64) => {
                merged.insert(*node)
            }
            Change::Write { node, .. } | Change::Sync { node } => merged.contains(node),
            Change::Rename { node, .. } if merged.contains(node) => {
                merges += 1;
                true
            }
            Change::Remove { name, .. } if events_of_run(name).is_some() && !name.ends_with(".tmp") => {
                removed += 1;
                true
            }
            _ => false,
        };
        if is_merge {
            moments.extend([n, n + 1]);
        }
    }
    assert_eq!((merges, removed), (2, 16), "two merges of eight");
    for changes in moments {
        let known = run.known_at(changes);
        run.at(changes, || assert_recovers(run.kill(changes), known));
        run.at(changes, || assert_recovers(run.lose_power(changes, Sectors::Atomic, &mut Nothing), known));
        let some = &mut Sampled::new(numbers.fork());
        run.at(changes, || assert_recovers(run.lose_power(changes, Sectors::Atomic, some), known));
    }
}
