//! Services behind Envoy: an echo in this process, and the demo's service as a program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use axum::http::HeaderMap;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::exporter::{address, ready_line};
use crate::process::{Process, sibling};
use crate::{Error, Result};

/// A service that answers with the headers that it got, in order: `{"headers": [["name", "value"], …]}`.
pub struct Echo {
    address: SocketAddr,
    _runtime: Runtime, // dropping it ends the service
}

impl Echo {
    /// Starts it on a free port.
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

        let router = Router::new().fallback(async |headers: HeaderMap| echo(&headers));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Echo { address, _runtime: runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `{"headers": [["name", "value"], …]}`, in order.
pub fn echo(headers: &HeaderMap) -> Json<Value> {
    let pair = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    Json(json!({ "headers": headers.iter().map(pair).collect::<Vec<_>>() }))
}

/// The program `demo-service`: a service that uses the SDK.
pub struct DemoService {
    process: Process,
    address: SocketAddr,
}

impl DemoService {
    /// Starts it under `name`; `calls` is the address of the service that it asks.
    pub fn start(name: &str, project: &str, calls: Option<SocketAddr>, dir: &Path) -> Result<DemoService> {
        let mut command = Command::new(sibling("demo-service")?);
        command.args(["--name", name, "--project", project, "--listen", "127.0.0.1:0"]);
        if let Some(calls) = calls {
            command.args(["--calls", &format!("http://{calls}")]);
        }
        let mut process = Process::start(name, command, dir)?;
        let ready = ready_line(&mut process)?;
        Ok(DemoService { address: address(&ready, "listen")?, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of its stdout: its log lines.
    pub fn stdout(&self) -> &Path {
        self.process.stdout()
    }
}
