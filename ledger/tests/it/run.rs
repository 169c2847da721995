//! A recorded run of a client on a simulated disk, and what must hold whenever power fails or the process is killed.

use crate::client::*;
use crate::sim_disk::choose::{Choose, Sampled, Seeded};
use crate::sim_disk::durable::{Durable, Sectors};
use crate::sim_disk::{Change, SimDisk, Tree};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// A recorded run: where it began, what it changed, and what its client knew.
pub(crate) struct Run {
    pub(crate) start: Tree,
    pub(crate) changes: Vec<Change>,
    pub(crate) known: Vec<Known>,
    /// How many changes were made, and how much was known, when this run began.
    pub(crate) begin: usize,
    pub(crate) known_before: usize,
}

impl Run {
    pub(crate) fn of(life: impl FnOnce(&mut Client)) -> Self {
        let mut client = Client::new(SimDisk::holding(Tree::empty()));
        life(&mut client);
        client.close();
        Self::recorded(client)
    }

    pub(crate) fn recorded(client: Client) -> Self {
        let (start, changes) = client.disk.record();
        Self { start, changes, known: client.known, begin: 0, known_before: 0 }
    }

    /// What the client knew when the first `changes` were made.
    pub(crate) fn known_at(&self, changes: usize) -> &[Known] {
        let last = self.changes[..changes].iter().rev().find_map(|change| match change {
            Change::Known(length) => Some(*length),
            _ => None,
        });
        &self.known[..last.unwrap_or(self.known_before)]
    }

    /// Power fails: what was not durable may be lost.
    pub(crate) fn lose_power(&self, changes: usize, sectors: Sectors, choose: &mut dyn Choose) -> SimDisk {
        SimDisk::holding(self.durable_at(changes, sectors, choose).crash(choose))
    }

    /// The process is killed: the page cache stays, and what is in it is no more durable than before.
    pub(crate) fn kill(&self, changes: usize) -> SimDisk {
        SimDisk::after(self.start.clone(), &self.changes[..changes])
    }

    pub(crate) fn durable_at(&self, changes: usize, sectors: Sectors, choose: &mut dyn Choose) -> Durable {
        let mut durable = Durable::new(&self.start, sectors);
        self.changes[..changes].iter().for_each(|change| durable.apply(change, choose));
        durable
    }

    /// Says around which changes a check failed.
    pub(crate) fn at<T>(&self, changes: usize, check: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
            eprintln!("power failed before change {changes} of {}; the last ones were", self.changes.len());
            for change in &self.changes[changes.saturating_sub(24)..changes] {
                let text = format!("{change:?}");
                eprintln!("  {}", text.chars().take(150).collect::<String>());
            }
            resume_unwind(panic)
        })
    }
}

/// Everything that must hold after a crash. Gives the record of the recovery, which can be cut short in turn.
pub(crate) fn assert_recovers(disk: SimDisk, known: &[Known]) -> Run {
    let begin = disk.record().1.len();
    // Before its marker stands, the directory is no ledger yet.
    if disk.live().named().contains_key(&Path::new(DIR).join("ledger")) {
        assert_intact(&disk);
    }
    let ledger = open(&disk).unwrap();
    assert_kept(&ledger, known);
    let mut client = Client::new(disk.clone());
    client.known = known.to_vec();
    drop(ledger);
    client.append(&tenant_named(1), batch(&format!("after-{}", known.len()), 2, 300));
    client.close();
    let ledger = open(&disk).unwrap();
    assert_kept(&ledger, &client.known);
    retry_all(&ledger, &client.known);
    assert_kept(&ledger, &client.known);
    drop(ledger);
    assert_intact(&disk);
    assert_signed_prefixes(&disk.live(), known);
    Run { begin, known_before: known.len(), ..Run::recorded(client) }
}

/// The process is killed or power fails, and again while or after the ledger recovers, `depth` times.
pub(crate) fn try_deep(run: &Run, mut numbers: Seeded, depth: usize) {
    let changes = run.begin + numbers.below(run.changes.len() + 1 - run.begin);
    let known = run.known_at(changes);
    let disk = match numbers.below(3) {
        0 => run.kill(changes),
        _ => run.lose_power(changes, Sectors::Atomic, &mut Sampled::new(numbers.fork())),
    };
    run.at(changes, || {
        let recovery = assert_recovers(disk, known);
        if depth > 1 {
            try_deep(&recovery, numbers, depth - 1);
        }
    });
}

/// How long a test may look for more, beyond what it always does.
pub(crate) fn soak() -> Option<Duration> {
    let seconds = std::env::var("CAIRN_SOAK").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("CAIRN_SOAK is a number of seconds")))
}

/// Looks at `least` samples, and goes on for as long as it was asked to.
pub(crate) fn sample(least: usize, mut one: impl FnMut(usize)) {
    let end = soak().map(|soak| Instant::now() + soak);
    for n in 0.. {
        if n >= least && end.is_none_or(|end| Instant::now() >= end) {
            println!("{n} samples");
            break;
        }
        one(n);
    }
}
