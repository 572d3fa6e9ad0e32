//! The page of services in a real browser: the map, and its filter.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Exporter, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filter_holds_for_the_map_and_its_links_keep_the_times() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let long = "w".repeat(80);
    // shop calls cart, cart calls the one with the long name and is called back; lone is alone.
    for (id, parent, service) in
        [(1, 0, "shop"), (2, 1, "cart"), (3, 2, long.as_str()), (4, 3, "cart"), (5, 1, "pay"), (6, 5, "cart")]
    {
        exporter.send(&request(service, vec![span(TRACE, id, parent, "work", id, 10)])).await;
    }
    exporter.send(&request("lone", vec![span(&format!("{:032x}", 7), 1, 0, "work", 0, 10)])).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 7.).await;
    let browser = Browser::start().await;
    let map = "return [[...document.querySelectorAll('.map .name')].map((name) => name.textContent.slice(0, 4)).sort(),
        [...document.querySelectorAll('.map .call title')].map((title) => title.textContent.split(':')[0].slice(0, 11)).sort(),
        [...document.querySelectorAll('.numbers')].map((table) => table.tBodies[0].rows.length)]";
    for (query, expected) in [
        (
            "",
            json!([
                ["cart", "lone", "pay", "shop", "wwww"],
                ["cart → wwww", "pay → cart", "shop → cart", "shop → pay", "wwwwwwwwwww"],
                [5, 5]
            ]),
        ),
        (
            "?service=pay&from=2020-01-01",
            json!([["cart", "pay", "shop"], ["pay → cart", "shop → pay"], [1, 1]]),
        ),
        ("?service=lone", json!([["lone"], [], [1, 1]])),
    ] {
        browser.open(&format!("{}/services{query}", exporter.view)).await;
        assert_eq!(browser.run(map).await, expected, "{query}");
    }
    browser.open(&format!("{}/services?from=2020-01-01&to=2100-01-01", exporter.view)).await;
    let links = "return [...document.querySelectorAll('.map a')].every((link) =>
        link.getAttribute('href').startsWith('/?from=2020-01-01&to=2100-01-01&service='))";
    assert_eq!(browser.run(links).await, true);

    // A long name ends within its box, and a line touches the boxes that it connects.
    let layout = "
        const found = [];
        const boxes = [...document.querySelectorAll('.map .node')].map((node) => ({
          name: node.querySelector('.name').textContent, box: node.querySelector('.box').getBoundingClientRect() }));
        for (const name of document.querySelectorAll('.map .name')) {
          const box = name.closest('.node').querySelector('.box').getBoundingClientRect();
          if (name.getBoundingClientRect().right > box.right) found.push('leaves its box: ' + name.textContent);
          const isCut = name.scrollWidth > name.clientWidth;
          if (isCut !== name.textContent.startsWith('www')) found.push('cut: ' + name.textContent);
          if (getComputedStyle(name).textOverflow !== 'ellipsis') found.push('no ellipsis');
        }
        const svg = document.querySelector('.map svg').getBoundingClientRect();
        const lines = new Set();
        for (const call of document.querySelectorAll('.map .call')) {
          const [caller, callee] = call.querySelector('title').textContent.split(':')[0].split(' → ');
          const of = (name) => boxes.find((box) => box.name === name)?.box;
          const at = (length) => { const { x, y } = call.getPointAtLength(length); return { x: svg.left + x, y: svg.top + y }; };
          const touches = (box, { x, y }) => box && (Math.abs(x - box.left) < 2 || Math.abs(x - box.right) < 2) && y > box.top && y < box.bottom;
          if (!touches(of(caller), at(0)) || !touches(of(callee), at(call.getTotalLength()))) found.push(`${caller} → ${callee}`);
          if (call.getBoundingClientRect().right > svg.right) found.push('leaves the drawing: ' + caller);
          const [left, right] = [at(0), at(call.getTotalLength())].map(({ x, y }) => `${Math.round(x)} ${Math.round(y)}`).sort();
          if (lines.has(left + right)) found.push('the same line: ' + caller);
          lines.add(left + right);
        }
        return found;";
    assert_eq!(browser.run(layout).await, json!([]));
}

#[tokio::test]
async fn a_trace_of_ten_thousand_spans_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let spans = |from: u64, to: u64| -> Vec<Span> {
        (from..to).map(|id| span(TRACE, id, u64::from(id > 1), "work", 1, 1)).collect()
    };
    exporter.send(&request("shop", spans(1, 5_001))).await;
    exporter.send(&request("shop", spans(5_001, 10_001))).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 10_000.).await;
    assert_eq!(exporter.json("/api/services").await["is_complete"], true);
    let page = exporter.get("/services").await.text().await.unwrap();
    assert!(page.contains("from 1 trace<") && !page.contains("as many as could be read"), "{page}");
    exporter.send(&request("shop", spans(10_001, 10_002))).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 10_001.).await;
    assert_eq!(exporter.json("/api/services").await["is_complete"], false);
}
