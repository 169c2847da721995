//! OpenTelemetry traces over OTLP/HTTP: a span for each request, query, field, read of the stores and bulk read. Off
//! unless the environment names a collector. Spans carry routes, names of fields and counts; never arguments or content.

use crate::Error;
use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// Target of all spans that are sent; a log should leave it out.
pub const TARGET: &str = "cairn_trace";

/// The variables that name a collector: the first is taken as it is, to the second `/v1/traces` is added.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// What sends spans. Dropping it sends those that are left.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// As OpenTelemetry's environment variables have it (endpoint, headers, timeout, sampler, service name, resource
    /// attributes, limits of batches); `None` where they name no collector or switch it off.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let is = |name: &str, word: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let Some((name, endpoint)) = ENDPOINTS.iter().find_map(|name| Some((*name, value(name)?))) else {
            return Ok(None);
        };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let refused = |name: &str, why: String| Error::Traces { variable: name.to_owned(), why };
        if !endpoint.starts_with("http://") {
            let why =
                format!("`{endpoint}` is not http://; name a collector in reach by http, which may forward by https");
            return Err(refused(name, why));
        }
        if let Some((name, given)) = PROTOCOLS.iter().find_map(|name| Some((*name, value(name)?)))
            && given != "http/protobuf"
        {
            return Err(refused(
                name,
                format!("`{given}` is not spoken here; http/protobuf is (port 4318 of most collectors)"),
            ));
        }
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
        let exporter = exporter.map_err(|e| refused(name, e.to_string()))?;
        let mut resource = Resource::builder();
        if value(SERVICE_NAME).is_none() {
            resource = resource.with_service_name("cairn");
        }
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = resource.with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Some(Self { provider }))
    }

    /// For the process's subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.provider.tracer("cairn");
        let ours = Targets::new().with_target(TARGET, tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false).with_filter(ours)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is gone takes nothing with it but its spans.
        let _ = self.provider.shutdown();
    }
}

/// Makes `span` a child of the caller's, as the headers traceparent and tracestate (W3C Trace Context) say.
pub(crate) fn continue_from(headers: &HeaderMap, span: &Span) {
    if headers.contains_key("traceparent") && !span.is_disabled() {
        // Where the span is not recorded there is nothing to continue.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Carrier(headers)));
    }
}

struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
