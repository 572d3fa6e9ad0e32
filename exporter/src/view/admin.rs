//! The endpoints for operators, Kubernetes and Prometheus.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::View;
use crate::clock::unix_millis;
use crate::metrics::SinkLabel;

/// `GET /healthz`: 200 if the process responds.
pub(super) async fn health() -> &'static str {
    "ok"
}

/// `GET /readyz`: 200 if spans can be committed and no task has failed, otherwise 503 with the reason.
pub(super) async fn ready(State(view): State<View>) -> impl IntoResponse {
    if let Some(problem) = view.health.problem() {
        return (StatusCode::SERVICE_UNAVAILABLE, problem);
    }
    match view.outbox.check_writable().await {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed to write the outbox: {reason}")),
    }
}

/// `GET /metrics`: all metrics, for Prometheus.
pub(super) async fn metrics(State(view): State<View>) -> impl IntoResponse {
    let age_ms = view.outbox.oldest_ms().map_or(0, |oldest| (unix_millis() - oldest).max(0));
    view.metrics.outbox_oldest_age.set(age_ms as f64 / 1000.);
    for (sink, backlog) in view.sinks.iter().zip(view.outbox.backlogs()) {
        view.metrics.sink_lag.get_or_create(&SinkLabel::new(sink)).set(backlog);
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], view.metrics.render())
}
