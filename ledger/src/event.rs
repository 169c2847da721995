//! From an event to what is stored, on the caller's thread: bounds, encoding that is decoded and compared, MACs, salt.

use crate::entry::Identity;
use crate::error::Error;
use crate::options::Random;
use crate::payload::{self, Content, MacKeys, SALT_BYTES};
use cairn_schemas::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Blake3, Event, NewEvent, PAYLOAD_BYTES_MAX, REFS_MAX, StoredPayload, Timestamp,
    TypeCode,
};

const DEFAULT_PROJECT: &str = "default";
/// Longest source, id, stream or project: their names are held in memory and in indexes.
const NAME_BYTES_MAX: usize = 1024;

/// An event that needs only its place.
pub(crate) struct Prepared {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) stream: String,
    pub(crate) identity: Identity,
    pub(crate) event_type: TypeCode,
    pub(crate) content_mac: [u8; 32],
    pub(crate) expected_version: Option<u64>,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) payload: Vec<u8>,
    pub(crate) commitment: Blake3,
}

/// Prepares a batch. Everything that can be refused without knowing the log is refused here.
pub(crate) fn prepare(
    batch: Vec<NewEvent>,
    keys: &MacKeys,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Vec<Prepared>, Error> {
    if batch.is_empty() || batch.len() > BATCH_EVENTS_MAX {
        return Err(Error::BatchLength { given: batch.len(), max: BATCH_EVENTS_MAX });
    }
    let (mut prepared, mut batch_bytes) = (Vec::with_capacity(batch.len()), 0);
    for (index, event) in batch.into_iter().enumerate() {
        let event = prepare_one(index, event, keys, now, random)?;
        batch_bytes += event.payload.len();
        if batch_bytes > BATCH_BYTES_MAX {
            let what = "the batch up to here";
            return Err(Error::TooLarge { index, what, given: batch_bytes, max: BATCH_BYTES_MAX });
        }
        prepared.push(event);
    }
    Ok(prepared)
}

fn prepare_one(
    index: usize,
    new: NewEvent,
    keys: &MacKeys,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Prepared, Error> {
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
    let content = Content {
        event_type,
        stream: &stream,
        causation: envelope.causation.as_deref(),
        extensions: &envelope.extensions,
        data: &data,
    };
    let content_mac = keys.content(&content);
    let stored = StoredPayload {
        source: envelope.source,
        id: envelope.id,
        stream,
        project,
        occurred_at: envelope.occurred_at.unwrap_or(now),
        causation: envelope.causation,
        extensions: envelope.extensions,
        used: links.used,
        produced: links.produced,
        content_mac,
        data,
    };
    let payload = stored.encode();
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge {
            index,
            what: "the payload (larger bodies belong into artifacts)",
            given: payload.len(),
            max: PAYLOAD_BYTES_MAX,
        });
    }
    let back = StoredPayload::decode(&payload)?;
    if back != stored {
        let why = "its stored payload decodes to another".into();
        return Err(Error::NotReproducible { index, event_type: event.type_name(), why });
    }
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    Ok(Prepared {
        identity: keys.identity(&stored.project, &stored.source, &stored.id),
        commitment: payload::commitment(&salt, &payload),
        expected_version: envelope.expected_version,
        source: stored.source,
        id: stored.id,
        stream: stored.stream,
        event_type,
        content_mac,
        salt,
        payload,
    })
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

/// Whether a stored payload holds the same content. One written in an older version is upcast before it is compared.
pub(crate) fn is_same_content(new: &Prepared, stored_type: TypeCode, stored: &StoredPayload, keys: &MacKeys) -> bool {
    if stored_type == new.event_type || stored_type.code != new.event_type.code {
        return stored.content_mac == new.content_mac;
    }
    let Ok(event) = Event::decode(stored_type, &stored.data) else { return false };
    let content = Content {
        event_type: event.type_code(),
        stream: &stored.stream,
        causation: stored.causation.as_deref(),
        extensions: &stored.extensions,
        data: &event.encode(),
    };
    keys.content(&content) == new.content_mac
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
        let prepared = |event| prepare(vec![event], &keys, Timestamp::from_micros(0), &SystemRandom).unwrap().remove(0);
        let new = prepared(today(1.5));
        let mut stored = StoredPayload::decode(&new.payload).unwrap();
        stored.data = hex::decode(STORED_V1).unwrap();
        let content = Content {
            event_type: TYPE_V1,
            stream: &stored.stream,
            causation: None,
            extensions: &stored.extensions,
            data: &stored.data,
        };
        stored.content_mac = keys.content(&content);
        assert!(is_same_content(&new, TYPE_V1, &stored, &keys));
        assert!(!is_same_content(&prepared(today(1.25)), TYPE_V1, &stored, &keys));
        let other_type = TypeCode { code: 0x0303, version: 1 };
        assert!(!is_same_content(&new, other_type, &stored, &keys));
    }
}
