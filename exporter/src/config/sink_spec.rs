//! The value of `--sink`.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// Which sink, and where it is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkSpec {
    /// The embedded store, which the viewer shows.
    Store,
    /// Lines of OTLP JSON on stdout.
    Stdout,
    /// Google Cloud Trace, its API v2.
    CloudTrace,
    /// Google Cloud's Telemetry API, which takes OTLP.
    Telemetry,
    /// Any receiver of OTLP: `http` and `https` for OTLP/HTTP, `grpc` and `grpcs` for OTLP/gRPC.
    Otlp(Url),
    /// Any receiver of Zipkin v2 JSON.
    Zipkin(Url),
}

const EXISTING: &str = "store, cloud-trace, telemetry, otlp=URL, zipkin=URL, stdout";

impl SinkSpec {
    /// The host that spans go to over OTLP.
    pub(crate) fn otlp_host(&self) -> Option<&str> {
        match self {
            Self::Otlp(url) => url.host_str(),
            _ => None,
        }
    }
}

/// The name in options, metrics, log lines and the outbox; a URL is without its password and its query, for both can
/// be secret.
impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, url) = match self {
            Self::Store => return f.write_str("store"),
            Self::Stdout => return f.write_str("stdout"),
            Self::CloudTrace => return f.write_str("cloud-trace"),
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
                "telemetry" => Ok(Self::Telemetry),
                "otlp" | "zipkin" => Err(format!("where is it? {text}=URL, for example {}", example(text))),
                _ => Err(format!("there is no sink {text:?}; what exists: {EXISTING}")),
            },
            Some(("otlp", address)) => {
                url("otlp", address, &["http", "https", "grpc", "grpcs"]).map(Self::Otlp)
            }
            Some(("zipkin", address)) => url("zipkin", address, &["http", "https"]).map(Self::Zipkin),
            // What comes after the sign may be secret.
            Some((name, _)) => Err(format!("there is no sink \"{name}=…\"; what exists: {EXISTING}")),
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
    let url = Url::parse(text).map_err(|error| expected(&format!("that is no URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(expected(&format!("the scheme {:?} is not known", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(expected("the host is missing"));
    }
    if url.scheme().starts_with("grpc") && !(url.username().is_empty() && url.password().is_none()) {
        return Err(
            "a URL with a user is for http and https; for gRPC set OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for (text, shown) in [
            ("store", "store"),
            ("stdout", "stdout"),
            ("cloud-trace", "cloud-trace"),
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
            assert_eq!(format!("{name:?}"), shown, "nothing secret when debugging either");
        }
    }

    #[test]
    fn others_are_refused_with_what_was_expected() {
        for (text, message) in [
            ("kafka", "there is no sink \"kafka\"; what exists: store, cloud-trace, telemetry, otlp=URL"),
            ("kafka=secret", "there is no sink \"kafka=…\"; what exists: store"),
            ("otlp", "where is it? otlp=URL, for example otlp=http://localhost:4318"),
            (
                "otlp=",
                "that is no URL (relative URL without a base); expected http:// or https:// or grpc://",
            ),
            ("otlp=tempo:4318", "the scheme \"tempo\" is not known; expected http://"),
            ("zipkin=grpc://a:1", "the scheme \"grpc\" is not known; expected http:// or https://HOST:PORT"),
            ("otlp=grpc://u:p@a:1", "a URL with a user is for http and https"),
        ] {
            let error = text.parse::<SinkSpec>().unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
