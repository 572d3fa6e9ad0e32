//! The value of `--sink`.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::keep::{Rule, RuleList};
use crate::outbox::Signals;

/// A sink and its address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkSpec {
    /// The embedded store, which the viewer shows.
    Store,
    /// Lines of OTLP JSON on stdout.
    Stdout,
    /// Google Cloud Trace, API v2.
    CloudTrace,
    /// Google Cloud Logging, API v2.
    CloudLogging,
    /// Google Cloud's Telemetry API, which receives OTLP.
    Telemetry,
    /// Any OTLP receiver: `http` and `https` for OTLP/HTTP, `grpc` and `grpcs` for OTLP/gRPC.
    Otlp(Url),
    /// Any Zipkin v2 receiver.
    Zipkin(Url),
}

/// A part of the value of `--sink`: a sink, or a rule or the signal of the sink before it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkPart {
    /// A sink.
    Sink(SinkSpec),
    /// `keep=RULE` or `keep=@FILE`.
    Keep(RuleList),
    /// `signals=SIGNAL`.
    Signals(SinkSignal),
}

/// The only signal that a sink gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkSignal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl SinkSignal {
    pub(crate) fn signals(self) -> Signals {
        match self {
            Self::Traces => Signals::TRACES,
            Self::Logs => Signals::LOGS,
        }
    }
}

impl fmt::Display for SinkSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        })
    }
}

impl FromStr for SinkSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "traces" => Ok(Self::Traces),
            "logs" => Ok(Self::Logs),
            _ => Err(format!("unknown signal {text:?}; expected signals=traces or signals=logs")),
        }
    }
}

impl FromStr for SinkPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("keep", rule)) => rule.parse().map(Self::Keep),
            Some(("signals", signal)) => signal.parse().map(Self::Signals),
            None if text == "keep" => Err("keep needs a rule, for example keep=error".to_owned()),
            _ => text.parse().map(Self::Sink).map_err(|error| match text.parse::<Rule>() {
                Ok(_) => format!("{error}; a rule of the sink before it is keep={text}"),
                Err(_) => error,
            }),
        }
    }
}

const SINKS: &str = "store, cloud-trace, cloud-logging, telemetry, otlp=URL, zipkin=URL, stdout";

impl SinkSpec {
    /// Returns what a sink of this kind can take.
    pub(crate) fn signals(&self) -> Signals {
        match self {
            Self::Store => Signals::STORE,
            Self::CloudTrace | Self::Zipkin(_) => Signals::TRACES,
            Self::CloudLogging => Signals::LOGS,
            Self::Stdout | Self::Telemetry | Self::Otlp(_) => Signals::ALL,
        }
    }

    /// Returns the host of an OTLP receiver.
    pub(crate) fn otlp_host(&self) -> Option<&str> {
        match self {
            Self::Otlp(url) => url.host_str(),
            _ => None,
        }
    }
}

/// Writes the name that options, metrics, log lines and the outbox use. It omits the user, the password and the query
/// of a URL, because they can be secret.
impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, url) = match self {
            Self::Store => return f.write_str("store"),
            Self::Stdout => return f.write_str("stdout"),
            Self::CloudTrace => return f.write_str("cloud-trace"),
            Self::CloudLogging => return f.write_str("cloud-logging"),
            Self::Telemetry => return f.write_str("telemetry"),
            Self::Otlp(url) => ("otlp", url),
            Self::Zipkin(url) => ("zipkin", url),
        };
        write!(f, "{name}={}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path().trim_end_matches('/'))
    }
}

impl fmt::Debug for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for SinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None => match text {
                "store" => Ok(Self::Store),
                "stdout" => Ok(Self::Stdout),
                "cloud-trace" => Ok(Self::CloudTrace),
                "cloud-logging" => Ok(Self::CloudLogging),
                "telemetry" => Ok(Self::Telemetry),
                "otlp" | "zipkin" => {
                    Err(format!("missing URL: expected {text}=URL, for example {}", example(text)))
                }
                _ => Err(format!("unknown sink {text:?}; expected one of {SINKS}")),
            },
            Some(("otlp", address)) => {
                url("otlp", address, &["http", "https", "grpc", "grpcs"]).map(Self::Otlp)
            }
            Some(("zipkin", address)) => url("zipkin", address, &["http", "https"]).map(Self::Zipkin),
            // The value can be secret.
            Some((name, _)) => Err(format!("unknown sink \"{name}=…\"; expected one of {SINKS}")),
        }
    }
}

fn example(name: &str) -> &'static str {
    if name == "zipkin" { "zipkin=http://localhost:9411" } else { "otlp=http://localhost:4318" }
}

fn url(name: &str, text: &str, schemes: &[&str]) -> Result<Url, String> {
    let expected = |what: &str| {
        format!("{what}; expected {}://HOST:PORT, for example {}", schemes.join(":// or "), example(name))
    };
    let url = Url::parse(text).map_err(|error| expected(&format!("not a URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(expected(&format!("unknown scheme {:?}", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(expected("the host is missing"));
    }
    if url.scheme().starts_with("grpc") && !(url.username().is_empty() && url.password().is_none()) {
        return Err(
            "a user in the URL is supported for http and https only; for gRPC set OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned(),
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_shown() {
        for (text, shown) in [
            ("store", "store"),
            ("stdout", "stdout"),
            ("cloud-trace", "cloud-trace"),
            ("cloud-logging", "cloud-logging"),
            ("telemetry", "telemetry"),
            ("otlp=http://tempo:4318", "otlp=http://tempo:4318"),
            ("otlp=http://tempo:4318/", "otlp=http://tempo:4318"),
            (
                "otlp=https://user:secret@otlp.example/v1/traces?key=secret",
                "otlp=https://otlp.example/v1/traces",
            ),
            ("otlp=grpc://[::1]:4317", "otlp=grpc://[::1]:4317"),
            ("otlp=grpcs://otlp.example", "otlp=grpcs://otlp.example"),
            ("zipkin=http://zipkin:9411/api/v2/spans", "zipkin=http://zipkin:9411/api/v2/spans"),
        ] {
            let name: SinkSpec = text.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(format!("{name:?}"), shown, "no secret in the debug output either");
        }
    }

    #[test]
    fn a_rule_without_keep_is_recognized() {
        let error = |text: &str| text.parse::<SinkPart>().unwrap_err();
        assert_eq!(error("keep"), "keep needs a rule, for example keep=error");
        for rule in ["error", "slower-than=2s"] {
            let hint = format!("a rule of the sink before it is keep={rule}");
            assert!(error(rule).ends_with(&hint), "{}", error(rule));
        }
        assert!(error("errors").ends_with("stdout"), "{}", error("errors"));
    }

    #[test]
    fn invalid_names_are_rejected_with_what_was_expected() {
        for (text, message) in [
            ("kafka", "unknown sink \"kafka\"; expected one of store, cloud-trace, cloud-logging, telemetry"),
            ("kafka=secret", "unknown sink \"kafka=…\"; expected one of store"),
            ("otlp", "missing URL: expected otlp=URL, for example otlp=http://localhost:4318"),
            ("otlp=", "not a URL (relative URL without a base); expected http:// or https:// or grpc://"),
            ("otlp=tempo:4318", "unknown scheme \"tempo\"; expected http://"),
            ("zipkin=grpc://a:1", "unknown scheme \"grpc\"; expected http:// or https://HOST:PORT"),
            ("otlp=grpc://u:p@a:1", "a user in the URL is supported for http and https only"),
        ] {
            let error = text.parse::<SinkSpec>().unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
