//! The pages and the rules of axe-core, which find what keeps people from using them, in light and dark.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, failed, number, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const OTHER: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_breaks_a_rule_of_axe() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/python-axe/axe_playwright_python/axe.min.js");
    let axe = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/python-axe", file.display()));
    let script = format!(
        "{axe}\nreturn axe.run(document).then((result) =>
            result.violations.map((rule) => rule.id + ': ' + rule.nodes[0].html.slice(0, 300)))"
    );
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = |severity: &str, message: &str| {
        json!({ "trace": TRACE, "spanId": "0000000000000002", "severity": severity, "message": message })
            .to_string()
    };
    let lines =
        [line("ERROR", "payments - declined"), line("WARNING", "shop - slow"), line("DEBUG", "quiet")];
    std::fs::write(&log, lines.join("\n") + "\n").unwrap();
    let mut command = crate::harness::command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    for trace in [TRACE, OTHER] {
        let mut root = failed(span(trace, 1, 0, "GET /basket/{id}", 0, 250), "bad gateway");
        root.attributes = vec![
            number("http.response.status_code", 502),
            string("http.route", "/basket/{id}"),
            string("db.query.text", "SELECT * FROM basket WHERE id = 7"),
            string("exception.stacktrace", "at a\n  at b\n  at c"),
        ];
        exporter.send(&request("shop", vec![root])).await;
        exporter.send(&request("payments", vec![span(trace, 2, 1, "POST /pay", 10, 200)])).await;
    }
    exporter.trace(TRACE, 2, 3).await;
    exporter.trace(OTHER, 2, 0).await;
    let pages = [
        "/".to_owned(),
        "/?service=shop&sort=longest".to_owned(),
        "/?service=nobody".to_owned(),
        "/?status=wrong".to_owned(),
        "/logs".to_owned(),
        "/services".to_owned(),
        format!("/trace/{TRACE}"),
        format!("/trace/{TRACE}?span=0000000000000001&find=GET&lines=beside"),
        format!("/trace/{TRACE}?path=critical"),
        format!("/compare?a={TRACE}&b={OTHER}"),
    ];
    for is_dark in [false, true] {
        let browser =
            Browser::start_with(if is_dark { &["--blink-settings=preferredColorScheme=0"] } else { &[] })
                .await;
        for page in &pages {
            browser.open(&format!("{}{page}", exporter.view)).await;
            let found: Value = browser.run(&script).await;
            assert_eq!(found, json!([]), "{page}, dark: {is_dark}");
        }
    }
}
