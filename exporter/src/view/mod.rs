//! The viewer: pages and a JSON API for the embedded store, and the endpoints for operators (`/metrics`, `/healthz`,
//! `/readyz`).
//!
//! ```text
//!  request ──► respond (slots, pieces) ──► pages (HTML) ◄── tree (rows: order, depth)
//!                       │            └──► api (JSON)
//!                       └──► store: a snapshot for each piece
//! ```
//!
//! A response is made in pieces, row by row, as the client takes them. Texts are bounded by their escaped size, and what
//! is cut says so and links to the whole.
//!
//! Pages are rendered on the server, and work without scripts and without any other host. They show the content of
//! spans and lines as text only.
//! Invariant: what a page shows of a span or a line has passed [`visible`].
//! Invariant: no page has an inline script or style, and the Content-Security-Policy allows none
//! (`nothing_in_a_span_or_line_is_markup` in `tests/it/`).

mod admin;
mod api;
mod assets;
mod bounded;
pub(crate) mod format;
mod live;
mod pages;
pub(crate) mod parameters;
mod respond;
mod tree;
pub(crate) mod visible;
mod window;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::health::Health;
use crate::listen::{Hosts, TokenFile, is_from_other_page};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::storage::DiskReserve;
use crate::store::Store;
use respond::Views;

/// The state of the handlers.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) health: Health,
    pub(crate) metrics: Arc<Metrics>,
    /// The disk of the data directory.
    pub(crate) reserve: DiskReserve,
    pub(crate) stop: Shutdown,
    /// What a client must present.
    pub(crate) token: Option<Arc<TokenFile>>,
}

/// What the system buffers for each client. What a slow client has not read counts as the exporter's memory, too.
pub(crate) const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// What the handlers take from the router.
#[derive(Debug, Clone)]
struct Shared {
    view: View,
    views: Views,
}

impl FromRef<Shared> for View {
    fn from_ref(state: &Shared) -> Self {
        state.view.clone()
    }
}

impl FromRef<Shared> for Shutdown {
    fn from_ref(state: &Shared) -> Self {
        state.view.stop.clone()
    }
}

impl FromRef<Shared> for Views {
    fn from_ref(state: &Shared) -> Self {
        state.views.clone()
    }
}

/// Returns the routes of `--view`, which listens on this address.
///
/// # Errors
///
/// Fails if the threads that render cannot be started.
pub(crate) fn router(view: View, address: IpAddr) -> std::io::Result<Router> {
    let views = Views::new(view.store.clone(), view.metrics.clone())?;
    let token = view.token.clone();
    let router = Router::new()
        .route("/", get(pages::list))
        .route("/logs", get(pages::logs))
        .route("/services", get(pages::services))
        .route("/compare", get(pages::compare))
        .route("/trace/{trace_id}", get(pages::trace))
        .route("/live", get(live::rows))
        .route("/api/live", get(live::events))
        .route("/trace/{trace_id}/spans/{span_id}", get(pages::span))
        .route("/trace/{trace_id}/lines/{line}", get(pages::line))
        .route("/api/traces", get(api::list))
        .route("/api/openapi.json", get(api::openapi::get))
        .route("/api/logs", get(api::logs))
        .route("/api/logs/{line}", get(api::any_line))
        .route("/api/services", get(api::services))
        .route("/api/routes", get(api::routes))
        .route("/api/traces/{trace_id}", get(api::trace))
        .route("/api/traces/{trace_id}/spans/{span_id}", get(api::span))
        .route("/api/traces/{trace_id}/logs/{line}", get(api::line))
        .route("/assets/{name}", get(assets::get))
        .layer(from_fn_with_state(token, require_token))
        .route("/healthz", get(admin::health))
        .route("/readyz", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"));
    let hosts = if address.is_loopback() { Hosts::Local } else { Hosts::Any };
    let router = router.layer(from_fn_with_state(hosts, require_own_pages));
    Ok(router.layer(map_response(add_security_headers)).with_state(Shared { view, views }))
}

/// Rejects requests without one of the tokens. A browser then asks its user for a password.
async fn require_token(
    State(token): State<Option<Arc<TokenFile>>>,
    request: Request,
    next: Next,
) -> Response {
    if token.is_none_or(|token| token.authorize_browser(request.headers())) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"logtracer\", charset=\"UTF-8\"")];
    let reason =
        "a token of --view-token-file is required: as a bearer token, or as the password of any user\n";
    (StatusCode::UNAUTHORIZED, challenge, reason).into_response()
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
