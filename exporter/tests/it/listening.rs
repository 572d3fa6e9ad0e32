//! Tokens, TLS, and the limits for slow clients and large headers.

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
async fn every_protocol_requires_the_token() {
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
        assert!(text.contains("its token is not in --token-file"), "{text}");
    }
    let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
    assert_eq!(grpc.export(body.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut call = tonic::Request::new(body.clone());
    call.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    grpc.export(call).await.unwrap();
    assert_eq!(post("/v1/traces", "s3cret").await.status(), 200);
    let rejected = "logtracer_exporter_requests_rejected_total{reason=\"unauthorized\"}";
    assert_eq!(exporter.metric(rejected).await, 4.);

    // A new token is reloaded without a restart.
    fs::write(&file, "another").unwrap();
    eventually("the new token", async || (post("/v1/traces", "another").await.status() == 200).then_some(()))
        .await;
    assert_eq!(post("/v1/traces", "s3cret").await.status(), 401);
}

/// Creates a certificate for `localhost`. Returns it and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

#[tokio::test]
async fn all_listeners_serve_tls() {
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
    assert_eq!(grpc.status(), 415, "the request is not gRPC, but TLS works");
    assert!(reqwest::get(&exporter.http).await.is_err(), "plain HTTP is not accepted");

    // A renewed certificate is reloaded without a restart.
    let (cert_pem, key_pem) = certificate();
    fs::write(&key, &key_pem).unwrap();
    fs::write(&cert, &cert_pem).unwrap();
    let url = https(&exporter.view) + "/healthz";
    eventually("the new certificate", async || client(&cert_pem).get(&url).send().await.ok()).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut slow = TcpStream::connect(exporter.http.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut response = vec![0; 4096];
    let read =
        tokio::time::timeout(Duration::from_secs(60), slow.read(&mut response)).await.unwrap().unwrap();
    let response = String::from_utf8_lossy(&response[..read]).into_owned();
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert!(response.contains("the body did not arrive within 30 s"), "{response}");
}

#[tokio::test]
async fn headers_are_limited_in_size_and_time() {
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
    let mut response = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(30), slow.read_to_end(&mut response)).await;
    assert!(closed.is_ok(), "the connection of a client that never completes its headers is closed");
}

#[tokio::test]
async fn too_long_headers_are_rejected_by_every_protocol_and_not_read_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let long = |kib: usize| "x".repeat(kib << 10);

    // If the headers never end, the connection is closed, with a response if the client still reads.
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
    assert!(is_closed.await, "64 MiB of headers were read");
    let mut response = Vec::new();
    let _ = endless.read_to_end(&mut response).await;
    let response = String::from_utf8_lossy(&response);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");

    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for kib in [20, 100] {
        let post = http2.post(format!("{}/v1/traces", exporter.http)).header("x-long", long(kib));
        let response = post.header("content-type", "application/json").body("{}").send().await;
        let status = response.ok().map(|response| response.status().as_u16());
        assert!(status == Some(431) || kib > 64 && status.is_none(), "{kib} KiB: {status:?}");

        let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
        let mut call = tonic::Request::new(request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]));
        call.metadata_mut().insert("x-long", long(kib).parse().unwrap());
        let code = grpc.export(call).await.unwrap_err().code();
        assert!(code == Code::InvalidArgument || kib > 64, "{kib} KiB: {code:?}");
    }
    let rejected = "logtracer_exporter_requests_rejected_total{reason=\"headers too long\"}";
    assert_eq!(
        exporter.metric(rejected).await,
        2.,
        "only headers that are short enough to be read are counted"
    );
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)])).await;
}
