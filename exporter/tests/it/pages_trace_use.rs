//! The page of one trace while it is used, in a real browser: news, lost connections, further rows, and copies.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, eventually, failed, request, span, string};
use crate::pages_trace_browser::{ROW, TRACE, exporter, id, press, wait_for};

const ROWS: &str = "return document.querySelectorAll('.row[id]').length";
const CONNECTION: &str = "return document.querySelector('.connection')?.textContent";

async fn long_trace(exporter: &Exporter, total: u64, failures: &[u64]) {
    let spans: Vec<Span> = (1..=total)
        .map(|id| {
            let work = span(TRACE, id, u64::from(id > 1), "work", id, 5000);
            if failures.contains(&id) { failed(work, "lost") } else { work }
        })
        .collect();
    exporter.send(&request("shop", spans)).await;
    exporter.trace(TRACE, total as usize, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_visible_and_folded_values_are_texts() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut one = span(TRACE, 1, 0, "GET /", 0, 10);
    one.attributes = vec![
        string("exception.stacktrace", &"at f (a.js:1)\n".repeat(60)),
        string("long", &"x".repeat(100_000)),
    ];
    exporter.send(&request("shop", vec![one])).await;
    exporter.trace(TRACE, 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}?span=0000000000000001", exporter.view)).await;
    let hidden = "return [...document.querySelectorAll('.copy')].filter((copy) => !copy.checkVisibility({ visibilityProperty: true }))
        .map((copy) => copy.ariaLabel)";
    assert_eq!(browser.run(hidden).await, json!([]));
    assert_eq!(browser.run("return document.querySelectorAll('.copy').length > 5").await, true);
    let more = "return getComputedStyle(document.querySelector('.value .more')).display";
    assert_eq!(browser.run(more).await, "block");
    // A value that is cut is copied as a whole.
    let whole = "let copied = null; navigator.clipboard.writeText = async (text) => { copied = text; };
        document.querySelector('[data-whole]').click();
        for (let n = 0; n < 50 && copied === null; n++) await new Promise((done) => setTimeout(done, 100));
        return copied.length";
    assert_eq!(browser.run(whole).await, 100_000);
    // Without the clipboard of secure pages, a copy keeps the focus.
    let copy = "navigator.clipboard.writeText = async () => { throw new Error('not secure'); };
        const button = document.querySelector('.ids .copy'); button.focus(); button.click();
        await new Promise((done) => setTimeout(done, 100)); return document.activeElement === button";
    assert_eq!(browser.run(copy).await, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tabs_can_be_open() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 10)])).await;
    exporter.trace(TRACE, 1, 0).await;
    let browser = Browser::start().await;
    let mut tabs = Vec::new();
    let paths = ["/".to_owned(), format!("/trace/{TRACE}")];
    for path in paths.iter().cycle().take(10) {
        tabs.push(browser.new_tab().await);
        let url = format!("{}{path}", exporter.view);
        let open = browser.open(&url);
        tokio::time::timeout(std::time::Duration::from_secs(20), open).await.expect("a connection is free");
    }
    exporter.send(&request("cart", vec![span(TRACE, 2, 1, "late", 1, 5)])).await;
    exporter.trace(TRACE, 2, 0).await;
    let other = format!("{:032x}", 9);
    exporter.send(&request("cart", vec![span(&other, 1, 0, "new", 5, 5)])).await;
    exporter.trace(&other, 1, 0).await;
    // A tab that is shown again has what has arrived meanwhile.
    browser.show_tab(&tabs[1]).await;
    set_visibility(&browser, false).await;
    assert_eq!(browser.run("return changes").await, Value::Null);
    set_visibility(&browser, true).await;
    wait_for(&browser, ROWS, json!(2)).await;
    browser.show_tab(&tabs[0]).await;
    set_visibility(&browser, false).await;
    set_visibility(&browser, true).await;
    wait_for(&browser, "return document.querySelectorAll('.traces tbody tr').length", json!(2)).await;
}

/// Hides a page or shows it, as the browser does for tabs. A browser without a window shows all of its tabs.
async fn set_visibility(browser: &Browser, is_visible: bool) {
    browser
        .run(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))",
            !is_visible
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filter_of_services_stays_when_the_script_changes_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for (id, service) in (1..).zip(["shop", "a,b", "other"]) {
        exporter.send(&request(service, vec![span(TRACE, id, id - 1, "work", id, 100)])).await;
    }
    exporter.trace(TRACE, 3, 0).await;
    let browser = Browser::start().await;
    let shown = "return [...document.querySelectorAll('.row.span .from')].map((from) => from.textContent)";
    for query in ["services=shop&services=a%2Cb", "services=shop,a%2Cb"] {
        browser.open(&format!("{}/trace/{TRACE}?{query}", exporter.view)).await;
        assert_eq!(browser.run(shown).await, json!(["shop", "a,b"]));
        press(&browser, &["j", "Enter"]).await;
        browser.run("document.activeElement.click()").await;
        wait_for(&browser, "return location.search", json!(format!("?{query}&span=0000000000000001"))).await;
        press(&browser, &["l"]).await;
        wait_for(&browser, "return location.search.includes('lines=beside')", json!(true)).await;
        wait_for(&browser, shown, json!(["shop", "a,b"])).await;
        browser.run("location.reload()").await;
        wait_for(&browser, shown, json!(["shop", "a,b"])).await;
    }
    // A link of the server repeats the name.
    let link = "return document.querySelector('.panel .close, .row .text').getAttribute('href').includes('services=shop&services=a%2Cb')";
    assert_eq!(browser.run(link).await, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_a_span_are_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}?span=0000000000000002", exporter.view)).await;
    browser.run("[...document.querySelectorAll('.actions a')].find((link) => link.textContent.startsWith('Lines of')).click()").await;
    wait_for(&browser, "return document.querySelectorAll('#log .line').length", json!(2)).await;
    let state = "const ids = [...document.querySelectorAll('.row[id]')].map((row) => row.id);
        return [new Set(ids).size === ids.length, document.querySelectorAll('.panel').length]";
    assert_eq!(browser.run(state).await, json!([true, 1]));
    press(&browser, &["Escape"]).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        press(&browser, &["e"]).await;
        seen.push(browser.run(ROW).await);
    }
    assert_eq!(seen[0], json!(id(3)));
    assert!(
        seen[1].as_str().unwrap().starts_with("l-") && seen[1] == seen[2] && seen[2] == seen[3],
        "{seen:?}"
    );
    // The key shows all lines again, between the spans.
    press(&browser, &["l"]).await;
    wait_for(
        &browser,
        "return [location.search, document.querySelectorAll('#rows .line').length]",
        json!(["", 4]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_use_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    let uses = [
        (
            "a text that is typed",
            "document.querySelector('.find-in input').value = 'abc'",
            "return document.querySelector('.find-in input').value === 'abc'",
        ),
        (
            "the focus",
            "document.querySelector('.tools .switch a').focus()",
            "return document.activeElement.matches('.switch a')",
        ),
        (
            "an open menu",
            "document.querySelector('.menu').open = true",
            "return document.querySelector('.menu').open",
        ),
        (
            "a chosen service",
            "document.querySelector('.menu').open = true; document.querySelector('.menu input[type=checkbox]').checked = true",
            "return document.querySelector('.menu input[type=checkbox]').checked",
        ),
        (
            "open details",
            "document.querySelector('.row .text').click(); await new Promise((done) => setTimeout(done, 500)); document.activeElement.blur()",
            "return document.querySelector('.panel') !== null",
        ),
        (
            "a scrolled page",
            "document.body.style.minHeight = '3000px'; scrollTo(0, 200)",
            "return scrollY > 100",
        ),
    ];
    for (id, (what, prepare, state)) in (100..).zip(uses) {
        browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
        browser.run(prepare).await;
        let rows = browser.run(ROWS).await;
        exporter.send(&request("late", vec![span(TRACE, id, 1, "more", 5, 5)])).await;
        browser.run("await new Promise((done) => setTimeout(done, 100))").await;
        wait_for(&browser, "await fillIn(); return document.querySelector('.filled') !== null", json!(true))
            .await;
        assert_eq!(browser.run(state).await, true, "{what}");
        assert_eq!(browser.run(ROWS).await, rows, "{what}");
    }
    browser.run("document.querySelector('.filled').click()").await;
    wait_for(
        &browser,
        "return [document.querySelector('.filled'), document.getElementById('s-0000000000000069') !== null]",
        json!([null, true]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_are_new_and_a_lost_connection_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    // Times of the reader's zone, and what is collapsed, are no news.
    browser.run("document.querySelector('[data-zone=local]').click()").await;
    press(&browser, &["j", "ArrowLeft"]).await;
    let fill = "await fillIn(); return document.querySelector('.filled') !== null";
    assert_eq!(browser.run(fill).await, false);
    // A span that has failed since is one.
    exporter.send(&request("late", vec![failed(span(TRACE, 6, 1, "more", 5, 5), "lost")])).await;
    wait_for(&browser, fill, json!(true)).await;
    // One page is fetched at a time.
    let count = "let running = 0, most = 0; const fetch = window.fetch;
        window.fetch = async (...all) => { most = Math.max(most, ++running); try { return await fetch(...all); } finally { running--; } };
        await Promise.all([fillIn(), fillIn(), fillIn()]); window.fetch = fetch; return most";
    assert_eq!(browser.run(count).await, 1);

    exporter.signal("STOP");
    let stopped = std::time::Instant::now();
    let text = eventually("the state without a connection", async || {
        browser.run(CONNECTION).await.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    })
    .await;
    assert!(stopped.elapsed() < std::time::Duration::from_secs(6), "{:?}", stopped.elapsed());
    exporter.signal("CONT");
    let time = text.strip_prefix("No connection since ").expect(&text);
    assert!(time.len() == 8 && time.matches(':').count() == 2, "{text}");
    wait_for(&browser, CONNECTION, json!("")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn details_follow_the_last_key_and_a_lost_connection_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    long_trace(&exporter, 700, &[]).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}?span=0000000000000001", exporter.view)).await;
    browser.run("window.requests = 0; const fetch = window.fetch; window.fetch = (...all) => { requests++; return fetch(...all); }").await;
    press(&browser, &["j"]).await;
    let hold = "for (let n = 0; n < 30; n++) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))";
    browser.run(hold).await;
    let last = browser.run(ROW).await;
    wait_for(&browser, "return document.querySelector('.panel').previousElementSibling.id", last).await;
    let requests = browser.run("return requests").await.as_u64().unwrap();
    assert!(requests <= 3, "{requests} requests");

    press(&browser, &["Escape"]).await;
    exporter.kill();
    for click in [
        "document.querySelector('.row .text').click()",
        "document.querySelector('.pages .next').click()",
        "document.querySelector('a.fold').click()",
    ] {
        browser.run("isOffline = false; silentSince = null; showConnection()").await;
        browser.run(click).await;
        let text = eventually("the state without a connection", async || {
            browser.run(CONNECTION).await.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        })
        .await;
        assert!(text.starts_with("No connection"), "{text}");
        let state = "return [document.querySelectorAll('.row[id]').length, document.querySelector('.connection').getAttribute('role'),
            document.querySelector('[aria-busy]')]";
        assert_eq!(browser.run(state).await, json!([500, "status", null]), "{click}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_rows_bring_their_links_and_errors_along() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    long_trace(&exporter, 1200, &[700, 1100]).await;
    let browser = Browser::start().await;
    let url = format!("{}/trace/{TRACE}", exporter.view);
    browser.open(&url).await;
    let state = "return [document.querySelectorAll('.row[id]').length, document.querySelector('.pages.around span').textContent,
        document.querySelector('.hits.error').dataset.after?.includes('span=00000000000002bc') ?? null,
        document.querySelector('.hits.error').dataset.after?.includes('span=000000000000044c') ?? null]";
    assert_eq!(browser.run(state).await, json!([500, "rows 1 to 500 of 1200", true, false]));
    // A second key while the rows are loaded does nothing.
    browser.run("window.errors = []; addEventListener('unhandledrejection', (event) => errors.push(String(event.reason)))").await;
    browser.run("[...document.querySelectorAll('.row[id] .text')].at(-1).focus()").await;
    press(&browser, &["j", "j", "j"]).await;
    wait_for(&browser, state, json!([1000, "rows 1 to 1000 of 1200", false, true])).await;
    assert_eq!(browser.run("return errors").await, json!([]));
    press(&browser, &["e"]).await;
    assert_eq!(browser.run(ROW).await, json!(id(700)));
    press(&browser, &["e"]).await;
    wait_for(&browser, ROW, json!(id(1100))).await;
    // Backwards from a later page.
    wait_for(
        &browser,
        "return document.querySelector('.pages.around span').textContent",
        json!("rows 1001 to 1200 of 1200"),
    )
    .await;
    browser.run("document.querySelector('.pages.before .previous').click()").await;
    wait_for(&browser, "return [document.querySelector('.pages.around span').textContent, document.querySelector('.pages.before span').textContent]",
        json!(["rows 501 to 1200 of 1200", "500 rows before"])).await;
    press(&browser, &["E"]).await;
    wait_for(&browser, ROW, json!(id(700))).await;

    // The server counts what is below a span, if not all of it is here.
    browser.open(&url).await;
    press(&browser, &["j", "ArrowLeft"]).await;
    let collapsed = "return [location.search, document.querySelectorAll('.row[id]').length,
        document.querySelector('.hidden-rows')?.textContent, document.querySelector('.pages')]";
    wait_for(&browser, collapsed, json!(["?collapse=0000000000000001", 1, "+1199", null])).await;
    assert_eq!(browser.run(ROW).await, json!(id(1)));
    // An error below it is reached, and expands it.
    press(&browser, &["e"]).await;
    wait_for(&browser, ROW, json!(id(700))).await;
    wait_for(&browser, "return location.search", json!("?span=00000000000002bc")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_below_collapsed_spans_are_reached() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    press(&browser, &["j", "ArrowLeft"]).await;
    let shown = "return [...document.querySelectorAll('.row[id]')].filter((row) => !row.hidden).length";
    assert_eq!(browser.run(shown).await, 1);
    press(&browser, &["e"]).await;
    assert_eq!(browser.run(ROW).await, json!(id(3)));
    assert_eq!(browser.run("return location.search").await, "");
    // The same if the server has collapsed them.
    browser.open(&format!("{}/trace/{TRACE}?collapse=0000000000000002", exporter.view)).await;
    press(&browser, &["e"]).await;
    wait_for(&browser, ROW, json!(id(3))).await;
    wait_for(&browser, "return location.search", json!("?span=0000000000000003")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_page_has_room_for_the_axis_and_the_menu() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    browser.emulate(400, 900, &[]).await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let overlaps = "const ticks = [...document.querySelectorAll('.ticks span')].filter((tick) => tick.checkVisibility())
            .map((tick) => { const range = document.createRange(); range.selectNodeContents(tick); return range.getBoundingClientRect(); });
        return [ticks.length, ticks.slice(1).some((tick, index) => tick.left < ticks[index].right)]";
    assert_eq!(browser.run(overlaps).await, json!([2, false]));
    let menu = "document.querySelector('.menu').open = true;
        const form = document.querySelector('.menu form').getBoundingClientRect();
        return [document.documentElement.scrollWidth <= innerWidth, form.left >= 0 && form.right <= innerWidth]";
    assert_eq!(browser.run(menu).await, json!([true, true]));
}
