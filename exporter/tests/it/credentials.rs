//! Tokens for Google Cloud, from every source of Application Default Credentials.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::json;

use crate::cloud_trace::{cloud_trace, span, strict, written};
use crate::google::{MetadataServer, error, exceeded_telemetry_limit};
use crate::harness::{Exporter, command, eventually, request, run_to_exit, string};
use crate::receiver::{Answer, Receiver, Request, arrived, otlp};

/// A command without credentials, except those that a test adds.
fn with_credentials(dir: &Path, receiver: &Receiver, home: &Path) -> Command {
    let mut command = command(dir);
    command
        .args(["--sink", "cloud-trace", "--cloud-trace-endpoint", &receiver.url])
        .env("HOME", home)
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
        .env_remove("GOOGLE_CLOUD_PROJECT")
        .env_remove("GOOGLE_CLOUD_QUOTA_PROJECT")
        .env("GCE_METADATA_HOST", "127.0.0.1:9");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_come_from_the_metadata_server_and_are_renewed() {
    let metadata_server = MetadataServer::start(1).await;
    let valid = Arc::new(AtomicUsize::new(1));
    let expected = valid.clone();
    let receiver = Receiver::start(move |request: &Request| {
        let token = request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let number = |token: String| token.strip_prefix("Bearer token-").unwrap().parse::<usize>().unwrap();
        if token.map(number).is_none_or(|number| number < expected.load(Ordering::SeqCst)) {
            return error(401, "UNAUTHENTICATED", "the token is not valid");
        }
        strict(request)
    })
    .await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = with_credentials(dir.path(), &receiver, home.path());
    command.env("GCE_METADATA_HOST", metadata_server.host());
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
    assert_eq!(
        written(&receiver)["0000000000000001"].0,
        "mesh-project",
        "the metadata server has the project"
    );
    assert_eq!(
        *metadata_server.scopes.lock().unwrap(),
        "scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Ftrace.append"
    );

    // From now on only later tokens are valid.
    valid.store(metadata_server.issued() + 1, Ordering::SeqCst);
    exporter.send(&request("shop", vec![span(2, "b")])).await;
    eventually("another span", async || (written(&receiver).len() == 2).then_some(())).await;
}

/// Sends a span with a token of the metadata server, and waits until it is written.
async fn writes_a_span(receiver: &Receiver, metadata_server: &MetadataServer) {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = with_credentials(dir.path(), receiver, home.path());
    command.env("GCE_METADATA_HOST", metadata_server.host());
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(receiver).len() == 1).then_some(())).await;
}

/// The metadata server can start after the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_metadata_server_is_waited_for() {
    let metadata_server = MetadataServer::start_late(3, 3600).await;
    let receiver = cloud_trace().await;
    writes_a_span(&receiver, &metadata_server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_token_is_replaced_before_it_expires() {
    let metadata_server = MetadataServer::start(3600).await;
    let receiver = Receiver::start(move |request: &Request| {
        match request.headers.get("authorization").map(|value| value.to_str().unwrap()) {
            None | Some("Bearer token-1") => error(401, "UNAUTHENTICATED", "the token is not valid"),
            _ => strict(request),
        }
    })
    .await;
    writes_a_span(&receiver, &metadata_server).await;
    assert_eq!(metadata_server.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_credentials_are_exchanged_for_a_token() {
    let token_server = Receiver::start(|request: &Request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        if !form.contains("refresh-1") {
            return Answer::new(400, "that is no refresh token");
        }
        let answer =
            Answer::new(200, r#"{"access_token":"token-u","expires_in":3600,"token_type":"Bearer"}"#);
        Answer { headers: vec![("content-type", "application/json".to_owned())], ..answer }
    })
    .await;
    let receiver = Receiver::start(|request: &Request| {
        if request.headers.get("authorization").is_none_or(|value| value != "Bearer token-u") {
            return error(401, "UNAUTHENTICATED", "the token is not valid");
        }
        if request.headers.get("x-goog-user-project").is_none_or(|value| value != "mesh-project") {
            return error(403, "PERMISSION_DENIED", "a quota project is needed");
        }
        strict(request)
    })
    .await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join(".config/gcloud/application_default_credentials.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let content = json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "refresh-1",
        "token_uri": token_server.url,
    });
    std::fs::write(&file, content.to_string()).unwrap();
    let mut command = with_credentials(dir.path(), &receiver, home.path());
    command.args(["--project", "mesh-project"]);
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
    drop(exporter);

    // The environment can name another quota project, for the Telemetry API as well.
    let charged = Receiver::start(|request: &Request| {
        match request.headers.get("x-goog-user-project").map(|value| value.to_str().unwrap()) {
            Some("charged-project") => Answer::ok(),
            other => error(403, "PERMISSION_DENIED", &format!("{other:?} is charged")),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = with_credentials(dir.path(), &charged, home.path());
    command.args(["--project", "mesh-project", "--sink", "telemetry", "--telemetry-endpoint", &charged.url]);
    command.env("GOOGLE_CLOUD_QUOTA_PROJECT", "charged-project");
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("both sinks", async || (charged.accepted().len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_service_account_signs_tokens() {
    // header.payload.signature, each base64url of at least some bytes.
    let is_signed = |token: &str| {
        let parts: Vec<&str> = token.split('.').collect();
        parts.len() == 3 && parts[0].starts_with("eyJ") && parts[1].starts_with("eyJ") && parts[2].len() > 300
    };
    let receiver = Receiver::start(move |request: &Request| {
        let token = request
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if token.is_some_and(is_signed) { strict(request) } else { error(401, "UNAUTHENTICATED", "no token") }
    })
    .await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let file = home.path().join("key.json");
    let content = json!({
        "type": "service_account",
        "project_id": "key-project",
        "private_key_id": "1",
        "private_key": key.serialize_pem(),
        "client_email": "exporter@key-project.iam.gserviceaccount.com",
        "client_id": "1",
    });
    std::fs::write(&file, content.to_string()).unwrap();
    let mut command = with_credentials(dir.path(), &receiver, home.path());
    command.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
    assert_eq!(written(&receiver)["0000000000000001"].0, "key-project", "the file names the project");
}

/// Starts a server that exchanges foreign tokens for Google tokens.
async fn exchange() -> Receiver {
    Receiver::start(|request: &Request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        if !form.contains("subject_token=from-elsewhere") {
            return Answer::new(400, "that is no subject token");
        }
        let answer = Answer::new(
            200,
            r#"{"access_token":"token-w","expires_in":3600,"token_type":"Bearer",
                "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#,
        );
        Answer { headers: vec![("content-type", "application/json".to_owned())], ..answer }
    })
    .await
}

/// Asserts that an exporter with this credentials file delivers with this token.
async fn delivers_with(token: &'static str, content: serde_json::Value) {
    let receiver = Receiver::start(move |request: &Request| {
        if request.headers.get("authorization").is_none_or(|value| value != token) {
            return error(401, "UNAUTHENTICATED", "the token is not valid");
        }
        strict(request)
    })
    .await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join("credentials.json");
    std::fs::write(&file, content.to_string()).unwrap();
    let mut command = with_credentials(dir.path(), &receiver, home.path());
    command.args(["--project", "mesh-project"]).env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    command.env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1");
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    eventually("a span", async || (written(&receiver).len() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workload_identity_federation_exchanges_the_token_of_any_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-elsewhere").unwrap();
    let program = dir.path().join("program");
    let says = r#"{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"from-elsewhere","expiration_time":4102444800}"#;
    std::fs::write(&program, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let elsewhere = Receiver::start(|request: &Request| {
        if request.headers.get("x-who").is_none_or(|value| value != "exporter") {
            return Answer::new(403, "who is it?");
        }
        let answer = Answer::new(200, r#"{"token":"from-elsewhere"}"#);
        Answer { headers: vec![("content-type", "application/json".to_owned())], ..answer }
    })
    .await;
    let exchange = exchange().await;
    for source in [
        json!({ "file": file }),
        json!({
            "url": elsewhere.url, "headers": { "x-who": "exporter" },
            "format": { "type": "json", "subject_token_field_name": "token" },
        }),
        json!({ "executable": { "command": program, "timeout_millis": 5000 } }),
    ] {
        let content = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": exchange.url,
            "credential_source": source,
        });
        delivers_with("Bearer token-w", content).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_is_impersonated() {
    let server = Receiver::start(|request: &Request| {
        let body = match request.uri.path() {
            "/token" => r#"{"access_token":"token-u","expires_in":3600,"token_type":"Bearer"}"#,
            "/v1/projects/-/serviceAccounts/exporter:generateAccessToken"
                if request.headers.get("authorization").is_some_and(|value| value == "Bearer token-u") =>
            {
                r#"{"accessToken":"token-i","expireTime":"2099-01-01T00:00:00Z"}"#
            }
            _ => return error(403, "PERMISSION_DENIED", "not you"),
        };
        Answer { headers: vec![("content-type", "application/json".to_owned())], ..Answer::new(200, body) }
    })
    .await;
    let content = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url":
            format!("{}/v1/projects/-/serviceAccounts/exporter:generateAccessToken", server.url),
        "source_credentials": {
            "type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "r",
            "token_uri": format!("{}/token", server.url),
        },
    });
    delivers_with("Bearer token-i", content).await;
}

#[tokio::test]
async fn missing_credentials_are_reported_at_the_start() {
    let receiver = cloud_trace().await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str], file: Option<&str>| {
        let mut command = with_credentials(dir.path(), &receiver, home.path());
        command.args(arguments);
        if let Some(file) = file {
            command.env("GOOGLE_APPLICATION_CREDENTIALS", file);
        }
        run_to_exit(command)
    };
    let (code, message) = run(&[], None);
    assert_eq!(code, Some(1));
    assert!(
        message
            .contains("failed to start the sink cloud-trace: unknown Google Cloud project: set --project ID"),
        "{message}"
    );
    let (code, message) = run(&["--project", "mesh-project"], None);
    assert_eq!(code, Some(1));
    assert!(
        message.contains("no credentials for Google Cloud: ")
            && message.contains("gcloud auth application-default login"),
        "{message}"
    );
    let (code, message) = run(&["--project", "mesh-project"], Some("/nowhere/key.json"));
    assert_eq!(code, Some(1));
    assert!(message.contains("/nowhere/key.json"), "{message}");
    let (code, message) = run(&["--auth", "none"], None);
    assert_eq!(code, Some(1));
    assert!(message.contains("set --project ID"), "{message}");
    let (code, message) = run(&["--project", "No Project"], None);
    assert_eq!(code, Some(2));
    assert!(message.contains("expected a project id"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_telemetry_api_gets_otlp_with_a_project_and_a_token() {
    let metadata_server = MetadataServer::start(3600).await;
    let receiver = Receiver::start(|request: &Request| {
        if request.headers.get("authorization").is_none_or(|value| value != "Bearer token-1") {
            return error(401, "UNAUTHENTICATED", "the token is not valid");
        }
        let decoded = match otlp(request) {
            Ok(decoded) => decoded,
            Err(mistake) => return error(400, "INVALID_ARGUMENT", &mistake),
        };
        if let Some(mistake) = exceeded_telemetry_limit(&decoded) {
            return error(400, "INVALID_ARGUMENT", mistake);
        }
        let has_project = decoded.resource_spans.iter().all(|of_resource| {
            let attributes = of_resource.resource.iter().flat_map(|resource| &resource.attributes);
            attributes.filter(|attribute| attribute.key == "gcp.project_id").count() == 1
        });
        if has_project { Answer::ok() } else { error(400, "INVALID_ARGUMENT", "gcp.project_id is missing") }
    })
    .await;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = command(dir.path());
    command
        .args(["--sink", "telemetry", "--telemetry-endpoint", &receiver.url])
        .env("HOME", home.path())
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
        .env("GCE_METADATA_HOST", metadata_server.host());
    let exporter = Exporter::spawn(command);
    let mut large = span(1, &"a".repeat(2000));
    large.attributes.extend((0..2000).map(|n| string(&format!("{n}"), "value")));
    large.attributes.push(string(&"k".repeat(600), "value"));
    large.attributes.insert(0, string("long", &"v".repeat(100_000)));
    large.events = vec![Event { name: "e".repeat(2000), ..Default::default() }; 300];
    large.links = vec![Link { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() }; 200];
    let mut all = request("shop", vec![large]);
    let mut other = request("shop", vec![span(2, "b")]);
    other.resource_spans[0]
        .resource
        .as_mut()
        .unwrap()
        .attributes
        .push(string("gcp.project_id", "other-project"));
    all.resource_spans.append(&mut other.resource_spans);
    exporter.send(&all).await;
    eventually("2 spans", async || (arrived(&receiver.accepted()).len() == 2).then_some(())).await;
    assert_eq!((receiver.accepted().len(), receiver.answered(400)), (2, 0), "one call for each project");
}
