//! The pages, and the errors of the JSON API.

use std::fs::write;

use serde_json::json;

use crate::harness::{Exporter, command, failed, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[tokio::test]
async fn unknown_and_invalid_trace_ids() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    assert_eq!(
        exporter.json("/api/traces").await,
        json!({ "traces": [], "next_cursor": null, "is_interrupted": false })
    );
    for (id, status) in [(TRACE, 404), ("xyz", 400), (&"0".repeat(32), 400), ("..%2f..%2fetc", 400)] {
        let response = exporter.get(&format!("/api/traces/{id}")).await;
        assert_eq!(response.status(), status, "{id}");
        let body: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(body["error"].is_string(), "{body}");
        assert_eq!(exporter.get(&format!("/trace/{id}")).await.status(), status, "{id}");
    }
    assert_eq!(exporter.get("/api/traces?limit=many").await.status(), 400);
    assert_eq!(exporter.get("/nowhere").await.status(), 404);
    assert!(exporter.get("/").await.text().await.unwrap().contains("No traces yet"));
}

#[tokio::test]
async fn the_pages_show_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut root = span(TRACE, 1, 0, "GET /basket", 0, 100);
    root.attributes = vec![string("url.path", "/basket/7")];
    exporter.send(&request("shop", vec![root])).await;
    exporter
        .send(&request("items", vec![failed(span(TRACE, 2, 1, "GET /items", 10, 50), "gone away")]))
        .await;
    exporter.send(&request("lost", vec![span(TRACE, 3, 99, "orphan", 20, 5)])).await;
    exporter.trace(TRACE, 3, 0).await;

    let list = exporter.get("/").await.text().await.unwrap();
    for part in ["GET /basket", "shop", "✕ 1", "100 ms", TRACE] {
        assert!(list.contains(part), "{part}");
    }
    let page = exporter.get(&format!("/trace/{TRACE}?span=0000000000000002")).await.text().await.unwrap();
    for part in ["GET /items", "gone away", "no parent", "id=\"s-0000000000000002\""] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<div class=\"panel").count(), 1, "the span of the link is open");
    let page = exporter.get(&format!("/trace/{TRACE}?span=0000000000000001")).await.text().await.unwrap();
    assert!(page.contains("/basket/7"));

    let found = exporter.get(&format!("/?find=00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert_eq!(found.url().path(), format!("/trace/{TRACE}"));
}

#[tokio::test]
async fn nothing_in_a_span_or_line_is_markup() {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>";
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = json!({ "trace": TRACE, "spanId": "0000000000000001", "severity": EVIL, "message": EVIL, EVIL: { EVIL: EVIL } });
    write(&log, format!("{line}\n")).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    let mut evil = failed(span(TRACE, 1, 0, EVIL, 0, 1), EVIL);
    evil.attributes = vec![string(EVIL, EVIL)];
    evil.trace_state = EVIL.to_owned();
    exporter.send(&request(EVIL, vec![evil])).await;
    exporter.trace(TRACE, 1, 1).await;

    let trace = format!("/trace/{TRACE}");
    let line = exporter.trace(TRACE, 1, 1).await["logs"][0]["time_unix_nano"].as_str().unwrap().to_owned();
    let paths = [
        "/".to_owned(),
        "/logs".to_owned(),
        "/services".to_owned(),
        "/?find=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        format!("{trace}?span=0000000000000001&find=%3Cscript%3Ealert(1)&lines=beside&services=%3Cscript%3E"),
        format!("{trace}?line={line}-1"),
        format!("{trace}/spans/0000000000000001"),
        format!("{trace}/lines/{line}-1"),
        trace.clone(),
    ];
    for path in &paths {
        let response = exporter.get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let page = response.text().await.unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{path}");
        let is_trace = path.starts_with(&trace);
        let scripts = match (path.contains("s/"), is_trace) {
            (true, _) => 0,
            (false, true) => 5,
            (false, false) if path == "/services" => 2,
            (false, false) => 3,
        };
        assert_eq!(page.matches("<script").count(), scripts, "only those of the page");
        assert!(!page.contains(" style=") && !page.contains(" onerror=alert(2)>\""), "{path}");
    }
}

#[tokio::test]
async fn assets_are_part_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for (name, content_type) in [
        ("style.css", "text/css; charset=utf-8"),
        ("list.css", "text/css; charset=utf-8"),
        ("list.js", "text/javascript; charset=utf-8"),
        ("live.js", "text/javascript; charset=utf-8"),
        ("arrival.js", "text/javascript; charset=utf-8"),
        ("trace.css", "text/css; charset=utf-8"),
        ("trace.js", "text/javascript; charset=utf-8"),
        ("trace-rows.js", "text/javascript; charset=utf-8"),
        ("trace-live.js", "text/javascript; charset=utf-8"),
        ("values.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let response = exporter.get(&format!("/assets/{name}")).await;
        assert_eq!(response.headers()["content-type"], content_type);
        let text = response.text().await.unwrap();
        assert!(!text.contains("http://") || name == "icon.svg", "no URL of another host");
        assert!(!text.contains("https://"));
    }
    assert_eq!(exporter.get("/assets/none").await.status(), 404);
}

#[tokio::test]
async fn a_viewer_on_loopback_accepts_only_local_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:4380", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
        ("[::1]:4380", 200),
        ("shop.localhost:4380", 200),
        ("host.docker.internal:4380", 200),
        ("exporter", 403),
        ("evil.example", 403),
        ("evil.example:4380", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.0.1", 403),
    ] {
        for path in ["/", "/api/traces", "/metrics"] {
            let get = client.get(format!("{}{path}", exporter.view)).header("host", host);
            let response = get.send().await.unwrap();
            assert_eq!(response.status(), status, "{host} {path}");
            if status == 403 {
                assert!(response.text().await.unwrap().contains("accepts only names of this machine"));
            }
        }
    }
}

#[tokio::test]
async fn a_very_long_trace_is_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let spans = |from, to| (from..to).map(|id| span(TRACE, id, 0, "work", id, 1)).collect();
    exporter.send(&request("shop", spans(1, 3002))).await;
    let trace = exporter.trace(TRACE, 3001, 0).await;
    assert_eq!(trace.get("truncated"), None);
    let page = exporter.get(&format!("/trace/{TRACE}")).await.text().await.unwrap();
    assert!(page.contains("rows 1 to 500 of 3001"));
    assert_eq!(page.matches("<div class=\"row span").count(), 500);

    exporter.send(&request("shop", spans(3002, 20_002))).await;
    let trace = exporter.trace(TRACE, 20_000, 0).await;
    assert_eq!(trace["truncated"], true);
}
