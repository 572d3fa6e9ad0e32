//! Another collector accepts what the exporter sends.

use std::time::Duration;

use logtracer_harness::exporter::Exporter;
use logtracer_harness::rotel::{self, Rotel};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const SPANS: u8 = 100;

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        key_strindex: 0,
    }
}

fn request() -> ExportTraceServiceRequest {
    let span = |id: u8| Span {
        trace_id: vec![0x46; 16],
        span_id: vec![id; 8],
        parent_span_id: if id == 1 { Vec::new() } else { vec![1; 8] },
        name: format!("GET /{id}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_005_000_000,
        attributes: vec![text("http.route", "/{id}")],
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![text("service.name", "shop")], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: (1..=SPANS).map(span).collect(), ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// exporter ──► rotel ──► another exporter, with the store
#[test]
fn rotel_accepts_the_requests_of_the_otlp_sink() {
    let program = rotel::program().unwrap();
    for protocol in ["http", "grpc"] {
        let (dir, behind) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let last = Exporter::start_with(&[], behind.path()).unwrap();
        let endpoint = format!("http://{}", last.http());
        let options =
            ["--exporter", "otlp", "--otlp-exporter-endpoint", &endpoint, "--otlp-exporter-protocol", "http"];
        let rotel = Rotel::start("rotel", &program, &options, dir.path()).unwrap();
        let address = if protocol == "http" { rotel.http() } else { rotel.grpc() };
        let options = ["--sink".to_owned(), format!("otlp={protocol}://{address}")];
        let first = Exporter::start_with(&options, dir.path()).unwrap();
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let post = client.post(format!("http://{}/v1/traces", first.http()));
        let post = post.header("content-type", "application/x-protobuf").body(request().encode_to_vec());
        assert_eq!(post.send().unwrap().status(), 200);

        let mut trace = last.wait_for_trace(&"46".repeat(16), usize::from(SPANS), 0).unwrap();
        trace.spans.sort_by(|one, other| one.span_id.cmp(&other.span_id));
        for (span, id) in trace.spans.iter().zip(1..) {
            let parent = (id > 1).then(|| "01".repeat(8));
            assert_eq!((&span.span_id, &span.parent_span_id), (&format!("{id:02x}").repeat(8), &parent));
            assert_eq!((&span.name, span.service_name.as_str()), (&format!("GET /{id}"), "shop"));
            assert_eq!((span.kind.as_str(), &span.attributes["http.route"]), ("server", &"/{id}".into()));
        }
    }
}
