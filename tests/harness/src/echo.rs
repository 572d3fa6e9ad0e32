//! A service in this process that responds with the headers of the request.

use std::net::SocketAddr;

use axum::http::HeaderMap;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{Error, Result};

/// A running echo service on loopback.
pub struct Echo {
    address: SocketAddr,
    _runtime: Runtime, // dropping the runtime stops the service
}

impl Echo {
    /// Starts the service on a free port.
    pub fn start() -> Result<Echo> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Error::when("a runtime for the echo service"))?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(Error::when("a port for the echo service"))?;
        let address = listener.local_addr().map_err(Error::when("the port of the echo service"))?;

        let router = Router::new().fallback(async |headers: HeaderMap| response(&headers));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Echo { address, _runtime: runtime })
    }

    /// The address of its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Returns the headers in their order: `{"headers": [["name", "value"], …]}`.
pub fn response(headers: &HeaderMap) -> Json<Value> {
    let pair = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    Json(json!({ "headers": headers.iter().map(pair).collect::<Vec<_>>() }))
}
