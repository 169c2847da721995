//! Producers that retry, race and reorder, and lose answers: each event is recorded once, batches whole, streams in order.

use crate::client::*;
use crate::sim_disk::choose::{Seed, Seeded};
use crate::sim_disk::{SimDisk, Tree};
use cairn_ledger::{Appended, Error, Ledger};
use cairn_schemas::{NewEvent, Position, Recorded, TenantId};
use std::collections::BTreeMap;

const PRODUCERS: usize = 6;
/// Batches that every producer sends.
const SHARED: usize = 24;
/// Events that each producer puts on its own stream, one after another, and as many on one that all write to.
const OWN: usize = 10;

/// What one producer was told, by id.
type Told = BTreeMap<String, Appended>;

struct Producer<'a> {
    ledger: &'a Ledger,
    tenant: TenantId,
    name: usize,
    numbers: Seeded,
    told: Told,
}

fn id(event: &NewEvent) -> String {
    event.envelope.id.clone()
}

fn shared_batches() -> Vec<Vec<NewEvent>> {
    (0..SHARED).map(|n| batch(&format!("shared-{n}"), 1 + n % 3, 30 * (n % 5))).collect()
}

fn single(name: &str, stream: &str, expected: u64) -> Vec<NewEvent> {
    let mut batch = batch(name, 1, 20);
    batch[0].envelope.stream = Some(stream.to_owned());
    batch[0].envelope.expected_version = Some(expected);
    batch
}

impl Producer<'_> {
    fn run(mut self) -> Told {
        let mut work = shared_batches();
        let (mut own, mut common, mut version) = (0, 0, 0);
        while !work.is_empty() || own < OWN || common < OWN {
            match self.numbers.below(4) {
                0 if own < OWN => {
                    let name = format!("own-{}-{own}", self.name);
                    self.send(&single(&name, &format!("own {}", self.name), own as u64));
                    own += 1;
                }
                1 if common < OWN => {
                    let name = format!("common-{}-{common}", self.name);
                    match self.try_send(&single(&name, "common", version)) {
                        Ok(places) => (common, version) = (common + 1, places[0].stream_version),
                        Err(Error::WrongVersion { actual, .. }) => {
                            assert!(actual > version, "another producer was first");
                            version = actual;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                _ if !work.is_empty() => {
                    let batch = work.swap_remove(self.numbers.below(work.len()));
                    self.send(&batch);
                    self.send_wrongly(&batch);
                }
                _ => {}
            }
        }
        self.told
    }

    /// Sends, sometimes without hearing the answer, and again until it heard one; sometimes once more.
    fn try_send(&mut self, batch: &[NewEvent]) -> Result<Vec<Appended>, Error> {
        if self.numbers.below(4) == 0 {
            // The answer is lost: nobody waits for it.
            drop(self.ledger.submit(&self.tenant, batch.to_vec()));
        }
        let places = self.ledger.append(&self.tenant, batch.to_vec())?;
        for (event, place) in batch.iter().zip(&places) {
            self.told.insert(id(event), *place);
        }
        if self.numbers.below(3) == 0 {
            let again = self.ledger.append(&self.tenant, batch.to_vec())?;
            assert!(again.iter().all(|place| place.duplicate));
            assert!(again.iter().zip(&places).all(|(again, first)| again.position == first.position));
        }
        Ok(places)
    }

    fn send(&mut self, batch: &[NewEvent]) {
        self.try_send(batch).unwrap();
    }

    /// The same ids with other content, and a batch that was recorded in part: both are refused, and say why.
    fn send_wrongly(&mut self, batch: &[NewEvent]) {
        let place = self.told[&id(&batch[0])];
        let mut changed = batch.to_vec();
        changed[0].event = crate::common::event("", "something else").event;
        match self.ledger.append(&self.tenant, changed) {
            Err(Error::Conflict { index: 0, position, .. }) => assert_eq!(position, place.position),
            other => panic!("a conflict, not {other:?}"),
        }
        let mut longer = batch.to_vec();
        longer.extend(crate::client::batch(&format!("never-{}", self.name), 1, 10));
        match self.ledger.append(&self.tenant, longer) {
            Err(Error::PartlyRepeated { events, repeated }) => {
                let expected = batch.iter().enumerate().map(|(index, event)| (index, self.told[&id(event)].position));
                assert_eq!((events, repeated), (batch.len() + 1, expected.collect()));
            }
            other => panic!("a partial repeat, not {other:?}"),
        }
    }
}

fn assert_once_and_in_order(recorded: &[Recorded], told: &[Told]) {
    let by_id: BTreeMap<_, _> = recorded.iter().map(|event| (event.id.clone(), event)).collect();
    assert_eq!(by_id.len(), recorded.len(), "each event is there once");
    for told in told {
        for (id, place) in told {
            assert_eq!(by_id[id].position, place.position, "all were told the same place of {id}");
            assert_eq!(by_id[id].stream_version, place.stream_version);
        }
    }
    for batch in shared_batches() {
        let positions: Vec<_> = batch.iter().map(|event| by_id[&id(event)].position).collect();
        assert!(positions.windows(2).all(|pair| pair[0].next() == Some(pair[1])), "a batch is whole and together");
    }
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for event in recorded {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.stream_version, *version, "versions of a stream follow one another");
        if let Some((_, own)) = event.id.split_once("own-") {
            let n = own.split(['-', '.']).nth(1).unwrap();
            assert_eq!(n.parse::<u64>().unwrap() + 1, event.stream_version, "in the order in which they were sent");
        }
    }
    assert_eq!(versions["common"], (PRODUCERS * OWN) as u64);
    let shared: usize = shared_batches().iter().map(Vec::len).sum();
    assert_eq!(recorded.len(), shared + 2 * PRODUCERS * OWN, "and nothing else");
}

#[test]
fn producers_that_retry_race_and_reorder_record_each_event_once() {
    let seed = Seed::of_test();
    let mut numbers = seed.numbers();
    let rounds = if crate::run::soak().is_some() { 200 } else { 3 };
    for _ in 0..rounds {
        let (disk, tenant) = (SimDisk::holding(Tree::empty()), tenant_named(1));
        let ledger = open(&disk).unwrap();
        let told: Vec<Told> = std::thread::scope(|scope| {
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|name| {
                    let producer = Producer {
                        ledger: &ledger,
                        tenant: tenant.clone(),
                        name,
                        numbers: numbers.fork(),
                        told: Told::new(),
                    };
                    scope.spawn(move || producer.run())
                })
                .collect();
            producers.into_iter().map(|producer| producer.join().unwrap()).collect()
        });
        let all = |ledger: &Ledger| ledger.read(&tenant, Position::FIRST, 100_000).unwrap();
        assert_once_and_in_order(&all(&ledger), &told);
        drop(ledger);
        assert_once_and_in_order(&all(&open(&disk).unwrap()), &told);
        assert_intact(&disk);
    }
}
