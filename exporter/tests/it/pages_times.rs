//! What all pages share in a real browser: the zone of times, and copies of values.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, START, command, command_on, request, span};
use crate::pages_trace_browser::wait_for;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const LINES_ONLY: &str = "0af7651916cd43dd8448eb211c80319c";

async fn filled(dir: &std::path::Path) -> Exporter {
    let log = dir.join("log");
    let stack = format!("Error: declined\n{}", "    at f (a.js:1:2)\n".repeat(20));
    let line = |trace: &str, message: &str| {
        json!({ "trace": trace, "spanId": "0000000000000001", "severity": "ERROR", "message": message, "time": "2023-11-14T22:13:20.5Z",
            "stack_trace": stack, "body": "{\"tries\":3,\"code\":\"E42\",\"reason\":\"the card was declined\",\"list\":[1,2,3]}", "text": "a\u{1b}b" })
    };
    std::fs::write(
        &log,
        format!("{}\n{}\n", line(TRACE, "payments - declined"), line(LINES_ONLY, "worker - only a line")),
    )
    .unwrap();
    let mut command = command(&dir.join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    for trace in [TRACE, "00000000000000000000000000000003"] {
        exporter.send(&request("shop", vec![span(trace, 1, 0, "GET /", 0, 250)])).await;
    }
    exporter.trace(TRACE, 1, 1).await;
    exporter.trace(LINES_ONLY, 0, 1).await;
    exporter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_show_times_in_the_zone_that_was_chosen_on_one() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let browser = Browser::start_in_zone("Asia/Tokyo").await;
    let compare = format!("/compare?a={TRACE}&b=00000000000000000000000000000003");
    let trace = format!("/trace/{TRACE}");
    // (page, a time of it in UTC and in the chosen zone)
    let pages = [
        ("/logs", "2023-11-14 22:13:20.500", "2023-11-15 07:13:20.500"),
        (&compare, "2023-11-14 22:13:20.000", "2023-11-15 07:13:20.000"),
        (&trace, "2023-11-14T22:13:20Z", "2023-11-15T07:13:20+09:00"),
    ];
    let time = "return [document.querySelector('time.at').textContent, document.querySelector('.zone-name')?.textContent ?? null,
        document.querySelector('[data-zone=local]').ariaPressed]";
    for (chosen, is_local) in [("utc", false), ("local", true)] {
        browser.open(&format!("{}/services", exporter.view)).await;
        browser.run(&format!("document.querySelector('[data-zone={chosen}]').click()")).await;
        for (path, utc, local) in pages {
            browser.open(&format!("{}{path}", exporter.view)).await;
            let name = if is_local { "UTC+09:00" } else { "UTC" };
            let name = if path == trace { Value::Null } else { json!(name) };
            let text = if is_local { local } else { utc };
            assert_eq!(browser.run(time).await, json!([text, name, is_local.to_string()]), "{path}");
        }
        // The list has ages, and their tooltips the times. The overview has the times of the arrival.
        browser.open(&exporter.view).await;
        let list = "return [document.querySelector('time.age').title, document.querySelector('.overview .times .zone-name').textContent]";
        let expected = if is_local {
            json!(["2023-11-15T07:13:20.500+09:00", "UTC+09:00"])
        } else {
            json!(["2023-11-14T22:13:20.5Z", "UTC"])
        };
        let found = browser.run(list).await;
        assert_eq!(found[1], expected[1]);
        assert!(
            found[0].as_str().unwrap().starts_with(if is_local { "2023-11-15T07" } else { "2023-11-14T22" }),
            "{found}"
        );
        // A lost connection has its time in the same zone.
        let clock = "return [clockText(Date.UTC(2023, 10, 14, 22, 13, 20))]";
        assert_eq!(browser.run(clock).await, json!([if is_local { "07:13:20" } else { "22:13:20" }]));
    }
    // The server says that its times are those of UTC.
    for (path, expected) in
        [("/logs", "times in <span class=\"zone-name\">UTC"), ("/", "<span class=\"zone-name\">UTC")]
    {
        assert!(exporter.get(path).await.text().await.unwrap().contains(expected), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_needs_no_secure_page() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(command_on("0.0.0.0:0", dir.path()));
    let local = |address: &str| address.replace("0.0.0.0", "127.0.0.1");
    let post = reqwest::Client::new().post(local(&exporter.http) + "/v1/traces");
    let body = prost::Message::encode_to_vec(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 5)]));
    let sent = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert!(sent.status().is_success());
    let browser = Browser::start().await;
    let list = exporter.view.replace("0.0.0.0", "traces.example");
    let rows = "return document.querySelectorAll('.traces .copy:not([hidden])').length";
    crate::harness::eventually("the trace", async || {
        browser.open(&list).await;
        (browser.run(rows).await == 1).then_some(())
    })
    .await;
    let copy = "let copied = null;
        document.execCommand = (name) => { copied = [name, document.activeElement.value]; return true; };
        const button = document.querySelector('.traces .copy'); button.click();
        await new Promise((done) => setTimeout(done, 200)); return [isSecureContext, copied, button.textContent]";
    assert_eq!(browser.run(copy).await, json!([false, ["copy", TRACE], "✓"]));
    wait_for(&browser, "return document.querySelector('.traces .copy').textContent", json!("⧉")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_line_is_as_in_its_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/logs?q=payments", exporter.view)).await;
    browser.run("document.querySelector('.line summary').click()").await;
    let members = "const table = document.querySelector('.attributes');
        return [...table.rows].map((row) => [row.cells[0].textContent, row.querySelector('.text').innerHTML, row.querySelectorAll('.copy:not([hidden])').length])";
    let of_list = browser.run(members).await;
    let line = START + 500_000_000;
    browser.open(&format!("{}/trace/{TRACE}?line={line}-1", exporter.view)).await;
    assert_eq!(of_list, browser.run(members).await);
    let text = of_list.to_string();
    for part in ["18 more lines", "\\\"tries\\\": 3", "class=\\\"ctl\\\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The severity and the service are links that add to the filter.
    browser.open(&format!("{}/logs?q=payments", exporter.view)).await;
    let links = "return [...document.querySelectorAll('.line > a')].map((link) => link.getAttribute('href'))";
    let expected = json!([
        "/logs?q=payments&severity=ERROR",
        "/logs?q=payments&service=payments",
        format!("/trace/{TRACE}?line={line}-1#l-{line}-1")
    ]);
    assert_eq!(browser.run(links).await, expected);
    let is_open = "document.querySelector('.line > .service').click(); return document.querySelector('.line details').open";
    assert_eq!(browser.run(is_open).await, false);
    wait_for(&browser, "return location.search", json!("?q=payments&service=payments")).await;
    // A copy is the value as it was sent.
    browser.run("document.querySelector('.line summary').click(); navigator.clipboard.writeText = async (text) => { window.copied = text; }").await;
    let copy = "const row = [...document.querySelectorAll('.attributes tr')].find((row) => row.cells[0].textContent === 'body');
        row.querySelector('.copy').click(); await new Promise((done) => setTimeout(done, 50)); return window.copied";
    assert_eq!(
        browser.run(copy).await,
        "{\"tries\":3,\"code\":\"E42\",\"reason\":\"the card was declined\",\"list\":[1,2,3]}"
    );
}

#[tokio::test]
async fn a_trace_of_lines_has_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let list = exporter.get("/").await.text().await.unwrap();
    let page = exporter.get(&format!("/trace/{LINES_ONLY}")).await.text().await.unwrap();
    assert!(list.contains("<bdi>only a line</bdi>") && list.contains("lines only"), "{list}");
    assert!(page.contains("<h1><bdi>only a line</bdi></h1>"), "{page}");
}
