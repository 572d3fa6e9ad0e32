//! The sink `zipkin`, against a receiver that checks spans with Zipkin's schema.

use serde_json::Value;

use crate::harness::{Exporter, eventually, failed, request, span, string};
use crate::receiver::{Answer, Receiver, Request};
use crate::sinks::{TRACE, exporter};

/// Returns the first violation of Zipkin's own schema (zipkin-api/zipkin2-api.yaml).
fn schema_violation(request: &Request) -> Option<String> {
    let is_hex = |value: &Value, lengths: &[usize]| {
        value.as_str().is_some_and(|text| {
            lengths.contains(&text.len())
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    if request.uri.path() != "/api/v2/spans" || request.headers["content-type"] != "application/json" {
        return Some(format!("{} {:?}", request.uri, request.headers));
    }
    let Ok(Value::Array(spans)) = serde_json::from_slice(&request.body) else {
        return Some("not a list".to_owned());
    };
    const KNOWN: [&str; 11] = [
        "traceId",
        "parentId",
        "id",
        "kind",
        "name",
        "timestamp",
        "duration",
        "localEndpoint",
        "remoteEndpoint",
        "annotations",
        "tags",
    ];
    for span in &spans {
        let object = span.as_object()?;
        let optional = |key: &str, is_valid: &dyn Fn(&Value) -> bool| object.get(key).is_none_or(is_valid);
        let is_text_map =
            |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_string));
        let is_endpoint = |value: &Value| {
            value["serviceName"].is_string() && optional("port", &|port| port.as_u64() <= Some(65535))
        };
        let is_kind =
            |value: &Value| matches!(value.as_str(), Some("CLIENT" | "SERVER" | "PRODUCER" | "CONSUMER"));
        let is_valid_span = is_hex(&span["traceId"], &[16, 32])
            && is_hex(&span["id"], &[16])
            && optional("parentId", &|id| is_hex(id, &[16]))
            && optional("kind", &is_kind)
            && optional("name", &Value::is_string)
            && optional("timestamp", &|time| time.as_u64() > Some(0))
            && optional("duration", &|time| time.as_u64() > Some(0))
            && optional("localEndpoint", &is_endpoint)
            && optional("remoteEndpoint", &is_endpoint)
            && optional("tags", &is_text_map)
            && object.keys().all(|key| KNOWN.contains(&key.as_str()));
        if !is_valid_span {
            return Some(span.to_string());
        }
    }
    None
}

#[tokio::test]
async fn sent_spans_conform_to_zipkins_schema() {
    let receiver = Receiver::start(|request: &Request| match schema_violation(request) {
        None => Answer::new(202, ""),
        Some(violation) => Answer::new(400, violation),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path(), &[&format!("zipkin={}", receiver.url)]);
    let mut spans: Vec<_> = (1..=50).map(|id| span(TRACE, id, id - 1, "work", id, 0)).collect();
    spans[0].attributes = vec![string("http.route", "/a"), string("peer.service", "b")];
    spans[0].kind = 3;
    spans[1] = failed(spans[1].clone(), "no");
    spans[2].end_time_unix_nano = 0;
    spans[3].name.clear();
    exporter.send(&request("shop", spans)).await;
    let received = eventually("50 spans", async || {
        let spans: Vec<Value> = receiver
            .accepted()
            .iter()
            .flat_map(|request| serde_json::from_slice::<Vec<Value>>(&request.body).unwrap())
            .collect();
        (spans.len() == 50).then_some(spans)
    })
    .await;
    assert_eq!(receiver.answered(400), 0);
    assert_eq!(received[0]["remoteEndpoint"]["serviceName"], "b");
    assert_eq!(
        (&received[1]["tags"]["error"], &received[1]["parentId"]),
        (&"no".into(), &"0000000000000001".into())
    );
}

#[tokio::test]
async fn another_exporter_accepts_the_spans_of_the_sink_zipkin() {
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let second = Exporter::start(second_dir.path());
    let first = exporter(first_dir.path(), &[&format!("zipkin={}", second.http)]);
    let mut child = failed(span(TRACE, 2, 1, "GET /b", 1, 3), "no");
    child.kind = 3;
    child.attributes = vec![string("http.route", "/b")];
    first.send(&request("shop", vec![span(TRACE, 1, 0, "GET /a", 0, 5), child])).await;
    let trace = second.trace(TRACE, 2, 0).await;
    let child = trace["spans"].as_array().unwrap().iter().find(|span| span["name"] == "GET /b").unwrap();
    assert_eq!((&child["parent_span_id"], &child["kind"]), (&"0000000000000001".into(), &"client".into()));
    assert_eq!((&child["service_name"], &child["attributes"]["http.route"]), (&"shop".into(), &"/b".into()));
    assert_eq!(child["status"]["code"], "error");
}
