//! The sink `cloud-trace` with a Cloud Trace that rejects what Google's documentation forbids.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use expect_test::expect;
use google_cloud_trace_v2::model::Span as Written;
use google_cloud_trace_v2::model::attribute_value::Value as Attribute;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::Value;

use crate::google::{DOCUMENTED, batch_write, batch_write_within, error};
use crate::harness::{Exporter, command, eventually, request, string};
use crate::receiver::{Answer, Receiver, Request};
use crate::sinks::dead_letters;

/// Starts a Cloud Trace that accepts valid calls.
pub(crate) async fn cloud_trace() -> Receiver {
    Receiver::start(strict).await
}

pub(crate) fn strict(request: &Request) -> Answer {
    match batch_write(request) {
        Ok(_) => Answer::new(200, "{}"),
        Err(mistake) => error(400, "INVALID_ARGUMENT", &mistake),
    }
}

/// Returns the spans that the receiver accepted, each with its project, by span id.
pub(crate) fn written(receiver: &Receiver) -> BTreeMap<String, (String, Written)> {
    let mut written = BTreeMap::new();
    for request in receiver.accepted() {
        let (project, spans) = batch_write(&request).unwrap();
        written.extend(spans.into_iter().map(|span| (span.span_id.clone(), (project.clone(), span))));
    }
    written
}

fn to_cloud_trace(dir: &Path, receiver: &Receiver) -> Command {
    let mut command = command(dir);
    command
        .args(["--sink", "cloud-trace", "--auth", "none", "--project", "mesh-project"])
        .args(["--cloud-trace-endpoint", &receiver.url]);
    command
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

pub(crate) fn span(id: u64, name: &str) -> Span {
    Span {
        trace_id: vec![0x46; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: now(),
        end_time_unix_nano: now() + 5_000_000,
        ..Default::default()
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Returns spans at every limit, and beyond.
fn spans_at_the_limits() -> Vec<Span> {
    let long = "ä😀".repeat(20_000);
    let many = |count: usize| {
        (0..count)
            .map(|n| string(&format!("key.{n:03}"), if n == 0 { &long } else { "ä" }))
            .collect::<Vec<_>>()
    };
    let short = |count: usize| (0..count).map(|n| string(&format!("key.{n:03}"), "ä")).collect::<Vec<_>>();
    let event = |name: &str, time: u64| Event {
        name: name.to_owned(),
        time_unix_nano: time,
        attributes: short(9),
        ..Default::default()
    };
    let values = vec![AnyValue { value: Some(Any::IntValue(1)) }];
    let message = Event {
        attributes: vec![string("message.type", "SENT"), attribute("message.id", Any::IntValue(7))],
        ..event("message", now())
    };
    let mut spans: Vec<Span> = (1..=12).map(|id| span(id, "odd")).collect();
    spans[0].name = long.clone();
    spans[1].name = String::new();
    spans[2].end_time_unix_nano = 0;
    spans[3].attributes = many(100);
    spans[4].attributes = vec![
        attribute("float", Any::DoubleValue(f64::NAN)),
        attribute("list", Any::ArrayValue(ArrayValue { values })),
        attribute("bytes", Any::BytesValue(vec![0, 159])),
        attribute("nothing", Any::StringValue(String::new())),
        string(&"k".repeat(600), "long key"),
        string("control", "\u{0}\u{1b}\r\n"),
    ];
    spans[5].events = (0..300).map(|n| event("event", n)).chain([event("exception", 0)]).collect();
    spans[6].events = (0..200).map(|_| message.clone()).collect();
    spans[7].links = (0..200)
        .map(|n| Link {
            trace_id: [n, 1].repeat(8),
            span_id: vec![1; 8],
            attributes: short(40),
            ..Default::default()
        })
        .chain([Link { trace_id: vec![0; 16], span_id: vec![1; 8], ..Default::default() }])
        .collect();
    spans[8].parent_span_id = spans[8].span_id.clone();
    spans[9].parent_span_id = vec![0; 8];
    spans[10].dropped_attributes_count = u32::MAX;
    spans[10].dropped_events_count = u32::MAX;
    spans[10].dropped_links_count = u32::MAX;
    spans[11].kind = 99;
    spans
}

#[tokio::test]
async fn requests_to_cloud_trace_are_within_its_limits() {
    let receiver = cloud_trace().await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    exporter.send(&request(&"shop".repeat(200), spans_at_the_limits())).await;
    let written = eventually("12 spans", async || {
        let written = written(&receiver);
        (written.len() == 12).then_some(written)
    })
    .await;
    assert_eq!(
        (receiver.answered(400), dead_letters(dir.path(), &["list"])),
        (0, "no dead letters\n".to_owned())
    );
    let of = |id: u64| &written[&format!("{id:016x}")].1;

    let name = of(1).display_name.as_ref().unwrap();
    assert_eq!((name.value.len(), name.truncated_byte_count), (1022, 120_000 - 1022));
    assert_eq!(of(3).end_time, of(3).start_time);
    let attributes = of(4).attributes.as_ref().unwrap();
    // The agent, the service name twice, and 29 of the span's hundred.
    assert_eq!((attributes.attribute_map.len(), attributes.dropped_attributes_count), (32, 71));
    let Some(Attribute::StringValue(text)) = &attributes.attribute_map["key.000"].value else {
        panic!("a text")
    };
    assert_eq!((text.value.len(), text.truncated_byte_count), (65_534, 120_000 - 65_534));
    let events = of(6).time_events.as_ref().unwrap();
    assert_eq!((events.time_event.len(), events.dropped_annotations_count), (256, 45));
    assert!(format!("{events:?}").contains("exception"), "the exception is kept");
    let messages = of(7).time_events.as_ref().unwrap();
    assert_eq!((messages.time_event.len(), messages.dropped_message_events_count), (128, 72));
    let links = of(8).links.as_ref().unwrap();
    assert_eq!((links.link.len(), links.dropped_links_count), (128, 73));
    assert_eq!((&of(9).parent_span_id, &of(10).parent_span_id), (&String::new(), &String::new()));
}

/// Returns a span that is longer than documented, and within the limits since August 2026.
fn long_span(id: u64) -> Span {
    let mut span = span(id, &"n".repeat(600));
    span.attributes = vec![string(&"k".repeat(300), "long key"), string("db.query.text", &"s".repeat(5000))];
    span.events = (0..100).map(|_| Event { name: "e".repeat(700), ..Default::default() }).collect();
    span
}

/// The name, the longest value, the number of labels, and the number of annotations.
fn lengths(span: &Written) -> (usize, usize, usize, usize) {
    let labels = &span.attributes.as_ref().unwrap().attribute_map;
    let texts = labels.values().filter_map(|value| match &value.value {
        Some(Attribute::StringValue(text)) => Some(text.value.len()),
        _ => None,
    });
    let events = span.time_events.as_ref().map_or(0, |events| events.time_event.len());
    (span.display_name.as_ref().unwrap().value.len(), texts.max().unwrap(), labels.len(), events)
}

#[tokio::test]
async fn texts_within_the_current_limits_are_kept() {
    let receiver = cloud_trace().await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    exporter.send(&request("shop", vec![long_span(1)])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
    assert_eq!(lengths(&written(&receiver)["0000000000000001"].1), (600, 5000, 5, 100));
    let truncated = "logtracer_exporter_spans_truncated_total{sink=\"cloud-trace\"}";
    assert_eq!((receiver.answered(400), exporter.metric(truncated).await), (0, 0.));
}

#[tokio::test]
async fn a_call_that_is_rejected_is_sent_within_the_documented_limits() {
    let receiver = Receiver::start(|request: &Request| match batch_write_within(request, DOCUMENTED) {
        Ok((_, spans)) if spans.iter().any(|span| span.display_name.as_ref().unwrap().value == "bad") => {
            error(400, "INVALID_ARGUMENT", "this name is not allowed")
        }
        Ok(_) => Answer::new(200, "{}"),
        Err(mistake) => error(400, "INVALID_ARGUMENT", &mistake),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    exporter.send(&request("shop", vec![long_span(1), span(2, "short"), span(3, "bad")])).await;
    eventually("two spans", async || (written(&receiver).len() == 2).then_some(())).await;
    let written = written(&receiver);
    assert_eq!(lengths(&written["0000000000000001"].1), (128, 256, 4, 32));
    assert_eq!(lengths(&written["0000000000000002"].1).0, 5);
    let truncated = "logtracer_exporter_spans_truncated_total{sink=\"cloud-trace\"}";
    exporter.wait_for_metric(truncated, 1.).await;
    let list = eventually("a dead letter", async || {
        Some(dead_letters(dir.path(), &["list"])).filter(|list| list.contains("\"bad\""))
    })
    .await;
    assert_eq!(list.lines().count(), 1, "{list}");
}

#[tokio::test]
async fn both_generations_of_http_attributes_have_the_same_labels() {
    let receiver = cloud_trace().await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    let number = |key: &str, number| attribute(key, Any::IntValue(number));
    let (mut today, mut before) = (span(1, "GET /orders/{id}"), span(2, "GET /orders/{id}"));
    today.attributes = vec![
        string("http.request.method", "GET"),
        number("http.response.status_code", 200),
        string("url.full", "https://shop.example/orders/1"),
        string("url.path", "/orders/1"),
        string("server.address", "shop.example"),
        string("http.route", "/orders/{id}"),
        string("user_agent.original", "curl/8"),
        number("http.request.body.size", 5),
        number("http.response.body.size", 77),
        string("network.protocol.version", "1.1"),
    ];
    before.attributes = vec![
        string("http.method", "GET"),
        number("http.status_code", 200),
        string("http.url", "https://shop.example/orders/1"),
        string("http.target", "/orders/1?page=2"),
        string("http.host", "shop.example"),
        string("http.route", "/orders/{id}"),
        string("http.user_agent", "curl/8"),
        number("http.request_content_length", 5),
        number("http.response_content_length", 77),
        string("http.flavor", "1.1"),
    ];
    for span in [&mut today, &mut before] {
        span.attributes.push(string("upstream_cluster", "orders"));
    }
    exporter.send(&request("shop", vec![today, before])).await;
    eventually("2 spans", async || (written(&receiver).len() == 2).then_some(())).await;
    let body: Value = serde_json::from_slice(&receiver.accepted()[0].body).unwrap();
    assert_eq!(body["spans"][0]["attributes"], body["spans"][1]["attributes"]);
    let labels = serde_json::to_string_pretty(&body["spans"][0]["attributes"]["attributeMap"]).unwrap();
    expect![[r#"
        {
          "/component": {
            "stringValue": {
              "value": "shop"
            }
          },
          "/http/client_protocol": {
            "stringValue": {
              "value": "HTTP/1.1"
            }
          },
          "/http/host": {
            "stringValue": {
              "value": "shop.example"
            }
          },
          "/http/method": {
            "stringValue": {
              "value": "GET"
            }
          },
          "/http/path": {
            "stringValue": {
              "value": "/orders/1"
            }
          },
          "/http/request/size": {
            "intValue": "5"
          },
          "/http/response/size": {
            "intValue": "77"
          },
          "/http/route": {
            "stringValue": {
              "value": "/orders/{id}"
            }
          },
          "/http/status_code": {
            "intValue": "200"
          },
          "/http/url": {
            "stringValue": {
              "value": "https://shop.example/orders/1"
            }
          },
          "/http/user_agent": {
            "stringValue": {
              "value": "curl/8"
            }
          },
          "g.co/agent": {
            "stringValue": {
              "value": "logtracer-exporter 0.1.0"
            }
          },
          "service.name": {
            "stringValue": {
              "value": "shop"
            }
          },
          "upstream_cluster": {
            "stringValue": {
              "value": "orders"
            }
          }
        }"#]]
    .assert_eq(&labels);
}

#[tokio::test]
async fn each_span_is_written_to_its_project() {
    let receiver = Receiver::start(|request: &Request| match batch_write(request) {
        Ok((project, _)) if project == "locked-project" => error(403, "PERMISSION_DENIED", "no access"),
        _ => strict(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    let mut all = request("shop", vec![span(1, "a"), span(2, "b")]);
    for (id, project) in [(3, "other-project"), (4, "locked-project"), (5, "not a project")] {
        let mut one = request("shop", vec![span(id, "c")]);
        let resource = one.resource_spans[0].resource.as_mut().unwrap();
        resource.attributes.push(string("gcp.project_id", project));
        all.resource_spans.append(&mut one.resource_spans);
    }
    exporter.send(&all).await;
    let written = eventually("4 spans", async || {
        let written = written(&receiver);
        (written.len() == 4).then_some(written)
    })
    .await;
    let projects: Vec<&str> = written.values().map(|(project, _)| project.as_str()).collect();
    assert_eq!(projects, ["mesh-project", "mesh-project", "other-project", "mesh-project"]);
    let list = eventually("a dead letter", async || {
        Some(dead_letters(dir.path(), &["list"])).filter(|list| list.contains("locked-project"))
    })
    .await;
    assert!(list.contains("project locked-project: HTTP 403 Forbidden: no access"), "{list}");
}

#[tokio::test]
async fn a_rejected_span_does_not_cost_its_batch() {
    let receiver = Receiver::start(|request: &Request| match batch_write(request) {
        Ok((_, spans)) if spans.iter().any(|span| span.display_name.as_ref().unwrap().value == "bad") => {
            error(400, "INVALID_ARGUMENT", "this name is not allowed")
        }
        _ => strict(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    let mut spans: Vec<Span> = (1..=100).map(|id| span(id, "fine")).collect();
    spans[41].name = "bad".to_owned();
    exporter.send(&request("shop", spans)).await;
    eventually("99 spans", async || (written(&receiver).len() == 99).then_some(())).await;
    let list = eventually("a dead letter", async || {
        Some(dead_letters(dir.path(), &["list"]))
            .filter(|list| list.lines().count() == 1 && list.contains('/'))
    })
    .await;
    assert!(list.contains("this name is not allowed"), "{list}");
}

#[tokio::test]
async fn spans_outside_the_accepted_times_are_not_sent() {
    const DAY: u64 = 24 * 3600 * 1_000_000_000;
    let receiver = cloud_trace().await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    let mut spans: Vec<Span> = (1..=100).map(|id| span(id, "fine")).collect();
    for (index, start) in [(3, 1_000_000_000), (40, now() - 15 * DAY), (80, now() + 4 * DAY)] {
        (spans[index].start_time_unix_nano, spans[index].end_time_unix_nano) = (start, start + 1);
    }
    spans[50].start_time_unix_nano = now() - 13 * DAY;
    exporter.send(&request("shop", spans)).await;
    eventually("97 spans", async || (written(&receiver).len() == 97).then_some(())).await;
    let dropped = "logtracer_exporter_spans_dropped_total{sink=\"cloud-trace\",reason=\"rejected\"}";
    exporter.wait_for_metric(dropped, 3.).await;
    let list = dead_letters(dir.path(), &["list"]);
    assert!(
        list.contains("3 spans") && list.contains("start within the last 14 or the next 3 days"),
        "{list}"
    );
    assert_eq!((receiver.answered(200), receiver.answered(400)), (1, 0), "one call, without retries");
}

#[tokio::test]
async fn an_exceeded_quota_and_a_missing_permission_are_retried() {
    let count = AtomicUsize::new(0);
    let receiver = Receiver::start(move |request: &Request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let details = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded","details":[
                {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.2s"}]}}"#;
            Answer::new(429, details)
        }
        1 => error(403, "PERMISSION_DENIED", "not yet"),
        2 => error(503, "UNAVAILABLE", "later"),
        _ => strict(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_trace(dir.path(), &receiver));
    let start = std::time::Instant::now();
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
    assert!(start.elapsed() >= Duration::from_millis(1200), "{:?}", start.elapsed());
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
}
