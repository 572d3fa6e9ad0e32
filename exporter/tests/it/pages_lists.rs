//! The lists in a real browser: filters, paging, live rows and the overview.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, eventually, failed, number, request, span, string};

fn trace(n: u64) -> String {
    format!("{n:032x}")
}

/// Sends a trace of one span.
async fn send(exporter: &Exporter, n: u64, name: &str, duration: u64) {
    exporter.send(&request("shop", vec![span(&trace(n), 1, 0, name, n, duration)])).await;
}

const ROWS: &str = "return [...document.querySelectorAll('.traces tbody tr')].map((row) => row.id.slice(-4))";

async fn rows(browser: &Browser) -> Value {
    browser.run(ROWS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_is_typed_followed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for n in 1..=3 {
        send(&exporter, n, "GET /basket", 10 * n).await;
    }
    let mut slow = failed(span(&trace(4), 1, 0, "GET /pay", 4, 900), "declined");
    slow.attributes = vec![number("http.response.status_code", 502), string("user", "a&b=c")];
    exporter.send(&request("payments", vec![slow])).await;
    exporter.trace(&trace(4), 1, 0).await;

    let browser = Browser::start().await;
    browser.open(&exporter.view).await;
    assert_eq!(rows(&browser).await, json!(["0004", "0003", "0002", "0001"]));
    let search = |name: &str, value: &str| {
        format!(
            "const form = document.querySelector('.filters'); form.elements.{name}.value = {}; form.requestSubmit();",
            json!(value)
        )
    };
    for (name, value, expected) in [
        ("service", "payments", json!(["0004"])),
        ("name", "basket", json!(["0003", "0002", "0001"])),
        ("status", "5xx", json!(["0004"])),
        ("attribute", "user=a&b=c", json!(["0004"])),
        ("min_duration", "20ms", json!(["0004", "0003", "0002"])),
        ("sort", "longest", json!(["0004", "0003", "0002", "0001"])),
        ("q", "PAY", json!(["0004"])),
    ] {
        browser.open(&exporter.view).await;
        browser.run(&search(name, value)).await;
        eventually(name, async || (rows(&browser).await == expected).then_some(())).await;
        let url = browser.run("return location.search").await;
        assert!(url.as_str().unwrap().starts_with(&format!("?{name}=")), "{url}");
    }
    // A value of a row is a link that adds it, and a chip removes it.
    browser.open(&format!("{}/?min_duration=5ms", exporter.view)).await;
    browser.run("document.querySelector('.traces .service').click()").await;
    eventually("the service", async || (rows(&browser).await == json!(["0004"])).then_some(())).await;
    assert_eq!(browser.run("return location.search").await, "?min_duration=5ms&service=payments");
    browser.run("document.querySelector('.chip[href*=min_duration]').click()").await;
    eventually("all", async || (rows(&browser).await.as_array().unwrap().len() == 4).then_some(())).await;

    // What is wrong is named.
    browser.open(&format!("{}/?status=9xx", exporter.view)).await;
    let text = browser.run("return document.querySelector('main').innerText").await;
    assert!(text.as_str().unwrap().contains("status: expected an HTTP status code"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_leads_to_the_last_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for n in 1..=23 {
        send(&exporter, n, "work", n).await;
    }
    exporter.trace(&trace(23), 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/?limit=10&sort=oldest", exporter.view)).await;
    let mut seen = Vec::new();
    for page in 1..=3 {
        let found = rows(&browser).await;
        seen.extend(found.as_array().unwrap().clone());
        let next = "const next = document.querySelector('a[rel=next]'); next?.click(); return next !== null";
        assert_eq!(browser.run(next).await, page < 3);
        if page < 3 {
            eventually("the next page", async || (rows(&browser).await != found).then_some(())).await;
        }
    }
    let expected: Vec<Value> = (1..=23_u64).map(|n| json!(format!("{n:04x}"))).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_wait_while_the_list_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for n in 1..=60 {
        send(&exporter, n, &format!("work {n}"), 1).await;
    }
    exporter.trace(&trace(60), 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&exporter.view).await;
    // At the top, and without focus, a row is added.
    send(&exporter, 61, "work 61", 1).await;
    eventually("a new row", async || (rows(&browser).await[0] == "003d").then_some(())).await;

    let prepare = format!(
        "const row = document.getElementById('t-{0}');
         row.scrollIntoView({{ block: 'center' }});
         row.querySelector('.what a').focus({{ preventScroll: true }});
         window.row = document.getElementById('t-{1}');
         getSelection().selectAllChildren(window.row.querySelector('.what a'));",
        trace(30),
        trace(31)
    );
    browser.run(&prepare).await;
    let state = "return [document.activeElement.href.slice(-2), String(getSelection()), scrollY > 100,
        row.isConnected, Math.round(row.getBoundingClientRect().top)]";
    let before = browser.run(state).await;
    assert_eq!(before[0], "1e");
    assert_eq!((&before[1], &before[2]), (&json!("work 31"), &json!(true)));
    for n in 62..=73 {
        send(&exporter, n, &format!("work {n}"), 1).await;
    }
    // A trace of the list changes: its row is replaced, unless it is in use.
    exporter.send(&request("other", vec![span(&trace(30), 2, 1, "more", 30, 1)])).await;
    exporter.send(&request("other", vec![span(&trace(29), 2, 1, "more", 29, 1)])).await;
    let news = "return document.querySelector('.news').textContent";
    eventually("their number", async || (browser.run(news).await == "12 new").then_some(())).await;
    let changed = format!("return document.getElementById('t-{}').innerText.includes('+1')", trace(29));
    eventually("the change", async || (browser.run(&changed).await == true).then_some(())).await;
    assert_eq!(browser.run(state).await, before);

    browser.run("document.querySelector('.news').click()").await;
    let found = rows(&browser).await;
    let expected: Vec<String> = (1..=73_u64).rev().map(|n| format!("{n:04x}")).collect();
    assert_eq!(found, json!(expected));
}

/// What arrives between the page and its connection is not missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_a_trace_catch_up_when_they_connect() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    send(&exporter, 1, "first", 1).await;
    exporter.trace(&trace(1), 1, 0).await;
    for page in ["/".to_owned(), format!("/trace/{}", trace(1))] {
        // Others have all places of live views.
        let mut others = Vec::new();
        loop {
            let view = exporter.get("/api/live").await;
            if view.status() != 200 {
                break;
            }
            others.push(view);
        }
        let browser = Browser::start().await;
        browser.open(&format!("{}{page}", exporter.view)).await;
        let text = "return document.querySelector('#rows').innerText";
        let name = format!("second of {page}");
        exporter.send(&request("shop", vec![span(&trace(1), page.len() as u64 + 1, 1, &name, 1, 1)])).await;
        let new = page.len() as u64 + 100;
        send(&exporter, new, &name, 1).await;
        exporter.trace(&trace(new), 1, 0).await;
        drop(others);
        eventually("what has arrived", async || {
            browser.run(text).await.as_str().is_some_and(|text| text.contains(&name)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_list_says_since_when_there_is_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    send(&exporter, 1, "first", 1).await;
    exporter.trace(&trace(1), 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&exporter.view).await;
    let live =
        "const live = document.querySelector('button.live'); return [live.textContent, live.className]";
    assert_eq!(browser.run(live).await, json!(["Live", "live"]));
    exporter.signal("STOP");
    let stopped = std::time::Instant::now();
    let silent = eventually("the state without a connection", async || {
        let state = browser.run(live).await;
        (state[0] != "Live").then_some(state)
    })
    .await;
    assert!(stopped.elapsed() < std::time::Duration::from_secs(6), "{:?}", stopped.elapsed());
    exporter.signal("CONT");
    let text = silent[0].as_str().unwrap();
    let time = text.strip_prefix("No connection since ").expect(text);
    assert!(time.len() == 8 && time.matches(':').count() == 2, "{text}");
    assert_eq!(silent[1], "live offline");
    eventually("the recovered state", async || {
        (browser.run(live).await == json!(["Live", "live"])).then_some(())
    })
    .await;
    send(&exporter, 2, "second", 1).await;
    eventually("a new row", async || (rows(&browser).await[0] == "0002").then_some(())).await;
    // A paused list stays as it is.
    browser.run("document.querySelector('button.live').click()").await;
    assert_eq!(browser.run(live).await, json!(["Paused", "live paused"]));
    send(&exporter, 3, "third", 1).await;
    exporter.trace(&trace(3), 1, 0).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rows(&browser).await[0], "0002");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drag_over_the_overview_selects_times() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    // A minute apart, each takes twice as long as the one before.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    for n in 1..=20 {
        let mut work = span(&trace(n), 1, 0, "work", 0, 0);
        work.start_time_unix_nano = now - (20 - n) * 60_000_000_000;
        work.end_time_unix_nano = work.start_time_unix_nano + (1_000_000 << n);
        exporter.send(&request("shop", vec![work])).await;
    }
    exporter.trace(&trace(20), 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&exporter.view).await;
    assert_eq!(browser.run("return document.querySelectorAll('.overview .dot').length").await, 20);
    let drag = "
        const svg = document.querySelector('.overview svg');
        const { left, top, width, height } = svg.getBoundingClientRect();
        const event = (type, x, y) => svg.dispatchEvent(new PointerEvent(type,
            { clientX: left + x * width, clientY: top + y * height, pointerId: 1, buttons: 1, bubbles: true }));
        svg.setPointerCapture = () => {};
        event('pointerdown', 0.1, 0.02);
        event('pointermove', 0.2, 0.4);
        event('pointermove', 0.9, 0.5);
        event('pointerup', 0.9, 0.5);";
    browser.run(drag).await;
    let search = eventually("the filter", async || {
        let search = browser.run("return location.search").await;
        search.as_str().unwrap().contains("from=").then_some(search)
    })
    .await;
    let search = search.as_str().unwrap();
    for name in ["from=20", "to=20", "min_duration=", "max_duration="] {
        assert!(search.contains(name), "{search}");
    }
    let found = rows(&browser).await;
    let count = found.as_array().unwrap().len();
    assert!((8..=10).contains(&count), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_lead_to_their_traces_and_services_to_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = |trace: Option<String>, severity: &str, message: &str| {
        json!({ "trace": trace, "severity": severity, "message": message, "time": "2026-01-01T00:00:00Z" })
            .to_string()
    };
    let lines = [
        line(Some(trace(1)), "INFO", "shop - one"),
        line(None, "ERROR", "cart - of no trace"),
        line(Some(trace(2)), "WARNING", "shop - three"),
    ];
    std::fs::write(&log, lines.join("\n") + "\n").unwrap();
    let mut command = crate::harness::command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(&trace(1), 1, 0, "GET /", 0, 5)])).await;
    exporter.send(&request("cart", vec![span(&trace(1), 2, 1, "GET /cart", 1, 3)])).await;
    exporter.trace(&trace(1), 2, 1).await;
    let browser = Browser::start().await;
    let messages = "return [...document.querySelectorAll('.line .message')].map((line) => line.textContent)";
    for (query, expected) in [
        ("", vec!["one", "of no trace", "three"]),
        ("?severity=WARNING", vec!["of no trace", "three"]),
        ("?service=shop", vec!["one", "three"]),
        ("?q=NO+trace", vec!["of no trace"]),
    ] {
        browser.open(&format!("{}/logs{query}", exporter.view)).await;
        let mut found: Vec<Value> = browser.run(messages).await.as_array().unwrap().clone();
        found.sort_by_key(|message| expected.iter().position(|expected| message == expected));
        assert_eq!(found, expected, "{query}");
    }
    browser.open(&format!("{}/logs?service=shop&q=one", exporter.view)).await;
    browser.run("document.querySelector('.of-trace').click()").await;
    eventually("the trace", async || {
        (browser.run("return location.pathname").await == format!("/trace/{}", trace(1))).then_some(())
    })
    .await;
    browser.open(&format!("{}/services", exporter.view)).await;
    let map = browser.run("return document.querySelector('.map').textContent").await;
    assert!(map.as_str().unwrap().contains("shop → cart: 1 request,"), "{map}");
    let routes = "return document.querySelectorAll('.numbers')[1].innerText";
    assert!(browser.run(routes).await.as_str().unwrap().contains("GET /cart"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_trace_fills_in_and_two_can_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    send(&exporter, 1, "GET /", 50).await;
    exporter.trace(&trace(1), 1, 0).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{}", exporter.view, trace(1))).await;
    let spans = "return [...document.querySelectorAll('.rows .row[id^=s-]')].map((row) => row.id)";
    assert_eq!(browser.run(spans).await.as_array().unwrap().len(), 1);
    // The connection for changes exists before the change.
    let is_open = "return changes.readyState === EventSource.OPEN";
    eventually("the connection", async || (browser.run(is_open).await == true).then_some(())).await;
    exporter.send(&request("cart", vec![span(&trace(1), 2, 1, "late", 10, 30)])).await;
    eventually("the new span", async || {
        (browser.run(spans).await.as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    // While the rows are in use, they stay.
    browser.run("document.querySelector('.row .text').focus()").await;
    exporter.send(&request("cart", vec![span(&trace(1), 3, 1, "later", 20, 5)])).await;
    eventually("the offer", async || {
        (browser.run("return document.querySelector('.filled') !== null").await == true).then_some(())
    })
    .await;
    assert_eq!(browser.run(spans).await.as_array().unwrap().len(), 2);

    send(&exporter, 2, "GET /", 90).await;
    exporter.trace(&trace(2), 1, 0).await;
    browser.run("[...document.querySelectorAll('.button')].find((link) => link.textContent === 'Compare').click()").await;
    eventually("the form", async || {
        (browser.run("return location.pathname").await == "/compare").then_some(())
    })
    .await;
    // One of the same name is chosen, or the id of any other is pasted.
    let others =
        "return [...document.querySelectorAll('.numbers a')].map((link) => link.getAttribute('href'))";
    assert_eq!(browser.run(others).await, json!([format!("/compare?a={}&b={}", trace(1), trace(2))]));
    assert_eq!(browser.run("return document.querySelector('.notice')").await, Value::Null);
    let compare = format!(
        "const form = document.querySelector('.filters'); form.elements.b.value = '{}'; form.requestSubmit()",
        trace(2)
    );
    browser.run(&compare).await;
    let rows = "return [...document.querySelectorAll('.numbers tbody tr')].map((row) => row.innerText.replace(/\\s+/g, ' '))";
    let rows = eventually("the comparison", async || {
        let rows = browser.run(rows).await;
        (!rows.as_array().unwrap().is_empty()).then_some(rows)
    })
    .await;
    let rows: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(rows[0], "GET / shop 1 50.0 ms 1 90.0 ms +40.0 ms");
    assert_eq!(rows[1], "late cart 1 30.0 ms – – −30.0 ms");
    for (query, status) in [("a=1", 400), ("a=1&c=2", 400), ("", 200)] {
        assert_eq!(exporter.get(&format!("/compare?{query}")).await.status(), status, "{query}");
    }
    browser.open(&exporter.view).await;
    let compare =
        "return [...document.querySelectorAll('.traces .compare')].map((link) => link.getAttribute('href'))";
    assert_eq!(
        browser.run(compare).await,
        json!([format!("/compare?a={}", trace(2)), format!("/compare?a={}", trace(1))])
    );
    let missing = format!("/compare?a={}&b={}", trace(1), trace(9));
    assert_eq!(exporter.get(&missing).await.status(), 404);
}
