//! The ledger against a plain vector for each tenant, under any order of batches alone and together, repeats, conflicts,
//! version checks, checkpoints, reopening, failing calls and power cuts.

use crate::client::{assert_intact, open, tenant_named};
use crate::common::*;
use crate::sim_disk::choose::{Sampled, Seeded};
use crate::sim_disk::durable::{Durable, Sectors};
use crate::sim_disk::{Fault, How, SimDisk, Tree};
use cairn_ledger::{Appended, Error, Ledger};
use cairn_schemas::{NewEvent, Position};
use proptest::prelude::*;

const TENANTS: usize = 2;
/// Only one call fails at a time, so that much fewer tries do.
const TRIES: usize = 8;

#[derive(Clone, Debug)]
struct Sent {
    id: u8,
    content: u8,
    stream: u8,
    expected: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, Vec<Sent>),
    /// Batches that are handed over before any of them is answered.
    Together(usize, Vec<Vec<Sent>>),
    Reopen,
    Checkpoint(usize),
    /// The call after so many fails.
    Fails(usize, How),
    /// What was not synced is kept, lost or torn, as the seed has it.
    PowerCut(u64),
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..12u8, 0..2u8, 0..3u8, proptest::option::weighted(0.2, 0..4u64))
        .prop_map(|(id, content, stream, expected)| Sent { id, content, stream, expected })
}

fn step() -> impl Strategy<Value = Step> {
    let batch = || proptest::collection::vec(sent(), 1..4);
    let how = prop_oneof![Just(How::Undone), Just(How::Unanswered), Just(How::Half)];
    prop_oneof![
        8 => (0..TENANTS, batch()).prop_map(|(tenant, batch)| Step::Append(tenant, batch)),
        3 => (0..TENANTS, proptest::collection::vec(batch(), 2..5)).prop_map(|(tenant, all)| Step::Together(tenant, all)),
        1 => Just(Step::Reopen),
        1 => (0..TENANTS).prop_map(Step::Checkpoint),
        2 => (0..40usize, how).prop_map(|(after, how)| Step::Fails(after, how)),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

/// What a batch must come to, by the plainest means.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    New(Vec<(u64, u64)>),
    Repeat(Vec<(u64, u64)>),
    RepeatedInBatch,
    Conflict(u64),
    Partly,
    WrongVersion,
}

#[derive(Default)]
struct Model(Vec<Sent>);

impl Model {
    fn version(&self, stream: u8, up_to: usize) -> u64 {
        self.0[..up_to].iter().filter(|sent| sent.stream == stream).count() as u64
    }

    fn append(&mut self, batch: &[Sent]) -> Outcome {
        let is_repeat = |(index, sent): (usize, &Sent)| batch[..index].iter().any(|earlier| earlier.id == sent.id);
        if batch.iter().enumerate().any(is_repeat) {
            return Outcome::RepeatedInBatch;
        }
        let mut first = Vec::new();
        for sent in batch {
            if let Some(at) = self.0.iter().position(|stored| stored.id == sent.id) {
                let stored = &self.0[at];
                if (stored.content, stored.stream) != (sent.content, sent.stream) {
                    return Outcome::Conflict(at as u64 + 1);
                }
                first.push((at as u64 + 1, self.version(sent.stream, at + 1)));
            }
        }
        match first.len() {
            0 => {}
            n if n == batch.len() => return Outcome::Repeat(first),
            _ => return Outcome::Partly,
        }
        let before = self.0.len();
        for sent in batch {
            let version = self.version(sent.stream, self.0.len());
            if sent.expected.is_some_and(|expected| expected != version) {
                self.0.truncate(before);
                return Outcome::WrongVersion;
            }
            self.0.push(sent.clone());
        }
        Outcome::New(
            (before..self.0.len()).map(|at| (at as u64 + 1, self.version(self.0[at].stream, at + 1))).collect(),
        )
    }
}

fn events(batch: &[Sent]) -> Vec<NewEvent> {
    let one = |sent: &Sent| {
        let mut event = event(&sent.id.to_string(), &sent.content.to_string().repeat(100));
        event.envelope.stream = Some(format!("stream {}", sent.stream));
        event.envelope.expected_version = sent.expected;
        event
    };
    batch.iter().map(one).collect()
}

/// `None` where the disk was at fault and the call is to be tried again.
fn outcome(answer: Result<Vec<Appended>, Error>) -> Option<Outcome> {
    Some(match answer {
        Ok(appended) => {
            let places = appended.iter().map(|a| (a.position.get(), a.stream_version)).collect();
            if appended[0].duplicate { Outcome::Repeat(places) } else { Outcome::New(places) }
        }
        Err(Error::RepeatedInBatch { .. }) => Outcome::RepeatedInBatch,
        Err(Error::Conflict { position, .. }) => Outcome::Conflict(position.get()),
        Err(Error::PartlyRepeated { .. }) => Outcome::Partly,
        Err(Error::WrongVersion { .. }) => Outcome::WrongVersion,
        Err(other) => {
            assert!(other.is_retryable(), "{other}");
            return None;
        }
    })
}

/// A ledger on a disk that may fail, opened again whenever that helps.
struct Subject {
    disk: SimDisk,
    ledger: Option<Ledger>,
}

impl Subject {
    fn ledger(&mut self) -> Ledger {
        for _ in 0..TRIES {
            match self.ledger.take().map_or_else(|| open(&self.disk), Ok) {
                Ok(ledger) => return self.ledger.insert(ledger).clone(),
                Err(e) => assert!(e.is_retryable(), "{e}"),
            }
        }
        panic!("one failing call cannot keep a ledger from opening");
    }

    /// Tries until the answer is about the batch. What a failed try had recorded is then a repeat.
    fn append(&mut self, tenant: usize, batch: &[Sent], expected: &Outcome) {
        for _ in 0..TRIES {
            let answer = self.ledger().append(&tenant_named(tenant), events(batch));
            match self.settle(answer) {
                Some(Outcome::Repeat(places)) => match expected {
                    Outcome::New(new) => return assert_eq!(&places, new, "recorded by a try that failed"),
                    other => return assert_eq!(&Outcome::Repeat(places), other),
                },
                Some(outcome) => return assert_eq!(&outcome, expected),
                None => {}
            }
        }
        panic!("one failing call cannot keep a batch from being recorded");
    }

    fn settle(&mut self, answer: Result<Vec<Appended>, Error>) -> Option<Outcome> {
        if matches!(answer, Err(Error::OutcomeUnknown { .. } | Error::WriterEnded { .. })) {
            self.ledger = None;
        }
        outcome(answer)
    }

    /// Nothing fails meanwhile: which of them would be recorded, and which tried again after the others, would be open.
    fn together(&mut self, tenant: usize, batches: &[Vec<Sent>], expected: &[Outcome]) {
        self.disk.set(Fault::None);
        let (ledger, tenant) = (self.ledger(), tenant_named(tenant));
        let pending: Vec<_> = batches.iter().map(|batch| ledger.submit(&tenant, events(batch))).collect();
        for (pending, expected) in pending.into_iter().zip(expected) {
            let answer = pending.and_then(|pending| pending.wait());
            assert_eq!(outcome(answer).as_ref(), Some(expected));
        }
    }

    fn checkpoint(&mut self, tenant: usize, size: u64) {
        for _ in 0..TRIES {
            match self.ledger().checkpoint(&tenant_named(tenant)) {
                Ok(signed) => return assert_eq!(signed.checkpoint.size, size),
                Err(Error::OutcomeUnknown { .. } | Error::WriterEnded { .. }) => self.ledger = None,
                Err(e) => assert!(e.is_retryable(), "{e}"),
            }
        }
        panic!("one failing call cannot keep a checkpoint from being signed");
    }

    fn cut_power(&mut self, seed: u64) {
        let (start, changes) = self.disk.record();
        self.ledger = None;
        let mut choose = Sampled::new(Seeded::new(seed));
        let mut durable = Durable::new(&start, Sectors::Atomic);
        changes.iter().for_each(|change| durable.apply(change, &mut choose));
        self.disk = SimDisk::holding(durable.crash(&mut choose));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_vector(steps in proptest::collection::vec(step(), 1..40)) {
        let mut subject = Subject { disk: SimDisk::holding(Tree::empty()), ledger: None };
        let mut models = [Model::default(), Model::default()];
        for step in &steps {
            match step {
                Step::Append(tenant, batch) => subject.append(*tenant, batch, &models[*tenant].append(batch)),
                Step::Together(tenant, batches) => {
                    let expected: Vec<_> = batches.iter().map(|batch| models[*tenant].append(batch)).collect();
                    subject.together(*tenant, batches, &expected);
                }
                Step::Checkpoint(tenant) if models[*tenant].0.is_empty() => {}
                Step::Checkpoint(tenant) => subject.checkpoint(*tenant, models[*tenant].0.len() as u64),
                Step::Reopen => subject.ledger = None,
                Step::Fails(after, how) => {
                    let call = subject.disk.calls().len() + after;
                    subject.disk.set(Fault::At { call, how: *how, dies: false });
                }
                Step::PowerCut(seed) => subject.cut_power(*seed),
            }
        }
        subject.disk.set(Fault::None);
        let ledger = subject.ledger();
        for (tenant, model) in models.iter().enumerate() {
            let read = ledger.read(&tenant_named(tenant), Position::FIRST, 1000).unwrap();
            prop_assert_eq!(ids(&read), model.0.iter().map(|sent| sent.id.to_string()).collect::<Vec<_>>());
            for (at, event) in read.iter().enumerate() {
                prop_assert_eq!(event.position.get(), at as u64 + 1);
                prop_assert_eq!(event.stream_version, model.version(model.0[at].stream, at + 1));
            }
        }
        drop((ledger, subject.ledger.take()));
        assert_intact(&subject.disk);
    }
}
