//! From an event to what is stored, on the caller's thread: bounds, encoding that is decoded and compared, MACs, salt.

use crate::batch::{Batch, Expectation};
use crate::entry::Identity;
use crate::error::Error;
use crate::index::TakeAsIs;
use crate::options::Random;
use crate::payload::{self, Content, MacKeys, RECORD_HEADER_BYTES, RecordKind, SALT_BYTES};
use crate::personal;
use crate::vault::{Persons, Vault};
use cairn_schemas::personal::TakenField;
use cairn_schemas::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Blake3, Event, NewEvent, PAYLOAD_BYTES_MAX, REFS_MAX, StoredPayload, Timestamp,
    TypeCode,
};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

const DEFAULT_PROJECT: &str = "default";
/// Longest source, id, stream or project: their names are held in memory and in indexes.
const NAME_BYTES_MAX: usize = 1024;

/// Most expectations of one batch.
const EXPECTATIONS_MAX: usize = 1024;
/// What a waiting event takes in memory beyond its record and its stream's name.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// An event that needs only its place.
pub(crate) struct Prepared {
    pub(crate) stream: String,
    pub(crate) identity: Identity,
    pub(crate) event_type: TypeCode,
    pub(crate) content_mac: [u8; 32],
    pub(crate) expected_version: Option<u64>,
    pub(crate) commitment: Blake3,
    /// Whether fields of it are sealed under people's keys.
    pub(crate) has_sealed: bool,
    /// The payload record as it is stored: kind, length, salt, payload.
    pub(crate) record: Vec<u8>,
}

/// A batch that needs only its place.
#[derive(Default)]
pub(crate) struct PreparedBatch {
    pub(crate) events: Vec<Prepared>,
    pub(crate) expectations: Vec<Expectation>,
}

impl Prepared {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.record[RECORD_HEADER_BYTES..]
    }

    /// Source and id, for saying which event is refused. Encoding had been compared with what they were.
    pub(crate) fn names(&self) -> (String, String) {
        match StoredPayload::decode(self.payload()) {
            Ok(stored) => (stored.source, stored.id),
            Err(_) => unreachable!("an event is decoded before it is called prepared"),
        }
    }
}

impl PreparedBatch {
    /// Memory that it holds while it waits.
    pub(crate) fn bytes(&self) -> usize {
        let event = |event: &Prepared| EVENT_OVERHEAD_BYTES + event.record.len() + event.stream.len();
        let expectation = |expectation: &Expectation| EVENT_OVERHEAD_BYTES + expectation.stream.len();
        self.events.iter().map(event).sum::<usize>() + self.expectations.iter().map(expectation).sum::<usize>()
    }
}

/// What events are prepared with.
pub(crate) struct Preparing<'a> {
    pub(crate) keys: &'a MacKeys,
    pub(crate) vault: &'a Vault,
    pub(crate) now: Timestamp,
    pub(crate) random: &'a dyn Random,
}

/// Prepares a batch. Everything that can be refused without knowing the log is refused here. Keys of people that the
/// batch is the first about are durable when this returns.
pub(crate) fn prepare(batch: Batch, with: &Preparing<'_>) -> Result<PreparedBatch, Error> {
    let Batch { mut events, expectations } = batch;
    if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
        return Err(Error::BatchLength { given: events.len(), max: BATCH_EVENTS_MAX });
    }
    if expectations.len() > EXPECTATIONS_MAX {
        return Err(Error::TooManyExpectations { given: expectations.len(), max: EXPECTATIONS_MAX });
    }
    let taken = personal::take_from(&mut events)?;
    let persons = match taken.is_empty() {
        true => Persons::new(),
        false => with.vault.persons(personal::subjects(&taken), with.random)?,
    };
    let mut batch = PreparedBatch { events: Vec::with_capacity(events.len()), expectations };
    let mut batch_bytes = 0;
    for (index, event) in events.into_iter().enumerate() {
        let taken = taken.get(&index).map_or(&[][..], Vec::as_slice);
        let event = prepare_one(index, event, taken, &persons, with)?;
        batch_bytes += event.payload().len();
        if batch_bytes > BATCH_BYTES_MAX {
            let what = "the batch up to here";
            return Err(Error::TooLarge { index, what, given: batch_bytes, max: BATCH_BYTES_MAX });
        }
        batch.events.push(event);
    }
    check_distinct(&batch.events)?;
    Ok(batch)
}

/// A batch names an event once.
fn check_distinct(events: &[Prepared]) -> Result<(), Error> {
    if events.len() == 1 {
        return Ok(());
    }
    let mut seen: HashMap<&Identity, usize, BuildHasherDefault<TakeAsIs>> = HashMap::default();
    for (index, event) in events.iter().enumerate() {
        if let Some(first_index) = seen.insert(&event.identity, index) {
            let (event_source, id) = event.names();
            return Err(Error::RepeatedInBatch { index, first_index, event_source, id });
        }
    }
    Ok(())
}

fn prepare_one(
    index: usize,
    new: NewEvent,
    taken: &[TakenField],
    persons: &Persons,
    with: &Preparing<'_>,
) -> Result<Prepared, Error> {
    let Preparing { keys, now, random, .. } = with;
    let stream = new.stream();
    let NewEvent { envelope, event } = new;
    let project = envelope.project.unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
    check_name(index, "source", &envelope.source, "name the program that reports the event")?;
    check_name(index, "id", &envelope.id, "give each event of a source its own id")?;
    check_name(index, "stream", &stream, "name what the event is about")?;
    check_name(index, "project", &project, "leave it out for the default project")?;
    let links = event.links();
    if links.len() > REFS_MAX {
        return Err(Error::TooManyRefs { index, given: links.len(), max: REFS_MAX });
    }
    let event_type = event.type_code();
    let data = encode_checked(index, &event)?;
    let identity = keys.identity(&project, &envelope.source, &envelope.id);
    let sealed = personal::seal(taken, persons, &identity, *random);
    let content = Content {
        event_type,
        stream: &stream,
        causation: envelope.causation.as_deref(),
        extensions: &envelope.extensions,
        data: &data,
        personal: &sealed.macs,
    };
    let content_mac = keys.content(&content);
    let stored = StoredPayload {
        source: envelope.source,
        id: envelope.id,
        stream,
        project,
        occurred_at: envelope.occurred_at.unwrap_or(*now),
        causation: envelope.causation,
        extensions: envelope.extensions,
        used: links.used,
        produced: links.produced,
        content_mac,
        data,
        sealed: sealed.fields,
    };
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    let record = encode_record(index, &event, &stored, &salt)?;
    Ok(Prepared {
        identity,
        has_sealed: !stored.sealed.is_empty(),
        commitment: payload::commitment(&salt, &record[RECORD_HEADER_BYTES..]),
        expected_version: envelope.expected_version,
        stream: stored.stream,
        event_type,
        content_mac,
        record,
    })
}

/// The payload record as it is stored. What does not come back from it is refused.
fn encode_record(
    index: usize,
    event: &Event,
    stored: &StoredPayload,
    salt: &[u8; SALT_BYTES],
) -> Result<Vec<u8>, Error> {
    let mut record = payload::record_header(RecordKind::Original, salt).to_vec();
    stored.encode_into(&mut record);
    let given = record.len() - RECORD_HEADER_BYTES;
    if given > PAYLOAD_BYTES_MAX {
        let what = "the payload (larger bodies belong into artifacts)";
        return Err(Error::TooLarge { index, what, given, max: PAYLOAD_BYTES_MAX });
    }
    payload::set_record_length(&mut record);
    if !stored.is_what_decodes_from(&record[RECORD_HEADER_BYTES..])? {
        let why = "its stored payload decodes to another".into();
        return Err(Error::NotReproducible { index, event_type: event.type_name(), why });
    }
    Ok(record)
}

fn check_name(index: usize, what: &'static str, name: &str, hint: &'static str) -> Result<(), Error> {
    match name.len() {
        0 => Err(Error::Missing { index, what, hint }),
        1..=NAME_BYTES_MAX => Ok(()),
        given => Err(Error::TooLarge { index, what, given, max: NAME_BYTES_MAX }),
    }
}

/// Encodes an event, decodes it again and compares: what cannot be read back is not written.
fn encode_checked(index: usize, event: &Event) -> Result<Vec<u8>, Error> {
    let data = event.encode();
    let why = match Event::decode(event.type_code(), &data) {
        Ok(back) if back == *event => return Ok(data),
        Ok(_) => "it decodes to another event".into(),
        Err(e) => e.to_string(),
    };
    Err(Error::NotReproducible { index, event_type: event.type_name(), why })
}

/// Whether a stored payload holds the same content. One written in an older version is upcast before it is compared;
/// one that lost a person's key can no longer be compared, and counts as the same.
pub(crate) fn is_same_content(
    new: &Prepared,
    stored_type: TypeCode,
    stored: &StoredPayload,
    keys: &MacKeys,
    vault: &Vault,
) -> Result<bool, Error> {
    if stored.content_mac == new.content_mac && stored_type == new.event_type {
        return Ok(true);
    }
    if stored_type.code != new.event_type.code {
        return Ok(false);
    }
    if personal::is_erased(vault, &stored.sealed)? {
        return Ok(true);
    }
    if stored_type == new.event_type {
        return Ok(false);
    }
    let Ok(mut event) = Event::decode(stored_type, &stored.data) else { return Ok(false) };
    let mut extensions = stored.extensions.clone();
    let macs = personal::macs_today(vault, &new.identity, &stored.sealed, &mut event, &mut extensions)?;
    let content = Content {
        event_type: event.type_code(),
        stream: &stored.stream,
        causation: stored.causation.as_deref(),
        extensions: &extensions,
        data: &event.encode(),
        personal: &macs,
    };
    Ok(keys.content(&content) == new.content_mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SystemRandom;
    use cairn_schemas::events::training::{MetricValue, StepLogged};

    /// `cairn.training.step_logged.v1` as it was once stored, and the same event as a producer would send it today.
    const STORED_V1: &str = "018f4e9a7c3b7def8123456789abcdef07fb0008000000000000f83f";
    const TYPE_V1: TypeCode = TypeCode { code: 0x0302, version: 1 };

    fn today(loss: f64) -> NewEvent {
        let payload = StepLogged {
            run: "018f4e9a-7c3b-7def-8123-456789abcdef".parse().unwrap(),
            attempt: 1,
            step: 7,
            tokens: 2048,
            time: None,
            metrics: vec![MetricValue { name: "loss".into(), value: cairn_schemas::Real(loss) }],
        };
        NewEvent::new("test", "e1", payload)
    }

    /// A retry after an upgrade: the producer's event is encoded in the new version, the stored one is of the old.
    #[test]
    fn a_repeat_of_an_event_stored_in_an_older_version_is_a_repeat() {
        let keys = MacKeys::derive(&[3; 32]);
        let vault = crate::vault::absent();
        let with = Preparing { keys: &keys, vault: &vault, now: Timestamp::from_micros(0), random: &SystemRandom };
        let prepared = |event| {
            let batch = Batch::from(vec![event]);
            prepare(batch, &with).unwrap().events.remove(0)
        };
        let new = prepared(today(1.5));
        let mut stored = StoredPayload::decode(new.payload()).unwrap();
        stored.data = hex::decode(STORED_V1).unwrap();
        let content = Content {
            event_type: TYPE_V1,
            stream: &stored.stream,
            causation: None,
            extensions: &stored.extensions,
            data: &stored.data,
            personal: &[],
        };
        stored.content_mac = keys.content(&content);
        assert!(is_same_content(&new, TYPE_V1, &stored, &keys, &vault).unwrap());
        assert!(!is_same_content(&prepared(today(1.25)), TYPE_V1, &stored, &keys, &vault).unwrap());
        let other_type = TypeCode { code: 0x0303, version: 1 };
        assert!(!is_same_content(&new, other_type, &stored, &keys, &vault).unwrap());
    }
}
