//! The spans of messages and jobs, in a separate process because of the export.

mod received;

use std::collections::HashMap;

use logtracer_sdk::messaging::{Destination, consume, inject};
use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::SpanExport;
use logtracer_sdk::{Sampling, TraceContext, current_trace, job};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;

use received::{Received, names};

const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

fn attribute(span: &Span, key: &str) -> Option<Any> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

fn text(value: &str) -> Option<Any> {
    Some(Any::StringValue(value.to_owned()))
}

/// Returns the trace id and span id of each link.
fn links(span: &Span) -> Vec<(Vec<u8>, Vec<u8>)> {
    span.links.iter().map(|link| (link.trace_id.clone(), link.span_id.clone())).collect()
}

fn ids(span: &Span) -> (Vec<u8>, Vec<u8>) {
    (span.trace_id.clone(), span.span_id.clone())
}

#[track_caller]
fn check_conventions(span: &Span, kind: i32, operation: &str) {
    assert_eq!(span.kind, kind);
    for (key, value) in [
        ("messaging.system", "gcp_pubsub"),
        ("messaging.destination.name", "orders"),
        ("messaging.operation.type", operation),
        ("messaging.operation.name", operation),
    ] {
        assert_eq!(attribute(span, key), text(value), "{key}");
    }
}

/// Sends a message in this trace; returns its attributes.
async fn sent_in(trace: TraceContext) -> HashMap<String, String> {
    let work = async {
        let mut attributes = HashMap::new();
        Destination::new("gcp_pubsub", "orders").send(async { inject(&mut attributes) }).await;
        attributes
    };
    work.in_trace(trace).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_jobs() {
    let received = Received::default();
    let exporter = SpanExport::new("shop", received.serve().await).install().unwrap();
    let orders = Destination::new("gcp_pubsub", "orders");
    let [one, two, denied] = [Sampling::Accept, Sampling::Accept, Sampling::Deny]
        .map(|sampling| TraceContext::new_root().with_sampling(sampling));

    let first = sent_in(one).await;
    let second = sent_in(two).await;
    let processing = orders.with_message_id("17").process(&first, async { current_trace().unwrap() });
    let processing = tokio::spawn(processing).await.unwrap();
    let unsampled = sent_in(denied).await;
    let batch = [&first, &second, &unsampled, &HashMap::new()];
    let batch = orders.process_batch(batch, async { current_trace().unwrap() }).await;
    consume(&second, async {}).await;
    let none = HashMap::<String, String>::new();
    let start = async { consume(&none, async { current_trace().unwrap() }).await };
    let started = start.in_trace(one).await;
    let run = async { job("nightly", async { current_trace().unwrap() }).await }.in_trace(one).await;
    // A trace without a span.
    let only_trace = TraceContext::new_root();
    for value in [only_trace.trace_id.to_string(), format!("{}/0", only_trace.trace_id)] {
        let headers = [("x-cloud-trace-context", value)];
        let continued = consume(&headers, async { current_trace().unwrap() }).await;
        assert_eq!((continued.trace_id, continued.parent_span_id), (only_trace.trace_id, None));
        orders.process_batch([headers], async {}).await;
    }
    let of_denied = orders.process(&unsampled, async { current_trace().unwrap() }).await;
    assert_eq!((of_denied.trace_id, of_denied.span_id), (denied.trace_id, denied.span_id));

    tokio::task::spawn_blocking(|| drop(exporter)).await.unwrap();
    let mut spans = received.take();
    let without_sender = spans.split_off(7);
    assert_eq!(names(&without_sender), ["process", "process orders", "process", "process orders"]);
    for span in &without_sender {
        assert_eq!((&*span.parent_span_id, links(span)), (&[][..], vec![]));
    }
    assert!(without_sender.iter().step_by(2).all(|span| span.trace_id == only_trace.trace_id.to_bytes()));
    assert_eq!(
        names(&spans),
        ["send orders", "send orders", "process orders", "process orders", "process", "process", "nightly"]
    );
    let [send_one, send_two, process, process_batch, plain, alone, nightly] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    for (send, trace) in [(send_one, one), (send_two, two)] {
        check_conventions(send, PRODUCER, "send");
        assert_eq!(
            (&*send.trace_id, &*send.parent_span_id),
            (&trace.trace_id.to_bytes()[..], &trace.span_id.to_bytes()[..])
        );
        assert_eq!(links(send), []);
    }

    // A single message: a child of the sender's span, with a link to it.
    check_conventions(process, CONSUMER, "process");
    assert_eq!(attribute(process, "messaging.message.id"), text("17"));
    assert_eq!((&process.trace_id, &process.parent_span_id), (&send_one.trace_id, &send_one.span_id));
    assert_eq!(links(process), [ids(send_one)]);
    assert_eq!(process.span_id, processing.span_id.to_bytes());

    // Several messages: one span with links, in a trace of its own.
    check_conventions(process_batch, CONSUMER, "process");
    assert_eq!(attribute(process_batch, "messaging.batch.message_count"), Some(Any::IntValue(4)));
    let of_denied = (denied.trace_id.to_bytes().to_vec(), denied.span_id.to_bytes().to_vec());
    assert_eq!(links(process_batch), [ids(send_one), ids(send_two), of_denied]);
    assert_eq!(
        (&*process_batch.trace_id, &*process_batch.parent_span_id),
        (&batch.trace_id.to_bytes()[..], &[][..])
    );
    assert!(![&send_one.trace_id, &send_two.trace_id].contains(&&process_batch.trace_id));

    // Without a destination.
    assert_eq!((plain.kind, &plain.parent_span_id), (CONSUMER, &send_two.span_id));
    // A message without a trace, and a job, are roots, whatever trace is current.
    for (root, context) in [(alone, started), (nightly, run)] {
        assert_eq!((&*root.trace_id, &*root.parent_span_id), (&context.trace_id.to_bytes()[..], &[][..]));
        assert_ne!(root.trace_id, one.trace_id.to_bytes());
        assert_eq!(links(root), []);
    }
}
