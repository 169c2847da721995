//! Old versions of payloads, and the pure functions that turn them into the present ones.
//!
//! To change a payload: keep its struct here under its version, add the new version to the table of events, write
//! `From<old> for new`, and add a line to `olds!`. Stored bytes are never rewritten.

use crate::event::parse_data;
use crate::events::governance::SubjectErased;
use crate::events::training::{MetricValue, StepLogged};
use crate::{Blake3, Error, Event, Real, Ref, RunId, TypeCode, encoding};

/// `cairn.training.step_logged.v1`: one loss, no attempt.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
#[serde(deny_unknown_fields)]
pub struct StepLoggedV1 {
    pub run: RunId,
    pub step: u64,
    pub tokens: u64,
    pub loss: Real,
}

impl From<StepLoggedV1> for StepLogged {
    fn from(old: StepLoggedV1) -> Self {
        StepLogged {
            run: old.run,
            attempt: 1,
            step: old.step,
            tokens: old.tokens,
            time: None,
            metrics: vec![MetricValue { name: "loss".into(), value: old.loss }],
        }
    }
}

/// `cairn.governance.subject_erased.v1`: artifacts by their number alone, no keys, no basis.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
#[serde(deny_unknown_fields)]
pub struct SubjectErasedV1 {
    pub request: String,
    pub data_subject: Blake3,
    #[serde(default)]
    pub models: Vec<Ref>,
    pub events: u64,
    #[serde(default)]
    pub artifacts: u64,
}

impl From<SubjectErasedV1> for SubjectErased {
    fn from(old: SubjectErasedV1) -> Self {
        SubjectErased {
            request: old.request,
            data_subject: old.data_subject,
            basis: String::new(),
            page: 1,
            pages: 1,
            keys: Vec::new(),
            models: old.models,
            documents: Vec::new(),
            artifacts: Vec::new(),
            events: old.events,
            artifact_count: old.artifacts,
            vault_backups_expire_at: None,
        }
    }
}

macro_rules! olds {
    ($($code:literal v $version:literal $name:literal $old:ty => $new:ty,)*) => {
        pub(crate) fn decode(code: TypeCode, bytes: &[u8]) -> Result<Event, Error> {
            match (code.code, code.version) {
                $(($code, $version) => Ok(<$new>::from(encoding::decode::<$old>($name, bytes)?).into()),)*
                _ => Err(Error::UnknownTypeCode { code: code.code, version: code.version }),
            }
        }
        pub(crate) fn from_json(type_name: &str, data: &str) -> Option<Result<Event, Error>> {
            match type_name {
                $($name => Some(parse_data::<$old>($name, data).map(|old| <$new>::from(old).into())),)*
                _ => None,
            }
        }
    };
}

olds! {
    0x0302 v 1 "cairn.training.step_logged.v1" StepLoggedV1 => StepLogged,
    0x0807 v 1 "cairn.governance.subject_erased.v1" SubjectErasedV1 => SubjectErased,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as version 1 stored them. Never edit: logs that hold such bytes exist.
    const STORED_V1: &str = "018f4e9a7c3b7def8123456789abcdef07fb0008000000000000f83f";

    #[test]
    fn a_stored_first_version_reads_as_the_present_one() {
        let bytes = hex::decode(STORED_V1).unwrap();
        let event = Event::decode(TypeCode { code: 0x0302, version: 1 }, &bytes).unwrap();
        let Event::StepLogged(step) = &event else { panic!("{event:?}") };
        assert_eq!((step.attempt, step.step, step.tokens), (1, 7, 2048));
        assert_eq!(step.metrics, [MetricValue { name: "loss".into(), value: Real(1.5) }]);
        assert_eq!(event.type_name(), "cairn.training.step_logged.v2");
    }

    #[test]
    fn a_producer_may_still_send_the_first_version() {
        let run = "018f4e9a-7c3b-7def-8123-456789abcdef";
        let data = format!(r#"{{"run":"{run}","step":7,"tokens":2048,"loss":"NaN"}}"#);
        let event = Event::from_json("cairn.training.step_logged.v1", &data).unwrap();
        let Event::StepLogged(step) = event else { panic!() };
        assert!(step.metrics[0].value.0.is_nan());
    }

    #[test]
    fn an_erasure_of_the_first_version_keeps_its_counts() {
        let digest = "07".repeat(32);
        let data = format!(r#"{{"request":"r1","data_subject":"{digest}","events":4,"artifacts":3}}"#);
        let event = Event::from_json("cairn.governance.subject_erased.v1", &data).unwrap();
        let Event::SubjectErased(erased) = &event else { panic!("{event:?}") };
        assert_eq!((erased.events, erased.artifact_count, erased.pages), (4, 3, 1));
        let stored = hex::decode(format!("027231{digest}000403")).unwrap();
        assert_eq!(Event::decode(TypeCode { code: 0x0807, version: 1 }, &stored).unwrap(), event);
    }

    #[test]
    fn a_version_from_the_future_is_refused_by_number() {
        let error = Event::decode(TypeCode { code: 0x0302, version: 9 }, &[]).unwrap_err().to_string();
        assert!(error.contains("0x0302 version 9"), "{error}");
    }
}
