//! Who may send, over what: tokens, TLS, and clients that take their time or too much of it.

use std::fs;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{Exporter, command, eventually, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[tokio::test]
async fn a_token_is_demanded_of_everybody_who_sends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "s3cret\n").unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--token-file").arg(&file);
    let exporter = Exporter::spawn(command);
    let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]);
    let client = reqwest::Client::new();
    let post = async |path: &str, token: &str| {
        let post = client.post(format!("{}{path}", exporter.http)).bearer_auth(token);
        post.header("content-type", "application/x-protobuf").body(body.encode_to_vec()).send().await.unwrap()
    };
    for path in ["/v1/traces", "/v1/logs", "/api/v2/spans"] {
        let response = post(path, "guess").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        assert!(text.contains("its token is not the one of --token-file"), "{text}");
    }
    let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
    assert_eq!(grpc.export(body.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut call = tonic::Request::new(body.clone());
    call.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    grpc.export(call).await.unwrap();
    assert_eq!(post("/v1/traces", "s3cret").await.status(), 200);
    let refused = "logtracer_exporter_requests_refused_total{reason=\"unauthorized\"}";
    assert_eq!(exporter.metric(refused).await, 4.);

    // The next token, without a restart.
    fs::write(&file, "another").unwrap();
    eventually("the new token", async || (post("/v1/traces", "another").await.status() == 200).then_some(()))
        .await;
    assert_eq!(post("/v1/traces", "s3cret").await.status(), 401);
}

/// A certificate for `localhost` and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

#[tokio::test]
async fn every_address_can_be_served_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (cert_pem, key_pem) = certificate();
    fs::write(&cert, &cert_pem).unwrap();
    fs::write(&key, &key_pem).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key);
    let exporter = Exporter::spawn(command);
    let client = |pem: &str| {
        let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    };
    let https = |address: &str| address.replace("http://127.0.0.1", "https://localhost");
    let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]).encode_to_vec();
    let post = client(&cert_pem).post(https(&exporter.http) + "/v1/traces").body(body);
    let response = post.header("content-type", "application/x-protobuf").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let ready = client(&cert_pem).get(https(&exporter.view) + "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let grpc = client(&cert_pem).post(https(&exporter.grpc)).send().await.unwrap();
    assert_eq!(grpc.status(), 415, "no gRPC, but TLS");
    assert!(reqwest::get(&exporter.http).await.is_err(), "and nothing without it");

    // A renewed certificate, without a restart.
    let (cert_pem, key_pem) = certificate();
    fs::write(&key, &key_pem).unwrap();
    fs::write(&cert, &cert_pem).unwrap();
    let url = https(&exporter.view) + "/healthz";
    eventually("the new certificate", async || client(&cert_pem).get(&url).send().await.ok()).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut slow = TcpStream::connect(exporter.http.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(60), slow.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("the body did not arrive within 30 s"), "{answer}");
}

#[tokio::test]
async fn headers_are_bounded_in_size_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    let post = client.post(format!("{}/v1/traces", exporter.http)).header("x-long", "x".repeat(20 << 10));
    let response = post.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(response.status(), 431);
    assert!(response.text().await.unwrap().contains("the headers are longer than 16 KiB"));

    let address = exporter.http.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(30), slow.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "a client that never ends its headers is not waited for");
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused_on_every_protocol_and_not_read_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let long = |kib: usize| "x".repeat(kib << 10);

    // Without an end: the connection is closed instead, with an answer where the client still reads.
    let mut endless = TcpStream::connect(exporter.http.strip_prefix("http://").unwrap()).await.unwrap();
    endless.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let line = format!("x-long: {}\r\n", long(8));
    let is_closed = async {
        for _ in 0..(64 << 20) / line.len() {
            if endless.write_all(line.as_bytes()).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(is_closed.await, "64 MiB of headers were taken");
    let mut answer = Vec::new();
    let _ = endless.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for kib in [20, 100] {
        let post = http2.post(format!("{}/v1/traces", exporter.http)).header("x-long", long(kib));
        let answer = post.header("content-type", "application/json").body("{}").send().await;
        let status = answer.ok().map(|answer| answer.status().as_u16());
        assert!(status == Some(431) || kib > 64 && status.is_none(), "{kib} KiB: {status:?}");

        let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
        let mut call = tonic::Request::new(request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]));
        call.metadata_mut().insert("x-long", long(kib).parse().unwrap());
        let code = grpc.export(call).await.unwrap_err().code();
        assert!(code == Code::InvalidArgument || kib > 64, "{kib} KiB: {code:?}");
    }
    let refused = "logtracer_exporter_requests_refused_total{reason=\"headers too long\"}";
    assert_eq!(exporter.metric(refused).await, 2., "those that were short enough to be read");
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)])).await;
}
