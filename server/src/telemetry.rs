//! The server's own figures, as Prometheus reads them. One recorder a server, so that two in one process keep apart.

use crate::problem::Problem;
use axum::http::StatusCode;
use cairn_projections::{ProjectionState, ProjectionStatus};
use cairn_schemas::Position;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::time::Duration;

/// Bounds of the histograms, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

const APPENDED: &str = "cairn_events_appended_total";
const DUPLICATES: &str = "cairn_events_duplicate_total";
const APPEND_SECONDS: &str = "cairn_append_duration_seconds";
const APPEND_REFUSED: &str = "cairn_appends_refused_total";
const HEAD: &str = "cairn_ledger_head_position";
const WATERMARK: &str = "cairn_projection_watermark_position";
const LAG: &str = "cairn_projection_lag_events";
const STATE: &str = "cairn_projection_state";
const STOPPED_AT: &str = "cairn_projection_stopped_position";
const REBUILT: &str = "cairn_projection_rebuild_done_events";
const REBUILD_TOTAL: &str = "cairn_projection_rebuild_total_events";
const REQUESTS: &str = "cairn_http_requests_total";
const REQUEST_SECONDS: &str = "cairn_http_request_duration_seconds";
const QUERY_SECONDS: &str = "cairn_query_duration_seconds";
const QUESTIONS: &str = "cairn_projection_questions_total";
const ROWS_READ: &str = "cairn_projection_rows_read_total";
const BULK_ROWS: &str = "cairn_bulk_rows_total";
const BULK_SECONDS: &str = "cairn_bulk_read_duration_seconds";
const WITNESS_PUSHES: &str = "cairn_witness_pushes_total";
const INFERENCES: &str = "cairn_inference_requests_total";
const INFERENCE_SECONDS: &str = "cairn_inference_duration_seconds";
const INFERENCE_TOKENS: &str = "cairn_inference_tokens_total";

/// Counters, gauges and histograms, described once.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .expect("the list of bounds is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let telemetry = Self { recorder, handle };
        telemetry.describe();
        telemetry
    }

    fn describe(&self) {
        let counter = |name: &'static str, text: &'static str| {
            self.recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
        };
        counter(APPENDED, "Events that the ledger recorded for this server's clients");
        counter(DUPLICATES, "Events that were repeats of recorded ones");
        counter(APPEND_REFUSED, "Appends that were refused, by kind of problem");
        counter(REQUESTS, "HTTP requests, by route, method and status");
        counter(QUESTIONS, "Questions that a projection's store was asked, by name");
        counter(ROWS_READ, "Rows that were read of a projection's store to answer them, by name");
        counter(BULK_ROWS, "Rows of whole bulk reads, by table and format");
        counter(WITNESS_PUSHES, "Checkpoints sent to a witness, by witness and outcome");
        counter(INFERENCES, "Prompts, by outcome");
        counter(INFERENCE_TOKENS, "Tokens of prompts and answers");
        let seconds = |name: &'static str, text: &'static str| {
            self.recorder.describe_histogram(name.into(), Some(Unit::Seconds), text.into());
        };
        seconds(APPEND_SECONDS, "Time from a valid batch to its acknowledgement after the sync");
        seconds(REQUEST_SECONDS, "Time to the first byte of the answer, by route");
        seconds(BULK_SECONDS, "Time of a bulk read to its last byte, by table, format and outcome");
        seconds(QUERY_SECONDS, "Time of a query's root field, by field and outcome");
        seconds(INFERENCE_SECONDS, "Time to the whole answer of a prompt");
        let gauge = |name: &'static str, text: &'static str| {
            self.recorder.describe_gauge(name.into(), Some(Unit::Count), text.into());
        };
        gauge(HEAD, "Position of the last event of the log");
        gauge(WATERMARK, "Position up to which a projection covers the log, by name");
        gauge(LAG, "Events that a projection has not applied yet, by name");
        gauge(STATE, "1 for what a projection does: following, catching_up, rebuilding or stopped; else 0");
        gauge(STOPPED_AT, "Position of the event that a projection cannot apply and stopped at; 0: none");
        gauge(REBUILT, "Events that the store that is being filled holds; 0: none is");
        gauge(REBUILD_TOTAL, "Events that the store that is being filled will hold; 0: none is");
    }

    pub(crate) fn appended(&self, new: u64, duplicates: u64, took: Duration) {
        self.counter(APPENDED, &[]).increment(new);
        self.counter(DUPLICATES, &[]).increment(duplicates);
        self.histogram(APPEND_SECONDS, &[]).record(took.as_secs_f64());
    }

    pub(crate) fn append_refused(&self, problem: &Problem) {
        self.counter(APPEND_REFUSED, &[("kind", problem.kind.slug())]).increment(1);
    }

    pub(crate) fn requested(&self, route: &str, method: &str, status: StatusCode, took: Duration) {
        let labels = [("route", route), ("method", method), ("status", status.as_str())];
        self.counter(REQUESTS, &labels).increment(1);
        self.histogram(REQUEST_SECONDS, &[("route", route)]).record(took.as_secs_f64());
    }

    pub(crate) fn queried(&self, field: &str, is_ok: bool, took: Duration) {
        let outcome = if is_ok { "answered" } else { "refused" };
        self.histogram(QUERY_SECONDS, &[("field", field), ("outcome", outcome)]).record(took.as_secs_f64());
    }

    pub(crate) fn read_in_bulk(&self, table: &str, format: &str, rows: u64, outcome: &str, took: Duration) {
        self.counter(BULK_ROWS, &[("table", table), ("format", format)]).increment(rows);
        let labels = [("table", table), ("format", format), ("outcome", outcome)];
        self.histogram(BULK_SECONDS, &labels).record(took.as_secs_f64());
    }

    pub(crate) fn witnessed(&self, witness: &str, outcome: &str) {
        self.counter(WITNESS_PUSHES, &[("witness", witness), ("outcome", outcome)]).increment(1);
    }

    pub(crate) fn answered(&self, prompt_tokens: u64, answer_tokens: u64, took: Duration) {
        self.counter(INFERENCES, &[("outcome", "answered")]).increment(1);
        self.counter(INFERENCE_TOKENS, &[("side", "prompt")]).increment(prompt_tokens);
        self.counter(INFERENCE_TOKENS, &[("side", "answer")]).increment(answer_tokens);
        self.histogram(INFERENCE_SECONDS, &[]).record(took.as_secs_f64());
    }

    pub(crate) fn inference_failed(&self, problem: &Problem) {
        self.counter(INFERENCES, &[("outcome", problem.kind.slug())]).increment(1);
    }

    /// Questions and rows read of each projection, as they are now.
    pub(crate) fn read(&self, reads: &[(String, u64, u64)]) {
        for (name, questions, rows) in reads {
            let label = [("projection", name.as_str())];
            self.counter(QUESTIONS, &label).absolute(*questions);
            self.counter(ROWS_READ, &label).absolute(*rows);
        }
    }

    /// The page that Prometheus scrapes, with the positions as they are now.
    pub(crate) fn page(&self, head: u64, projections: &[ProjectionStatus]) -> String {
        self.gauge(HEAD, &[]).set(head as f64);
        projections.iter().for_each(|status| self.projection(status));
        self.handle.run_upkeep();
        self.handle.render()
    }

    fn projection(&self, status: &ProjectionStatus) {
        let label = [("projection", status.name)];
        self.gauge(WATERMARK, &label).set(status.watermark.map_or(0, Position::get) as f64);
        self.gauge(LAG, &label).set(status.lag as f64);
        for name in ProjectionState::NAMES {
            let labels = [("projection", status.name), ("state", name)];
            self.gauge(STATE, &labels).set(f64::from(u8::from(status.state.name() == name)));
        }
        let stopped_at = match &status.state {
            ProjectionState::Stopped { position, .. } => position.get(),
            _ => 0,
        };
        let (done, total) = match &status.state {
            ProjectionState::Rebuilding { done, total } => (*done, *total),
            _ => (0, 0),
        };
        self.gauge(STOPPED_AT, &label).set(stopped_at as f64);
        self.gauge(REBUILT, &label).set(done as f64);
        self.gauge(REBUILD_TOTAL, &label).set(total as f64);
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }
    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }
    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }
}

static METADATA: Metadata<'static> = Metadata::new("cairn_server", Level::INFO, None);

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_what_was_counted_and_how_far_a_projection_lags() {
        let telemetry = Telemetry::new();
        telemetry.appended(3, 1, Duration::from_millis(2));
        telemetry.requested("/v1/events", "POST", StatusCode::CREATED, Duration::from_millis(3));
        let status = |name, watermark, state| ProjectionStatus {
            name,
            version: 1,
            engine: "sled",
            watermark: Position::new(watermark),
            lag: 10 - watermark,
            answers: true,
            state,
        };
        let stopped = ProjectionState::Stopped { position: Position::new(3).unwrap(), error: "why".into() };
        let states = [
            status("curves", 7, ProjectionState::Following),
            status("evals", 2, stopped),
            status("catalog", 4, ProjectionState::Rebuilding { done: 4, total: 10 }),
        ];
        let page = telemetry.page(10, &states);
        for line in [
            "cairn_events_appended_total 3",
            "cairn_events_duplicate_total 1",
            "cairn_append_duration_seconds_bucket{le=\"0.0025\"} 1",
            "cairn_http_requests_total{route=\"/v1/events\",method=\"POST\",status=\"201\"} 1",
            "cairn_ledger_head_position 10",
            "cairn_projection_lag_events{projection=\"curves\"} 3",
            "cairn_projection_state{projection=\"curves\",state=\"following\"} 1",
            "cairn_projection_state{projection=\"curves\",state=\"stopped\"} 0",
            "cairn_projection_state{projection=\"evals\",state=\"stopped\"} 1",
            "cairn_projection_stopped_position{projection=\"evals\"} 3",
            "cairn_projection_rebuild_done_events{projection=\"catalog\"} 4",
            "cairn_projection_rebuild_total_events{projection=\"catalog\"} 10",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
