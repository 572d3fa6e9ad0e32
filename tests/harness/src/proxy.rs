//! One Envoy with several listeners in front of an [`Origin`] and a [`Collector`]. Each listener has its own
//! configuration of the filter, so that a table of cases needs only one Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collector::{Collector, Span};
use crate::envoy::{self, Envoy};
use crate::origin::Origin;
use crate::routes::routes;
use crate::shell::{self, Shell};
use crate::{Error, Result, lines, ports, wait};

/// The name of the exporter's cluster, in the form of Istio's names.
pub const ISTIO_EXPORTER: &str = "outbound|4318||exporter.obs.svc.cluster.local";

/// A listener with the filter.
#[derive(Clone)]
pub struct Listener {
    /// The name.
    pub name: &'static str,
    /// The filter's configuration, or `None` for no configuration.
    pub filter: Option<Value>,
    /// Envoy's `traffic_direction`.
    pub direction: &'static str,
    /// The filters before the router, in order.
    pub filters: &'static [&'static str],
    /// Fields that are added to the HTTP connection manager, or replaced in it.
    pub manager: Value,
    /// Envoy's `vm_id`: filters with the same id share a VM in each worker.
    pub vm: &'static str,
    /// Serves HTTP/3 with this certificate, instead of HTTP/1 and HTTP/2 without TLS.
    pub quic: Option<Certificate>,
    /// The configuration of the filter `second`, another instance.
    pub second: Option<Value>,
    /// Forwards connections to this cluster, instead of HTTP. `manager` then has fields of the TCP proxy.
    pub tcp: Option<&'static str>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
}

impl Listener {
    /// Creates an inbound listener.
    pub fn new(name: &'static str, filter: Value) -> Listener {
        Listener {
            name,
            filter: Some(filter),
            direction: "INBOUND",
            vm: "",
            filters: &["rbac", "grpc_web", "logtracer"],
            manager: json!({}),
            quic: None,
            second: None,
            tcp: None,
        }
    }
}

/// A running Envoy and its origin.
pub struct Proxy {
    /// The Envoy.
    pub envoy: Envoy,
    /// The service behind it.
    pub origin: Origin,
    ports: BTreeMap<&'static str, u16>,
    listeners_file: PathBuf,
    node: Value,
    _dir: TempDir,
}

/// The lines and spans of a trace.
#[derive(Debug)]
pub struct Telemetry {
    /// The log lines.
    pub lines: Vec<Value>,
    /// The spans.
    pub spans: Vec<Span>,
}

impl Proxy {
    /// Starts Envoy as the node `node` with listeners. `exporter` is the port of the cluster `logtracer-exporter`.
    pub fn start(node: Value, listeners: &[Listener], exporter: u16) -> Result<Proxy> {
        Self::start_with_workers(1, node, listeners, exporter)
    }

    /// Starts Envoy with a number of worker threads.
    pub fn start_with_workers(
        workers: u8,
        node: Value,
        listeners: &[Listener],
        exporter: u16,
    ) -> Result<Proxy> {
        let origin = Origin::start()?;
        let clusters = clusters(&origin, exporter)?;
        Self::start_with_bootstrap(workers, node, listeners, origin, clusters, json!({}))
    }

    /// Starts Envoy with two workers, which sends the filter's statistics to a statsd server on a UDP port, for the last
    /// time when it ends. It has no others.
    pub fn start_with_statsd(
        node: Value,
        listeners: &[Listener],
        exporter: u16,
        statsd: u16,
    ) -> Result<Proxy> {
        let origin = Origin::start()?;
        let clusters = clusters(&origin, exporter)?;
        let mut socket = address(statsd);
        socket["socket_address"]["protocol"] = "UDP".into();
        let sink = json!({ "name": "envoy.stat_sinks.statsd", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.metrics.v3.StatsdSink",
            "address": socket,
        } });
        let bootstrap = json!({
            "stats_sinks": [sink],
            "stats_config": { "stats_matcher": { "inclusion_list": { "patterns": [{ "prefix": shell::metric_prefix() }] } } },
        });
        Self::start_with_bootstrap(2, node, listeners, origin, clusters, bootstrap)
    }

    /// Starts Envoy with two workers and fields that are added to its bootstrap configuration.
    pub fn start_with(node: Value, listeners: &[Listener], exporter: u16, bootstrap: Value) -> Result<Proxy> {
        let origin = Origin::start()?;
        let clusters = clusters(&origin, exporter)?;
        Self::start_with_bootstrap(2, node, listeners, origin, clusters, bootstrap)
    }

    /// Starts Envoy in front of other services: names of clusters and their ports of 127.0.0.1, several for a name that
    /// is repeated. The listeners have the routes to them.
    pub fn start_before(node: Value, listeners: &[Listener], services: &[(&str, u16)]) -> Result<Proxy> {
        let names: BTreeSet<&str> = services.iter().map(|(name, _)| *name).collect();
        let ports = |name| services.iter().filter(move |(it, _)| *it == name).map(|(_, port)| *port);
        let clusters = names.into_iter().map(|name| cluster_of(name, ports(name))).collect();
        Self::start_with_bootstrap(1, node, listeners, Origin::start()?, clusters, json!({}))
    }

    /// Starts an Envoy whose overload manager rejects every request.
    pub fn start_overloaded(node: Value, listeners: &[Listener], exporter: u16) -> Result<Proxy> {
        let monitor = "envoy.resource_monitors.fixed_heap";
        let overload = json!({
            "refresh_interval": "0.1s",
            "resource_monitors": [{ "name": monitor, "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                "max_heap_size_bytes": 1,
            } }],
            "actions": [{
                "name": "envoy.overload_actions.stop_accepting_requests",
                "triggers": [{ "name": monitor, "threshold": { "value": 0.5 } }],
            }],
        });
        let origin = Origin::start()?;
        let clusters = clusters(&origin, exporter)?;
        Self::start_with_bootstrap(
            1,
            node,
            listeners,
            origin,
            clusters,
            json!({ "overload_manager": overload }),
        )
    }

    fn start_with_bootstrap(
        workers: u8,
        node: Value,
        listeners: &[Listener],
        origin: Origin,
        clusters: Value,
        mut config: Value,
    ) -> Result<Proxy> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let ports = listeners
            .iter()
            .map(|listener| ports::reserve().map(|port| (listener.name, port)))
            .collect::<Result<_>>()?;
        let admin = ports::reserve()?;
        let listeners_file = dir.path().join("listeners.json");
        config["node"] = node.clone();
        config["admin"] = json!({ "address": address(admin) });
        config["dynamic_resources"] =
            json!({ "lds_config": { "path_config_source": { "path": listeners_file } } });
        config["static_resources"] = json!({ "clusters": clusters });
        write_listeners(&listeners_file, listeners, &node, &ports)?;
        let envoy = Envoy::start_with_workers(workers, &config.to_string(), admin, dir.path())?;
        Ok(Proxy { envoy, origin, ports, listeners_file, node, _dir: dir })
    }

    /// Replaces the listeners of the running Envoy. Unchanged listeners stay.
    pub fn replace(&self, listeners: &[Listener]) -> Result<()> {
        write_listeners(&self.listeners_file, listeners, &self.node, &self.ports)
    }

    /// The address that callers of a listener connect to.
    pub fn address(&self, listener: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.get(listener).copied().unwrap_or(0)))
    }

    /// Returns the log lines of a trace so far.
    pub fn lines(&self, trace_id: &str) -> Result<Vec<Value>> {
        let mut lines = lines::read(self.envoy.stdout())?;
        lines.retain(|line| lines::trace_id(line) == Some(trace_id));
        Ok(lines)
    }

    /// Waits until a trace has a line and a span, and returns its lines and spans.
    pub fn telemetry(&self, collector: &Collector, trace_id: &str) -> Result<Telemetry> {
        wait::try_until(&format!("a line and a span of {trace_id}"), || {
            let lines = self.lines(trace_id)?;
            let mut spans = collector.spans();
            spans.retain(|span| span.trace_id == trace_id);
            Ok(Some(Telemetry { lines, spans })
                .filter(|found| !found.lines.is_empty() && !found.spans.is_empty()))
        })
    }
}

/// Replaces the file atomically, so that Envoy never reads an incomplete one.
fn write_listeners(
    file: &PathBuf,
    listeners: &[Listener],
    node: &Value,
    ports: &BTreeMap<&'static str, u16>,
) -> Result<()> {
    let resources = listeners
        .iter()
        .map(|listener| {
            let mut resource = configuration(listener, node, ports.get(listener.name).copied().unwrap_or(0))?;
            resource["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
            Ok(resource)
        })
        .collect::<Result<Vec<_>>>()?;
    let new = file.with_extension("new");
    std::fs::write(&new, json!({ "resources": resources }).to_string())
        .and_then(|()| std::fs::rename(&new, file))
        .map_err(Error::when(file.display()))
}

/// Returns the configuration of an address on 127.0.0.1.
pub(crate) fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// Returns the configuration of a cluster with one endpoint.
pub(crate) fn cluster(name: &str, port: u16) -> Value {
    cluster_of(name, [port])
}

/// Returns the configuration of a cluster with several endpoints, which Envoy takes in turn.
fn cluster_of(name: &str, ports: impl IntoIterator<Item = u16>) -> Value {
    let endpoint = |port| json!({ "endpoint": { "address": address(port) } });
    let endpoints: Vec<Value> = ports.into_iter().map(endpoint).collect();
    json!({
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    })
}

fn clusters(origin: &Origin, exporter: u16) -> Result<Value> {
    let down = ports::reserve()?; // a closed port
    let mut grpc = cluster("grpc", origin.grpc().port());
    grpc["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    Ok(json!([
        cluster("service", origin.http().port()),
        grpc,
        cluster("down", down),
        cluster("logtracer-exporter", exporter),
        cluster(ISTIO_EXPORTER, exporter),
    ]))
}

/// Returns the configuration of an instance of the filter for the shell under test. Istio names it after its `WasmPlugin`.
fn logtracer(name: &str, filter: Option<&Value>, listener: &Listener, node: &Value) -> Result<Value> {
    let text = |filter: &Value| json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": filter.to_string() });
    if shell::shell() == Shell::Native {
        let filter = shell::native_config(filter, node, listener.direction)?;
        return Ok(json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": shell::native_module(),
            "filter_name": "logtracer",
            "filter_config": text(&filter),
        }));
    }
    let mut plugin = json!({
        // As Istio does: Envoy 1.40 then has one root for all listeners with the same configuration.
        "name": name,
        "root_id": name,
        "vm_config": {
            "vm_id": listener.vm,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": envoy::plugin()? } },
        },
        "fail_open": true,
    });
    if let Some(filter) = filter {
        plugin["configuration"] = text(filter);
    }
    Ok(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": plugin,
    }))
}

/// Returns the access log that prints the filter's lines.
fn access_log() -> Value {
    if shell::shell() == Shell::Native {
        return json!([{ "name": "logtracer", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog",
            "dynamic_module_config": shell::native_module(),
            "logger_name": "logtracer",
        } }]);
    }
    json!([{
        "name": "logtracer",
        "filter": { "extension_filter": { "name": "has-line", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": "'wasm.logtracer' in filter_state",
        } } },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "text_format_source": { "inline_string": "%FILTER_STATE(wasm.logtracer:PLAIN)%\n" } },
        },
    }])
}

/// The WebAssembly module of this text, in Base64:
///
/// ```text
/// (module
///   (memory (export "memory") 1)
///   (func (export "proxy_abi_version_0_2_1"))
///   (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0))
///   (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))
/// ```
const TRAPPING: &str = "AGFzbQEAAAABEANgAABgAX8Bf2ADf39/AX8DBAMAAQIFAwEAAQdaBAZtZW1vcnkCABdwcm94eV9hYmlfdmVyc2lvbl8wXzJfMQAAGHByb3h5X29uX21lbW9yeV9hbGxvY2F0ZQABGHByb3h5X29uX3JlcXVlc3RfaGVhZGVycwACCg0DAgALBABBAAsDAAAL";

/// Returns the configuration of a listener.
pub(crate) fn configuration(listener: &Listener, node: &Value, port: u16) -> Result<Value> {
    let plugin = logtracer("logtracer", listener.filter.as_ref(), listener, node)?;
    let second = logtracer("second", listener.second.as_ref(), listener, node)?;
    let filter = |name: &str, config: Value| json!({ "name": name, "typed_config": config });
    let http_filter = |name: &str| match name {
        // Responds before the filters after it see the request.
        "rbac" => filter(
            "envoy.filters.http.rbac",
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": { "action": "DENY", "policies": { "nobody": {
                    "permissions": [{ "url_path": { "path": { "prefix": "/forbidden" } } }],
                    "principals": [{ "any": true }],
                } } },
            }),
        ),
        "grpc_web" => filter(
            "envoy.filters.http.grpc_web",
            json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb" }),
        ),
        "logtracer" => filter("logtracer", plugin.clone()),
        "second" => filter("second", second.clone()),
        // A module that traps at each request, and must not fail it.
        "trapping" => filter(
            "logtracer",
            json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": {
                "name": "logtracer",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "inline_bytes": TRAPPING } },
                },
                "fail_open": true,
            } }),
        ),
        _ => filter(
            "envoy.filters.http.router",
            json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }),
        ),
    };
    let http_filters: Vec<_> =
        listener.filters.iter().chain(&["router"]).map(|name| http_filter(name)).collect();
    let mut connection_manager = json!({
        "@type":
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": listener.name,
        "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": "old.example.com" },
        "http2_protocol_options": { "allow_connect": true },
        "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT" }],
        "max_request_headers_kb": 96,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes() }] },
        "http_filters": http_filters,
        "access_log": access_log(),
    });
    if listener.quic.is_some() {
        connection_manager["codec_type"] = "HTTP3".into();
    }
    for (key, value) in listener.manager.as_object().into_iter().flatten() {
        connection_manager[key] = value.clone();
    }
    let mut network_filter = filter("envoy.filters.network.http_connection_manager", connection_manager);
    if let Some(cluster) = listener.tcp {
        let mut proxy = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": listener.name,
            "cluster": cluster,
        });
        for (key, value) in listener.manager.as_object().into_iter().flatten() {
            proxy[key] = value.clone();
        }
        network_filter = filter("envoy.filters.network.tcp_proxy", proxy);
    }
    let mut configuration = json!({
        "name": listener.name,
        "address": address(port),
        "traffic_direction": listener.direction,
        "filter_chains": [{ "filters": [network_filter] }],
    });
    if let Some(certificate) = &listener.quic {
        configuration["address"]["socket_address"]["protocol"] = "UDP".into();
        configuration["udp_listener_config"] = json!({ "quic_options": {} });
        configuration["filter_chains"][0]["transport_socket"] = quic(certificate);
    }
    Ok(configuration)
}

/// Returns the transport socket of HTTP/3.
fn quic(certificate: &Certificate) -> Value {
    let Certificate { chain, key } = certificate;
    json!({ "name": "envoy.transport_sockets.quic", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
        "downstream_tls_context": { "common_tls_context": { "tls_certificates": [{
            "certificate_chain": { "inline_string": chain },
            "private_key": { "inline_string": key },
        }] } },
    } })
}
