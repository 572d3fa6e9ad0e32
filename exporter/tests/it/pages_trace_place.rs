//! The page of one trace in a real browser: what stays in its place, and where its keys and links lead.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Exporter, request, span, string};
use crate::pages_trace_browser::{ROW, TRACE, id, press, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn details_open_without_moving_the_row() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for n in 0..12 {
        let service = format!("a-service-with-a-name-{n}");
        let spans =
            (0..8).map(|m| span(TRACE, n * 10 + m + 1, u64::from(n * 10 + m > 0), "work", n, 50)).collect();
        exporter.send(&request(&service, spans)).await;
    }
    exporter.trace(TRACE, 96, 0).await;
    let browser = Browser::start().await;
    for width in [1280, 1920, 800] {
        browser.emulate(width, 700, &[]).await;
        browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
        // From a row, to one below it, to one above it, and closed.
        for (span, target) in [(13, 13), (31, 31), (5, 5), (5, 0)] {
            let script = format!(
                "const row = document.getElementById('{}');
                 if (row.getBoundingClientRect().bottom > innerHeight || row.getBoundingClientRect().top < 60) row.scrollIntoView({{ block: 'center' }});
                 window.before = row.getBoundingClientRect().top; row.querySelector('.text').click()",
                id(span)
            );
            browser.run(&script).await;
            let open = "return document.querySelector('.row.open')?.id ?? ''";
            wait_for(&browser, open, json!(if target == 0 { String::new() } else { id(target) })).await;
            let moved = format!(
                "return Math.round(document.getElementById('{}').getBoundingClientRect().top - window.before)",
                id(span)
            );
            assert_eq!(browser.run(&moved).await, 0, "{width}: {span}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_trace_appears_when_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let waiting = "return document.querySelector('.waiting')?.checkVisibility() ?? false";
    assert_eq!(browser.run(waiting).await, true);
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 5)])).await;
    wait_for(&browser, "return document.querySelector('h1')?.textContent", json!("GET /")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parent_of_a_row_can_be_on_an_earlier_page() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    // Span 2 has all others below it. Each tenth has one below it.
    let parent = |id: u64| match id {
        1 => 0,
        2 => 1,
        id if id % 10 == 1 => id - 1,
        _ => 2,
    };
    let spans: Vec<Span> = (1..=1200).map(|id| span(TRACE, id, parent(id), "work", id, 5000)).collect();
    exporter.send(&request("shop", spans)).await;
    exporter.trace(TRACE, 1200, 0).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}?row=1000&collapse={:016x}", exporter.view, 1110)).await;
    browser.run(&format!("document.querySelector('#{} .text').focus()", id(1110))).await;
    press(&browser, &["ArrowLeft"]).await;
    wait_for(&browser, ROW, json!(id(2))).await;
    let first = "return document.querySelector('.pages.around span').textContent";
    assert_eq!(browser.run(first).await, "rows 1 to 500 of 1199");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_without_times_has_a_badge_and_a_link_looks_like_one() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut root = span(TRACE, 1, 0, "GET /", 0, 5);
    root.attributes = vec![string("url.path", "/a"), string("text", "two\nlines")];
    let (mut none, mut no_end) = (span(TRACE, 2, 1, "none", 0, 0), span(TRACE, 3, 1, "no end", 1, 0));
    (none.start_time_unix_nano, none.end_time_unix_nano, no_end.end_time_unix_nano) = (0, 0, 0);
    exporter.send(&request("shop", vec![root, none, no_end])).await;
    exporter.trace(TRACE, 3, 0).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}?span=0000000000000001", exporter.view)).await;
    let badges = "return [1, 2, 3].map((span) => document.querySelector(`#s-000000000000000${span} .badge`)?.textContent ?? null)";
    assert_eq!(browser.run(badges).await, json!([null, "no times", "no end"]));
    let colours = "const colour = (element) => getComputedStyle(element).color;
        const link = colour(document.querySelector('.value a.text')), text = colour(document.querySelector('.value div.text'));
        return [link === colour(document.querySelector('.detail .actions a')), link !== text]";
    assert_eq!(browser.run(colours).await, json!([true, true]));
}
