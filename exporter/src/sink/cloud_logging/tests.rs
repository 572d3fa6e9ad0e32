use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value, json};

use super::fit::MAX_ENTRY_BYTES;
use super::*;
use crate::deliver::{Origin, Slice};
use crate::otlp::Signal;

fn any(value: &Value) -> AnyValue {
    let members = |object: &serde_json::Map<String, Value>| KeyValueList {
        values: object.iter().map(|(key, value)| attribute(key, value)).collect(),
    };
    let value = match value {
        Value::Null => None,
        Value::Bool(truth) => Some(Any::BoolValue(*truth)),
        Value::Number(number) => {
            number.as_i64().map(Any::IntValue).or_else(|| number.as_f64().map(Any::DoubleValue))
        }
        Value::String(text) => Some(Any::StringValue(text.clone())),
        Value::Array(items) => Some(Any::ArrayValue(ArrayValue { values: items.iter().map(any).collect() })),
        Value::Object(object) => Some(Any::KvlistValue(members(object))),
    };
    AnyValue { value }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), key_strindex: 0 }
}

fn attributes(object: &Value) -> Vec<KeyValue> {
    object.as_object().unwrap().iter().map(|(key, value)| attribute(key, value)).collect()
}

fn chunk(resource: &Value, records: Vec<LogRecord>) -> Chunk {
    let items = u32::try_from(records.len()).unwrap();
    let scope_logs = vec![ScopeLogs {
        scope: Some(InstrumentationScope { name: "db".to_owned(), ..Default::default() }),
        log_records: records,
        ..Default::default()
    }];
    let resource = Some(Resource { attributes: attributes(resource), ..Default::default() });
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    Chunk::new(Signal::Logs, Slice::new(Origin::Batch(1), items, body.into()))
}

fn entries(resource: &Value, records: Vec<LogRecord>) -> (u32, Vec<Value>) {
    let (truncated, body) = body(&chunk(resource, records), &"shop-1".parse().unwrap()).unwrap();
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["partialSuccess"], true);
    let Value::Array(entries) = body["entries"].take() else { panic!("a list") };
    (truncated, entries)
}

fn entry(record: LogRecord) -> Value {
    entries(&json!({"service.name": "shop"}), vec![record]).1.remove(0)
}

#[test]
fn a_record_becomes_an_entry() {
    let record = LogRecord {
        time_unix_nano: 1_532_527_445_499_727_000,
        severity_number: 13,
        severity_text: "custom".to_owned(),
        event_name: "basket.opened".to_owned(),
        body: Some(any(&json!("basket \"opened\""))),
        attributes: attributes(
            &json!({"items": 3, "share": 0.5, "big": i64::MAX, "user": {"name": "ada", "tags": ["x"]}}),
        ),
        trace_id: vec![0x46; 16],
        span_id: vec![0x0a; 8],
        flags: 1,
        ..Default::default()
    };
    let mut entry = entry(record);
    assert_eq!(entry["insertId"].as_str().unwrap().len(), 32);
    entry.as_object_mut().unwrap().remove("insertId");
    let expected = json!({
        "logName": "projects/shop-1/logs/shop",
        "resource": {"type": "generic_task", "labels": {
            "project_id": "shop-1", "location": "global", "namespace": "", "job": "shop", "task_id": ""
        }},
        "timestamp": "2018-07-25T14:04:05.499727000Z",
        "severity": "WARNING",
        "labels": {
            "service.name": "shop", "instrumentation_source": "db", "event": "basket.opened", "severity_text": "custom"
        },
        "trace": "projects/shop-1/traces/46464646464646464646464646464646",
        "spanId": "0a0a0a0a0a0a0a0a",
        "traceSampled": true,
        "jsonPayload": {
            "message": "basket \"opened\"", "items": 3, "share": 0.5, "big": "9223372036854775807",
            "user": {"name": "ada", "tags": ["x"]}
        }
    });
    assert_eq!(entry, expected);
}

/// Checks one member of the entry of a record with this body and these attributes, and what is left in its payload.
#[track_caller]
fn check(body: Value, given: Value, member: &str, expected: Value, payload: Value) {
    let record = LogRecord {
        time_unix_nano: 1_000_000_000,
        severity_number: 17,
        body: Some(any(&body)),
        attributes: attributes(&given),
        ..Default::default()
    };
    let entry = entry(record);
    assert_eq!((&entry[member], &entry["jsonPayload"]), (&expected, &payload), "{body} {given}");
}

#[test]
fn bodies_and_attributes_are_fields_of_the_payload() {
    let none = || Value::Null;
    for (body, given, payload) in [
        (json!("hello"), json!({}), json!({"message": "hello"})),
        (json!(7), json!({"a": null}), json!({"message": 7, "a": null})),
        (none(), json!({"a": 1}), json!({"a": 1})),
        (json!({"message": "m", "n": 1}), json!({"n": 2}), json!({"message": "m", "n": 1, "fields.n": 2})),
        (
            json!("{not json}"),
            json!({"message": "x"}),
            json!({"message": "{not json}", "fields.message": "x"}),
        ),
        // The severity and the time of a structured body are those of the entry.
        (
            json!({"message": "m", "severity": "error", "time": "1970-01-01T00:00:01Z"}),
            json!({}),
            json!({"message": "m"}),
        ),
        (json!({"severity": "INFO", "time": "noon"}), json!({}), json!({"severity": "INFO", "time": "noon"})),
    ] {
        check(body, given, "httpRequest", Value::Null, payload);
    }
}

/// A user can have written it.
#[test]
fn a_text_of_json_sets_no_field() {
    let fields = json!({
        "message": "m", "severity": "EMERGENCY", "time": "1970-01-01T00:00:02Z", "insertId": "i",
        "logging.googleapis.com/insertId": "i", "log.record.uid": "i", "httpRequest": {"status": 500},
        "logging.googleapis.com/trace": "463ac35c9f6413ad48485a3953bb6124",
        "logging.googleapis.com/spanId": "00f067aa0ba902b7", "logging.googleapis.com/trace_sampled": true,
        "logging.googleapis.com/labels": {"team": "x"}, "logging.googleapis.com/operation": {"id": "7"},
        "logging.googleapis.com/sourceLocation": {"file": "a.rs"}, "gcp.log_name": "other"
    });
    let record = |body: Value| LogRecord { severity_number: 9, body: Some(any(&body)), ..Default::default() };
    let text = fields.to_string();
    let plain = entry(record(json!("m")));
    let mut of_text = entry(record(json!(text)));
    assert_eq!(of_text["jsonPayload"], json!({"message": text}));
    assert_ne!(of_text["insertId"], plain["insertId"], "it is still a hash");
    assert_eq!(of_text["insertId"].as_str().unwrap().len(), 32);
    for member in ["jsonPayload", "insertId"] {
        of_text[member] = plain[member].clone();
    }
    assert_eq!(of_text, plain);
    // As a structured body, they are special.
    let structured = entry(record(fields));
    assert_eq!((&structured["insertId"], &structured["spanId"]), (&json!("i"), &json!("00f067aa0ba902b7")));
}

#[test]
fn a_trace_keeps_its_own_project() {
    const ID: &str = "46464646464646464646464646464646";
    let sink: &str = &format!("projects/shop-1/traces/{ID}");
    let other: &str = &format!("projects/other-2/traces/{ID}");
    let invalid: &str = &format!("projects/Not Valid/traces/{ID}");
    let another = "projects/other-2/traces/463ac35c9f6413ad48485a3953bb6124";
    for (of_record, field, expected, is_moved) in [
        (vec![], other, other, true),
        (vec![0x46; 16], other, other, true),
        (vec![], ID, sink, true),
        (vec![0x46; 16], ID, sink, true),
        (vec![], invalid, sink, true),
        (vec![0x46; 16], another, sink, false),
    ] {
        let record = LogRecord {
            trace_id: of_record,
            attributes: attributes(&json!({"logging.googleapis.com/trace": field})),
            ..Default::default()
        };
        let entry = entry(record);
        let left = &entry["jsonPayload"]["logging.googleapis.com/trace"];
        assert_eq!((entry["trace"].as_str(), left.is_null()), (Some(expected), is_moved), "{field}");
    }
}

#[test]
fn special_fields_have_their_places() {
    let request = json!({"requestMethod": "GET", "status": 200, "latency": "0.5s", "requestSize": "7"});
    let location = json!({"file": "src/db.rs", "line": "7", "function": "db::open"});
    let text = json!("m");
    let only = || json!({"message": "m"});
    for (given, member, expected, payload) in [
        (json!({"gcp.http_request": request}), "httpRequest", request.clone(), only()),
        (json!({"gcp.http_request": request.to_string()}), "httpRequest", request.clone(), only()),
        (json!({"httpRequest": request}), "httpRequest", request, only()),
        (
            json!({"httpRequest": {"requestMethod": "GET", "latency": "soon", "own": 1}}),
            "httpRequest",
            json!({"requestMethod": "GET"}),
            json!({"message": "m", "httpRequest": {"latency": "soon", "own": 1}}),
        ),
        (
            json!({
                "http.request.method": "GET", "url.full": "https://shop/", "http.response.status_code": 503,
                "http.response.body.size": 12, "client.address": "10.0.0.1", "network.protocol.version": "1.1",
                "user_agent.original": "curl", "http.route": "/"
            }),
            "httpRequest",
            json!({
                "requestMethod": "GET", "requestUrl": "https://shop/", "status": 503, "responseSize": "12",
                "remoteIp": "10.0.0.1", "protocol": "HTTP/1.1", "userAgent": "curl"
            }),
            json!({"message": "m", "http.route": "/"}),
        ),
        (
            json!({"http.method": "PUT", "http.status_code": "x", "client.address": "a-host"}),
            "httpRequest",
            json!({"requestMethod": "PUT"}),
            json!({"message": "m", "http.status_code": "x", "client.address": "a-host"}),
        ),
        (json!({"url.full": "x"}), "httpRequest", Value::Null, json!({"message": "m", "url.full": "x"})),
        (json!({"gcp.source_location": location}), "sourceLocation", location.clone(), only()),
        (
            json!({"code.file.path": "src/db.rs", "code.line.number": 7, "code.function.name": "db::open"}),
            "sourceLocation",
            location,
            only(),
        ),
        (
            json!({"code.filepath": "A.java", "code.lineno": 7, "code.function": "open", "code.namespace": "shop.Db"}),
            "sourceLocation",
            json!({"file": "A.java", "line": "7", "function": "shop.Db.open"}),
            only(),
        ),
        (
            json!({"logging.googleapis.com/operation": {"id": "7", "first": true}}),
            "operation",
            json!({"id": "7", "first": true}),
            only(),
        ),
        (json!({"gcp.trace_sampled": true}), "traceSampled", json!(true), only()),
        (json!({"gcp.log_name": "a b/c"}), "logName", json!("projects/shop-1/logs/a_b%2Fc"), only()),
        (json!({"log.record.uid": "01J"}), "insertId", json!("01J"), only()),
        (
            json!({"logging.googleapis.com/labels": {"team": "data", "n": 1}}),
            "labels",
            json!({"team": "data", "service.name": "shop", "instrumentation_source": "db"}),
            json!({"message": "m", "logging.googleapis.com/labels": {"n": 1}}),
        ),
        (
            json!({"logging.googleapis.com/trace": "projects/p/traces/463ac35c9f6413ad48485a3953bb6124"}),
            "trace",
            json!("projects/p/traces/463ac35c9f6413ad48485a3953bb6124"),
            only(),
        ),
    ] {
        check(text.clone(), given, member, expected, payload);
    }
}

#[test]
fn the_severity_is_that_of_the_number_or_the_name() {
    for (number, text, expected) in [
        (1, "", "DEBUG"),
        (9, "", "INFO"),
        (13, "", "WARNING"),
        (17, "INFO", "ERROR"),
        (21, "", "CRITICAL"),
        (0, "alert", "ALERT"),
        (0, "", "DEFAULT"),
        (99, "odd", "DEFAULT"),
    ] {
        let record =
            LogRecord { severity_number: number, severity_text: text.to_owned(), ..Default::default() };
        assert_eq!(entry(record)["severity"], expected, "{number} {text}");
    }
}

#[test]
fn the_resource_says_where_the_service_runs() {
    let pod = json!({
        "cloud.platform": "gcp_kubernetes_engine", "cloud.availability_zone": "europe-west1-b",
        "k8s.cluster.name": "c", "k8s.namespace.name": "n", "k8s.pod.name": "p", "service.name": "shop"
    });
    let with = |more: Value| {
        let mut object = pod.clone();
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    for (given, kind, labels) in [
        (
            with(json!({"k8s.container.name": "app"})),
            "k8s_container",
            json!({
                "location": "europe-west1-b", "cluster_name": "c", "namespace_name": "n", "pod_name": "p",
                "container_name": "app"
            }),
        ),
        (
            pod.clone(),
            "k8s_pod",
            json!({"location": "europe-west1-b", "cluster_name": "c", "namespace_name": "n", "pod_name": "p"}),
        ),
        (
            json!({"k8s.node.name": "node-1", "cloud.region": "europe-west1"}),
            "k8s_node",
            json!({"location": "europe-west1", "cluster_name": "", "node_name": "node-1"}),
        ),
        (
            json!({"cloud.platform": "gcp_cloud_run", "faas.name": "s", "faas.version": "s-1", "cloud.region": "r"}),
            "cloud_run_revision",
            json!({"location": "r", "service_name": "s", "configuration_name": "s", "revision_name": "s-1"}),
        ),
        (
            json!({"cloud.platform": "gcp_compute_engine", "host.id": "42", "cloud.availability_zone": "z"}),
            "gce_instance",
            json!({"zone": "z", "instance_id": "42"}),
        ),
        (
            json!({"service.name": "a", "service.namespace": "n", "service.instance.id": "i", "cloud.region": "r"}),
            "generic_task",
            json!({"location": "r", "namespace": "n", "job": "a", "task_id": "i"}),
        ),
        (
            json!({"service.name": "a", "host.name": "h"}),
            "generic_node",
            json!({"location": "global", "namespace": "", "node_id": "h"}),
        ),
        (json!({}), "global", json!({})),
    ] {
        let entry = entries(&given, vec![LogRecord::default()]).1.remove(0);
        let mut expected = labels;
        expected["project_id"] = json!("shop-1");
        assert_eq!((&entry["resource"]["type"], &entry["resource"]["labels"]), (&json!(kind), &expected));
    }
}

#[test]
fn an_insert_id_depends_on_the_record_and_its_batch() {
    let record = |n: u64, text: &str| LogRecord {
        time_unix_nano: n,
        body: Some(any(&json!(text))),
        ..Default::default()
    };
    let ids = |service: &str, records: Vec<LogRecord>| -> Vec<String> {
        let (_, entries) = entries(&json!({"service.name": service}), records);
        entries.iter().map(|entry| entry["insertId"].as_str().unwrap().to_owned()).collect()
    };
    let all =
        ids("shop", vec![record(1, "a"), record(2, "a"), record(1, "b"), record(1, "a"), record(1, "a")]);
    let mut distinct = all.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "equal records of one batch are different lines");
    assert_eq!(
        ids("shop", vec![record(1, "b"), record(1, "a"), record(1, "a")]),
        [all[2].clone(), all[0].clone(), all[3].clone()]
    );
    assert_ne!(ids("cart", vec![record(1, "a")])[0], all[0]);
}

#[test]
fn large_entries_are_truncated() {
    let number_list = json!(vec![1; 100_000]);
    let many: serde_json::Map<String, Value> =
        (0..5000).map(|n| (format!("attribute.{n}"), json!("ä".repeat(100)))).collect();
    let keys: serde_json::Map<String, Value> =
        (0..3000).map(|n| (format!("\u{1}{n}").repeat(50), json!(n))).collect();
    let mut deep = json!("deep");
    (0..40).for_each(|_| deep = json!([deep]));
    for (what, body, given, is_truncated) in [
        ("a text of 300 KiB", json!("ä".repeat(150 << 10)), json!({"user": "ada"}), true),
        ("a text that is escaped", json!("\u{1}".repeat(300 << 10)), json!({"user": "ada"}), true),
        (
            "a map of 300 KiB",
            json!({"message": "m", "sql": "x".repeat(300 << 10)}),
            json!({"user": "ada"}),
            true,
        ),
        ("numbers", number_list, json!({}), true),
        ("many attributes", json!("m"), Value::Object(many), true),
        ("long keys", json!("m"), Value::Object(keys), true),
        ("nested", deep, json!({"user": "ada"}), false),
        ("an ordinary one", json!("m"), json!({"user": "ada"}), false),
    ] {
        let record =
            LogRecord { body: Some(any(&body)), attributes: attributes(&given), ..Default::default() };
        let (truncated, entries) = entries(&json!({}), vec![record]);
        let entry = &entries[0];
        let size = entry.to_string().len();
        assert!(size <= MAX_ENTRY_BYTES, "{what}: {size}");
        assert_eq!(truncated, u32::from(is_truncated), "{what}");
        assert_eq!(entry["labels"]["logtracer.truncated"] == "true", is_truncated, "{what}");
        // The short texts stay.
        if given.get("user").is_some() {
            assert_eq!(entry["jsonPayload"]["user"], "ada", "{what}");
        }
        if what.contains("300 KiB") {
            assert!(size > MAX_ENTRY_BYTES * 9 / 10, "{what}: not more than needed: {size}");
        }
    }
}

/// Each of these has one text that is too long for its place.
#[test]
fn each_truncated_text_is_marked_and_counted() {
    let long = |len: usize| "x".repeat(len);
    let service = || json!({"service.name": "shop"});
    for (what, resource, record) in [
        ("the name of the service", json!({"service.name": long(600)}), LogRecord::default()),
        ("a label of the service", json!({"service.version": long(1025)}), LogRecord::default()),
        ("a label of the resource", json!({"k8s.pod.name": long(513)}), LogRecord::default()),
        ("the event", service(), LogRecord { event_name: long(1025), ..Default::default() }),
        ("the severity", service(), LogRecord { severity_text: long(1025), ..Default::default() }),
        ("the log", service(), with(json!({"gcp.log_name": long(512)}))),
        ("a label", service(), with(json!({"logging.googleapis.com/labels": {"a": long((64 << 10) + 1)}}))),
        ("a URL", service(), with(json!({"gcp.http_request": {"requestUrl": long((16 << 10) + 1)}}))),
        (
            "an attribute",
            service(),
            with(json!({"http.request.method": "GET", "url.full": long((16 << 10) + 1)})),
        ),
        ("a file", service(), with(json!({"code.file.path": long((16 << 10) + 1)}))),
        ("a name", service(), with(json!({(long(257)): 1}))),
    ] {
        let (truncated, entries) = entries(&resource, vec![record]);
        assert_eq!((truncated, &entries[0]["labels"]["logtracer.truncated"]), (1, &json!("true")), "{what}");
    }
    let (truncated, entries) = entries(&service(), vec![with(json!({"url.full": long(20 << 10)}))]);
    assert_eq!((truncated, &entries[0]["labels"]["logtracer.truncated"]), (0, &Value::Null));
}

#[test]
fn of_attributes_with_the_same_key_the_last_one_counts() {
    let pairs = [
        ("k", json!("a")),
        ("gcp.http_request", json!({"status": 200})),
        ("log.record.uid", json!("first")),
        ("gcp.project_id", json!("shop-1")),
        ("k", json!("b")),
        ("gcp.http_request", json!({"status": 500})),
        ("log.record.uid", json!("last")),
    ];
    let attributes = pairs.iter().map(|(key, value)| attribute(key, value)).collect();
    let entry = entry(LogRecord { attributes, ..Default::default() });
    assert_eq!(entry["jsonPayload"], json!({"k": "b"}));
    assert_eq!((&entry["httpRequest"]["status"], &entry["insertId"]), (&json!(500), &json!("last")));
}

/// The name of the log has the project of the resource.
#[test]
fn another_project_of_a_record_stays_a_field() {
    assert_eq!(entry(with(json!({"gcp.project_id": "shop-1"})))["jsonPayload"], json!({}));
    assert_eq!(entry(with(json!({"gcp.project_id": "b"})))["jsonPayload"], json!({"gcp.project_id": "b"}));
}

/// The record was truncated when its line was read. That is shown, and not counted for this sink.
#[test]
fn a_record_that_was_truncated_before_is_not_counted() {
    for given in
        [json!({"logtracer.truncated": true}), json!({"log.record.uid": "i", "logtracer.truncated": true})]
    {
        let (truncated, entries) = entries(&json!({}), vec![with(given)]);
        assert_eq!((truncated, &entries[0]["labels"]["logtracer.truncated"]), (0, &json!("true")));
        assert_eq!(entries[0]["jsonPayload"], json!({}));
    }
}

fn with(given: Value) -> LogRecord {
    LogRecord { attributes: attributes(&given), ..Default::default() }
}
