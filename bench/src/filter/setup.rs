//! The set-ups that are compared: plain Envoy, and Envoy with one feature each.

use std::io::Read;
use std::path::Path;

use Shell::{Native, Wasm};
use logtracer_harness::envoy::{self, Envoy, fill};
use logtracer_harness::shell::Shell;
use logtracer_harness::{Error, Result, wait};
use serde_json::json;

/// A set-up of Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Nothing but the route.
    Plain,
    /// A JSON access log in the shape of the filter's line.
    JsonLog,
    /// A WebAssembly module that does nothing.
    EmptyFilter,
    /// The filter in one of its shells.
    Logtracer(Shell, Work),
    /// Envoy's OpenTelemetry tracer, and the JSON access log.
    OpenTelemetry,
    /// Envoy's Zipkin tracer, and the JSON access log.
    Zipkin,
}

/// How much the filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Neither lines nor spans.
    Context,
    /// No spans.
    Line,
    /// All.
    Span,
}

/// What a set-up needs to know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    /// The port of the service.
    pub(crate) service: u16,
    /// The module of an empty filter.
    pub(crate) empty_filter: &'s Path,
    /// How long a span of the filter waits for others.
    pub(crate) flush_interval: &'static str,
}

impl<'s> Surroundings<'s> {
    pub(crate) const fn new(service: u16, empty_filter: &'s Path) -> Self {
        Self { service, empty_filter, flush_interval: "1s" } // the default
    }
}

impl Setup {
    /// Every set-up, in the order of the tables.
    pub const ALL: [Setup; 11] = [
        Setup::Plain,
        Setup::JsonLog,
        Setup::EmptyFilter,
        Setup::Logtracer(Wasm, Work::Context),
        Setup::Logtracer(Wasm, Work::Line),
        Setup::Logtracer(Wasm, Work::Span),
        Setup::Logtracer(Native, Work::Context),
        Setup::Logtracer(Native, Work::Line),
        Setup::Logtracer(Native, Work::Span),
        Setup::OpenTelemetry,
        Setup::Zipkin,
    ];

    /// The name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Setup::Plain => "plain",
            Setup::JsonLog => "JSON access log",
            Setup::EmptyFilter => "an empty wasm filter",
            Setup::Logtracer(Wasm, Work::Context) => "wasm: context",
            Setup::Logtracer(Wasm, Work::Line) => "wasm: context, line",
            Setup::Logtracer(Wasm, Work::Span) => "wasm: context, line, span",
            Setup::Logtracer(Native, Work::Context) => "native: context",
            Setup::Logtracer(Native, Work::Line) => "native: context, line",
            Setup::Logtracer(Native, Work::Span) => "native: context, line, span",
            Setup::OpenTelemetry => "OpenTelemetry tracer, JSON log",
            Setup::Zipkin => "Zipkin tracer, JSON log",
        }
    }

    /// Waits until Envoy has written the lines and sent the spans of all requests.
    pub(crate) fn check(self, envoy: &Envoy, requests: u64) -> Result<()> {
        let has_lines =
            !matches!(self, Setup::Plain | Setup::EmptyFilter | Setup::Logtracer(_, Work::Context));
        let counters: Vec<String> = match self {
            Setup::Plain | Setup::JsonLog | Setup::EmptyFilter => vec![],
            Setup::Logtracer(shell, work) => {
                let metrics: &[_] = match work {
                    Work::Context => &["requests"],
                    Work::Line => &["lines"],
                    Work::Span => &["lines", "spans_sent"],
                };
                metrics.iter().map(|name| format!("{}logtracer_{name}", shell.metric_prefix())).collect()
            }
            Setup::OpenTelemetry => vec!["tracing.opentelemetry.spans_sent".to_owned()],
            Setup::Zipkin => vec!["tracing.zipkin.spans_sent".to_owned()],
        };
        wait::try_until(&format!("all lines and spans of {}", self.name()), || {
            for name in &counters {
                if envoy.stat(name)? != requests {
                    return Ok(None);
                }
            }
            Ok((!has_lines || lines_in(envoy.stdout())? == requests).then_some(()))
        })
    }

    pub(crate) fn configuration(self, port: u16, admin: u16, around: &Surroundings<'_>) -> Result<String> {
        let (tracing, filter, access_log) = match self {
            Setup::Plain => ("", String::new(), ""),
            Setup::JsonLog => ("", String::new(), JSON_LOG),
            Setup::EmptyFilter => ("", wasm(around.empty_filter, None), ""),
            Setup::Logtracer(shell, work) => {
                let config = match work {
                    Work::Context => json!({"log_format": "off"}),
                    Work::Line => json!({"project_id": "bench", "line_break": true}),
                    Work::Span => json!({
                        "project_id": "bench",
                        "line_break": true,
                        "exporter": {"cluster": "collector", "flush_interval": around.flush_interval},
                    }),
                };
                let filter = match shell {
                    Wasm => wasm(&envoy::plugin()?, Some(&config)),
                    Native => native(config),
                };
                let access_log = match (shell, work) {
                    (Wasm, Work::Context) => "",
                    (Wasm, _) => LINE,
                    // Also without lines, because it is called at the end of each request.
                    (Native, _) => NATIVE_LOGGER,
                };
                ("", filter, access_log)
            }
            Setup::OpenTelemetry => (OPEN_TELEMETRY, String::new(), JSON_LOG),
            Setup::Zipkin => (ZIPKIN, String::new(), JSON_LOG),
        };
        fill(
            include_str!("envoy.yaml"),
            &[
                ("TRACING", &tracing),
                ("FILTER", &filter),
                ("ACCESS_LOG", &access_log),
                ("ADMIN", &admin),
                ("LISTENER", &port),
                ("SERVICE", &around.service),
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

/// Returns the filter as a dynamic module.
fn native(mut config: serde_json::Value) -> String {
    config["service_name"] = "bench".into();
    format!(
        "- {{ name: logtracer, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter, \
         dynamic_module_config: {{ name: logtracer, do_not_close: true }}, filter_name: logtracer, \
         filter_config: {{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: {} }} }} }}",
        envoy::quoted(&config)
    )
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
const LINE: &str = r#"access_log: [{ name: logtracer, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog,
    log_format: { text_format_source: { inline_string: "%FILTER_STATE(wasm.logtracer:PLAIN)%" },
      omit_empty_values: true } } }]"#;

const NATIVE_LOGGER: &str = r#"access_log: [{ name: logtracer, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog,
    dynamic_module_config: { name: logtracer, do_not_close: true }, logger_name: logtracer } }]"#;

const OPEN_TELEMETRY: &str = r#"tracing: { random_sampling: { value: 100 }, provider: { name: otel, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: bench,
    http_service: { http_uri: { uri: "http://collector/v1/traces", cluster: collector, timeout: 2s } } } } }"#;

const ZIPKIN: &str = r#"tracing: { random_sampling: { value: 100 }, provider: { name: zipkin, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: collector,
    collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON, trace_id_128bit: true } } }"#;
