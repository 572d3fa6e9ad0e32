//! The viewer: pages and a JSON API for the embedded store, and the endpoints for operators (`/metrics`, `/healthz`,
//! `/readyz`).
//!
//! ```text
//!  store.query ──► waterfall (rows: order, depth, bars) ──► pages (HTML)
//!             └──► api (JSON)
//! ```
//!
//! Pages are rendered on the server, and work without scripts and without any other host. They show the content of
//! spans and lines as text only.
//! Invariant: no page has an inline script or style, and the Content-Security-Policy allows none
//! (`nothing_in_a_span_or_line_is_markup` in `tests/it/`).

mod admin;
mod api;
mod assets;
mod format;
mod pages;
mod waterfall;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::health::Health;
use crate::listen::{Hosts, is_from_other_page};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::store::Store;

/// The state of the handlers.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) health: Health,
    pub(crate) metrics: Arc<Metrics>,
}

/// Returns the routes of `--view`, which listens on this address.
pub(crate) fn router(view: View, address: IpAddr) -> Router {
    let router = Router::new()
        .route("/", get(pages::list))
        .route("/trace/{trace_id}", get(pages::trace))
        .route("/api/traces", get(api::list))
        .route("/api/traces/{trace_id}", get(api::trace))
        .route("/healthz", get(admin::health))
        .route("/readyz", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .route("/assets/{name}", get(assets::get))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"));
    let hosts = if address.is_loopback() { Hosts::Local } else { Hosts::Any };
    let router = router.layer(from_fn_with_state(hosts, require_own_pages));
    router.layer(map_response(add_security_headers)).with_state(view)
}

/// Rejects requests of pages of other origins, and for the names of other hosts. The latter prevents DNS rebinding: a
/// page of another host must not read the traces after its name was changed to the address of this machine.
async fn require_own_pages(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let reason = if !hosts.accept(&head) {
        "this viewer listens on a loopback address and accepts only names of this machine as the host: localhost, \
         127.0.0.1 and [::1]; to use another name, set --view to another address\n"
    } else if is_from_other_page(&head) {
        "a page of another origin sent the request: only links to this viewer are accepted\n"
    } else {
        return next.run(Request::from_parts(head, body)).await;
    };
    (StatusCode::FORBIDDEN, reason).into_response()
}

/// Pages load files only from this host, and inline scripts and styles are not allowed.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

async fn add_security_headers(mut response: Response) -> Response {
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// Runs a query of the store on a thread that may block.
async fn query<T: Send + 'static>(
    view: &View,
    query: impl FnOnce(&Store) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, QueryError> {
    let store = view.store.clone();
    match tokio::task::spawn_blocking(move || query(&store)).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(QueryError(format!("failed to read the store: {error}"))),
        Err(error) => Err(QueryError(error.to_string())),
    }
}

/// A failed query. Its response is 500 with the reason.
#[derive(Debug)]
struct QueryError(String);

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.0 }).to_string();
        (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "application/json")], body)
            .into_response()
    }
}
