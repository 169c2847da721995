//! What is answered when a request cannot be: RFC 9457 problem details over HTTP, the same words as a GraphQL error.
//! Each kind has a `type` that never changes, so that programs can tell them apart.

use async_graphql::ErrorExtensions;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cairn_gpu::Error as GpuError;
use cairn_ledger::Error as LedgerError;
use cairn_processors::Error as ProcessorsError;
use cairn_projections::Error as ProjectionsError;
use serde_json::{Map, Value};

/// Media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! kinds {
    ($($variant:ident $status:literal $slug:literal $title:literal,)*) => {
        /// What kind of problem it is. The slugs are part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($variant,)* }

        impl Kind {
            pub(crate) fn status(self) -> StatusCode {
                let code: u16 = match self { $(Kind::$variant => $status,)* };
                StatusCode::from_u16(code).expect("the table holds valid codes")
            }
            pub(crate) fn slug(self) -> &'static str {
                match self { $(Kind::$variant => $slug,)* }
            }
            fn title(self) -> &'static str {
                match self { $(Kind::$variant => $title,)* }
            }
        }
    };
}

kinds! {
    MalformedRequest 400 "malformed-request" "The request is malformed",
    MalformedEvent 400 "malformed-event" "The event is malformed",
    MalformedPipeline 400 "malformed-pipeline" "The pipeline is malformed",
    UnknownEventType 400 "unknown-event-type" "The event type is unknown",
    Unsupported 400 "unsupported-parameter" "A parameter is not supported yet",
    ForeignOrigin 403 "foreign-origin" "The request comes from another site",
    NotFound 404 "not-found" "There is no such thing",
    MethodNotAllowed 405 "method-not-allowed" "The route does not take this method",
    BodyTimeout 408 "body-timeout" "The body did not arrive in time",
    Conflict 409 "conflicting-event" "The event was recorded before with other content",
    PartlyRepeated 409 "partly-repeated-batch" "A part of the batch was recorded before",
    WrongVersion 409 "wrong-stream-version" "The stream is not at the expected version",
    NotReady 409 "not-ready" "The state of the thing does not allow it",
    Changed 412 "changed" "The answer is no longer the one that was named",
    TooLarge 413 "too-large" "The body or a part of it is too large",
    UnsupportedMedia 415 "unsupported-media-type" "The media type is not supported",
    OutOfRange 416 "out-of-range" "The answer has no such part",
    ForeignHost 421 "foreign-host" "The request names a host that this server is not",
    Refused 422 "refused" "What was asked for cannot be done as things are",
    Busy 429 "busy" "Too many requests are in flight",
    Internal 500 "internal" "The server failed",
    Damaged 500 "damaged" "Stored bytes are damaged",
    Unavailable 503 "unavailable" "The ledger cannot take or answer this now",
    NoRuntime 503 "no-runtime" "The models cannot be computed here",
    DiskFull 503 "disk-full" "The disk is full",
    Deadline 504 "deadline" "There was no answer in time; the outcome is unknown",
    NotCaughtUp 503 "not-caught-up" "The projections have not reached the asked position",
}

/// A problem: its kind, what was wrong with what was given and what would be right, and members for programs.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    retry_after_s: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after_s: None, members: Map::new() }
    }
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::MalformedRequest, detail)
    }
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, detail)
    }
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
    /// Seconds after which it may go better.
    pub(crate) fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:cairn:problem:{}", self.kind.slug()).into());
        body.insert("title".into(), self.kind.title().into());
        body.insert("status".into(), self.kind.status().as_u16().into());
        body.insert("detail".into(), self.detail.as_str().into());
        if let Some(seconds) = self.retry_after_s {
            body.insert("retry_after_s".into(), seconds.into());
        }
        body.extend(self.members.clone());
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Problem> for async_graphql::Error {
    /// `extensions.code` is the slug; the problem's members stand beside it.
    fn from(problem: Problem) -> Self {
        async_graphql::Error::new(&problem.detail).extend_with(|_, extensions| {
            extensions.set("code", problem.kind.slug());
            extensions.set("status", problem.kind.status().as_u16());
            for (name, value) in &problem.members {
                if let Ok(value) = async_graphql::Value::from_json(value.clone()) {
                    extensions.set(name, value);
                }
            }
        })
    }
}

impl From<cairn_schemas::Error> for Problem {
    fn from(error: cairn_schemas::Error) -> Self {
        use cairn_schemas::Error;
        let index = match &error {
            Error::InBatch { index, .. } => Some(*index),
            _ => None,
        };
        let innermost = match &error {
            Error::InBatch { source, .. } => source.as_ref(),
            other => other,
        };
        let kind = match innermost {
            Error::UnknownType { .. } => Kind::UnknownEventType,
            Error::UnknownTypeCode { .. } | Error::Stored { .. } => Kind::Internal,
            _ => Kind::MalformedEvent,
        };
        let problem = Problem::new(kind, error.to_string());
        match index {
            Some(index) => problem.with("index", index),
            None => problem,
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let detail = error.to_string();
        match error {
            LedgerError::Schemas(error) => error.into(),
            LedgerError::Conflict { index, event_source, id, position } => Problem::new(Kind::Conflict, detail)
                .with("index", index)
                .with("event_source", event_source)
                .with("event_id", id)
                .with("position", position.get()),
            LedgerError::RepeatedInBatch { index, first_index, .. } => {
                Problem::new(Kind::Conflict, detail).with("index", index).with("first_index", first_index)
            }
            LedgerError::PartlyRepeated { repeated, .. } => {
                let repeated: Vec<Value> = repeated
                    .iter()
                    .map(|(index, at)| serde_json::json!({"index": index, "position": at.get()}))
                    .collect();
                Problem::new(Kind::PartlyRepeated, detail).with("repeated", repeated)
            }
            LedgerError::WrongVersion { index, stream, expected, actual } => Problem::new(Kind::WrongVersion, detail)
                .with("index", index)
                .with("stream", stream)
                .with("expected_version", expected)
                .with("actual_version", actual),
            LedgerError::TooLarge { index, .. } => Problem::new(Kind::TooLarge, detail).with("index", index),
            LedgerError::BatchLength { given, max } if given > max => Problem::new(Kind::TooLarge, detail),
            LedgerError::BatchLength { .. } => Problem::new(Kind::MalformedEvent, detail),
            LedgerError::TooManyRefs { index, .. } | LedgerError::Missing { index, .. } => {
                Problem::new(Kind::MalformedEvent, detail).with("index", index)
            }
            LedgerError::DiskFull { .. } => Problem::new(Kind::DiskFull, detail).retry_after(30),
            LedgerError::OutcomeUnknown { .. } | LedgerError::WriterEnded { .. } => {
                Problem::new(Kind::Unavailable, detail).retry_after(5)
            }
            LedgerError::Busy { .. } => Problem::new(Kind::Busy, detail).retry_after(1),
            LedgerError::Deadline => Problem::new(Kind::Deadline, detail).retry_after(1),
            LedgerError::Unexpected { stream, expected, actual } => Problem::new(Kind::WrongVersion, detail)
                .with("stream", stream)
                .with("expected_version", expected)
                .with("actual_version", actual),
            LedgerError::TooManyExpectations { .. } => Problem::new(Kind::MalformedEvent, detail),
            LedgerError::ReadOnly => Problem::new(Kind::Unavailable, detail),
            LedgerError::NoLog { .. }
            | LedgerError::NoArtifact { .. }
            | LedgerError::NotCovered { .. }
            | LedgerError::NoTile { .. } => Problem::not_found(detail),
            LedgerError::Proof { .. } | LedgerError::AsOf { .. } => Problem::malformed(detail),
            LedgerError::Damaged(_) => Problem::new(Kind::Damaged, detail),
            _ => Problem::internal(detail),
        }
    }
}

impl From<ProcessorsError> for Problem {
    fn from(error: ProcessorsError) -> Self {
        let detail = error.chain();
        match error {
            ProcessorsError::Ledger(error) => error.into(),
            ProcessorsError::Projections(error) => error.into(),
            ProcessorsError::Schemas(_) => Problem::malformed(detail),
            ProcessorsError::Config { line, column, .. } => {
                Problem::new(Kind::MalformedPipeline, detail).with("line", line).with("column", column)
            }
            ProcessorsError::UnknownRef { kind, reference, .. } => {
                Problem::not_found(detail).with("kind", kind).with("reference", reference)
            }
            ProcessorsError::Refused { .. } | ProcessorsError::AlreadyRunning { .. } => {
                Problem::new(Kind::Refused, detail)
            }
            ProcessorsError::PromptTooLong { .. } => Problem::new(Kind::Refused, detail),
            ProcessorsError::Gpu(GpuError::Invalid { .. }) => Problem::malformed(detail),
            ProcessorsError::Gpu(GpuError::Busy { .. }) => Problem::new(Kind::Busy, detail).retry_after(2),
            ProcessorsError::Gpu(GpuError::Stopped | GpuError::Failed { .. } | GpuError::DoesNotFit { .. }) => {
                Problem::new(Kind::Unavailable, detail).retry_after(30)
            }
            ProcessorsError::Gpu(
                GpuError::LibraryMissing { .. }
                | GpuError::Library { .. }
                | GpuError::LibraryAlreadyLoaded { .. }
                | GpuError::Device { .. },
            ) => Problem::new(Kind::NoRuntime, detail),
            _ => Problem::internal(detail),
        }
    }
}

impl From<ProjectionsError> for Problem {
    fn from(error: ProjectionsError) -> Self {
        let detail = error.to_string();
        match error {
            ProjectionsError::Ledger(error) => error.into(),
            ProjectionsError::Rebuilding { .. } => Problem::new(Kind::NotCaughtUp, detail).retry_after(5),
            ProjectionsError::Schemas(_) | ProjectionsError::Cursor { .. } | ProjectionsError::Question { .. } => {
                Problem::malformed(detail)
            }
            ProjectionsError::Unknown { .. } => Problem::not_found(detail),
            ProjectionsError::Late { .. } => Problem::new(Kind::NotCaughtUp, detail).retry_after(2),
            ProjectionsError::Beyond { .. }
            | ProjectionsError::UnknownEngine { .. }
            | ProjectionsError::UnknownProjection { .. }
            | ProjectionsError::UnknownKind { .. }
            | ProjectionsError::Commit { .. }
            | ProjectionsError::Family { .. } => Problem::malformed(detail),
            ProjectionsError::Filter(wrong) => {
                Problem::malformed(detail).with("column", wrong.column()).with("offset", wrong.offset)
            }
            _ => Problem::internal(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_it_is_to_programs_and_to_people() {
        let problem = Problem::new(Kind::DiskFull, "full").retry_after(30).with("bytes", 7);
        let response = problem.clone().into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[header::RETRY_AFTER], "30");
        let body = problem.to_json();
        assert_eq!(body["type"], "urn:cairn:problem:disk-full");
        assert_eq!((body["detail"].as_str(), body["bytes"].as_u64()), (Some("full"), Some(7)));
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        let tenant = cairn_schemas::TenantId::default();
        let retryable = [
            LedgerError::DiskFull { bytes: 1, path: "x".into() },
            LedgerError::OutcomeUnknown { why: "x".into() },
            LedgerError::WriterEnded { why: "x".into() },
        ];
        for error in retryable {
            let problem = Problem::from(error);
            assert_eq!(
                (problem.kind.status().as_u16(), problem.retry_after_s.is_some()),
                (503, true),
                "{}",
                problem.detail
            );
        }
        assert_eq!(Problem::from(LedgerError::NoLog { tenant }).kind, Kind::NotFound);
        let repeated = vec![(0, cairn_schemas::Position::FIRST)];
        assert_eq!(Problem::from(LedgerError::PartlyRepeated { events: 2, repeated }).kind, Kind::PartlyRepeated);
    }

    #[test]
    fn an_error_inside_a_batch_keeps_its_kind_and_names_its_index() {
        let error = cairn_schemas::NewEvent::batch_from_cloudevents(
            br#"[{"specversion":"1.0","type":"cairn.nothing","source":"s","id":"1","data":{}}]"#,
        );
        let problem = Problem::from(error.unwrap_err());
        assert_eq!(problem.kind, Kind::UnknownEventType);
        assert_eq!(problem.to_json()["index"], 0);
    }
}
