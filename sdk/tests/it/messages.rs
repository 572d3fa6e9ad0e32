//! gRPC request messages in log lines: all kinds of fields, and all ways to receive a message.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use logtracer_sdk::server::{Excluded, MessageBody, Messages, RequestLog, Routes, TraceLayer};
use logtracer_sdk::testing::Capture;
use prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, MethodDescriptorProto, ServiceDescriptorProto,
};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};

#[derive(Clone, PartialEq, prost::Message)]
struct Order {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint64, repeated, tag = "2")]
    amounts: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    buyer: Option<Buyer>,
    #[prost(message, repeated, tag = "4")]
    others: Vec<Buyer>,
    #[prost(map = "string, message", tag = "5")]
    by_name: std::collections::HashMap<String, Buyer>,
    #[prost(enumeration = "Speed", tag = "6")]
    speed: i32,
    #[prost(bytes, tag = "7")]
    photo: Vec<u8>,
    /// A field without a descriptor.
    #[prost(string, tag = "99")]
    newer: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Buyer {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    email: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Speed {
    Slow = 0,
    Fast = 1,
}

fn descriptors() -> Vec<u8> {
    let field = |name: &str, number, kind: Type, label: Label, type_name: &str| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(label.into()),
        type_name: (!type_name.is_empty()).then(|| type_name.into()),
        ..FieldDescriptorProto::default()
    };
    let text = |name, number| field(name, number, Type::String, Label::Optional, "");
    let entry = DescriptorProto {
        name: Some("ByNameEntry".into()),
        field: vec![text("key", 1), field("value", 2, Type::Message, Label::Optional, ".demo.Buyer")],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    let order = DescriptorProto {
        name: Some("Order".into()),
        field: vec![
            text("item", 1),
            field("amounts", 2, Type::Uint64, Label::Repeated, ""),
            field("buyer", 3, Type::Message, Label::Optional, ".demo.Buyer"),
            field("others", 4, Type::Message, Label::Repeated, ".demo.Buyer"),
            field("by_name", 5, Type::Message, Label::Repeated, ".demo.Order.ByNameEntry"),
            field("speed", 6, Type::Enum, Label::Optional, ".demo.Speed"),
            field("photo", 7, Type::Bytes, Label::Optional, ""),
        ],
        nested_type: vec![entry],
        ..DescriptorProto::default()
    };
    let buyer = DescriptorProto {
        name: Some("Buyer".into()),
        field: vec![text("name", 1), text("email", 2)],
        ..DescriptorProto::default()
    };
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let speed = EnumDescriptorProto {
        name: Some("Speed".into()),
        value: vec![value("SLOW", 0), value("FAST", 1)],
        ..EnumDescriptorProto::default()
    };
    let method = MethodDescriptorProto {
        name: Some("Buy".into()),
        input_type: Some(".demo.Order".into()),
        output_type: Some(".demo.Order".into()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Shop".into()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".into()),
        package: Some("demo".into()),
        syntax: Some("proto3".into()),
        message_type: vec![order, buyer],
        enum_type: vec![speed],
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn order() -> Order {
    let buyer = |name: &str| Buyer { name: name.into(), email: format!("{name}@secret") };
    Order {
        item: "bread: \"dark\"\n{card: 1}".into(),
        amounts: vec![1, 2],
        buyer: Some(buyer("ada")),
        others: vec![buyer("bob"), Buyer::default()],
        by_name: [("x".to_owned(), buyer("eve")), ("a".to_owned(), buyer("joe"))].into(),
        speed: Speed::Fast.into(),
        photo: vec![0; 12],
        newer: "secret".into(),
    }
}

/// A body of these chunks.
struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// Sends a body in chunks of this size to a service that reads all of it or nothing, and returns the log lines.
async fn lines_of(redacted: &[&str], path: &str, body: &[u8], chunk_size: usize, reads: bool) -> Vec<Value> {
    let messages = Messages::new(&descriptors()).unwrap().redact(redacted.iter().copied()).unwrap();
    let layer = TraceLayer::grpc()
        .requests(RequestLog::Pair)
        .exclude(Routes::new().exact("/demo.Shop/Excluded"))
        .exclude_from(Excluded::Logs)
        .messages(messages);
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let expected = body.to_vec();
    let service =
        ServiceBuilder::new().layer(layer).service_fn(async |request: Request<MessageBody<Chunks>>| {
            if reads {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                tracing::info!("handling");
                assert_eq!(body, expected);
            }
            let response = Response::builder().header("grpc-status", "0").body(String::new());
            Ok::<_, Infallible>(response.unwrap())
        });
    let chunks = body.chunks(chunk_size).map(Bytes::copy_from_slice).collect();
    let request = Request::post(format!("http://shop{path}")).body(Chunks(chunks)).unwrap();
    service.oneshot(request).await.unwrap();
    capture.lines()
}

#[track_caller]
fn check(lines: &[Value], expected: Option<&str>) {
    let received: Vec<_> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().ends_with(" - received gRPC call"))
        .collect();
    assert_eq!(received.len(), 1, "{lines:?}");
    assert_eq!(received[0], &lines[0]);
    assert_eq!(received[0]["request"].as_str(), expected);
    assert_eq!(received[0]["trace"], lines[lines.len() - 1]["trace"]);
}

const BUY: &str = "/demo.Shop/Buy";

#[tokio::test]
async fn every_kind_of_field_is_logged() {
    let body = framed(0, &order().encode_to_vec());
    let whole = r#"item: "bread: \"dark\"\n{card: 1}" amounts: [1, 2] buyer { name: "ada" email: "ada@secret" } others: [{ name: "bob" email: "bob@secret" }, {  }] by_name: { "a": { name: "joe" email: "joe@secret" }, "x": { name: "eve" email: "eve@secret" } } speed: FAST photo: (12 bytes)"#;
    check(&lines_of(&[], BUY, &body, 1000, true).await, Some(whole));

    let redacted = ["item", "amounts", "buyer.email", "others.email", "by_name.email", "photo"];
    let lines = lines_of(&redacted, BUY, &body, 1000, true).await;
    let without = r#"item: REDACTED amounts: REDACTED buyer { name: "ada" email: REDACTED } others: [{ name: "bob" email: REDACTED }, {  }] by_name: { "a": { name: "joe" email: REDACTED }, "x": { name: "eve" email: REDACTED } } speed: FAST photo: REDACTED"#;
    check(&lines, Some(without));
    assert!(!format!("{lines:?}").contains("secret"));

    let lines = lines_of(&["buyer", "others", "by_name", "speed"], BUY, &body, 1000, true).await;
    let text = lines[0]["request"].as_str().unwrap();
    assert!(
        text.ends_with(
            "buyer: REDACTED others: REDACTED by_name: REDACTED speed: REDACTED photo: (12 bytes)"
        )
    );
}

/// The first message is logged for chunks of any size, with another message after it. The handler gets every byte.
#[tokio::test]
async fn a_message_in_any_chunks_is_logged() {
    let first = Order { item: "bread".into(), ..Order::default() };
    let second = Order { item: "eggs".into(), ..Order::default() };
    let body = [framed(0, &first.encode_to_vec()), framed(0, &second.encode_to_vec())].concat();
    for chunk_size in 1..body.len() {
        check(&lines_of(&[], BUY, &body, chunk_size, true).await, Some("item: \"bread\""));
    }
}

#[tokio::test]
async fn invalid_messages_are_logged_as_a_note() {
    let long = Order { item: "x".repeat(17_000), ..Order::default() }.encode_to_vec();
    let cases: &[(&[u8], Option<&str>)] = &[
        (&framed(0, &long), Some("(17004 bytes)")),
        (&framed(1, b"gzip"), Some("(4 bytes, compressed)")),
        (&framed(0, b"\xff\xff"), Some("(cannot be read)")),
        (&framed(0, b""), Some("")),
        (b"", None),
        (b"\0\0\0", None),
        (&framed(0, b"more than is sent")[..9], None),
        (b"\0\xff\xff\xff\xffabc", Some("(4294967295 bytes)")),
    ];
    for (body, expected) in cases {
        check(&lines_of(&[], BUY, body, 1000, true).await, *expected);
    }
}

#[tokio::test]
async fn a_call_is_logged_even_if_its_message_is_not_read() {
    let body = framed(0, &order().encode_to_vec());
    check(&lines_of(&[], BUY, &body, 1000, false).await, None);
    check(&lines_of(&[], "/demo.Shop/Unknown", &body, 1000, true).await, None);
    // Excluded from logs: only the handler's own line.
    let lines = lines_of(&[], "/demo.Shop/Excluded", &body, 1000, true).await;
    assert_eq!(lines.iter().map(|line| &line["message"]).collect::<Vec<_>>(), ["test - handling"]);
}

/// A handler may let another task read the body, without the trace.
#[tokio::test]
async fn another_task_may_read_the_body() {
    let messages = Messages::new(&descriptors()).unwrap();
    let layer = TraceLayer::grpc().requests(RequestLog::Pair).messages(messages);
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let service =
        ServiceBuilder::new().layer(layer).service_fn(async |request: Request<MessageBody<Chunks>>| {
            tokio::spawn(request.into_body().collect()).await.unwrap().unwrap();
            Ok::<_, Infallible>(Response::new(String::new()))
        });
    let body = Chunks([Bytes::from(framed(0, &order().encode_to_vec()))].into());
    service.oneshot(Request::post(format!("http://shop{BUY}")).body(body).unwrap()).await.unwrap();
    let lines = capture.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0]["request"].is_string() && lines[0]["trace"].is_string());
    assert_eq!(lines[0]["trace"], lines[1]["trace"]);
}

/// At level `warn` the single line of a failed call has its message.
#[tokio::test]
async fn the_message_of_a_failed_call_is_logged() {
    let messages = Messages::new(&descriptors()).unwrap().redact(["item"]).unwrap();
    let layer = TraceLayer::grpc().requests(RequestLog::Single).messages(messages);
    let capture = Capture::with(|logging| logging.level("warn"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    for (status, expected) in [("0", 0), ("13", 1)] {
        let service = ServiceBuilder::new().layer(layer.clone()).service_fn(
            async |request: Request<MessageBody<Chunks>>| {
                request.into_body().collect().await.unwrap();
                let response = Response::builder().header("grpc-status", status).body(String::new());
                Ok::<_, Infallible>(response.unwrap())
            },
        );
        let message = Order { item: "bread".into(), ..Order::default() }.encode_to_vec();
        let body = Chunks([Bytes::from(framed(0, &message))].into());
        service.oneshot(Request::post(format!("http://shop{BUY}")).body(body).unwrap()).await.unwrap();
        assert_eq!(capture.lines().len(), expected);
    }
    assert_eq!(capture.lines()[0]["message"], "test - /demo.Shop/Buy - INTERNAL");
    assert_eq!(capture.lines()[0]["request"], "item: REDACTED");
}

/// One layer serves both: an HTTP request is logged as such.
#[tokio::test]
async fn http_requests_are_logged_beside_grpc() {
    let messages = Messages::new(&descriptors()).unwrap();
    let layer = TraceLayer::new().requests(RequestLog::Pair).messages(messages);
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let service =
        ServiceBuilder::new().layer(layer).service_fn(async |request: Request<MessageBody<Chunks>>| {
            request.into_body().collect().await.unwrap();
            Ok::<_, Infallible>(Response::new(String::new()))
        });
    let body = || Chunks([Bytes::from(framed(0, &order().encode_to_vec()))].into());
    for content_type in ["application/json", "application/grpc+proto"] {
        let request = Request::post(format!("http://shop{BUY}")).header("content-type", content_type);
        service.clone().oneshot(request.body(body()).unwrap()).await.unwrap();
    }
    let messages: Vec<_> =
        capture.lines().iter().map(|line| (line["message"].clone(), line["request"].is_string())).collect();
    assert_eq!(
        messages,
        [
            ("test - POST - http://shop/demo.Shop/Buy".into(), false),
            ("test - 200 OK - http://shop/demo.Shop/Buy".into(), false),
            ("test - /demo.Shop/Buy - received gRPC call".into(), true),
            ("test - /demo.Shop/Buy - UNKNOWN - returning gRPC call".into(), false),
        ]
    );
}

#[test]
fn unknown_fields_are_errors() {
    let messages = Messages::new(&descriptors()).unwrap();
    for known in ["item", "buyer", "buyer.name", "others.email", "by_name.email"] {
        assert!(messages.clone().redact([known]).is_ok(), "{known}");
    }
    for unknown in ["", "itm", "item.x", "buyer.mail", "by_name.value", "amounts.1", "email"] {
        let error = messages.clone().redact([unknown]).unwrap_err();
        assert_eq!(error.to_string(), format!("no request message has the field {unknown:?}"));
    }
}
