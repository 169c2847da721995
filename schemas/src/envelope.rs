//! What surrounds an event: what its producer says of it, what is stored, and what readers get.

use crate::{Error, Event, Position, Ref, SealedField, Timestamp, encoding};
use std::collections::BTreeMap;

/// Most bytes of one payload.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one batch.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most events of one batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Most refs of one event, used and produced together; longer sets come as pages.
pub const REFS_MAX: usize = 1024;

/// What a producer says of an event. `source` and `id` together identify it: the same pair is the same event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    pub source: String,
    pub id: String,
    /// The stream: what the event is about. CloudEvents' `subject`.
    pub stream: Option<String>,
    pub project: Option<String>,
    /// The producer's claim of when it happened.
    pub occurred_at: Option<Timestamp>,
    /// How many events the stream must hold for this one to be accepted.
    pub expected_version: Option<u64>,
    /// `id` of the event that caused this one.
    pub causation: Option<String>,
    /// Unknown extension attributes, kept as received.
    pub extensions: BTreeMap<String, String>,
}

/// An event on its way into the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub envelope: Envelope,
    pub event: Event,
}

impl NewEvent {
    pub fn new(source: &str, id: &str, event: impl Into<Event>) -> Self {
        let envelope = Envelope { source: source.to_owned(), id: id.to_owned(), ..Envelope::default() };
        Self { envelope, event: event.into() }
    }
    pub fn in_project(mut self, project: &str) -> Self {
        self.envelope.project = Some(project.to_owned());
        self
    }
    /// The stream it goes to: the producer's word, else what the event says it is about.
    pub fn stream(&self) -> String {
        self.envelope.stream.clone().unwrap_or_else(|| self.event.default_stream())
    }
}

/// What the ledger stores apart from the entry, and can replace when something must be forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPayload {
    pub source: String,
    pub id: String,
    pub stream: String,
    pub project: String,
    pub occurred_at: Timestamp,
    pub causation: Option<String>,
    pub extensions: BTreeMap<String, String>,
    pub used: Vec<Ref>,
    pub produced: Vec<Ref>,
    /// Keyed digest of the canonical content: what tells a repeat from a conflict.
    pub content_mac: [u8; 32],
    /// The event, as `Event::encode` gives it.
    pub data: Vec<u8>,
    /// What was taken out of event and extensions because it is about people. Follows the rest where there is any.
    pub sealed: Vec<SealedField>,
}

/// [`StoredPayload`] without what is sealed, its texts and its event still in the bytes that it was decoded from.
#[derive(Debug, bincode::BorrowDecode)]
pub struct BorrowedPayload<'a> {
    pub source: &'a str,
    pub id: &'a str,
    pub stream: &'a str,
    pub project: &'a str,
    pub occurred_at: Timestamp,
    pub causation: Option<&'a str>,
    pub extensions: BTreeMap<String, String>,
    pub used: Vec<Ref>,
    pub produced: Vec<Ref>,
    pub content_mac: [u8; 32],
    /// The event, as `Event::encode` gives it.
    pub data: &'a [u8],
}

impl<'a> BorrowedPayload<'a> {
    /// Takes what [`StoredPayload::decode`] takes, and refuses what it refuses. What is sealed comes beside it.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, Vec<SealedField>), Error> {
        StoredPayload::parts(bytes)
    }
}

impl StoredPayload {
    const WHAT: &'static str = "a stored payload";

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }
    /// Appends what [`StoredPayload::encode`] gives.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { source, id, stream, project, occurred_at, causation, .. } = self;
        let Self { extensions, used, produced, content_mac, data, sealed, .. } = self;
        let first = (source, id, stream, project, occurred_at, causation);
        encoding::encode_into(&(first, extensions, used, produced, content_mac, data), out);
        if !sealed.is_empty() {
            encoding::encode_into(sealed, out);
        }
    }
    /// Whether the bytes decode to exactly this. Copies no text and no event.
    pub fn is_what_decodes_from(&self, bytes: &[u8]) -> Result<bool, Error> {
        let (back, sealed) = Self::parts(bytes)?;
        Ok(back.source == self.source
            && back.id == self.id
            && back.stream == self.stream
            && back.project == self.project
            && back.occurred_at == self.occurred_at
            && back.causation == self.causation.as_deref()
            && back.extensions == self.extensions
            && back.used == self.used
            && back.produced == self.produced
            && back.content_mac == self.content_mac
            && back.data == self.data
            && sealed == self.sealed)
    }
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (back, sealed) = Self::parts(bytes)?;
        Ok(Self {
            source: back.source.to_owned(),
            id: back.id.to_owned(),
            stream: back.stream.to_owned(),
            project: back.project.to_owned(),
            occurred_at: back.occurred_at,
            causation: back.causation.map(str::to_owned),
            extensions: back.extensions,
            used: back.used,
            produced: back.produced,
            content_mac: back.content_mac,
            data: back.data.to_vec(),
            sealed,
        })
    }

    fn parts(bytes: &[u8]) -> Result<(BorrowedPayload<'_>, Vec<SealedField>), Error> {
        let (back, used) = encoding::decode_first(Self::WHAT, bytes)?;
        if used == bytes.len() {
            return Ok((back, Vec::new()));
        }
        let sealed: Vec<SealedField> = encoding::decode("the sealed fields of a payload", &bytes[used..])?;
        match sealed.is_empty() {
            false => Ok((back, sealed)),
            true => Err(Error::Stored { what: Self::WHAT, why: "an empty list of sealed fields follows it".into() }),
        }
    }
}

/// An event as readers get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub position: Position,
    /// When the ledger accepted it; never decreasing along the log.
    pub recorded_at: Timestamp,
    /// Its number in its stream, from 1.
    pub stream_version: u64,
    pub source: String,
    pub id: String,
    pub stream: String,
    pub project: String,
    pub occurred_at: Timestamp,
    pub causation: Option<String>,
    pub extensions: BTreeMap<String, String>,
    pub used: Vec<Ref>,
    pub produced: Vec<Ref>,
    /// The request on which its free text was replaced; `None` where the event is as its producer sent it.
    pub redacted_by: Option<String>,
    pub event: Event,
    /// Pointers of what is gone because its person was erased. Texts then read `[erased]`.
    pub erased: Vec<String>,
    /// Pointers of what cannot be read without the vault, which is not at hand. Texts then read `[sealed]`.
    pub sealed: Vec<String>,
}
