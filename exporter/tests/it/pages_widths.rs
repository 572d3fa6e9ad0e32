//! The lists in windows of all widths: the names and their links stay, and nothing is cut off that has no ellipsis.

use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Exporter, failed, number, request, span};

fn trace(n: u64) -> String {
    format!("{n:032x}")
}

const WIDTHS: [u32; 9] = [360, 400, 480, 760, 800, 860, 1024, 1280, 2000];

async fn filled(dir: &std::path::Path) -> Exporter {
    let exporter = Exporter::start(dir);
    let mut root = failed(span(&trace(1), 1, 0, "DELETE /basket/{id}/items/{item}", 0, 950), "gone");
    root.attributes = vec![number("http.response.status_code", 503)];
    exporter.send(&request("a-namespace/a-service-with-a-long-name", vec![root])).await;
    let many = (2..=10_000).map(|id| span(&trace(1), id, 1, "work", 1, 1)).collect();
    exporter.send(&request("other", many)).await;
    exporter.send(&request("shop", vec![span(&trace(2), 1, 0, "GET /basket", 0, 45_000)])).await;
    let mut now = span(&trace(3), 1, 0, "GET /now", 0, 0);
    now.start_time_unix_nano =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    now.end_time_unix_nano = now.start_time_unix_nano + 7_384_000_000_000;
    exporter.send(&request("shop", vec![now])).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 10_002.).await;
    exporter
}

/// Returns what is wrong with the rows: names without a link or with too little room, and what is cut off.
const WRONG: &str = "
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push('the page: ' + document.documentElement.scrollWidth);
    const rows = [...document.querySelectorAll('.traces tbody tr')];
    if (rows.length !== 3) found.push(rows.length + ' rows');
    for (const row of rows) {
      const link = row.querySelector('.what a');
      const cell = row.querySelector('.what');
      const box = link.getBoundingClientRect();
      if (!link.checkVisibility() || cell.clientWidth < 110) found.push('name: ' + cell.clientWidth);
      if (document.elementFromPoint(box.left + 20, box.top + box.height / 2)?.closest('a') !== link) found.push('no link: ' + link.textContent);
      // What has no ellipsis is whole.
      for (const part of row.querySelectorAll('.num, .took, .state, .badge, time')) {
        if (!part.checkVisibility()) continue;
        const outer = part.closest('td').getBoundingClientRect(), inner = part.getBoundingClientRect();
        if (inner.left < outer.left - 1 || inner.right > outer.right + 1 || part.scrollWidth > part.clientWidth + 1 && part.clientWidth) {
          found.push(`cut off: ${part.className} ${part.textContent.trim()}`);
        }
      }
    }
    const table = document.querySelector('.traces');
    const share = document.querySelector('.what').clientWidth / table.clientWidth;
    if (innerWidth > 1500 && share > 0.5) found.push('the name takes ' + share);
    return found;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_names_and_whole_numbers_at_every_width() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let browser = Browser::start().await;
    let mut wrong = Vec::new();
    for width in WIDTHS {
        browser.emulate(width, 900, &[]).await;
        browser.open(&exporter.view).await;
        let found = browser.run(WRONG).await;
        if found != json!([]) {
            wrong.push((width, found));
        }
        // The number of spans is there as long as there is room for it.
        let spans = "return document.querySelector('td.spans').checkVisibility()
            && [...document.querySelectorAll('td.spans')].map((cell) => cell.innerText)";
        let expected = if width > 760 { json!(["1", "1", "10000"]) } else { json!(false) };
        assert_eq!(browser.run(spans).await, expected, "{width}");
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_wider_than_its_window() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let browser = Browser::start().await;
    let is_too_wide = "return document.documentElement.scrollWidth > innerWidth";
    for width in WIDTHS {
        browser.emulate(width, 900, &[]).await;
        for path in
            ["/logs".to_owned(), "/services".to_owned(), format!("/compare?a={}&b={}", trace(1), trace(2))]
        {
            browser.open(&format!("{}{path}", exporter.view)).await;
            assert_eq!(browser.run(is_too_wide).await, false, "{width}: {path}");
        }
    }
}
