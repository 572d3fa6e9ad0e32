//! The endpoints for operators, Kubernetes and Prometheus.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::View;
use crate::clock::unix_millis;
use crate::metrics::SinkLabel;

/// `GET /healthz`: 200 if the process responds, or 503 with the reason if only a restart helps.
pub(super) async fn health(State(view): State<View>) -> impl IntoResponse {
    status(view.health.permanent_failure().map(str::to_owned))
}

/// `GET /readyz`: 200 if spans can be committed and no task has failed, otherwise 503 with the reason.
pub(super) async fn ready(State(view): State<View>) -> impl IntoResponse {
    status(problem(&view).await)
}

fn status(problem: Option<String>) -> (StatusCode, String) {
    match problem {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
    }
}

/// Returns why the exporter is not ready.
async fn problem(view: &View) -> Option<String> {
    if let Some(problem) = view.health.problem() {
        return Some(problem);
    }
    let reason = view.outbox.check_writable().await.err()?;
    Some(format!("failed to write the outbox: {reason}"))
}

/// `GET /metrics`: all metrics, for Prometheus.
pub(super) async fn metrics(State(view): State<View>) -> impl IntoResponse {
    view.metrics.ready.set(problem(&view).await.is_none().into());
    view.metrics.disk_full.set(view.reserve.is_full().into());
    let free_bytes = view.reserve.free_bytes();
    view.metrics.disk_free_bytes.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
    let age_ms = view.outbox.oldest_ms().map_or(0, |oldest| (unix_millis() - oldest).max(0));
    view.metrics.outbox_oldest_age.set(age_ms as f64 / 1000.);
    for (sink, backlog) in view.sinks.iter().zip(view.outbox.lags()) {
        view.metrics.sink_lag.get_or_create(&SinkLabel::new(sink)).set(backlog);
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], view.metrics.render())
}
