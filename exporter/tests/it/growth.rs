//! Requests that are small, but large in the format of a sink. The memory is that of the running process.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use crate::cloud_trace::span;
use crate::harness::{Exporter, command, request, string};
use crate::sinks::dead_letters;

/// In MiB. The manifests allow 512.
const MAX_MEMORY: u64 = 200;

const SPANS: u64 = 200;

/// Returns a request whose resource has a large text, which some formats repeat for each span.
fn large_resource(character: char) -> ExportTraceServiceRequest {
    let mut request = request("shop", (1..=SPANS).map(|id| span(id, "work")).collect());
    let text = character.to_string().repeat(900_000);
    request.resource_spans[0].resource.as_mut().unwrap().attributes.push(string("text", &text));
    request
}

/// Starts a receiver of any format that accepts bodies of at most 5 MiB, and keeps none of them.
async fn receiver() -> String {
    let accept = async |body: Bytes| {
        if body.len() > 5 << 20 { (StatusCode::PAYLOAD_TOO_LARGE, "") } else { (StatusCode::OK, "") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(accept).layer(DefaultBodyLimit::max(64 << 20));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Sends the request to an exporter with these sinks, and returns its peak memory in MiB after the delivery. `truncated`
/// lists the sinks that have to truncate.
async fn deliver(url: &str, sinks: &[&str], sent: &ExportTraceServiceRequest, truncated: &[&str]) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--auth", "none", "--project", "mesh-project", "--telemetry-endpoint", url]);
    command.args(["--cloud-trace-endpoint", url]);
    for sink in sinks {
        command.args(["--sink", sink]);
    }
    let exporter = Exporter::spawn(command);
    exporter.send(sent).await;
    for sink in sinks {
        let metric = |name: &str| format!("logtracer_exporter_spans_{name}_total{{sink=\"{sink}\"}}");
        exporter.wait_for_metric(&metric("delivered"), SPANS as f64).await;
        let expected = if truncated.contains(sink) { SPANS as f64 } else { 0. };
        assert_eq!(exporter.metric(&metric("truncated")).await, expected, "{sink}");
    }
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
    exporter.peak_memory()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_bounds_what_it_makes_of_a_request() {
    let url = receiver().await;
    let (otlp, zipkin) = (format!("otlp={url}"), format!("zipkin={url}"));
    let all = ["stdout", &zipkin, &otlp, "cloud-trace", "telemetry"];
    // As JSON, a zero byte has six characters.
    for (character, truncated) in [('a', &[][..]), ('\0', &["stdout", &zipkin][..])] {
        let sent = large_resource(character);
        for sinks in all.iter().map(std::slice::from_ref).chain([&all[..]]) {
            let memory = deliver(&url, sinks, &sent, truncated).await;
            println!("{sinks:?} {character:?}: {memory} MiB");
            assert!(memory < MAX_MEMORY, "{memory} MiB with {sinks:?} and {character:?}");
        }
    }
}
