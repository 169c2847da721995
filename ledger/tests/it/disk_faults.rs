//! Every call to the disk fails, once and for good: whatever was acknowledged around it is there afterwards.

use crate::client::*;
use crate::run::*;
use crate::sim_disk::choose::{Nothing, Sampled, Seed, Seeded};
use crate::sim_disk::durable::Sectors;
use crate::sim_disk::{Call, Fault, How, SimDisk, Tree};
use cairn_ledger::Error;

/// The calls that a run makes while nothing is wrong. Threads may order them otherwise in the next run.
fn calls_of(life: impl FnOnce(&mut Client)) -> Vec<Call> {
    let mut client = Client::new(SimDisk::holding(Tree::empty()));
    life(&mut client);
    client.close();
    client.disk.calls()
}

/// A run in which something fails, and what it came to after the disk was repaired.
fn try_fault(fault: Fault, numbers: Seeded, states: usize) {
    let disk = SimDisk::holding(Tree::empty());
    disk.set(fault);
    let mut client = Client::new(disk.clone());
    tiny(&mut client);
    client.close();
    disk.set(Fault::None);
    try_end(Run::recorded(client), numbers, states);
}

/// After the run: the process goes on with the page cache as it is, or power fails.
fn try_end(run: Run, mut numbers: Seeded, states: usize) {
    let end = run.changes.len();
    run.at(end, || {
        let recovery = assert_recovers(run.kill(end), &run.known);
        let end = recovery.changes.len();
        assert_recovers(recovery.lose_power(end, Sectors::Atomic, &mut Nothing), &recovery.known);
        for _ in 0..states {
            let lost = run.lose_power(run.changes.len(), Sectors::Atomic, &mut Sampled::new(numbers.fork()));
            assert_recovers(lost, &run.known);
        }
    });
}

#[test]
fn whichever_call_fails_in_whichever_way_nothing_acknowledged_is_lost() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let calls = calls_of(tiny);
    let mut tried = 0;
    for (call, what) in calls.iter().enumerate() {
        for &how in what.faults() {
            // Of the two, one by turns; both where there is time.
            for dies in [false, true] {
                if soak().is_none() && dies != (numbers.below(2) == 0) {
                    continue;
                }
                let fault = Fault::At { call, how, dies };
                std::panic::catch_unwind(|| try_fault(fault, numbers.clone(), 1)).unwrap_or_else(|panic| {
                    eprintln!("{what:?}: {fault:?}");
                    std::panic::resume_unwind(panic)
                });
                numbers.next();
                tried += 1;
            }
        }
    }
    println!("{tried} faults of {} calls", calls.len());
    assert!(tried > calls.len() / 2);
}

/// After a failed sync the page cache shows what the disk has not, and calls it clean. The next process must not
/// believe it: it writes again what follows the last durable head, so that what it then shows is there.
#[test]
fn recovery_does_not_believe_the_page_cache() {
    let mut found = 0;
    for call in 0.. {
        let disk = SimDisk::holding(Tree::empty());
        let one = tenant_named(1);
        let ledger = open(&disk).unwrap();
        ledger.append(&one, batch("a", 1, 40)).unwrap();
        let begin = disk.calls().len();
        disk.set(Fault::At { call: begin + call, how: How::Undone, dies: false });
        let unknown = ledger.append(&one, batch("b", 2, 900));
        let Err(Error::OutcomeUnknown { .. }) = unknown else {
            assert!(unknown.is_ok(), "{unknown:?}");
            break;
        };
        assert!(matches!(ledger.append(&one, batch("c", 1, 40)), Err(Error::WriterEnded { .. })), "for good");
        drop(ledger);
        disk.set(Fault::None);
        let mut client = Client::new(disk.clone());
        client.append(&one, batch("a", 1, 40));
        client.append(&one, batch("b", 2, 900));
        client.close();
        let run = Run::recorded(client);
        let end = run.changes.len();
        assert_recovers(run.lose_power(end, Sectors::Atomic, &mut Nothing), &run.known);
        found += 1;
    }
    assert!(found >= 2, "the write and the sync can fail: {found}");
}

/// A disk that fills at any call: what is there can be read, also by the next process, and all goes on once there is room.
#[test]
fn whichever_call_finds_the_disk_full_the_ledger_reads_and_goes_on() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let calls = calls_of(tiny).len();
    let (mut opened, mut refused) = (0, 0);
    for call in 0..calls {
        let disk = SimDisk::holding(Tree::empty());
        disk.set(Fault::FullFrom { call });
        let mut client = Client::new(disk.clone());
        tiny(&mut client);
        client.close();
        let known = client.known.clone();
        match open(&disk) {
            Ok(ledger) => {
                assert_kept(&ledger, &known);
                opened += 1;
            }
            Err(e) => {
                assert!(e.is_retryable(), "full from call {call}: {e}");
                let told = known.iter().any(|known| matches!(known, Known::Acknowledged { .. }));
                assert!(!told, "full from call {call}: a ledger that holds something opens: {e}");
                refused += 1;
            }
        }
        disk.set(Fault::None);
        try_end(Run::recorded(client), numbers.fork(), 1);
    }
    println!("full from each of {calls} calls on: {opened} opened, {refused} held nothing yet");
    assert!(opened > 0 && refused > 0);
}
