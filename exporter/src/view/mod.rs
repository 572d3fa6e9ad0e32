//! The viewer: pages and a JSON API over the embedded store, and what an operator asks (`/metrics`, `/healthz`,
//! `/readyz`).
//!
//! ```text
//!  store.query ──► waterfall (rows: order, depth, marks) ──► pages (HTML)
//!             └──► api (JSON)
//! ```
//!
//! Pages are rendered here, work without scripts and without any other host, and show what is in spans and lines as
//! text only.
//! Invariant: no page has an inline script or style, and the Content-Security-Policy allows none (held by
//! `nothing_in_a_span_or_line_is_markup` in `tests/it/`).

mod admin;
mod api;
mod assets;
mod format;
mod pages;
mod value;
mod waterfall;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::sink::store::Store;

/// What the handlers need.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The routes of `--view`.
pub(crate) fn router(view: View) -> Router {
    Router::new()
        .route("/", get(pages::list))
        .route("/trace/{trace_id}", get(pages::trace))
        .route("/api/traces", get(api::list))
        .route("/api/traces/{trace_id}", get(api::trace))
        .route("/healthz", get(admin::health))
        .route("/readyz", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .route("/assets/{name}", get(assets::get))
        .fallback(async || (StatusCode::NOT_FOUND, "nothing is here\n"))
        .layer(map_response(secured))
        .with_state(view)
}

/// Everything that a page may load comes from here, and nothing that it shows may run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

async fn secured(mut response: Response) -> Response {
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// Runs a query of the store where it may block.
async fn query<T: Send + 'static>(
    view: &View,
    query: impl FnOnce(&Store) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, QueryError> {
    let store = view.store.clone();
    match tokio::task::spawn_blocking(move || query(&store)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(QueryError(format!("cannot read the store: {error}"))),
        Err(error) => Err(QueryError(error.to_string())),
    }
}

/// The store could not answer.
#[derive(Debug)]
struct QueryError(String);

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.0 }).to_string();
        (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "application/json")], body)
            .into_response()
    }
}
