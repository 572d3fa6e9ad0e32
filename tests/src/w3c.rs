//! The W3C's test suite for trace context against a service between two hops.
//!
//! ```text
//! suite ──► Envoy + filter ──► copier ──► Envoy + filter ──► suite
//! ```
//!
//! <https://github.com/w3c/trace-context/tree/main/test>

use std::path::Path;
use std::process::Command;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use logtracer_core::propagation::Header;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::{Error, Result, ports};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A service between two hops: an inbound and an outbound one.
pub struct Hops {
    proxy: Proxy,
    callbacks: u16,
    _runtime: Runtime, // dropping the runtime stops the service
}

impl Hops {
    /// Starts the service and both hops.
    pub fn start() -> Result<Hops> {
        let (service, callbacks) = (ports::reserve()?, ports::reserve()?);
        let listener = |name, direction, cluster: &str| Listener {
            direction,
            filters: &["logtracer"],
            manager: json!({ "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }],
            }] } }),
            ..Listener::new(name, json!({}))
        };
        let listeners = [listener("inbound", "INBOUND", "copier"), listener("outbound", "OUTBOUND", "suite")];
        let services = [("copier", service), ("suite", callbacks)];
        let proxy = Proxy::start_before(json!({ "id": "w3c", "cluster": "w3c" }), &listeners, &services)?;

        let runtime = Runtime::new().map_err(Error::when("a runtime for the service"))?;
        let outbound = reqwest::Proxy::http(format!("http://{}", proxy.address("outbound")));
        let client = outbound.and_then(|outbound| reqwest::Client::builder().proxy(outbound).build());
        let client = client.map_err(Error::when("an HTTP client"))?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", service)))
            .map_err(Error::when("the port of the service"))?;
        let router = Router::new().route("/test", post(call_back)).with_state(client);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Hops { proxy, callbacks, _runtime: runtime })
    }

    /// Returns the command that runs the suite of a checkout with a level of the specification and of strictness.
    pub fn suite(&self, checkout: &Path, spec_level: u8, strict_level: u8) -> Command {
        let mut command = Command::new("python3");
        command
            .current_dir(checkout.join("test"))
            .args(["-B", "test.py"])
            .arg(format!("http://{}/test", self.proxy.address("inbound")))
            .env("HARNESS_PORT", self.callbacks.to_string())
            .env("SPEC_LEVEL", spec_level.to_string())
            .env("STRICT_LEVEL", strict_level.to_string());
        command
    }
}

/// A request that the suite wants the service to send.
#[derive(Deserialize)]
struct Call {
    url: String,
    arguments: Value,
}

/// Sends the requests that the suite wants, with a copy of the trace headers of its own request.
async fn call_back(
    State(client): State<reqwest::Client>,
    headers: HeaderMap,
    Json(calls): Json<Vec<Call>>,
) -> StatusCode {
    let is_of_trace = |name: &str| Header::from_name(name.as_bytes()).is_some();
    let copied: HeaderMap = headers
        .iter()
        .filter(|(name, _)| is_of_trace(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for call in calls {
        let request = client.post(call.url).headers(copied.clone()).json(&call.arguments);
        if request.send().await.is_err() {
            return StatusCode::BAD_GATEWAY;
        }
    }
    StatusCode::OK
}
