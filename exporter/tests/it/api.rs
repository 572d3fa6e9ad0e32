//! The viewer's API: its description, driven by schemathesis, the commands for the terminal, and the token.

use std::path::Path;
use std::process::{Command, Output};

use opentelemetry_proto::tonic::trace::v1::span::Link;
use serde_json::{Value, json};

use crate::harness::{Exporter, command, failed, number, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"))
}

/// Starts an exporter with a trace of two services and lines with it and without it.
async fn filled(dir: &Path, options: &[&str]) -> Exporter {
    let log = dir.join("log");
    let line = |trace: Option<&str>, severity: &str, message: &str| {
        json!({ "trace": trace, "spanId": "0000000000000002", "severity": severity, "message": message })
            .to_string()
    };
    let lines = [
        line(Some(TRACE), "ERROR", "payments - card \u{1b}[31mdeclined"),
        line(None, "INFO", "cart - started"),
    ];
    std::fs::write(&log, lines.join("\n") + "\n").unwrap();
    let mut command = command(&dir.join("data"));
    command.arg("--tail").arg(&log).args(options);
    let exporter = Exporter::spawn(command);
    let mut root = span(TRACE, 1, 0, "GET /basket/{id}", 0, 250);
    root.attributes = vec![
        number("http.response.status_code", 502),
        string("http.route", "/basket/{id}"),
        string("user.id", "4711"),
    ];
    exporter.send(&request("shop", vec![failed(root, "bad gateway")])).await;
    exporter.send(&request("payments", vec![span(TRACE, 2, 1, "POST /pay", 10, 200)])).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 2.).await;
    exporter.wait_for_metric("logtracer_exporter_log_lines_tailed_total", 2.).await;
    exporter
}

/// Schemathesis sends what the description allows, and much that it forbids, and checks each response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_as_its_description_says() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path(), &[]).await;
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/python-schemathesis");
    assert!(packages.is_dir(), "{} is absent: run scripts/python-schemathesis", packages.display());
    let output = Command::new("python3")
        .args([
            "-m",
            "schemathesis.cli",
            "run",
            "--checks=all",
            "--max-examples=40",
            "--seed=1",
            "--no-color",
        ])
        .args(["--exclude-checks=positive_data_acceptance,unsupported_method", "--request-timeout=20"])
        .arg(format!("{}/api/openapi.json", exporter.view))
        .env("PYTHONPATH", packages)
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(dir.path())
        .output()
        .expect("python3 is required: apt-get install python3");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("6 selected / 6 total"), "{text}");
}

fn run(exporter: &Exporter, args: &[&str]) -> Output {
    program().args(args).args(["--server", &exporter.view]).output().unwrap()
}

#[track_caller]
fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_shows_traces_and_lines() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path(), &[]).await;
    let traces = text(&run(&exporter, &["traces", "--status", "5xx", "--attribute", "user.id=4711"]));
    for part in [TRACE, "502", "250 ms", "shop", "GET /basket/{id}", "✕1", "2 spans, 1 line"] {
        assert!(traces.contains(part), "{part}: {traces}");
    }
    assert_eq!(text(&run(&exporter, &["traces", "--service", "nobody"])), "no traces\n");
    let json = text(&run(&exporter, &["traces", "--json", "-q", "DECLINED"]));
    let trace: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&trace["trace_id"], &trace["root_status"]), (&json!(TRACE), &json!("502")));

    let tree = text(&run(&exporter, &["trace", TRACE]));
    let lines: Vec<&str> = tree.lines().collect();
    assert!(lines[1].contains("shop GET /basket/{id} ✕ error"), "{tree}");
    assert!(lines[2].contains("    payments POST /pay"), "{tree}");
    assert!(lines[3].contains("ERROR    payments card \\u{1b}[31mdeclined"), "{tree}");
    // A line of a trace names its service as in the list of lines.
    let trace = exporter.json(&format!("/api/traces/{TRACE}")).await;
    assert_eq!(trace["logs"][0]["service"], "payments");
    assert_eq!(exporter.json("/api/logs?q=declined").await["logs"][0]["service"], "payments");

    let logs = text(&run(&exporter, &["logs", "--severity", "error"]));
    assert!(logs.contains("payments  card \\u{1b}[31mdeclined [463ac35c]"), "{logs}");
    assert_eq!(logs.lines().count(), 1);
    assert_eq!(text(&run(&exporter, &["logs"])).lines().count(), 2);

    for (args, expected) in [
        (&["traces", "--status", "9xx"][..], "status: expected an HTTP status code"),
        (&["trace", "4711"], "invalid trace id"),
        (&["trace", "463ac35c9f6413ad48485a3953bb6125"], "not found"),
        (&["logs", "--from", "yesterday"], "from: expected a time"),
    ] {
        let output = run(&exporter, args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(expected), "{errors}");
    }
    let nowhere = program().args(["traces", "--server", "http://127.0.0.1:1"]).output().unwrap();
    let errors = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(errors.contains("no exporter responds at http://127.0.0.1:1/ (--server)"), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_lines_are_printed_when_they_arrive() {
    use std::io::{BufRead, BufReader, Write};

    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path(), &[]).await;
    let mut follow = program()
        .args(["logs", "--follow", "--severity", "error", "--server", &exporter.view])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().contains("declined"));
    let mut log = std::fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
    for message in ["INFO", "ERROR"] {
        writeln!(log, "{}", json!({ "severity": message, "message": format!("cart - followed {message}") }))
            .unwrap();
    }
    let next = lines.next().unwrap();
    assert!(next.contains("cart  followed ERROR"), "{next}");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[tokio::test]
async fn the_viewer_requires_a_token_if_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let exporter = filled(dir.path(), &["--view-token-file", file.to_str().unwrap()]).await;
    let client = reqwest::Client::new();
    for path in [
        "/",
        "/logs",
        "/services",
        "/api/traces",
        "/api/live",
        "/live",
        "/assets/list.js",
        "/api/openapi.json",
    ] {
        let url = format!("{}{path}", exporter.view);
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
        assert_eq!(client.get(&url).bearer_auth("wrong").send().await.unwrap().status(), 401, "{path}");
        assert_eq!(client.get(&url).bearer_auth("s3cret").send().await.unwrap().status(), 200, "{path}");
        let login = client.get(&url).basic_auth("anyone", Some("s3cret"));
        assert_eq!(login.send().await.unwrap().status(), 200, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(exporter.get(path).await.status(), 200, "{path}");
    }
    assert!(!run(&exporter, &["traces"]).status.success());
    let traces = text(&run(&exporter, &["traces", "--view-token-file", file.to_str().unwrap()]));
    assert!(traces.contains(TRACE));
}

/// Reads events until one has this name.
async fn event(live: &mut reqwest::Response, name: &str) -> Value {
    let mut text = String::new();
    loop {
        let chunk = live.chunk().await.unwrap().expect("an event");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        let found =
            text.split("\n\n").find_map(|event| event.strip_prefix(&format!("event: {name}\ndata: ")));
        if let Some(value) = found.and_then(|data| serde_json::from_str(data).ok()) {
            return value;
        }
    }
}

#[tokio::test]
async fn live_events_pass_the_filter() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = filled(dir.path(), &[]).await;
    let mut traces = exporter.get("/api/live?service=pay&status=error").await;
    assert_eq!(traces.headers()["content-type"], "text/event-stream");
    let mut lines = exporter.get("/api/live?logs=true&q=LATER").await;
    assert!(event(&mut traces, "alive").await["unix_nano"].is_string());
    let other = "0af7651916cd43dd8448eb211c80319c";
    exporter.send(&request("pay", vec![span(TRACE, 7, 1, "passes not", 10, 5)])).await;
    exporter.send(&request("pay", vec![failed(span(other, 1, 0, "passes", 10, 5), "")])).await;
    let mut log = std::fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
    std::io::Write::write_all(&mut log, b"{\"message\":\"x - not now\"}\n{\"message\":\"x - later\"}\n")
        .unwrap();
    assert_eq!(event(&mut traces, "trace").await["trace_id"], other);
    let line = event(&mut lines, "line").await;
    assert_eq!((&line["message"], &line["service"]), (&json!("x - later"), &json!("x")));
    for (query, expected) in
        [("?logs=maybe", "logs: expected true or false"), ("?severity=x", "unknown parameter")]
    {
        let response = exporter.get(&format!("/api/live{query}")).await;
        assert_eq!(response.status(), 400);
        assert!(response.text().await.unwrap().contains(expected));
    }
    // Live views do not hold up an exit.
    let start = std::time::Instant::now();
    exporter.terminate();
    assert!(exporter.wait_for_exit().await.success());
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Lines that are too large for an event are counted, and what waits for a client has a bound.
#[tokio::test]
async fn a_live_view_of_large_lines_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path(), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(exporter.get("/api/live?logs=true").await);
    }
    let mut live = exporter.get("/api/live?logs=true").await;
    let before = exporter.peak_memory();
    let mut log = std::fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
    for n in 0..60 {
        let line = json!({ "message": format!("x - {n} {}", "y".repeat(100_000)) });
        std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes()).unwrap();
    }
    // The lines can come in several batches.
    let mut skipped = 0;
    while skipped <= 30 {
        skipped += event(&mut live, "skipped").await.as_u64().unwrap();
    }
    let added = exporter.peak_memory().saturating_sub(before);
    assert!(added < 40 << 10, "{added} KiB");
}

/// Each link of a list leads to a page, and a filter to rows.
#[tokio::test]
async fn every_link_of_the_lists_leads_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path(), &[]).await;
    for (n, status) in ["0", "NotFound", "5", "404", "UNAVAILABLE"].into_iter().enumerate() {
        let mut odd = span(&format!("{:032x}", n + 1), 1, 0, "/no-route", 0, 5);
        odd.attributes = vec![string("http.response.status_code", status)];
        exporter.send(&request("odd", vec![odd])).await;
    }
    let mut long = span(&format!("{:032x}", 99), 1, 0, "GET", 0, 5);
    long.attributes = vec![string("http.route", &format!("/{}", "r".repeat(300)))];
    exporter.send(&request("odd", vec![long])).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 8.).await;
    let mut links = std::collections::BTreeSet::new();
    for page in ["/", "/logs", "/services", "/?status=5xx&attribute=user.id%3D4711", "/logs?severity=WARN"] {
        let text = exporter.get(page).await.text().await.unwrap();
        let hrefs = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        links.extend(hrefs.map(|href| href.replace("&amp;", "&")));
    }
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        let response = exporter.get(&link).await;
        assert_eq!(response.status(), 200, "{link}");
        let text = response.text().await.unwrap();
        assert!(!text.contains("passes this filter"), "{link}");
    }
}

/// Services with the same name in two namespaces are two services, and the bare name means both.
#[tokio::test]
async fn services_of_two_namespaces_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let other = "463ac35c9f6413ad48485a3953bb6125";
    for (trace, namespace, key) in
        [(TRACE, "shop", "service.namespace"), (other, "test", "k8s.namespace.name")]
    {
        let mut of = request("cart", vec![failed(span(trace, 1, 0, "GET /", 0, 250), "bad")]);
        of.resource_spans[0].resource.as_mut().unwrap().attributes.push(string(key, namespace));
        exporter.send(&of).await;
    }
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 2.).await;
    let get = async |path: &str| -> Value { exporter.get(path).await.json().await.unwrap() };

    let nodes = get("/api/services").await["nodes"].clone();
    let mut names: Vec<_> =
        nodes.as_array().unwrap().iter().map(|node| node["service"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["shop/cart", "test/cart"]);
    for (filter, expected) in [
        ("service=cart", 2),
        ("service=shop/cart", 1),
        ("service=test/cart&status=error", 1),
        ("service=cart&status=error", 2),
        ("service=other/cart", 0),
        ("service=shop", 0),
    ] {
        let traces = get(&format!("/api/traces?{filter}")).await["traces"].clone();
        assert_eq!(traces.as_array().unwrap().len(), expected, "{filter}: {traces}");
    }
    let trace = get(&format!("/api/traces/{TRACE}")).await;
    assert_eq!(trace["spans"][0]["service_name"], "shop/cart");
    assert_eq!(get("/api/routes?service=cart").await["routes"].as_array().unwrap().len(), 2);
    assert_eq!(get("/api/routes?service=shop/cart").await["routes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_ids_of_links_are_hexadecimal_digits() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut linked = span(TRACE, 1, 0, "linked", 0, 1);
    linked.links = vec![Link { trace_id: vec![0xab; 16], span_id: vec![0xcd; 8], ..Link::default() }];
    exporter.send(&request("shop", vec![linked])).await;
    let trace = exporter.trace(TRACE, 1, 0).await;
    let link = &trace["spans"][0]["links"][0];
    assert_eq!((&link["trace_id"], &link["span_id"]), (&json!("ab".repeat(16)), &json!("cd".repeat(8))));
}
