//! The ledger against a plain vector, under any order of batches, repeats, conflicts, version checks and reopening.

use crate::common::*;
use cairn_ledger::{Error, Ledger, Options, VerifyOptions, verify};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Sent {
    id: u8,
    content: u8,
    stream: u8,
    expected: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Sent>),
    Reopen,
    Checkpoint,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..12u8, 0..2u8, 0..3u8, proptest::option::weighted(0.2, 0..4u64))
        .prop_map(|(id, content, stream, expected)| Sent { id, content, stream, expected })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(sent(), 1..4).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        1 => Just(Step::Checkpoint),
    ]
}

/// What a batch must come to, by the plainest means.
#[derive(Debug, PartialEq)]
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

fn append(ledger: &Ledger, batch: &[Sent]) -> Outcome {
    let events = batch.iter().map(|sent| {
        let mut event = event(&sent.id.to_string(), &sent.content.to_string());
        event.envelope.stream = Some(format!("stream {}", sent.stream));
        event.envelope.expected_version = sent.expected;
        event
    });
    match ledger.append(&tenant(), events.collect()) {
        Ok(appended) => {
            let places = appended.iter().map(|a| (a.position.get(), a.stream_version)).collect();
            if appended[0].duplicate { Outcome::Repeat(places) } else { Outcome::New(places) }
        }
        Err(Error::RepeatedInBatch { .. }) => Outcome::RepeatedInBatch,
        Err(Error::Conflict { position, .. }) => Outcome::Conflict(position.get()),
        Err(Error::PartlyRepeated { .. }) => Outcome::Partly,
        Err(Error::WrongVersion { .. }) => Outcome::WrongVersion,
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_vector(steps in proptest::collection::vec(step(), 1..30)) {
        let dir = in_memory();
        let open = || Ledger::open(dir.path(), Options { segment_bytes_max: 2 << 10, ..options() }).unwrap();
        let (mut ledger, mut model) = (open(), Model::default());
        for step in &steps {
            match step {
                Step::Append(batch) => prop_assert_eq!(append(&ledger, batch), model.append(batch)),
                Step::Checkpoint if model.0.is_empty() => {}
                Step::Checkpoint => prop_assert_eq!(ledger.checkpoint(&tenant()).unwrap().checkpoint.size, model.0.len() as u64),
                Step::Reopen => {
                    drop(ledger);
                    ledger = open();
                }
            }
        }
        let (read, expected): (Vec<_>, Vec<_>) = (read_all(&ledger), model.0.iter().map(|sent| sent.id.to_string()).collect());
        prop_assert_eq!(ids(&read), expected);
        for (at, event) in read.iter().enumerate() {
            prop_assert_eq!(event.position.get(), at as u64 + 1);
            prop_assert_eq!(event.stream_version, model.version(model.0[at].stream, at + 1));
        }
        drop(ledger);
        prop_assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
    }
}
