//! Live lists in a real browser: they stay what a fresh page would show.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, eventually, request, span};
use crate::pages_trace_browser::wait_for;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn trace(n: u64) -> String {
    format!("{n:032x}")
}

/// Returns a trace of one span.
fn work(n: u64, start: u64, took: u64) -> Span {
    let mut work = span(&trace(n), 1, 0, &format!("work {n}"), 0, 0);
    (work.start_time_unix_nano, work.end_time_unix_nano) = (start, start + took);
    work
}

async fn send(exporter: &Exporter, spans: Vec<Span>) {
    exporter.send(&request("shop", spans)).await;
}

/// The ids, the bars and the number of rows, and the link to the next page.
const LIST: &str = "
    const list = (page) => [
      [...page.querySelectorAll('.traces tbody tr')].map((row) => row.id.slice(-4)),
      [...page.querySelectorAll('.share .front')].map((bar) => bar.getAttribute('width')),
      page.querySelector('.count').textContent,
      page.querySelector('.more a')?.getAttribute('href') ?? null,
    ];";

/// Returns the list that is shown, and the one that a fresh page shows.
async fn lists(browser: &Browser) -> (Value, Value) {
    let script = format!(
        "{LIST} const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), 'text/html');
         return [list(document), list(fresh)]"
    );
    let lists = browser.run(&script).await;
    (lists[0].clone(), lists[1].clone())
}

/// The connection for new rows exists before the rows.
async fn open(browser: &Browser, url: &str) {
    browser.open(url).await;
    browser.run("await new Promise((done) => setTimeout(done, 700))").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_have_their_place_and_the_list_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let start = now() - 600 * SECOND;
    send(&exporter, (1..=12).map(|n| work(n, start + n * 10 * SECOND, n * MILLI)).collect()).await;
    exporter.trace(&trace(12), 1, 0).await;
    let browser = Browser::start().await;
    open(&browser, &format!("{}/?limit=10", exporter.view)).await;
    // One between others, one that takes long, one before all, and one that is on the next page.
    let late = [
        work(100, start + 75 * SECOND, 5 * MILLI),
        work(101, start + 500 * SECOND, 90 * SECOND),
        work(102, start + 105 * SECOND, MILLI / 2),
        work(103, start + 5 * SECOND, 3 * MILLI),
    ];
    for span in late {
        send(&exporter, vec![span]).await;
    }
    eventually("the rows of a fresh page", async || {
        let (shown, fresh) = lists(&browser).await;
        (shown == fresh && shown[0].as_array().unwrap().contains(&json!("0066"))).then_some(())
    })
    .await;
    let (shown, _) = lists(&browser).await;
    assert_eq!(
        shown[0],
        json!(["0065", "000c", "000b", "0066", "000a", "0009", "0008", "0064", "0007", "0006"])
    );
    assert_eq!(shown[2], "10 traces");
    browser.run("document.querySelector('.more a').click()").await;
    let ids = "return [...document.querySelectorAll('.traces tbody tr')].map((row) => row.id.slice(-4))";
    wait_for(&browser, ids, json!(["0005", "0004", "0003", "0002", "0001", "0067"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_stays_long() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let start = now() - 3000 * SECOND;
    send(&exporter, (1..=620).map(|n| work(n, start + n * SECOND, MILLI)).collect()).await;
    exporter.trace(&trace(620), 1, 0).await;
    let browser = Browser::start().await;
    open(&browser, &format!("{}/?limit=600", exporter.view)).await;
    send(&exporter, vec![work(700, start + 700 * SECOND, MILLI)]).await;
    wait_for(&browser, "return document.querySelector('.traces tbody tr').id.slice(-4)", json!("02bc")).await;
    let (shown, fresh) = lists(&browser).await;
    assert_eq!(shown[0].as_array().unwrap().len(), 600);
    assert!(shown == fresh, "{}, {}", shown[3], fresh[3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_counts_its_rows_and_ages_advance() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let browser = Browser::start().await;
    open(&browser, &exporter.view).await;
    let state = "return [document.querySelector('.bar').checkVisibility(), document.querySelector('.count').textContent,
        document.querySelector('.empty') !== null]";
    assert_eq!(browser.run(state).await, json!([false, "0 traces", true]));
    let start = now();
    send(&exporter, vec![work(1, start, MILLI)]).await;
    wait_for(&browser, state, json!([true, "1 trace", false])).await;
    send(&exporter, vec![work(2, start + 1, MILLI)]).await;
    wait_for(&browser, state, json!([true, "2 traces", false])).await;
    let age = "return /^[0-9]+ s ago$/.test(document.querySelector('time.age').textContent)";
    wait_for(&browser, age, json!(true)).await;
    // The clock of the browser does not matter.
    browser.run("const now = Date.now; Date.now = () => now() + 5 * 3600 * 1000").await;
    wait_for(&browser, age, json!(true)).await;

    // A pill that offers rows is a button.
    browser.run("document.querySelector('.what a').focus()").await;
    send(&exporter, vec![work(3, start + 2, MILLI)]).await;
    wait_for(&browser, "return document.querySelector('.news').textContent", json!("1 new")).await;
    let is_button = "const news = document.querySelector('.news'); news.focus(); return [news.localName, document.activeElement === news]";
    assert_eq!(browser.run(is_button).await, json!(["button", true]));
    browser.run("document.activeElement.click()").await;
    wait_for(&browser, state, json!([true, "3 traces", false])).await;
}

#[tokio::test]
async fn without_scripts_a_list_is_loaded_again_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for (path, is_live) in
        [("/", true), ("/logs?service=x", true), ("/?sort=oldest", false), ("/services", false)]
    {
        let page = exporter.get(path).await.text().await.unwrap();
        assert!(!page.contains("http-equiv"), "{path}");
        assert_eq!(
            page.contains("<noscript><a class=\"button\" href=\"\">Refresh</a></noscript>"),
            is_live,
            "{path}"
        );
    }
}
