//! HTTP/3. Envoy logs its streams late, after the ends of other streams, so the native filter has to find each stream again.

use std::io::Write;
use std::process::{Command, Stdio};

use logtracer_harness::envoy;
use logtracer_harness::proxy::{Certificate, Listener};
use logtracer_harness::shell::{self, Shell};
use serde_json::{Value, json};

use super::{Expected, SUCCESS, Table, exporter};

const HTTP3: Expected = Expected { protocol: "HTTP/3", ..SUCCESS };

/// The maximum number of streams that Envoy allows at a time.
const AT_ONCE: usize = 90;

fn start() -> Table {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = Certificate { chain: pair.cert.pem(), key: pair.signing_key.serialize_pem() };
    Table::with(&[Listener { quic: Some(certificate), ..Listener::new("inbound", exporter()) }])
}

fn request(method: &str, path: &str, b3: String) -> Value {
    json!({ "method": method, "path": path, "headers": [["b3", b3]], "body": "", "cancelled": false })
}

/// Sends the requests over one connection, all at the same time, and returns the responses.
fn send(table: &Table, requests: &[Value]) -> Vec<Value> {
    let packages = envoy::root().join("build/python-clients");
    assert!(
        packages.join("aioquic").is_dir(),
        "{} has no aioquic: run scripts/python-clients",
        packages.display()
    );
    let mut client = Command::new("python3")
        .arg(envoy::root().join("tests/it/lifecycle/http3.py"))
        .arg(table.proxy.address("inbound").port().to_string())
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is required: apt-get install python3");
    client.stdin.take().unwrap().write_all(json!(requests).to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "http3.py failed, see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every kind of end of a stream.
#[test]
fn over_http_3() {
    let mut table = start();
    let mut requests = vec![request("GET", "/origin/ok", table.case("success", HTTP3))];
    let b3 = table.case("a body", Expected { method: "POST", ..HTTP3 });
    requests.push(request("POST", "/origin/ok", b3));
    requests[1]["body"] = json!("hello");
    let expected = Expected { status: 404, severity: "WARNING", message: " - 404 Not Found", ..HTTP3 };
    requests.push(request("GET", "/nowhere", table.case("without a route", expected)));
    let expected = Expected { status: 499, message: " - 499 Client Closed Request", ..HTTP3 };
    requests.push(request("GET", "/origin/never/1", table.case("cancelled", expected)));
    requests[3]["cancelled"] = json!(true);
    let mut expected_statuses = vec![Some(200), Some(200), Some(404), None];
    // Over HTTP/3, Envoy makes no callback for it to a WebAssembly module.
    if shell::shell() == Shell::Native {
        let expected = Expected { status: 403, severity: "WARNING", message: " - 403 Forbidden", ..HTTP3 };
        requests.push(request("GET", "/forbidden", table.case("a response of an earlier filter", expected)));
        expected_statuses.push(Some(403));
    }

    let responses = send(&table, &requests);
    let statuses: Vec<_> = responses.iter().map(|response| response["status"].as_u64()).collect();
    assert_eq!(statuses, expected_statuses);
    table.check();
}

/// Each of many streams of one connection has its own line and its own span, with its own path.
#[test]
fn concurrent_streams_of_http_3_keep_their_requests() {
    const OK: Expected = Expected { message: "/origin/ok?REDACTED - 200 OK", ..HTTP3 };
    const KEPT: Expected = Expected { message: "/origin/ok?b=REDACTED - 200 OK", ..HTTP3 };
    const NOWHERE: Expected =
        Expected { status: 404, severity: "WARNING", message: "/nowhere - 404 Not Found", ..HTTP3 };
    const KINDS: [(&str, Expected); 3] =
        [("/origin/ok?a", OK), ("/origin/ok?b=1", KEPT), ("/nowhere", NOWHERE)];
    let mut table = start();
    for _ in 0..3 {
        let mut requests = Vec::new();
        for number in 0..AT_ONCE {
            let (path, expected) = KINDS[number % KINDS.len()];
            requests.push(request("GET", path, table.case(path, expected)));
        }
        for (number, response) in send(&table, &requests).iter().enumerate() {
            assert_eq!(response["status"], KINDS[number % KINDS.len()].1.status);
        }
    }
    table.check();
}
