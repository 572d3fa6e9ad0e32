//! The page of one trace in a real browser: its keys and switches, its details, and its colours.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Exporter, START, command, eventually, failed, request, span, string};

pub(crate) const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Starts an exporter with a trace of three services, with lines and errors.
pub(crate) async fn exporter(dir: &std::path::Path) -> Exporter {
    let log = dir.join("log");
    let line = |span: u64, millis: u64, severity: &str, message: &str| {
        json!({ "trace": TRACE, "spanId": format!("{span:016x}"), "severity": severity, "message": message,
            "time": format!("2023-11-14T22:13:20.{millis:03}Z"), "text": "a\u{1b}[0m\u{202e}b\nc" })
    };
    let lines = [
        line(1, 1, "INFO", "shop - started"),
        line(2, 20, "WARNING", "slow"),
        line(2, 21, "ERROR", "<img src=x onerror=document.title='evil'>"),
        line(1, 90, "INFO", "shop - done"),
    ];
    std::fs::write(&log, lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let mut command = command(&dir.join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    let mut root = span(TRACE, 1, 0, "GET /basket", 0, 100);
    root.attributes =
        vec![string("http.route", "/basket"), string("url.full", "https://shop.example/basket")];
    exporter.send(&request("shop", vec![root, span(TRACE, 4, 1, "render", 80, 10)])).await;
    let mut query = failed(span(TRACE, 3, 2, "query", 15, 20), "no answer");
    query.attributes = vec![string("evil", "\"><script>document.title='evil'</script>\u{1b}\u{202e}")];
    exporter.send(&request("items", vec![span(TRACE, 2, 1, "GET /items", 10, 60), query])).await;
    exporter.send(&request("late", vec![span(TRACE, 5, 1, "notify", 500, 20)])).await;
    exporter.trace(TRACE, 5, 4).await;
    exporter
}

/// Presses keys, one after the other.
pub(crate) async fn press(browser: &Browser, keys: &[&str]) {
    for key in keys {
        let script = format!(
            "(document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent('keydown', {{ key: {}, bubbles: true, cancelable: true }}))",
            json!(key)
        );
        browser.run(&script).await;
    }
}

/// The row with the focus.
pub(crate) const ROW: &str = "return document.activeElement.closest('.row')?.id ?? ''";

pub(crate) async fn wait_for(browser: &Browser, script: &str, expected: Value) {
    let mut last = Value::Null;
    let what = format!("{script}: {expected}");
    eventually(&what, async || {
        last = browser.run(script).await;
        (last == expected).then_some(())
    })
    .await;
}

pub(crate) fn id(span: u64) -> String {
    format!("s-{span:016x}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_through_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    let url = format!("{}/trace/{TRACE}", exporter.view);
    browser.open(&url).await;
    let line = |millis: u64| format!("l-{}-1", START + millis * 1_000_000);

    for (keys, row) in [
        (&["j"][..], id(1)),
        (&["j", "j"], id(2)),
        (&["k"], line(1)),
        (&["e"], id(3)),
        (&["e"], line(21)),
        (&["E"], id(3)),
        (&["ArrowLeft"], id(2)),
        (&["ArrowLeft"], id(2)),
        (&["j"], id(4)),
        (&["k", "ArrowRight", "j"], id(3)),
    ] {
        press(&browser, keys).await;
        assert_eq!(browser.run(ROW).await, json!(row), "{keys:?}");
    }
    // What is collapsed is in the address.
    press(&browser, &["k", "ArrowLeft"]).await;
    let state = "return [location.search, document.querySelectorAll('.row[id][hidden]').length,
        document.querySelector('.hidden-rows')?.textContent]";
    assert_eq!(browser.run(state).await, json!(["?collapse=0000000000000002", 3, "+3"]));
    press(&browser, &["ArrowRight"]).await;
    assert_eq!(browser.run(state).await, json!(["", 0, null]));

    press(&browser, &["?"]).await;
    assert_eq!(browser.run("return document.querySelector('dialog').open").await, true);
    browser.run("document.querySelector('dialog').close()").await;
    press(&browser, &["/"]).await;
    assert_eq!(browser.run("return document.activeElement.name").await, "find");
    browser.run("document.activeElement.value = 'ANSWER'; document.activeElement.form.requestSubmit()").await;
    wait_for(
        &browser,
        "return document.querySelector('.hits.found output')?.textContent ?? ''",
        json!("1 match"),
    )
    .await;
    browser.run("document.activeElement.blur()").await;
    press(&browser, &["n"]).await;
    assert_eq!(browser.run(ROW).await, json!(id(3)));
    let shown = "return [...document.querySelectorAll('.row.match')].map((row) => row.id)";
    assert_eq!(browser.run(shown).await, json!([id(3)]));

    // Switches are links, and the state of the page is its address.
    browser.open(&url).await;
    press(&browser, &["l"]).await;
    wait_for(&browser, "return [location.search, document.querySelectorAll('#rows .line').length, document.querySelectorAll('#log .line').length]", json!(["?lines=beside", 0, 4])).await;
    press(&browser, &["c"]).await;
    let critical = "return [...document.querySelectorAll('.row.span')].map((row) => row.id)";
    wait_for(&browser, critical, json!([id(1), id(2), id(3), id(4)])).await;
    browser.open(&format!("{url}?services=late")).await;
    assert_eq!(browser.run(critical).await, json!([id(5)]));
    browser.open(&url).await;
    browser.run("[...document.querySelectorAll('.switch a')].find((link) => link.textContent === 'Aligned').click()").await;
    wait_for(
        &browser,
        "return [location.search, document.querySelector('.ticks span:last-child')?.textContent]",
        json!(["?time=aligned", "100 ms"]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn details_open_beside_or_below_their_row() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    let url = format!("{}/trace/{TRACE}", exporter.view);
    for (width, is_beside) in [(1280, true), (800, false), (400, false)] {
        browser.emulate(width, 900, &[]).await;
        browser.open(&url).await;
        browser.run(&format!("document.querySelector('#{} .text').click()", id(3))).await;
        wait_for(&browser, "return document.querySelector('.panel h2')?.textContent", json!("query")).await;
        let place = format!(
            "const panel = document.querySelector('.panel'), row = document.getElementById('{}');
             return [panel.previousElementSibling === row, panel.getBoundingClientRect().left > 640,
                 panel.getBoundingClientRect().right <= innerWidth, location.search,
                 document.documentElement.scrollWidth <= innerWidth]",
            id(3)
        );
        assert_eq!(
            browser.run(&place).await,
            json!([true, is_beside, true, "?span=0000000000000003", true]),
            "{width}"
        );
        press(&browser, &["Escape"]).await;
        assert_eq!(
            browser.run("return [document.querySelector('.panel'), location.search]").await,
            json!([null, ""])
        );
    }
    // A value is copied as it is, with what is shown as symbols.
    browser.emulate(1280, 900, &[]).await;
    browser.open(&format!("{url}?span=0000000000000003")).await;
    browser.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }").await;
    let copy = "const row = [...document.querySelectorAll('.attributes tr')].find((row) => row.textContent.startsWith('evil'));
        row.querySelector('.copy').click(); await new Promise((done) => setTimeout(done, 50)); return window.copied";
    assert_eq!(browser.run(copy).await, json!("\"><script>document.title='evil'</script>\u{1b}\u{202e}"));
    let parent = "[...document.querySelectorAll('.ids .copy')].at(-1).click();
        await new Promise((done) => setTimeout(done, 50)); return window.copied";
    assert_eq!(browser.run(parent).await, json!(format!("00-{TRACE}-0000000000000003-01")));
    let symbols = "return [...document.querySelectorAll('.panel .ctl')].map((symbol) => symbol.textContent)";
    assert_eq!(browser.run(symbols).await, json!(["␛\\u{202e}"]));
    browser.open(&format!("{url}?span=0000000000000001")).await;
    let links = "return [...document.querySelectorAll('.value a')].map((link) => [link.getAttribute('href'), link.rel])";
    let expected = [
        ["/?route=/basket", ""],
        ["https://shop.example/basket", "noreferrer noopener"],
        ["/?attribute=url.full%3Dhttps://shop.example/basket", ""],
        ["/?service=shop", ""],
    ];
    assert_eq!(browser.run(links).await, json!(expected));
    assert_ne!(browser.run("return document.title").await, "evil");

    // Times are those of the reader's zone on demand, also on the next page.
    browser.run("document.querySelector('[data-zone=local]').click()").await;
    browser.open(&url).await;
    let time = "return /[+-][0-9]{2}:[0-9]{2}$/.test(document.querySelector('time.at').textContent)";
    assert_eq!(browser.run(time).await, true);
    browser.run("document.querySelector('[data-zone=utc]').click()").await;
    assert_eq!(
        browser.run("return document.querySelector('time.at').textContent").await,
        "2023-11-14T22:13:20Z"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_trace_is_loaded_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let spans = |from: u64, to: u64| (from..to).map(|id| span(TRACE, id, id / 10, "work", id, 5)).collect();
    exporter.send(&request("shop", spans(1, 5001))).await;
    exporter.send(&request("shop", spans(5001, 10_001))).await;
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 10_000.).await;
    let response = exporter.get(&format!("/trace/{TRACE}")).await;
    assert!(response.text().await.unwrap().len() < 1_000_000);
    let browser = Browser::start().await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let count = "return document.querySelectorAll('.row[id]').length";
    assert_eq!(browser.run(count).await, 500);
    browser.run("document.querySelector('.pages .next').click()").await;
    wait_for(&browser, count, json!(1000)).await;
    browser.run("[...document.querySelectorAll('.row[id] .text')].at(-1).focus()").await;
    press(&browser, &["j"]).await;
    wait_for(&browser, count, json!(1500)).await;
}

/// Returns the texts, bars and marks whose contrast is too low, and which colours were measured: the class of each
/// service with the state of the span and the background of its row.
const LOW_CONTRAST: &str = "
    const rgba = (text) => { const n = text.match(/[0-9.]+/g).map(Number); return { r: n[0], g: n[1], b: n[2], a: n[3] ?? 1 }; };
    const background = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour.a === 1) return colour;
      }
      return { r: 255, g: 255, b: 255, a: 1 };
    };
    const part = (value) => { const v = value / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    const light = ({ r, g, b }) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const contrast = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); };
    const found = [];
    const check = (element, colour, least, what) => {
      const ratio = contrast(rgba(colour), background(element));
      if (ratio < least) found.push(`${what} ${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
    };
    let checked = 0;
    const colours = new Set();
    for (const rect of document.querySelectorAll('.lane rect:not(.implausible)')) {
      const row = rect.closest('.row');
      const is = (name) => row.classList.contains(name) ? ' ' + name : '';
      colours.add([...row.classList].find((name) => /^c[0-9]$/.test(name)) + is('failed') + is('match'));
      check(rect, getComputedStyle(rect).fill, 3, 'bar');
      if (is('failed')) check(rect, getComputedStyle(rect).stroke, 3, 'edge of a failed bar');
      checked++;
    }
    for (const dot of document.querySelectorAll('.dot, .service i')) {
      if (dot.closest('[hidden]') || !dot.checkVisibility()) continue;
      const { backgroundColor } = getComputedStyle(dot);
      if (rgba(backgroundColor).a) check(dot.parentElement, backgroundColor, 3, 'dot');
    }
    for (const glyph of document.querySelectorAll('.row .error')) {
      const [circle, cross] = ['circle', 'path'].map((name) => getComputedStyle(glyph.querySelector(name)));
      check(glyph, circle.fill, 3, 'error');
      const ratio = contrast(rgba(circle.fill), rgba(cross.stroke));
      if (ratio < 3) found.push(`cross ${ratio.toFixed(2)}`);
    }
    for (const path of document.querySelectorAll('.mark path')) {
      const style = getComputedStyle(path);
      const loud = path.closest('.loud, .warn');
      check(path, loud ? style.fill : style.stroke, 3, 'mark');
      checked++;
    }
    for (const path of document.querySelectorAll('.critical path')) { check(path, getComputedStyle(path).fill, 3, 'critical path'); checked++; }
    const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || element.closest('svg, [hidden], dialog, option') || !element.checkVisibility()) continue;
      check(element, getComputedStyle(element).color, 4.5, 'text');
      checked++;
    }
    // No text is on a bar.
    if (document.querySelector('.lane text')) found.push('a text on a bar');
    return [checked > 40, found, [...colours].sort()];";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_bars_and_marks_have_enough_contrast() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    // A service of each colour, with a span of each state.
    for n in 0..40 {
        let spans = vec![
            span(TRACE, 100 + n, 1, "more", n, 20),
            failed(span(TRACE, 200 + n, 1, "more", n, 20), "bad gateway"),
        ];
        exporter.send(&request(&format!("service-{n}"), spans)).await;
    }
    exporter.trace(TRACE, 85, 4).await;
    let browser = Browser::start().await;
    for scheme in ["light", "dark"] {
        browser.emulate(1280, 900, &[("prefers-color-scheme", scheme)]).await;
        let mut measured = BTreeSet::new();
        for query in ["", "?span=0000000000000003&find=answer", "?lines=beside", "?find=more"] {
            browser.open(&format!("{}/trace/{TRACE}{query}", exporter.view)).await;
            let result = browser.run(LOW_CONTRAST).await;
            assert_eq!((&result[0], &result[1]), (&json!(true), &json!([])), "{scheme} {query}");
            let colours =
                result[2].as_array().unwrap().iter().map(|colour| colour.as_str().unwrap().to_owned());
            measured.extend(colours);
        }
        for colour in 0..10 {
            for state in ["", " failed", " match", " failed match"] {
                let name = format!("c{colour}{state}");
                assert!(measured.contains(&name), "{scheme}: {name} is not measured: {measured:?}");
            }
        }
    }
    // Bars and marks stay visible with the colours of the system.
    browser.emulate(1280, 900, &[("forced-colors", "active"), ("prefers-color-scheme", "dark")]).await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let bars = "return getComputedStyle(document.querySelector('.lane rect')).fill
        !== getComputedStyle(document.querySelector('.card')).backgroundColor";
    assert_eq!(browser.run(bars).await, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_script_or_style_runs_but_that_of_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path()).await;
    let browser = Browser::start().await;
    for query in ["", "?span=0000000000000003", "?find=%3Cimg+src%3Dx+onerror%3Ddocument.title%3D1%3E"] {
        browser.open(&format!("{}/trace/{TRACE}{query}", exporter.view)).await;
        let state = "return [document.title.endsWith(' · logtracer'), document.images.length, document.querySelectorAll('[style]').length]";
        assert_eq!(browser.run(state).await, json!([true, 1, 0]), "{query}");
    }
}
