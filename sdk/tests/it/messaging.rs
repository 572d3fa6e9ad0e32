//! The trace goes with messages and jobs, without spans. `tests/message_spans.rs` has the spans.

use std::collections::{BTreeMap, HashMap};

use logtracer_sdk::messaging::{Destination, Headers, HeadersMut, consume, extract, inject};
use logtracer_sdk::prelude::*;
use logtracer_sdk::testing::capture_async;
use logtracer_sdk::{Sampling, TraceContext, current_trace, job};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const SPAN: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

#[track_caller]
fn check_read(headers: &[(&str, &str)], expected: Option<(&str, &str, Sampling)>) {
    let found = extract(headers);
    let ids = found.map(|found| (found.trace_id.to_string(), found.span_id.to_string(), found.sampling));
    let expected = expected.map(|(trace, span, sampling)| (trace.to_owned(), span.to_owned(), sampling));
    assert_eq!(ids, expected, "{headers:?}");
}

#[test]
fn headers_that_are_read() {
    let valid = &*traceparent("01");
    let other = "00-00000000000000000000000000000007-0000000000000008-01";
    let accepted = Some((TRACE, SPAN, Sampling::Accept));
    check_read(&[], None);
    check_read(&[("traceparent", valid)], accepted);
    check_read(&[("googclient_traceparent", valid)], accepted);
    check_read(&[("b3", &format!("{TRACE}-{SPAN}-1"))], accepted);
    check_read(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")], accepted);
    check_read(&[("x-cloud-trace-context", &format!("{TRACE}/67667974448284343;o=1"))], accepted);
    // The attribute of the application comes before that of Google's client, unless it is invalid.
    check_read(&[("googclient_traceparent", other), ("traceparent", valid)], accepted);
    check_read(&[("googclient_traceparent", valid), ("traceparent", "nonsense")], accepted);
    // Of several, the last one counts, as in Kafka.
    check_read(&[("traceparent", other), ("traceparent", valid)], accepted);
    check_read(&[("traceparent", other), ("TraceParent", valid)], accepted);
    // Names are in any case.
    check_read(&[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN), ("X-B3-Sampled", "1")], accepted);
    check_read(&[("traceparent", &traceparent("00"))], Some((TRACE, SPAN, Sampling::Deny)));
    for nonsense in ["", "00", "nonsense", "\u{0}", &"x".repeat(100_000)] {
        for name in ["traceparent", "googclient_traceparent", "b3", "tracestate", "x-cloud-trace-context"] {
            check_read(&[(name, nonsense)], None);
        }
    }
}

/// Writes and reads in each kind of map and list.
#[track_caller]
fn check_round_trip<H: Headers + HeadersMut>(mut headers: H) {
    for sampling in [Sampling::Accept, Sampling::Deny, Sampling::Defer, Sampling::Debug] {
        let context = TraceContext::new_root().with_sampling(sampling);
        headers.set("b3", "0");
        headers.set("x-b3-traceid", TRACE);
        headers.set("googclient_traceparent", &traceparent("01"));
        headers.set("googclient_tracestate", "a=1");
        context.run(|| inject(&mut headers));
        assert_eq!(extract(&headers), Some(context), "{sampling:?}");
        for removed in ["x-b3-traceid", "googclient_traceparent", "googclient_tracestate"] {
            assert!(headers.get(removed).is_none(), "{removed}");
        }
        assert_eq!(headers.get("traceparent"), Some(context.to_traceparent().as_bytes()));
        assert_eq!(headers.get("region"), Some(&b"eu"[..]));
    }
    let before = headers.get("traceparent").map(<[u8]>::to_vec);
    inject(&mut headers); // without a current trace
    assert_eq!(headers.get("traceparent").map(<[u8]>::to_vec), before);
}

#[test]
fn an_injected_context_is_extracted() {
    let pair = || ("region".to_owned(), "eu".to_owned());
    let bytes = || ("region".to_owned(), b"eu".to_vec());
    check_round_trip(HashMap::<String, String>::from([pair()]));
    check_round_trip(HashMap::<String, Vec<u8>>::from([bytes()]));
    check_round_trip(BTreeMap::<String, String>::from([pair()]));
    check_round_trip::<Vec<(String, String)>>(vec![pair()]);
    check_round_trip::<Vec<(String, Vec<u8>)>>(vec![bytes()]);
    check_round_trip(http::HeaderMap::from_iter([("region".parse().unwrap(), "eu".parse().unwrap())]));
}

/// Names are found in any case, and none is there twice.
#[test]
fn names_in_any_case() {
    fn check<H: Headers + HeadersMut>(mut headers: H, names: impl Fn(&H) -> Vec<String>) {
        assert_eq!(extract(&headers).unwrap().span_id.to_string(), SPAN);
        let context = TraceContext::new_root().with_sampling(Sampling::Accept);
        context.run(|| inject(&mut headers));
        assert_eq!(extract(&headers), Some(context));
        assert_eq!(names(&headers), ["traceparent"]);
    }
    let pairs = || {
        [("Traceparent", traceparent("01")), ("X-B3-TraceId", TRACE.to_owned()), ("B3", "0".to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
    };
    check(HashMap::from(pairs()), |headers| headers.keys().cloned().collect());
    check(BTreeMap::from(pairs()), |headers| headers.keys().cloned().collect());
    check(Vec::from(pairs()), |headers| headers.iter().map(|(name, _)| name.clone()).collect());
    let mut headers = http::HeaderMap::new();
    headers.insert("Traceparent", traceparent("00").parse().unwrap());
    headers.append("Traceparent", traceparent("01").parse().unwrap());
    assert_eq!(extract(&headers).unwrap().sampling, Sampling::Accept);
    check(headers, |headers| headers.keys().map(ToString::to_string).collect());
}

/// The lines of the consumer have the trace and the span of the producer, whether it is sampled or not.
#[tokio::test]
async fn lines_of_producer_and_consumer_have_one_trace() {
    let orders = Destination::new("kafka", "orders");
    for sampling in [Sampling::Accept, Sampling::Deny, Sampling::Defer] {
        let request = TraceContext::new_root().with_sampling(sampling);
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        let send = orders.send(async {
            tracing::info!("ordered");
            inject(&mut headers);
        });
        let (_, produced) = capture_async(send.in_trace(request)).await;
        // `send` is called outside of the request: it has a trace of its own.
        assert_ne!(produced[0]["trace"], request.trace_id.to_string());

        let produce = async {
            orders
                .send(async {
                    tracing::info!("ordered");
                    inject(&mut headers);
                })
                .await;
        };
        let (_, produced) = capture_async(produce.in_trace(request)).await;
        let work = async {
            tokio::task::yield_now().await;
            tracing::info!("packed");
        };
        let (_, consumed) = capture_async(consume(&headers, work)).await;
        assert_eq!(produced[0]["trace"], request.trace_id.to_string());
        for line in [&produced[0], &consumed[0]] {
            assert_eq!((&line["trace"], &line["spanId"]), (&produced[0]["trace"], &produced[0]["spanId"]));
            assert_eq!(line["traceSampled"], sampling == Sampling::Accept);
        }
        // From there it goes on.
        let forward = async {
            let mut headers = HashMap::<String, String>::new();
            inject(&mut headers);
            headers
        };
        let forwarded = orders.process(&headers, forward).await;
        assert_eq!(
            extract(&forwarded).map(|it| (it.trace_id, it.sampling)),
            Some((request.trace_id, sampling))
        );
    }
}

/// A consumer that runs in a trace: the message has its own.
#[tokio::test]
async fn a_message_keeps_its_trace_within_another_one() {
    let polling = TraceContext::new_root();
    let trace = |headers: Vec<(&'static str, String)>| async move {
        let within = async { consume(&headers, async { current_trace().unwrap() }).await };
        let found = within.in_trace(polling).await;
        assert_eq!(current_trace(), None);
        found
    };
    assert_eq!(trace(vec![("traceparent", traceparent("01"))]).await.trace_id.to_string(), TRACE);
    let started = trace(vec![]).await;
    assert_ne!(started.trace_id, polling.trace_id);
    assert_eq!((started.parent_span_id, started.sampling), (None, Sampling::Defer));
    assert_eq!(trace(vec![("b3", "0".into())]).await.sampling, Sampling::Deny);

    // Several messages have several traces, so their batch is in the current one.
    let batch = [[("traceparent", traceparent("01"))], [("traceparent", traceparent("00"))]];
    let orders = Destination::new("gcp_pubsub", "orders");
    let within = async { orders.process_batch(&batch, async { current_trace() }).await };
    assert_eq!(within.in_trace(polling).await, Some(polling));
    let alone = orders.process_batch(&batch, async { current_trace() }).await.unwrap();
    assert!(alone.trace_id != polling.trace_id && alone.trace_id.to_string() != TRACE);
}

#[tokio::test]
async fn the_tracestate_goes_with_the_message() {
    for prefix in ["", "googclient_"] {
        let received = HashMap::from([
            (format!("{prefix}traceparent"), traceparent("01")),
            (format!("{prefix}tracestate"), "a=1,b=2".to_owned()),
        ]);
        let mut sent = BTreeMap::<String, String>::new();
        consume(&received, async { inject(&mut sent) }).await;
        assert_eq!(
            sent,
            BTreeMap::from([
                ("traceparent".to_owned(), traceparent("01")),
                ("tracestate".to_owned(), "a=1,b=2".to_owned()),
            ])
        );
    }
}

/// The future can be spawned: it borrows nothing from the headers.
#[tokio::test]
async fn a_message_is_processed_in_another_task() {
    let task = {
        let headers = [("traceparent".to_owned(), traceparent("01"))];
        let pairs: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (&**name, value.as_bytes())).collect();
        tokio::spawn(consume(&pairs, async { current_trace() }))
    };
    assert_eq!(task.await.unwrap().unwrap().trace_id.to_string(), TRACE);
}

#[tokio::test]
async fn each_run_of_a_job_has_a_trace() {
    let scheduler = TraceContext::new_root();
    let runs = async {
        let run = || {
            job("nightly", async {
                tokio::task::yield_now().await;
                tracing::info!("running");
                current_trace().unwrap()
            })
        };
        let runs = [run().await, run().await];
        assert_eq!(current_trace(), Some(scheduler));
        runs
    };
    let ([first, second], lines) = capture_async(runs.in_trace(scheduler)).await;
    assert_eq!((first.parent_span_id, second.parent_span_id), (None, None));
    assert!(first.trace_id != second.trace_id && first.trace_id != scheduler.trace_id);
    assert_eq!(lines[0]["trace"], first.trace_id.to_string());
    assert_eq!(lines[1]["trace"], second.trace_id.to_string());
}
