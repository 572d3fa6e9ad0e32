//! One Envoy with the filter in front of an echo service.

use std::net::SocketAddr;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::echo::Echo;
use crate::envoy::{self, Envoy};
use crate::proxy::{self, Listener};
use crate::{Error, Result, ports};

/// The options of a hop.
pub struct Options {
    /// The filter's configuration, or `None` for no configuration.
    pub filter: Option<Value>,
    /// The listener's `traffic_direction`.
    pub direction: &'static str,
    /// The port of the cluster `logtracer-exporter`; by default a closed port.
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

    /// The address that callers connect to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Stops Envoy and returns all of its log lines.
    pub fn stop(mut self) -> Result<Vec<Value>> {
        self.envoy.stop();
        self.envoy.lines(0)
    }

    /// Sends a request with headers in their order, and returns the response with any status.
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

    /// Sends a request with headers, and returns the headers that the service received.
    pub fn echo<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<(String, String)>> {
        #[derive(serde::Deserialize)]
        struct Body {
            headers: Vec<(String, String)>,
        }
        let body: Body =
            self.get("/echo", headers)?.json().map_err(Error::when("the response of the echo"))?;
        Ok(body.headers)
    }
}

/// Returns the configuration of a hop.
pub fn configuration(options: &Options, port: u16, admin: u16, service: u16) -> Result<String> {
    let down = ports::reserve()?;
    let routes = json!([ // Envoy responds 404 to any other path
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
    let node = json!({ "id": "hop", "cluster": "hop-cluster" });
    let listener = proxy::configuration(&listener, &node, port)?;
    let config = json!({
        "node": node,
        "admin": { "address": proxy::address(admin) },
        "static_resources": { "listeners": [listener], "clusters": clusters },
    });
    Ok(config.to_string())
}
