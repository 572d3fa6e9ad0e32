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
mod waterfall;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::store::Store;

/// What the handlers need.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) health: Health,
    pub(crate) metrics: Arc<Metrics>,
}

/// The routes of `--view`, which listens on this address.
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
        .fallback(async || (StatusCode::NOT_FOUND, "nothing is here\n"));
    let router = if address.is_loopback() { router.layer(from_fn(only_local)) } else { router };
    router.layer(map_response(secured)).with_state(view)
}

/// A page of another host whose name has been pointed at this machine must not read what is here: it asks for that
/// name, which is not one of this machine.
async fn only_local(request: Request, next: Next) -> Response {
    if asks_for_local(&request) {
        return next.run(request).await;
    }
    let text = "this viewer listens on a loopback address and answers only to the hosts localhost, 127.0.0.1 and \
                [::1]; to reach it by another name, bind --view to another address\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn asks_for_local(request: &Request) -> bool {
    let named = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let asked = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    (named.is_some() || asked.is_some()) && named.is_none_or(is_local) && asked.is_none_or(is_local)
}

fn is_local(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
