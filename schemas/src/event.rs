//! The closed enum of events, and the one table that gives each its type name and its code.

use crate::error::quoted;
use crate::events::{
    Fact, annotation, cost, custom, data, dataset, deployment, evaluation, governance, job, judgment, model, training,
};
use crate::personal::{EachText, TextField, Texts};
use crate::{Error, Links, encoding, upcast};

/// What says how a stored payload is to be read. Codes are never reused, versions never edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeCode {
    /// Family in the high byte, event in the low one.
    pub code: u16,
    pub version: u16,
}

/// `data` as JSON against a payload struct; errors name the path.
pub(crate) fn parse_data<T: serde::de::DeserializeOwned>(event_type: &str, data: &str) -> Result<T, Error> {
    let mut source = serde_json::Deserializer::from_str(data);
    let wrong = |path: String, why: String| Error::Data { event_type: event_type.to_owned(), path, why };
    let value = serde_path_to_error::deserialize(&mut source)
        .map_err(|e| wrong(e.path().to_string(), e.inner().to_string()))?;
    source.end().map_err(|e| wrong(".".into(), e.to_string()))?;
    Ok(value)
}

macro_rules! events {
    ($($code:literal v $version:literal $name:literal $variant:ident($payload:ty),)*) => {
        /// One thing that happened.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "events are moved rarely and kept in vectors briefly")]
        pub enum Event {
            $($variant($payload),)*
        }

        impl TypeCode {
            /// Name of the type's latest version; `None` for a code that is none of ours.
            pub fn name(self) -> Option<&'static str> {
                match self.code {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }

        /// Latest version of every type, in the order of their codes.
        pub const TYPE_NAMES: &[&str] = &[$($name,)*];

        impl Event {
            /// `cairn.<family>.<past_tense>.v<N>`.
            pub fn type_name(&self) -> &'static str {
                match self { $(Event::$variant(_) => $name,)* }
            }
            pub fn type_code(&self) -> TypeCode {
                match self { $(Event::$variant(_) => TypeCode { code: $code, version: $version },)* }
            }
            /// The stored form: bincode of the latest version's payload.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Event::$variant(payload) => encoding::encode(payload),)* }
            }
            /// Reads a stored payload of any version ever written; old ones are upcast.
            pub fn decode(code: TypeCode, bytes: &[u8]) -> Result<Event, Error> {
                match (code.code, code.version) {
                    $(($code, $version) => Ok(Event::$variant(encoding::decode($name, bytes)?)),)*
                    _ => upcast::decode(code, bytes),
                }
            }
            /// Reads `data` of a CloudEvent whose `type` is `type_name`; old versions are upcast.
            pub fn from_json(type_name: &str, data: &str) -> Result<Event, Error> {
                match type_name {
                    $($name => Ok(Event::$variant(parse_data($name, data)?)),)*
                    _ => match upcast::from_json(type_name, data) {
                        Some(event) => event,
                        None => Err(unknown(type_name)),
                    },
                }
            }
            /// The payload as JSON: a CloudEvent's `data`.
            pub fn to_json(&self) -> String {
                match self { $(Event::$variant(payload) => serde_json::to_string(payload),)* }
                    .expect("payloads serialise")
            }
            /// The payload as a JSON object. Fails where free-form JSON in it is beyond what a value can hold: numbers
            /// such as 1e999, nesting deeper than 128.
            pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Event::$variant(payload) => serde_json::to_value(payload),)* }
            }
            /// What the event is about, where its producer does not say.
            pub fn default_stream(&self) -> String {
                match self { $(Event::$variant(payload) => payload.stream(),)* }
            }
            /// Shows its texts: free ones, and those about people.
            pub(crate) fn texts(&mut self, each: EachText<'_>) {
                match self { $(Event::$variant(payload) => payload.texts(each),)* }
            }
            /// The refs it used and produced.
            pub fn links(&self) -> Links {
                match self { $(Event::$variant(payload) => payload.links(),)* }
            }
        }

        $(impl From<$payload> for Event {
            fn from(payload: $payload) -> Self {
                Event::$variant(payload)
            }
        })*

        /// JSON Schema of every payload's latest version, by type name.
        pub(crate) fn payload_schemas() -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($name, schemars::schema_for!($payload)),)*]
        }

        /// Which fields hold free text or what is about people, by type name.
        pub fn text_fields() -> Vec<(&'static str, Vec<TextField>)> {
            vec![$(($name, <$payload>::text_fields()),)*]
        }
    };
}

events! {
    0x0101 v 1 "cairn.data.source_registered.v1" SourceRegistered(data::SourceRegistered),
    0x0102 v 1 "cairn.data.ingestion_started.v1" IngestionStarted(data::IngestionStarted),
    0x0103 v 1 "cairn.data.document_ingested.v1" DocumentIngested(data::DocumentIngested),
    0x0104 v 1 "cairn.data.document_rejected.v1" DocumentRejected(data::DocumentRejected),
    0x0105 v 1 "cairn.data.document_removed.v1" DocumentRemoved(data::DocumentRemoved),
    0x0106 v 1 "cairn.data.transform_applied.v1" TransformApplied(data::TransformApplied),
    0x0107 v 1 "cairn.data.ingestion_completed.v1" IngestionCompleted(data::IngestionCompleted),

    0x0201 v 1 "cairn.dataset.documents_added.v1" DocumentsAdded(dataset::DocumentsAdded),
    0x0202 v 1 "cairn.dataset.version_committed.v1" VersionCommitted(dataset::VersionCommitted),
    0x0203 v 1 "cairn.dataset.version_withdrawn.v1" VersionWithdrawn(dataset::VersionWithdrawn),
    0x0204 v 1 "cairn.dataset.card_published.v1" CardPublished(dataset::CardPublished),

    0x0301 v 1 "cairn.training.run_started.v1" RunStarted(training::RunStarted),
    0x0302 v 2 "cairn.training.step_logged.v2" StepLogged(training::StepLogged),
    0x0303 v 1 "cairn.training.checkpoint_saved.v1" CheckpointSaved(training::CheckpointSaved),
    0x0304 v 1 "cairn.training.run_resumed.v1" RunResumed(training::RunResumed),
    0x0305 v 1 "cairn.training.run_forked.v1" RunForked(training::RunForked),
    0x0306 v 1 "cairn.training.run_completed.v1" RunCompleted(training::RunCompleted),
    0x0307 v 1 "cairn.training.run_failed.v1" RunFailed(training::RunFailed),
    0x0308 v 1 "cairn.training.run_cancelled.v1" RunCancelled(training::RunCancelled),
    0x0309 v 1 "cairn.training.run_imported.v1" RunImported(training::RunImported),
    0x030a v 1 "cairn.training.checkpoint_listed.v1" CheckpointListed(training::CheckpointListed),

    0x0401 v 1 "cairn.model.version_registered.v1" VersionRegistered(model::VersionRegistered),
    0x0402 v 1 "cairn.model.alias_assigned.v1" AliasAssigned(model::AliasAssigned),
    0x0403 v 1 "cairn.model.alias_cleared.v1" AliasCleared(model::AliasCleared),

    0x0501 v 1 "cairn.evaluation.completed.v1" EvaluationCompleted(evaluation::EvaluationCompleted),
    0x0502 v 1 "cairn.evaluation.superseded.v1" EvaluationSuperseded(evaluation::EvaluationSuperseded),
    0x0503 v 1 "cairn.evaluation.sample_scored.v1" SampleScored(evaluation::SampleScored),
    0x0504 v 1 "cairn.evaluation.failed.v1" EvaluationFailed(evaluation::EvaluationFailed),

    0x0601 v 1 "cairn.judgment.recorded.v1" JudgmentRecorded(judgment::JudgmentRecorded),
    0x0602 v 1 "cairn.judgment.gate_evaluated.v1" GateEvaluated(judgment::GateEvaluated),

    0x0701 v 1 "cairn.deployment.created.v1" DeploymentCreated(deployment::DeploymentCreated),
    0x0702 v 1 "cairn.deployment.traffic_shifted.v1" TrafficShifted(deployment::TrafficShifted),
    0x0703 v 1 "cairn.deployment.promoted.v1" Promoted(deployment::Promoted),
    0x0704 v 1 "cairn.deployment.rolled_back.v1" RolledBack(deployment::RolledBack),
    0x0705 v 1 "cairn.deployment.retired.v1" Retired(deployment::Retired),
    0x0706 v 1 "cairn.deployment.response_generated.v1" ResponseGenerated(deployment::ResponseGenerated),

    0x0801 v 1 "cairn.governance.key_issued.v1" KeyIssued(governance::KeyIssued),
    0x0802 v 1 "cairn.governance.key_revoked.v1" KeyRevoked(governance::KeyRevoked),
    0x0803 v 1 "cairn.governance.policy_changed.v1" PolicyChanged(governance::PolicyChanged),
    0x0804 v 1 "cairn.governance.access_denied.v1" AccessDenied(governance::AccessDenied),
    0x0805 v 1 "cairn.governance.export_produced.v1" ExportProduced(governance::ExportProduced),
    0x0806 v 1 "cairn.governance.erasure_requested.v1" ErasureRequested(governance::ErasureRequested),
    0x0807 v 2 "cairn.governance.subject_erased.v2" SubjectErased(governance::SubjectErased),
    0x0808 v 1 "cairn.governance.legal_hold_placed.v1" LegalHoldPlaced(governance::LegalHoldPlaced),
    0x0809 v 1 "cairn.governance.legal_hold_lifted.v1" LegalHoldLifted(governance::LegalHoldLifted),
    0x080a v 1 "cairn.governance.payloads_redacted.v1" PayloadsRedacted(governance::PayloadsRedacted),
    0x080b v 1 "cairn.governance.log_continued.v1" LogContinued(governance::LogContinued),

    0x0901 v 1 "cairn.cost.recorded.v1" CostRecorded(cost::CostRecorded),

    0x0a01 v 1 "cairn.custom.schema_registered.v1" SchemaRegistered(custom::SchemaRegistered),
    0x0a02 v 1 "cairn.custom.recorded.v1" CustomRecorded(custom::CustomRecorded),

    0x0b01 v 1 "cairn.job.started.v1" JobStarted(job::JobStarted),
    0x0b02 v 1 "cairn.job.completed.v1" JobCompleted(job::JobCompleted),
    0x0b03 v 1 "cairn.job.failed.v1" JobFailed(job::JobFailed),
    0x0b04 v 1 "cairn.job.cancelled.v1" JobCancelled(job::JobCancelled),

    0x0c01 v 1 "cairn.annotation.recorded.v1" AnnotationRecorded(annotation::AnnotationRecorded),
}

/// Names the types whose name shares most with what was given.
fn unknown(given: &str) -> Error {
    let words: Vec<&str> = given.split('.').collect();
    let shared = |name: &&&str| {
        let same = name.split('.').filter(|part| words.contains(part)).count();
        std::cmp::Reverse(same)
    };
    let mut nearest: Vec<&&str> = TYPE_NAMES.iter().collect();
    nearest.sort_by_key(shared);
    let nearest: Vec<&str> = nearest.into_iter().take(3).copied().collect();
    Error::UnknownType {
        given: quoted(given),
        hint: format!(
            "the nearest known types are {}; a kind of your own is sent as cairn.custom.recorded.v1",
            nearest.join(", ")
        ),
    }
}
