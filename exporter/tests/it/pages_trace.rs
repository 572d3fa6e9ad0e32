//! The page of one trace: its rows, what it says of what is missing, the text of lines, and the tree.

use serde_json::{Value, json};

use crate::harness::{Exporter, START, command, eventually, failed, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

async fn page(exporter: &Exporter, path: &str) -> String {
    let response = exporter.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

/// Starts an exporter that follows a file with these lines.
fn with_lines(dir: &std::path::Path, lines: &[Value]) -> Exporter {
    let log = dir.join("log");
    std::fs::write(&log, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let mut command = command(&dir.join("data"));
    command.arg("--tail").arg(&log);
    Exporter::spawn(command)
}

/// A line of a span, this many nanoseconds after the start.
fn line(span: u64, nanos: u64, severity: &str, message: &str) -> Value {
    json!({ "trace": TRACE, "spanId": format!("{span:016x}"), "severity": severity, "message": message,
        "time": format!("2023-11-14T22:13:20.{nanos:09}Z") })
}

/// Returns the ids of the rows of a page.
fn row_ids(page: &str) -> Vec<String> {
    let rows = page.split("<div class=\"row ").skip(1);
    rows.map(|row| row.split("id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lines_are_between_the_spans_or_after_them() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        line(1, 1_000_000, "INFO", "shop - first"),
        line(2, 12_000_000, "ERROR", "of the child"),
        line(1, 40_000_000, "INFO", "last"),
        line(9999, 50_000_000, "INFO", "of a span that is not stored"),
    ];
    let exporter = with_lines(dir.path(), &lines);
    let spans = vec![span(TRACE, 1, 0, "parent", 0, 100), span(TRACE, 2, 1, "child", 10, 20)];
    exporter.send(&request("shop", spans)).await;
    exporter.trace(TRACE, 2, 4).await;
    let at = |nanos: u64| format!("l-{}-1", START + nanos);
    let span_ids = ["s-0000000000000001", "s-0000000000000002"].map(str::to_owned);
    let all = [at(1_000_000), at(12_000_000), at(40_000_000), at(50_000_000)];

    let interleaved = page(&exporter, &format!("/trace/{TRACE}")).await;
    let [first, of_child, last, alone] = all.clone();
    let expected = [span_ids[0].clone(), first, span_ids[1].clone(), of_child, last, alone.clone()];
    assert_eq!(row_ids(&interleaved), expected);
    assert!(interleaved.contains(">first</a>"), "without the name of the service");
    // A mark is a link with the message.
    assert!(
        interleaved.contains("<title>of the child</title>") && interleaved.contains("class=\"mark loud\"")
    );

    let beside = page(&exporter, &format!("/trace/{TRACE}?lines=beside")).await;
    assert_eq!(row_ids(&beside), [&span_ids[..], &all].concat());
    let of_one = page(&exporter, &format!("/trace/{TRACE}?lines=beside&of=0000000000000002")).await;
    assert_eq!(row_ids(&of_one), [&span_ids[..], &all[1..2]].concat());

    // The details of a line have its span.
    let details = page(&exporter, &format!("/trace/{TRACE}?line={}", &alone[2..])).await;
    assert!(details.contains("000000000000270f</span>") && details.contains("is not stored"), "{details}");
    let details = page(&exporter, &format!("/trace/{TRACE}?line={}", &all[1][2..])).await;
    assert!(details.contains("?span=0000000000000002#s-0000000000000002"));
    // Errors are counted, and the link leads to the next one.
    assert!(interleaved.contains("1 error</output>"));
    assert!(
        interleaved.contains(&format!("href=\"?line={0}#l-{0}\" aria-label=\"Next error\"", &all[1][2..]))
    );
    // An address of an earlier version.
    let old = page(&exporter, &format!("/trace/{TRACE}?lines={}", &all[2][2..])).await;
    assert_eq!(row_ids(&old).len(), 6);
}

#[tokio::test]
async fn a_page_shows_what_its_address_says() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    // A path, and a chain of 300 levels below the last span.
    let spans =
        (1..=700).map(|id| span(TRACE, id, if id > 400 { id - 1 } else { id / 2 }, "work", id, 1000 - id));
    exporter.send(&request("shop", spans.collect())).await;
    exporter.send(&request("items", vec![failed(span(TRACE, 999, 700, "needle", 710, 5), "lost")])).await;
    exporter.trace(TRACE, 701, 0).await;
    let ids = async |query: &str| row_ids(&page(&exporter, &format!("/trace/{TRACE}{query}")).await);
    let first = page(&exporter, &format!("/trace/{TRACE}")).await;
    assert!(first.contains("rows 1 to 500 of 701") && first.contains("href=\"?row=500#rows\">Next 201</a>"));
    assert_eq!(ids("?row=500").await.len(), 201);
    for (query, expected) in [
        ("?subtree=00000000000002bc", &["s-00000000000002bc", "s-00000000000003e7"][..]),
        ("?services=items", &["s-00000000000003e7"]),
        ("?collapse=0000000000000001", &["s-0000000000000001"]),
    ] {
        assert_eq!(ids(query).await, expected, "{query}");
    }
    let found = page(&exporter, &format!("/trace/{TRACE}?find=NEEDLE")).await;
    assert!(
        found.contains("1 match</output>") && found.contains("data-after=") || found.contains("Next match")
    );
    // A span whose details are open is on the page.
    let open = page(&exporter, &format!("/trace/{TRACE}?span=00000000000003e7")).await;
    assert!(open.contains("id=\"s-00000000000003e7\"") && open.contains("<p class=\"status\">lost</p>"));
    let from = page(&exporter, &format!("/trace/{TRACE}?from={START}-00000000000003e7")).await;
    assert!(from.contains("id=\"s-00000000000003e7\"") && !from.contains("<div class=\"panel"));
    for query in ["?colour=red", "?span=x", "?lines=below", "?time=x", "?collapse=1"] {
        for path in
            [format!("/trace/{TRACE}{query}"), format!("/trace/{TRACE}/spans/0000000000000001{query}")]
        {
            let response = exporter.get(&path).await;
            assert_eq!(response.status(), 400, "{path}");
            let name = query[1..].split('=').next().unwrap();
            assert!(response.text().await.unwrap().contains(&format!("parameter {name}")), "{path}");
        }
    }
    for (path, name) in [("?x=1", "x"), ("?format=xml", "format"), ("?spans=x", "spans"), ("?logs=x", "logs")]
    {
        let response = exporter.get(&format!("/api/traces/{TRACE}{path}")).await;
        assert_eq!(response.status(), 400, "{path}");
        assert!(response.text().await.unwrap().contains(name), "{path}");
    }
}

#[tokio::test]
async fn a_missing_parent_is_a_fault_only_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    // (kind of the first span, called from outside, no parent)
    for (trace, kind, outside, missing) in [("1", 2, 1, 1), ("2", 5, 1, 1), ("3", 3, 0, 2)] {
        let trace = trace.repeat(32);
        let mut first = span(&trace, 1, 77, "first", 0, 50);
        first.kind = kind;
        let spans = vec![first, span(&trace, 2, 1, "child", 5, 5), span(&trace, 3, 88, "lost", 10, 5)];
        exporter.send(&request("shop", spans)).await;
        exporter.trace(&trace, 3, 0).await;
        let page = page(&exporter, &format!("/trace/{trace}")).await;
        let count = |text: &str| page.matches(&format!(">{text}<")).count();
        assert_eq!((count("called from outside"), count("no parent")), (outside, missing), "{kind}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut early = span(TRACE, 4, 1, "epoch", 0, 1);
    (early.start_time_unix_nano, early.end_time_unix_nano) = (5, 7);
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "root", 0, 100)])).await;
    exporter.send(&request("items", vec![span(TRACE, 2, 1, "late", 5000, 50)])).await;
    exporter.send(&request("shop", vec![early])).await;
    exporter.trace(TRACE, 3, 0).await;
    let raw = page(&exporter, &format!("/trace/{TRACE}")).await;
    assert!(raw.contains("clock 4.97 s ahead") || raw.contains("clock 4.98 s ahead"), "{raw}");
    assert!(
        raw.contains("<dt>Duration</dt><dd>100 ms</dd>") && raw.contains("<dt>Extent</dt><dd>5.05 s</dd>")
    );
    assert!(raw.contains(">1970-01-01</span>") && raw.contains("1 span with a time that cannot be right"));
    let aligned = page(&exporter, &format!("/trace/{TRACE}?time=aligned")).await;
    assert!(!aligned.contains("<dt>Extent</dt>"), "the call is within its caller");
}

#[tokio::test]
async fn a_trace_of_lines_has_a_name_and_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = with_lines(dir.path(), &[json!({ "trace": TRACE, "message": "worker - nothing to do" })]);
    exporter.trace(TRACE, 0, 1).await;
    let page = page(&exporter, &format!("/trace/{TRACE}")).await;
    assert!(page.contains("<h1><bdi>nothing to do</bdi></h1>") && page.contains("href=\"/?service=worker\""));
}

#[tokio::test]
async fn a_line_shows_line_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let text = "panic: boom\n\tat main.rs:1\n";
    let exporter = with_lines(
        dir.path(),
        &[
            json!({ "trace": TRACE, "message": text, "error": { "cause": "a\n\"b\"\u{1b}" }, "time": "2023-11-14T22:13:20Z" }),
        ],
    );
    exporter.trace(TRACE, 0, 1).await;
    let page = page(&exporter, &format!("/trace/{TRACE}?line={START}-1")).await;
    assert!(!page.contains("\\n") && !page.contains("\\t") && !page.contains("\\&quot;"), "{page}");
    assert!(page.contains("panic: boom\n\tat main.rs:1\n"), "{page}");
    assert!(
        page.contains("error.cause") && page.contains("a\n&quot;b&quot;<span class=\"ctl\">␛</span>"),
        "{page}"
    );
}

#[tokio::test]
async fn what_is_cut_has_a_link_to_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let text = "<\u{1}\"".repeat(50_000);
    let mut large = span(TRACE, 1, 0, &text, 0, 5);
    large.attributes = vec![string("text", &text)];
    exporter.send(&request("shop", vec![large, span(TRACE, 2, 1, "small", 1, 1)])).await;
    exporter.trace(TRACE, 2, 0).await;
    let html = page(&exporter, &format!("/trace/{TRACE}?span=0000000000000001")).await;
    assert!(html.len() < 100_000, "{} bytes", html.len());
    let whole = format!("/api/traces/{TRACE}/spans/0000000000000001");
    assert_eq!(html.matches("Only a part of this span is shown").count(), 1);
    assert!(html.contains(&format!("<a href=\"{whole}\">The whole span as JSON</a>")));
    let value = exporter.get(&format!("{whole}?attribute=text")).await;
    assert_eq!(value.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(value.text().await.unwrap() == text && html.contains(&format!("{whole}?attribute=text")));
    let service = exporter.get(&format!("{whole}?resource=service.name")).await.text().await.unwrap();
    assert_eq!(service, "shop");
    let span = exporter.json(&whole).await;
    assert_eq!(
        (span["name"].as_str(), span["attributes"]["text"].as_str()),
        (Some(&text[..]), Some(&text[..]))
    );
    assert_eq!(span, exporter.trace(TRACE, 2, 0).await["spans"][0]);
    for (path, status) in [
        (format!("/api/traces/{TRACE}/spans/0000000000000009"), 404),
        (format!("/api/traces/{TRACE}/spans/x"), 400),
        (format!("{whole}?x=1"), 400),
        (format!("{whole}?attribute=none"), 404),
        (format!("/api/traces/{TRACE}/logs/1-1"), 404),
        (format!("/api/traces/{TRACE}/logs/x"), 404),
        (format!("/api/traces/{TRACE}?spans=x"), 400),
    ] {
        let response = exporter.get(&path).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(response.json::<Value>().await.unwrap()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn the_json_of_a_long_trace_has_a_link_to_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut sent = 0;
    for spans in (1..=45_000).collect::<Vec<u64>>().chunks(15_000) {
        sent += spans.len();
        exporter
            .send(&request("shop", spans.iter().map(|id| span(TRACE, *id, 0, "work", *id, 1)).collect()))
            .await;
    }
    eventually("all spans", async || {
        (exporter.json("/api/traces").await["traces"][0]["span_count"] == sent).then_some(())
    })
    .await;
    let (mut path, mut names) = (Some(format!("/api/traces/{TRACE}")), Vec::new());
    let mut parts = 0;
    while let Some(next) = path {
        let part = exporter.json(&next).await;
        let ids =
            part["spans"].as_array().unwrap().iter().map(|span| span["span_id"].as_str().unwrap().to_owned());
        names.extend(ids);
        assert_eq!(part["truncated"] == true, part["next"].is_string());
        path = part["next"].as_str().map(str::to_owned);
        parts += 1;
    }
    assert_eq!((parts, names.len()), (3, sent));
    names.dedup();
    assert_eq!(names.len(), sent);
}

/// Envoy with B3 reports the client's and the server's half of a call with the same id, to different collectors at
/// different times.
#[tokio::test]
async fn a_call_below_a_shared_id_is_below_the_server_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    let zipkin = |trace: &str, service: &str, name: &str, (id, parent): (u64, u64), rest: &str| {
        format!(
            r#"[{{"traceId":"{trace}","id":"{id:016x}","parentId":"{parent:016x}","name":"{name}","timestamp":{},
               "duration":{},"localEndpoint":{{"serviceName":"{service}"}}{rest}}}]"#,
            START / 1000 + id * 1000,
            100_000 - id
        )
    };
    let mut orders = vec![vec![]];
    for next in 0..4 {
        let insert = |order: &Vec<usize>, at: usize| {
            let mut order = order.clone();
            order.insert(at, next);
            order
        };
        orders = orders
            .iter()
            .flat_map(|order| (0..=order.len()).map(|at| insert(order, at)).collect::<Vec<_>>())
            .collect();
    }
    assert_eq!(orders.len(), 24);
    let server = format!("{:016x}", 2_u64 ^ 0x5e4e_d50b_0a7a_11ed);
    for (n, order) in orders.iter().enumerate() {
        let trace = format!("{:032x}", n + 1);
        let spans = [
            zipkin(&trace, "shop", "call", (2, 1), r#","kind":"CLIENT""#),
            zipkin(&trace, "items", "serve", (2, 1), r#","kind":"SERVER","shared":true"#),
            zipkin(&trace, "items", "query", (3, 2), r#","kind":"CLIENT""#),
            zipkin(&trace, "shop", "own", (4, 2), ""),
        ];
        for index in order {
            let post = client
                .post(format!("{}/api/v2/spans", exporter.http))
                .header("content-type", "application/json");
            assert_eq!(post.body(spans[*index].clone()).send().await.unwrap().status(), 202);
        }
        let found = exporter.trace(&trace, 4, 0).await;
        let mut parents: Vec<(String, String)> = found["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|span| {
                (
                    span["name"].as_str().unwrap().to_owned(),
                    span["parent_span_id"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        parents.sort();
        let expected = [
            ("call", "0000000000000001"),
            ("own", "0000000000000002"),
            ("query", &server),
            ("serve", "0000000000000002"),
        ];
        let expected = expected.map(|(name, parent)| (name.to_owned(), parent.to_owned()));
        assert_eq!(parents, expected, "{order:?}");

        let html = page(&exporter, &format!("/trace/{trace}")).await;
        let rows = html.split("aria-level=\"").skip(1);
        let depth = |row: &str| row.split('"').next().unwrap().parse::<u32>().unwrap() - 1;
        let name = |row: &str| {
            row.split("class=\"text\"")
                .nth(1)
                .unwrap()
                .split("title=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        let mut tree: Vec<(String, u32)> = rows.map(|row| (name(row), depth(row))).collect();
        tree.sort();
        let expected = [("call", 0), ("own", 1), ("query", 2), ("serve", 1)]
            .map(|(name, depth)| (name.to_owned(), depth));
        assert_eq!(tree, expected, "{order:?}");
    }
}
