//! Each variable, and what it does with a wrong value.

use super::*;
use crate::spans::AttributeValue;
use crate::spans::endpoint::Scheme;

fn read_from(variables: &[(&str, &str)]) -> Result<SpanExport, SpanExportError> {
    let variables = variables.to_vec();
    read(&|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
}

fn attributes(export: &SpanExport) -> Vec<(&str, &str)> {
    let text = |value: &'_ AttributeValue| match value {
        AttributeValue::Text(text) => Box::leak(text.clone().into_boxed_str()) as &str,
        other => panic!("{other:?}"),
    };
    export.resource.iter().map(|(key, value)| (&**key, text(value))).collect()
}

#[test]
fn defaults() {
    let export = read_from(&[("OTEL_SERVICE_NAME", ""), ("OTEL_TRACES_SAMPLER", " ")]).unwrap();
    let endpoint = export.endpoint.parse().unwrap();
    assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("localhost:4318", "/v1/traces"));
    let [("service.name", service)] = attributes(&export)[..] else { panic!("{export:?}") };
    assert!(service.starts_with("unknown_service:logtracer_sdk"), "{service}");
    assert_eq!(
        (export.sampler, export.timeout),
        (Sampler::ParentBasedAlwaysOn, Some(Duration::from_secs(10)))
    );
    assert!(export.warnings.is_empty() && export.headers.is_empty());
    assert_eq!(export.state, ExportState::Enabled);
}

#[test]
fn endpoints() {
    let [traces, all] = ENDPOINT;
    for (variables, expected) in [
        ([(all, "http://otel:4318"), ("", "")], (Scheme::Http, "otel:4318", "/v1/traces")),
        ([(all, "https://otel/my-api/"), ("", "")], (Scheme::Https, "otel", "/my-api/v1/traces")),
        ([(all, "http://otel"), (traces, "http://traces:1")], (Scheme::Http, "traces:1", "/")),
        ([(all, "http://otel"), (traces, "http://traces/a")], (Scheme::Http, "traces", "/a")),
        ([(all, "http://otel"), (traces, "")], (Scheme::Http, "otel", "/v1/traces")),
    ] {
        let endpoint = read_from(&variables).unwrap().endpoint.parse().unwrap();
        assert_eq!((endpoint.scheme, endpoint.authority.as_str(), endpoint.path.as_str()), expected);
    }
    let error = read_from(&[(all, "otel:4317")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "OTEL_EXPORTER_OTLP_ENDPOINT: expected an endpoint like http://127.0.0.1:4318, without a user name"
    );
}

#[test]
fn headers() {
    let [traces, all] = HEADERS;
    let headers = |export: &SpanExport| -> Vec<(String, String)> {
        export.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let export = read_from(&[(all, " api-key = secret%20key , x-scope=a=b,,")]).unwrap();
    assert_eq!(headers(&export), [pair("api-key", "secret key"), pair("x-scope", "a=b")]);
    assert!(!format!("{export:?}").contains("secret"), "{export:?}");
    // The variable for traces replaces the other one.
    let export = read_from(&[(all, "a=1,b=2"), (traces, "a=3")]).unwrap();
    assert_eq!(headers(&export), [pair("a", "3")]);
    for (text, problem) in [
        ("secret", "name=value, with commas between such pairs, and percent-encoded"),
        ("a=secret%", "name=value, with commas between such pairs, and percent-encoded"),
        ("a=secret%ff", "name=value, with commas between such pairs, and percent-encoded"),
        ("a b=secret", "the name or the value of the header \"a\" is invalid"),
        (
            "Authorization: Basic c2VjcmV0==",
            "the name or the value of the header \"Authorization\" is invalid",
        ),
        ("a=secret%0a1", "the name or the value of the header \"a\" is invalid"),
    ] {
        let error = read_from(&[(traces, text)]).unwrap_err().to_string();
        assert_eq!(error, format!("{traces}: {problem}"), "{text}");
    }
}

#[test]
fn samplers() {
    for (name, argument, expected, warnings) in [
        ("always_on", "", Sampler::AlwaysOn, 0),
        ("always_off", "", Sampler::AlwaysOff, 0),
        ("ALWAYS_OFF", "", Sampler::AlwaysOff, 0),
        ("ParentBased_TraceIdRatio", "0.5", Sampler::ParentBasedTraceIdRatio(0.5), 0),
        ("traceidratio", "0.25", Sampler::TraceIdRatio(0.25), 0),
        ("traceidratio", "", Sampler::TraceIdRatio(1.), 0),
        ("parentbased_always_on", "", Sampler::ParentBasedAlwaysOn, 0),
        ("parentbased_always_off", "", Sampler::ParentBasedAlwaysOff, 0),
        ("parentbased_traceidratio", "0.5", Sampler::ParentBasedTraceIdRatio(0.5), 0),
        // What is invalid counts as not set.
        ("parentbased_traceidratio", "1.5", Sampler::ParentBasedTraceIdRatio(1.), 1),
        ("traceidratio", "NaN", Sampler::TraceIdRatio(1.), 1),
        ("jaeger_remote", "endpoint=http://x", Sampler::ParentBasedAlwaysOn, 1),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let export = read_from(&variables).unwrap();
        assert_eq!((export.sampler, export.warnings.len()), (expected, warnings), "{name} {argument}");
    }
    let export = read_from(&[("OTEL_TRACES_SAMPLER", "xray\n1")]).unwrap();
    let expected = "ignored OTEL_TRACES_SAMPLER: \"xray\\n1\"; expected always_on, always_off, traceidratio, \
                    or one of these with the prefix parentbased_";
    assert_eq!(export.warnings, [expected]);
}

#[test]
fn resources() {
    let variable = "OTEL_RESOURCE_ATTRIBUTES";
    let text = "service.name=a,deployment.environment.name=dev%2C1 , service.version=";
    let export = read_from(&[(variable, text)]).unwrap();
    let others = [("deployment.environment.name", "dev,1"), ("service.version", "")];
    assert_eq!(attributes(&export), [[("service.name", "a")].as_slice(), &others].concat());
    let export = read_from(&[(variable, text), ("OTEL_SERVICE_NAME", "shop")]).unwrap();
    assert_eq!(attributes(&export), [[("service.name", "shop")].as_slice(), &others].concat());
    // The code has precedence.
    assert_eq!(attributes(&export.service("code"))[0], ("service.name", "code"));
    for wrong in ["a=1,b", "a=%2", "a=%ff", "=1"] {
        let export = read_from(&[(variable, wrong), ("OTEL_SERVICE_NAME", "shop")]).unwrap();
        assert_eq!(attributes(&export), [("service.name", "shop")], "{wrong}");
        assert!(export.warnings[0].starts_with("ignored OTEL_RESOURCE_ATTRIBUTES: "), "{export:?}");
    }
}

#[test]
fn timeouts() {
    let [traces, all] = TIMEOUT;
    for (value, expected, warnings) in [
        ("2500", Some(Duration::from_millis(2500)), 0),
        ("0", None, 0),
        ("-1", Some(Duration::from_secs(10)), 1),
        ("10s", Some(Duration::from_secs(10)), 1),
    ] {
        let export = read_from(&[(all, "7"), (traces, value)]).unwrap();
        assert_eq!((export.timeout, export.warnings.len()), (expected, warnings), "{value}");
    }
}

#[test]
fn protocols() {
    let [traces, all] = PROTOCOL;
    let error = read_from(&[(all, "grpc")]).unwrap_err().to_string();
    assert!(error.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not supported"), "{error}");
    let error = read_from(&[(all, "gRPC")]).unwrap_err().to_string();
    assert!(error.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not supported"), "{error}");
    for (value, warnings) in [("http/protobuf", 0), ("HTTP/Protobuf", 0), ("http/json", 1)] {
        assert_eq!(read_from(&[(all, "grpc"), (traces, value)]).unwrap().warnings.len(), warnings);
    }
    let [_, compression] = COMPRESSION;
    for (value, warnings) in [("none", 0), ("None", 0), ("gzip", 1)] {
        assert_eq!(read_from(&[(compression, value)]).unwrap().warnings.len(), warnings);
    }
}

#[test]
fn a_disabled_export() {
    for (name, value, expected, warnings) in [
        ("OTEL_SDK_DISABLED", "TRUE", ExportState::Disabled, 0),
        ("OTEL_SDK_DISABLED", "False", ExportState::Enabled, 0),
        ("OTEL_SDK_DISABLED", "1", ExportState::Enabled, 1),
        ("OTEL_SDK_DISABLED", "yes", ExportState::Enabled, 1),
        ("OTEL_TRACES_EXPORTER", "none", ExportState::Disabled, 0),
        ("OTEL_TRACES_EXPORTER", "None", ExportState::Disabled, 0),
        ("OTEL_TRACES_EXPORTER", "otlp", ExportState::Enabled, 0),
        ("OTEL_TRACES_EXPORTER", "OTLP", ExportState::Enabled, 0),
        ("OTEL_TRACES_EXPORTER", "console", ExportState::Enabled, 1),
    ] {
        let export = read_from(&[(name, value)]).unwrap();
        assert_eq!((export.state, export.warnings.len()), (expected, warnings), "{name}={value}");
    }
    let exporter = read_from(&[("OTEL_SDK_DISABLED", "true")]).unwrap().install().unwrap();
    assert!(exporter.flush(Duration::ZERO).is_ok() && exporter.dropped().is_empty());
}

#[cfg(feature = "_spans-rustls")]
#[test]
fn certificates() {
    for alone in [CLIENT_CERTIFICATE[1], CLIENT_KEY[1]] {
        let export = read_from(&[(alone, "c")]).unwrap();
        assert!(export.warnings[0].starts_with(&format!("ignored {alone}: it needs ")), "{export:?}");
    }
    let [traces, all] = CERTIFICATE;
    let variables = [(all, "a"), (traces, "b"), (CLIENT_CERTIFICATE[1], "c"), (CLIENT_KEY[1], "d")];
    let export = read_from(&variables).unwrap();
    assert_eq!(export.tls.authorities, Some("b".into()));
    assert_eq!(export.tls.client, Some(("c".into(), "d".into())));
}
