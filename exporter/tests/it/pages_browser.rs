//! The pages in a real browser: what the layout makes of any text, and what the live list does to its reader.

use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Exporter, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Returns the elements that are wider than the window, or whose text leaves its column.
const TOO_WIDE: &str = "
    const found = [];
    const show = (element) => element.outerHTML.slice(0, 100);
    const clips = (element) => getComputedStyle(element).overflowX !== 'visible';
    if (document.documentElement.scrollWidth > innerWidth) found.push('the page: ' + document.documentElement.scrollWidth);
    // The right end of what is visible of an element.
    const right = (element) => {
      const own = element.getBoundingClientRect();
      if (own.width === 0 || clips(element)) return own.right;
      return Math.max(own.right, ...[...element.children].map(right));
    };
    for (const element of document.querySelectorAll('main > *')) {
      if (right(element) > innerWidth + 1) found.push('too wide: ' + show(element));
    }
    for (const cell of document.querySelectorAll('td, th, .row > *, .name > *')) {
      const next = cell.nextElementSibling;
      if (!next || cell.offsetWidth === 0 || next.offsetWidth === 0) continue;
      if (right(cell) > next.getBoundingClientRect().left + 1) found.push('overlap: ' + show(cell));
    }
    // A card clips what is too wide for it.
    for (const card of document.querySelectorAll('.card')) {
      if (card.scrollWidth > card.clientWidth) found.push('cut off: ' + show(card));
    }
    return found;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_breaks_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let service = "s".repeat(201);
    let texts = [
        "x".repeat(5000),
        "two\nlines\r\nand\ttabs ".repeat(20),
        "\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd} evil".to_owned(),
        "<b>&amp;\"'".repeat(300),
        "\u{1f469}\u{200d}\u{1f680}e\u{301}\u{301}\u{301}".repeat(200),
        String::new(),
    ];
    let spans = texts.iter().zip(1..).map(|(text, id)| {
        let mut span = span(TRACE, id, id - 1, text, id, 50);
        span.attributes = vec![string(text, text), string("host.name", text), string("http.route", "/a")];
        span.trace_state = text.clone();
        span
    });
    let mut sent = request(&service, spans.collect());
    let resource = sent.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.extend(texts.iter().map(|text| string("host.name", text)));
    for text in &texts {
        exporter.send(&request(text, vec![span(TRACE, 100 + text.len() as u64, 1, text, 3, 4)])).await;
        exporter
            .send(&request(&service, vec![span(&format!("{:032x}", 1 + text.len()), 1, 0, text, 3, 4)]))
            .await;
    }
    exporter.send(&sent).await;
    exporter.trace(TRACE, 12, 0).await;
    let shown = format!("{}…", "s".repeat(200));

    let browser = Browser::start().await;
    for path in ["/".to_owned(), format!("/trace/{TRACE}"), format!("/trace/{TRACE}?span=0000000000000001")] {
        browser.open(&format!("{}{path}", exporter.view)).await;
        browser.run("for (const details of document.querySelectorAll('details')) details.open = true").await;
        assert_eq!(browser.run(TOO_WIDE).await, json!([]), "{path}");
    }
    // Each name of a service is listed once, with an ellipsis and a tooltip.
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let titles =
        "return [...document.querySelectorAll('.services .service')].map((element) => element.title)";
    let titles = browser.run(titles).await;
    let titles: Vec<&str> = titles.as_array().unwrap().iter().map(|title| title.as_str().unwrap()).collect();
    assert_eq!(titles.iter().filter(|title| **title == shown).count(), 1, "{titles:?}");
    let is_cut = "
        const name = document.querySelector(`.service[title^='ssss'] bdi`);
        return [getComputedStyle(name).textOverflow, name.scrollWidth > name.clientWidth]";
    assert_eq!(browser.run(is_cut).await, json!(["ellipsis", true]));
}
