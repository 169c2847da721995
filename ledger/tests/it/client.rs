//! A producer on a simulated disk: it keeps what it was told, retries as a producer must, and holds the ledger to it.

use crate::common::{Ticking, event, marked};
use crate::sim_disk::choose::Seeded;
use crate::sim_disk::{SimDisk, Tree};
use cairn_ledger::{Appended, Error, Ledger, Options, Random, SignedCheckpoint, VerifyOptions, verify};
use cairn_schemas::{NewEvent, Position, Recorded, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Where the ledger stands on every simulated disk.
pub(crate) const DIR: &str = "/ledger";
const SEGMENT_BYTES: u64 = 1 << 10;

/// One thing that a client knows, in the order in which it came to know it.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// The batch was handed over; whether it was recorded is not known.
    Sent {
        tenant: TenantId,
        batch: Vec<NewEvent>,
    },
    /// The batch `of` these was acknowledged.
    Acknowledged {
        of: usize,
        places: Vec<Appended>,
    },
    Signed {
        tenant: TenantId,
        checkpoint: SignedCheckpoint,
    },
    /// An artifact with these bytes was stored.
    Stored {
        tenant: TenantId,
        bytes: Vec<u8>,
    },
}

/// Different at each opening, so that nothing drawn twice is the same by accident.
struct Fresh(AtomicU64);

impl Random for Fresh {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(bytes);
    }
}

pub(crate) fn options_on(disk: &SimDisk) -> Options {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let opened = OPENED.fetch_add(1, Ordering::Relaxed);
    Options {
        origin: Some("log.example.com".into()),
        segment_bytes_max: SEGMENT_BYTES,
        checkpoint_delay: Duration::from_secs(3600),
        reserve_bytes: 0,
        storage: Arc::new(disk.clone()),
        clock: Arc::new(Ticking::at(AtomicI64::new((opened as i64) << 32))),
        random: Arc::new(Fresh(AtomicU64::new(opened << 32))),
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk) -> Result<Ledger, Error> {
    Ledger::open(Path::new(DIR), options_on(disk))
}

pub(crate) struct Client {
    pub(crate) disk: SimDisk,
    pub(crate) known: Vec<Known>,
    ledger: Option<Ledger>,
    /// How often a failed call is tried again before the client gives up.
    retries: usize,
}

impl Client {
    pub(crate) fn new(disk: SimDisk) -> Self {
        Self { disk, known: Vec::new(), ledger: None, retries: 4 }
    }

    fn learn(&mut self, known: Known) {
        self.known.push(known);
        self.disk.known(self.known.len());
    }

    /// Does something with the open ledger, and again where a producer would: after opening it anew where its writer
    /// has ended. `None` where that leads nowhere.
    fn with<T>(&mut self, mut call: impl FnMut(&Ledger) -> Result<T, Error>) -> Option<T> {
        for _ in 0..=self.retries {
            if self.ledger.is_none() {
                self.ledger = open(&self.disk).map_err(|e| assert!(e.is_retryable(), "opening: {e}")).ok();
            }
            let Some(ledger) = &self.ledger else { continue };
            match call(ledger) {
                Ok(done) => return Some(done),
                Err(e) => {
                    assert!(e.is_retryable(), "a failing disk is no reason to refuse for good: {e}");
                    if matches!(e, Error::OutcomeUnknown { .. } | Error::WriterEnded { .. }) {
                        self.ledger = None;
                    }
                }
            }
        }
        None
    }

    pub(crate) fn append(&mut self, tenant: &TenantId, batch: Vec<NewEvent>) -> bool {
        let of = self.known.len();
        self.learn(Known::Sent { tenant: tenant.clone(), batch: batch.clone() });
        let places = self.with(|ledger| ledger.append(tenant, batch.clone()));
        let told = places.is_some();
        places.into_iter().for_each(|places| self.learn(Known::Acknowledged { of, places }));
        told
    }

    pub(crate) fn sign(&mut self, tenant: &TenantId) {
        if self.ledger.as_ref().is_some_and(|ledger| ledger.head(tenant).is_none()) {
            return;
        }
        let signed = self.with(|ledger| match ledger.checkpoint(tenant) {
            Err(Error::NoLog { .. }) => Ok(None),
            other => other.map(Some),
        });
        if let Some(Some(checkpoint)) = signed {
            self.learn(Known::Signed { tenant: tenant.clone(), checkpoint });
        }
    }

    pub(crate) fn store(&mut self, tenant: &TenantId, bytes: &[u8]) {
        if self.with(|ledger| ledger.artifacts(tenant).put_bytes(bytes)).is_some() {
            self.learn(Known::Stored { tenant: tenant.clone(), bytes: bytes.to_vec() });
        }
    }

    /// Closes the ledger, which signs what is due; the next call opens it again.
    pub(crate) fn close(&mut self) {
        self.ledger = None;
    }
}

pub(crate) fn tenant_named(n: usize) -> TenantId {
    format!("tenant-{n}").parse().unwrap()
}

/// Events with ids that nobody else uses. `bytes` is about how long each is.
pub(crate) fn batch(name: &str, events: usize, bytes: usize) -> Vec<NewEvent> {
    let one = |n| {
        let mut event = event(&format!("{name}.{n}"), &format!("{name}.{n} ").repeat(bytes / (name.len() + 3) + 1));
        event.envelope.stream = Some(format!("stream {}", n % 2));
        event
    };
    (0..events).map(one).collect()
}

/// An event about a person whom no other event is about, so that a key is drawn for it.
pub(crate) fn about_person(name: &str) -> Vec<NewEvent> {
    let json = format!(r#"{{"x":{{"$data_subject":"person {name}","value":"told"}}}}"#);
    let mut event = marked(&format!("{name}.0"), &json);
    event.envelope.stream = Some("people".into());
    vec![event]
}

/// The same few steps each time: two tenants, several segments, a checkpoint, an artifact, a clean end and a new beginning.
pub(crate) fn tiny(client: &mut Client) {
    let (one, other) = (tenant_named(1), tenant_named(2));
    client.append(&one, batch("a", 1, 40));
    client.append(&one, batch("b", 3, 300));
    client.append(&other, batch("a", 1, 40));
    client.sign(&one);
    client.append(&one, batch("c", 1, 700));
    client.store(&one, b"weights");
    client.close();
    client.append(&one, batch("d", 2, 100));
    client.append(&other, batch("b", 1, 40));
}

/// A life in which the ledger comes to know people: their keys are drawn before their events are written.
pub(crate) fn about_people(client: &mut Client) {
    let one = tenant_named(1);
    client.append(&one, about_person("p"));
    client.append(&one, about_person("q"));
    client.close();
    client.append(&one, about_person("r"));
}

/// A longer life, drawn from a seed.
pub(crate) fn long(client: &mut Client, mut numbers: Seeded, steps: usize) {
    for step in 0..steps {
        let tenant = tenant_named(numbers.below(3));
        match numbers.below(16) {
            0 => client.close(),
            1 | 2 => client.sign(&tenant),
            3 => client.store(&tenant, &vec![step as u8; 1 + numbers.below(3000)]),
            _ => {
                let bytes = [10, 10, 200, 600, 2500][numbers.below(5)];
                if step % 4 == 0 {
                    client.append(&tenant, about_person(&format!("s{step}p")));
                }
                client.append(&tenant, batch(&format!("s{step}"), 1 + numbers.below(4), bytes));
            }
        }
        if client.disk.is_dead() {
            break;
        }
    }
}

fn read_tenant(ledger: &Ledger, tenant: &TenantId) -> Vec<Recorded> {
    let (mut all, mut from) = (Vec::new(), Position::FIRST);
    loop {
        let more = ledger.read(tenant, from, 50).unwrap();
        let Some(last) = more.last() else { return all };
        from = last.position.next().unwrap();
        all.extend(more);
    }
}

fn is(recorded: &Recorded, sent: &NewEvent) -> bool {
    recorded.id == sent.envelope.id
        && recorded.event == sent.event
        && Some(&recorded.stream) == sent.envelope.stream.as_ref()
}

/// Everything that must hold of a ledger that some client had to do with, whatever happened since.
pub(crate) fn assert_kept(ledger: &Ledger, known: &[Known]) {
    let mut tenants = BTreeSet::new();
    tenants.extend(known.iter().filter_map(|known| match known {
        Known::Sent { tenant, .. } => Some(tenant),
        _ => None,
    }));
    for tenant in tenants {
        let recorded = read_tenant(ledger, tenant);
        for (at, event) in recorded.iter().enumerate() {
            assert_eq!(event.position.get(), at as u64 + 1);
        }
        let by_id: BTreeMap<_, _> = recorded.iter().map(|event| (event.id.as_str(), event)).collect();
        assert_eq!(by_id.len(), recorded.len(), "an event is recorded once");
        let mut expected = 0;
        for of in known.iter().filter_map(|known| match known {
            Known::Sent { tenant: of, batch } if of == tenant => Some(batch),
            _ => None,
        }) {
            let there: Vec<_> = of.iter().filter_map(|event| by_id.get(event.envelope.id.as_str())).collect();
            assert!(there.is_empty() || there.len() == of.len(), "a batch is whole or absent: {} of it", there.len());
            assert!(there.windows(2).all(|pair| pair[0].position.next() == Some(pair[1].position)), "and together");
            assert!(there.iter().zip(of).all(|(recorded, sent)| is(recorded, sent)), "and unchanged");
            expected += there.len();
        }
        assert_eq!(expected, recorded.len(), "nothing is there that nobody sent");
    }
    for item in known {
        match item {
            Known::Acknowledged { of, places } => {
                let Known::Sent { tenant, batch } = &known[*of] else { unreachable!("it points at what was sent") };
                for (sent, place) in batch.iter().zip(places) {
                    let found = ledger.read(tenant, place.position, 1).unwrap().pop();
                    let found = found.unwrap_or_else(|| panic!("{} was acknowledged at {place:?}", sent.envelope.id));
                    assert!(is(&found, sent), "{} was acknowledged at {place:?}, there is {found:?}", sent.envelope.id);
                    assert_eq!(
                        (found.stream_version, found.recorded_at),
                        (place.stream_version, place.recorded_at),
                        "{place:?}"
                    );
                }
            }
            Known::Stored { tenant, bytes } => {
                let digest = cairn_schemas::Blake3::of(bytes);
                assert_eq!(&ledger.artifacts(tenant).get(&digest).unwrap(), bytes, "an artifact was stored");
            }
            Known::Sent { .. } | Known::Signed { .. } => {}
        }
    }
}

/// Retries everything that was ever sent, in order: each batch is recorded once, and at the place that was told.
pub(crate) fn retry_all(ledger: &Ledger, known: &[Known]) {
    let told: BTreeMap<usize, &Vec<Appended>> = known
        .iter()
        .filter_map(|known| match known {
            Known::Acknowledged { of, places } => Some((*of, places)),
            _ => None,
        })
        .collect();
    for (at, item) in known.iter().enumerate() {
        let Known::Sent { tenant, batch } = item else { continue };
        let places = ledger.append(tenant, batch.clone()).unwrap();
        if let Some(told) = told.get(&at) {
            let positions = |places: &[Appended]| places.iter().map(|place| place.position).collect::<Vec<_>>();
            assert!(places.iter().all(|place| place.duplicate), "an acknowledged batch is a repeat");
            assert_eq!(positions(&places), positions(told));
        }
    }
}

pub(crate) fn assert_intact(disk: &SimDisk) {
    let options = VerifyOptions { storage: Arc::new(disk.clone()), ..VerifyOptions::default() };
    let report = verify(Path::new(DIR), &options).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
}

/// Every checkpoint that a client was given is one of the log as it is now: put in its place, it verifies.
pub(crate) fn assert_signed_prefixes(tree: &Tree, known: &[Known]) {
    for item in known {
        let Known::Signed { tenant, checkpoint } = item else { continue };
        let path = format!("{DIR}/logs/{tenant}/main/0/checkpoint");
        assert_intact(&SimDisk::holding(tree.clone().with_file(Path::new(&path), checkpoint.note.as_bytes())));
    }
}
