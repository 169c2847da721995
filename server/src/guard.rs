//! What every request passes: a check that it was meant for this server and does not come from a foreign web page, and
//! a line of log with route, status and latency. Bodies, prompts and query strings are never logged.

use crate::problem::{Kind, Problem};
use crate::state::App;
use crate::traces::{self, TARGET};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::Instant;
use tracing::Instrument;

/// Counts and logs the request.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // The route's pattern, not the path: a path may hold names of people's things, and would be an unbounded label.
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", |path| path.as_str()).to_owned();
    let span = tracing::info_span!(
        target: TARGET, "http", otel.name = format!("{method} {route}"), otel.kind = "server",
        http.request.method = %method, http.route = route, http.response.status_code = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    traces::continue_from(request.headers(), &span);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let (status, took) = (response.status(), begun.elapsed());
    app.telemetry.requested(&route, method.as_str(), status, took);
    let latency_ms = took.as_secs_f64() * 1e3;
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(%method, route, status = status.as_u16(), latency_ms, "request");
    } else {
        tracing::info!(%method, route, status = status.as_u16(), latency_ms, "request");
    }
    response
}

/// Refuses what a web page of another site could send through a visitor's browser. There is no authentication yet, so
/// on loopback this is what stands between such a page and the ledger.
pub(crate) async fn same_site(State(app): State<App>, request: Request, next: Next) -> Response {
    match check(request.headers(), app.loopback) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap, loopback: bool) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let host = text(header::HOST);
    if loopback
        && let Some(host) = host
        && !is_loopback(host)
    {
        return Err(Problem::new(
            Kind::ForeignHost,
            format!(
                "this server listens on loopback only and does not answer for host `{}`; use 127.0.0.1 or localhost",
                shown(host)
            ),
        ));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.split_once("://").map(|(_, rest)| rest);
        if authority.is_none() || authority != host {
            return Err(Problem::new(
                Kind::ForeignOrigin,
                format!(
                    "a page of `{}` may not use this server from a browser; call it from a program, or from its own pages",
                    shown(origin)
                ),
            ));
        }
    }
    Ok(())
}

/// Whether a Host header names this machine by loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_rebound_name_is_refused_on_loopback_only() {
        for host in ["127.0.0.1:80", "localhost", "LocalHost:9", "[::1]:9", "127.9.9.9"] {
            assert!(check(&headers(&[("host", host)]), true).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "[::2]:9", "10.0.0.1"] {
            let problem = check(&headers(&[("host", host)]), true).unwrap_err();
            assert_eq!(problem.kind, Kind::ForeignHost, "{host}");
            assert!(check(&headers(&[("host", host)]), false).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_foreign_page_is_refused_and_the_servers_own_is_not() {
        let own = [("host", "127.0.0.1:80"), ("origin", "http://127.0.0.1:80")];
        assert!(check(&headers(&own), true).is_ok());
        for origin in ["http://evil.example", "null", "http://127.0.0.1:81"] {
            let pairs = [("host", "127.0.0.1:80"), ("origin", origin)];
            assert_eq!(check(&headers(&pairs), true).unwrap_err().kind, Kind::ForeignOrigin, "{origin}");
        }
    }
}
