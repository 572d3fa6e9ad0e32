//! The set-ups that are compared: plain Envoy, and Envoy with one feature each.

use std::io::Read;
use std::path::Path;

use logtracer_harness::envoy::{self, Envoy, fill};
use logtracer_harness::{Error, Result, wait};
use serde_json::json;

/// A set-up of Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    Plain,
    JsonLog,
    EmptyFilter,
    /// The filter without lines and spans.
    Context,
    /// The filter without spans.
    Line,
    Filter,
    OpenTelemetry,
    Zipkin,
}

impl Setup {
    pub(crate) const ALL: [Setup; 8] = [
        Setup::Plain,
        Setup::JsonLog,
        Setup::EmptyFilter,
        Setup::Context,
        Setup::Line,
        Setup::Filter,
        Setup::OpenTelemetry,
        Setup::Zipkin,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Setup::Plain => "plain",
            Setup::JsonLog => "JSON access log",
            Setup::EmptyFilter => "an empty wasm filter",
            Setup::Context => "logtracer: context",
            Setup::Line => "logtracer: context, line",
            Setup::Filter => "logtracer: context, line, span",
            Setup::OpenTelemetry => "OpenTelemetry tracer, JSON log",
            Setup::Zipkin => "Zipkin tracer, JSON log",
        }
    }

    /// Waits until Envoy has written the lines and sent the spans of all requests.
    pub(crate) fn check(self, envoy: &Envoy, requests: u64) -> Result<()> {
        let has_lines = !matches!(self, Setup::Plain | Setup::EmptyFilter | Setup::Context);
        let counters: &[&str] = match self {
            Setup::Plain | Setup::JsonLog | Setup::EmptyFilter => &[],
            Setup::Context => &["wasmcustom.logtracer_requests"],
            Setup::Line => &["wasmcustom.logtracer_lines"],
            Setup::Filter => &["wasmcustom.logtracer_lines", "wasmcustom.logtracer_spans_sent"],
            Setup::OpenTelemetry => &["tracing.opentelemetry.spans_sent"],
            Setup::Zipkin => &["tracing.zipkin.spans_sent"],
        };
        wait::try_until(&format!("all lines and spans of {}", self.name()), || {
            for name in counters {
                if envoy.stat(name)? != requests {
                    return Ok(None);
                }
            }
            Ok((!has_lines || lines_in(envoy.stdout())? == requests).then_some(()))
        })
    }

    pub(crate) fn configuration(
        self,
        port: u16,
        admin: u16,
        service: u16,
        empty_filter: &Path,
    ) -> Result<String> {
        let (tracing, filter, access_log) = match self {
            Setup::Plain => (String::new(), String::new(), String::new()),
            Setup::JsonLog => (String::new(), String::new(), JSON_LOG.to_owned()),
            Setup::EmptyFilter => (String::new(), wasm(empty_filter, None), String::new()),
            Setup::Context => logtracer(&json!({"log_format": "off"}), String::new())?,
            Setup::Line => logtracer(&json!({"project_id": "bench"}), LINE.to_owned())?,
            Setup::Filter => {
                let config = json!({"project_id": "bench", "exporter": {"cluster": "collector"}});
                logtracer(&config, LINE.to_owned())?
            }
            Setup::OpenTelemetry => (OPEN_TELEMETRY.to_owned(), String::new(), JSON_LOG.to_owned()),
            Setup::Zipkin => (ZIPKIN.to_owned(), String::new(), JSON_LOG.to_owned()),
        };
        fill(
            include_str!("envoy.yaml"),
            &[
                ("TRACING", &tracing),
                ("FILTER", &filter),
                ("ACCESS_LOG", &access_log),
                ("ADMIN", &admin),
                ("LISTENER", &port),
                ("SERVICE", &service),
            ],
        )
    }
}

pub(crate) fn lines_in(file: &Path) -> Result<u64> {
    let failed = || Error::when(file.display());
    let mut file = std::fs::File::open(file).map_err(failed())?;
    let mut buffer = vec![0; 1 << 16];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).map_err(failed())? {
            0 => return Ok(lines),
            size => lines += buffer.iter().take(size).filter(|&&byte| byte == b'\n').count() as u64,
        }
    }
}

/// Returns tracing, filter and access log of a set-up with the filter.
fn logtracer(config: &serde_json::Value, access_log: String) -> Result<(String, String, String)> {
    Ok((String::new(), wasm(&envoy::plugin()?, Some(config)), access_log))
}

fn wasm(module: &Path, config: Option<&serde_json::Value>) -> String {
    let configuration = config.map_or_else(String::new, |config| {
        let value = envoy::quoted(config);
        format!(", configuration: {{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: {value} }}")
    });
    format!(
        "- {{ name: logtracer, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, \
         config: {{ name: logtracer, root_id: logtracer, fail_open: true, vm_config: {{ \
         runtime: envoy.wasm.runtime.v8, code: {{ local: {{ filename: \"{}\" }} }} }}{configuration} }} }} }}",
        module.display()
    )
}

/// An access log of Envoy in the shape of the filter's line.
const JSON_LOG: &str = r#"access_log: [{ name: json, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog,
    log_format: { json_format: {
      time: "%START_TIME%", severity: INFO, message: "bench - %REQ(:METHOD)% - %RESPONSE_CODE%",
      "logging.googleapis.com/trace": "projects/bench/traces/%TRACE_ID%",
      httpRequest: {
        requestMethod: "%REQ(:METHOD)%", requestUrl: "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%REQ(:PATH)%",
        status: "%RESPONSE_CODE%", requestSize: "%BYTES_RECEIVED%", responseSize: "%BYTES_SENT%",
        userAgent: "%REQ(USER-AGENT)%", referer: "%REQ(REFERER)%",
        remoteIp: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        serverIp: "%UPSTREAM_HOST%", latency: "%DURATION%", protocol: "%PROTOCOL%" },
      labels: { route: "%ROUTE_NAME%", upstream_cluster: "%UPSTREAM_CLUSTER%", flags: "%RESPONSE_FLAGS%" } } } } }]"#;

/// The access log that prints the filter's line.
const LINE: &str = r#"access_log: [{ name: logtracer,
    filter: { extension_filter: { name: has-line, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter,
      expression: "'wasm.logtracer' in filter_state" } } },
    typed_config: {
      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog,
      log_format: { text_format_source: { inline_string: "%FILTER_STATE(wasm.logtracer:PLAIN)%\n" } } } }]"#;

const OPEN_TELEMETRY: &str = r#"tracing: { random_sampling: { value: 100 }, provider: { name: otel, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: bench,
    http_service: { http_uri: { uri: "http://collector/v1/traces", cluster: collector, timeout: 2s } } } } }"#;

const ZIPKIN: &str = r#"tracing: { random_sampling: { value: 100 }, provider: { name: zipkin, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: collector,
    collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON, trace_id_128bit: true } } }"#;
