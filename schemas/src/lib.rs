//! What an event is: types, identifiers, refs, versions, and their JSON and binary forms. Knows nothing of storage.

pub mod cloudevent;
pub mod digest;
mod encoding;
pub mod envelope;
mod error;
mod event;
pub mod events;
pub mod ids;
pub mod json_schema;
pub mod links;
pub mod personal;
pub mod refs;
mod short_text;
pub mod time;
pub mod upcast;
pub mod values;

pub use digest::{Blake3, Sha256};
pub use envelope::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BorrowedPayload, Envelope, NewEvent, PAYLOAD_BYTES_MAX, REFS_MAX, Recorded,
    StoredPayload,
};
pub use error::Error;
pub use event::{Event, TYPE_NAMES, TypeCode, text_fields};
pub use ids::{Position, ProjectName, RunId, TenantId};
pub use links::Links;
pub use personal::{KeyId, SealedField};
pub use refs::Ref;
pub use short_text::ShortText;
pub use time::{Clock, SystemClock, Timestamp};
pub use values::{RawJson, Real};
