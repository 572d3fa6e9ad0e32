//! One Envoy with the filter in front of an echo service.

use std::net::SocketAddr;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::envoy::{self, Envoy};
use crate::proxy::{self, Listener};
use crate::service::Echo;
use crate::{Error, Result, ports};

/// What can differ between hops.
pub struct Options {
    /// The filter's configuration; `None` gives it none at all.
    pub filter: Option<Value>,
    /// The listener's `traffic_direction`.
    pub direction: &'static str,
    /// The port of the cluster `logtracer-exporter`; by default nobody listens there.
    pub exporter: Option<u16>,
}

impl Default for Options {
    fn default() -> Options {
        Options { filter: None, direction: "INBOUND", exporter: None }
    }
}

/// A running hop.
pub struct Hop {
    /// The Envoy.
    pub envoy: Envoy,
    port: u16,
    client: Client,
    _echo: Echo,
    _dir: TempDir,
}

impl Hop {
    /// Starts an inbound hop with a configuration of the filter.
    pub fn start(filter: Value) -> Result<Hop> {
        Hop::with(Options { filter: Some(filter), ..Options::default() })
    }

    /// Starts a hop.
    pub fn with(options: Options) -> Result<Hop> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let echo = Echo::start()?;
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = configuration(&options, port, admin, echo.address().port())?;
        let envoy = Envoy::start(&config, admin, dir.path())?;
        Ok(Hop { envoy, port, client: envoy::client()?, _echo: echo, _dir: dir })
    }

    /// Where a caller connects.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Ends Envoy and gives all that it printed.
    pub fn stop(mut self) -> Result<Vec<Value>> {
        self.envoy.stop();
        self.envoy.lines(0)
    }

    /// Sends a request with these headers, in this order, and gives the answer whatever its status.
    pub fn get<'a>(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Response> {
        let mut request = self.client.get(format!("http://127.0.0.1:{}{path}", self.port));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().map_err(Error::when(path))
    }

    /// The headers that the service got for a request with these headers.
    pub fn echo<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<(String, String)>> {
        #[derive(serde::Deserialize)]
        struct Answer {
            headers: Vec<(String, String)>,
        }
        let answer: Answer = self.get("/echo", headers)?.json().map_err(Error::when("the echo's answer"))?;
        Ok(answer.headers)
    }
}

/// The configuration of a hop, to look at what Envoy says of it.
pub fn configuration(options: &Options, port: u16, admin: u16, service: u16) -> Result<String> {
    let down = ports::reserve()?;
    let routes = json!([ // any other path is Envoy's own 404
        { "name": "echo", "match": { "path_separated_prefix": "/echo" }, "route": { "cluster": "service" } },
    ]);
    let listener = Listener {
        filter: options.filter.clone(),
        direction: options.direction,
        filters: &["logtracer"],
        manager: json!({ "route_config": { "virtual_hosts":
            [{ "name": "hop", "domains": ["*"], "routes": routes }] } }),
        ..Listener::new("hop", json!({}))
    };
    let exporter = options.exporter.unwrap_or(down);
    let clusters = [("service", service), ("logtracer-exporter", exporter)]
        .map(|(name, port)| proxy::cluster(name, port));
    let config = json!({
        "node": { "id": "hop", "cluster": "hop-cluster" },
        "admin": { "address": proxy::address(admin) },
        "static_resources": { "listeners": [proxy::configuration(&listener, port)?], "clusters": clusters },
    });
    Ok(config.to_string())
}
