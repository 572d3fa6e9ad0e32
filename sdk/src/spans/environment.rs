//! The environment variables of OpenTelemetry. Values of a fixed set, such as the name of a sampler, match in any case.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::time::Duration;

use super::credentials::Secret;
use super::endpoint::{EndpointUrl, PathRule};
use super::export::ExportState;
use super::text::visible;
use super::{Sampler, SpanExport, SpanExportError};

/// The variables for traces and, with less precedence, those for all signals.
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
#[cfg(feature = "_spans-rustls")]
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
#[cfg(feature = "_spans-rustls")]
const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
#[cfg(feature = "_spans-rustls")]
const CLIENT_KEY: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

const DEFAULT_ENDPOINT: &str = "http://localhost:4318";

/// Reads the options; `variable` returns the value of a variable.
pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<SpanExport, SpanExportError> {
    let environment = Environment { variable };
    let mut export = SpanExport::new(default_service(), DEFAULT_ENDPOINT);
    export.endpoint = EndpointUrl::new(DEFAULT_ENDPOINT, PathRule::Append);
    environment.read_state(&mut export);
    if export.state == ExportState::Disabled {
        return Ok(export);
    }
    environment.read_protocol(&mut export)?;
    environment.read_endpoint(&mut export)?;
    environment.read_headers(&mut export)?;
    environment.read_timeout(&mut export);
    #[cfg(feature = "_spans-rustls")]
    environment.read_certificates(&mut export);
    environment.read_sampler(&mut export);
    Ok(environment.read_resource(export))
}

struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Environment<'_> {
    /// Returns the value of a variable. An empty one is not set.
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns the name and the value of the first variable that is set.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| self.get(name).map(|value| (name, value)))
    }

    fn read_state(&self, export: &mut SpanExport) {
        let is_disabled = self.read_boolean("OTEL_SDK_DISABLED", export);
        match self.get("OTEL_TRACES_EXPORTER") {
            _ if is_disabled => export.state = ExportState::Disabled,
            Some(value) if value.eq_ignore_ascii_case("none") => export.state = ExportState::Disabled,
            Some(value) if !value.eq_ignore_ascii_case("otlp") => {
                export.warnings.push(ignored("OTEL_TRACES_EXPORTER", &value, "otlp or none"));
            }
            _ => {}
        }
    }

    /// Returns true only for `true`; all else is false.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#boolean>
    fn read_boolean(&self, variable: &str, export: &mut SpanExport) -> bool {
        let Some(value) = self.get(variable) else { return false };
        let is_true = value.eq_ignore_ascii_case("true");
        if !is_true && !value.eq_ignore_ascii_case("false") {
            export.warnings.push(ignored(variable, &value, "true or false"));
        }
        is_true
    }

    fn read_protocol(&self, export: &mut SpanExport) -> Result<(), SpanExportError> {
        match self.first(PROTOCOL) {
            Some((variable, value)) if value.eq_ignore_ascii_case("grpc") => {
                let problem = "grpc is not supported; expected http/protobuf, and the port of OTLP over HTTP";
                return Err(SpanExportError::Environment { variable, problem: problem.into() });
            }
            Some((variable, value)) if !value.eq_ignore_ascii_case("http/protobuf") => {
                export.warnings.push(ignored(variable, &value, "http/protobuf"));
            }
            _ => {}
        }
        let compression = self.first(COMPRESSION);
        if let Some((variable, value)) = compression.filter(|(_, value)| !value.eq_ignore_ascii_case("none"))
        {
            export.warnings.push(ignored(variable, &value, "none"));
        }
        Ok(())
    }

    fn read_endpoint(&self, export: &mut SpanExport) -> Result<(), SpanExportError> {
        let Some((variable, url)) = self.first(ENDPOINT) else { return Ok(()) };
        let [of_traces, _] = ENDPOINT;
        let path = if variable == of_traces { PathRule::Unchanged } else { PathRule::Append };
        export.endpoint = EndpointUrl::new(url, path);
        match export.endpoint.parse() {
            Some(_) => Ok(()),
            None => Err(SpanExportError::Environment {
                variable,
                problem: format!("{}, without a user name", SpanExportError::Endpoint),
            }),
        }
    }

    fn read_headers(&self, export: &mut SpanExport) -> Result<(), SpanExportError> {
        let Some((variable, text)) = self.first(HEADERS) else { return Ok(()) };
        let invalid = |problem: String| SpanExportError::Environment { variable, problem };
        // No error shows a value.
        let pairs = parse_pairs(&text).map_err(|error| invalid(error.to_owned()))?;
        export.headers = pairs.into_iter().map(|(name, value)| (name, Secret(value))).collect();
        super::credentials::Headers::new(&export.headers, None)
            .map_err(|error| invalid(error.to_string()))?;
        Ok(())
    }

    fn read_timeout(&self, export: &mut SpanExport) {
        let Some((variable, value)) = self.first(TIMEOUT) else { return };
        match value.parse() {
            Ok(0) => export.timeout = None,
            Ok(millis) => export.timeout = Some(Duration::from_millis(millis)),
            Err(_) => export.warnings.push(ignored(variable, &value, "a number of milliseconds")),
        }
    }

    #[cfg(feature = "_spans-rustls")]
    fn read_certificates(&self, export: &mut SpanExport) {
        export.tls.authorities = self.first(CERTIFICATE).map(|(_, path)| path.into());
        match (self.first(CLIENT_CERTIFICATE), self.first(CLIENT_KEY)) {
            (Some((_, certificate)), Some((_, key))) => {
                export.tls.client = Some((certificate.into(), key.into()));
            }
            (None, None) => {}
            (Some((variable, _)), None) => {
                export.warnings.push(format!("ignored {variable}: it needs OTEL_EXPORTER_OTLP_CLIENT_KEY"));
            }
            (None, Some((variable, _))) => {
                let needed = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
                export.warnings.push(format!("ignored {variable}: it needs {needed}"));
            }
        }
    }

    fn read_sampler(&self, export: &mut SpanExport) {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let Some(name) = self.get(SAMPLER) else { return };
        export.sampler = match name.to_ascii_lowercase().as_str() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatio(self.read_ratio(export)),
            "parentbased_always_on" => Sampler::ParentBasedAlwaysOn,
            "parentbased_always_off" => Sampler::ParentBasedAlwaysOff,
            "parentbased_traceidratio" => Sampler::ParentBasedTraceIdRatio(self.read_ratio(export)),
            _ => {
                let expected =
                    "always_on, always_off, traceidratio, or one of these with the prefix parentbased_";
                return export.warnings.push(ignored(SAMPLER, &name, expected));
            }
        };
    }

    /// Returns the ratio. One that is invalid counts as not set, which is 1.
    fn read_ratio(&self, export: &mut SpanExport) -> f64 {
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(value) = self.get(ARGUMENT) else { return 1. };
        let ratio = value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.unwrap_or_else(|| {
            export.warnings.push(ignored(ARGUMENT, &value, "a number from 0 to 1"));
            1.
        })
    }

    fn read_resource(&self, mut export: SpanExport) -> SpanExport {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        if let Some(text) = self.get(ATTRIBUTES) {
            match parse_pairs(&text) {
                Ok(pairs) => {
                    for (key, value) in pairs {
                        export = export.resource_attribute(key, value);
                    }
                }
                // An error discards the whole value.
                Err(expected) => export.warnings.push(ignored(ATTRIBUTES, &text, expected)),
            }
        }
        match self.get("OTEL_SERVICE_NAME") {
            Some(name) => export.service(name),
            None => export,
        }
    }
}

fn ignored(variable: &str, value: &str, expected: &str) -> String {
    format!("ignored {variable}: \"{}\"; expected {expected}", visible(value))
}

/// Returns the name that the semantic conventions define for a process without one.
fn default_service() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    name.map_or_else(|| "unknown_service".to_owned(), |name| format!("unknown_service:{name}"))
}

/// Parses `name=value,name=value`. Names and values are percent-encoded.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    const EXPECTED: &str = "name=value, with commas between such pairs, and percent-encoded";
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let parsed = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = decode(name.trim())?;
        (!name.is_empty()).then_some((name, decode(value.trim())?))
    });
    parsed.collect::<Option<_>>().ok_or(EXPECTED)
}

/// Decodes `%XX`. Returns `None` if a `%` has no two digits, or if the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, after @ ..] = after else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push((digit(*high)? << 4 | digit(*low)?) as u8);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
