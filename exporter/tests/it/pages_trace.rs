//! The page of one trace: what it says of spans that it does not show, the text of lines, and the tree.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::harness::{Exporter, START, command, eventually, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

async fn page(exporter: &Exporter, path: &str) -> String {
    let response = exporter.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

#[tokio::test]
async fn a_line_says_where_its_span_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = |id: u64| {
        let nanos = id % 1000;
        json!({ "trace": TRACE, "spanId": format!("{id:016x}"), "message": format!("line of {id}"),
            "time": format!("2023-11-14T22:13:20.{nanos:09}Z") })
    };
    // On the first page, on a later one, and not stored.
    let lines: String = [1, 2999, 3500, 9999].map(|id| format!("{}\n", line(id))).concat();
    std::fs::write(&log, lines).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    let spans: Vec<Span> = (1..=4000).map(|id| span(TRACE, id, id / 2, "work", id, 1)).collect();
    exporter.send(&request("shop", spans)).await;
    exporter.trace(TRACE, 4000, 4).await;

    let first = page(&exporter, &format!("/trace/{TRACE}")).await;
    let of_line = |page: &str, id: u64| {
        let message = format!("line of {id}<");
        let end = page.find(&message).unwrap_or_else(|| panic!("no line of {id}"));
        page[end..].split("</details>").next().unwrap().to_owned()
    };
    for (id, is_link, not_shown, missing) in [
        (1, true, false, false),
        (2999, true, false, false),
        (3500, true, true, false),
        (9999, false, false, true),
    ] {
        let text = of_line(&first, id);
        let link = format!("href=\"?span={id:016x}#s-{id:016x}\"");
        assert_eq!(text.contains(&link), is_link, "{id}: {text}");
        assert_eq!(text.contains("which is not shown above"), not_shown, "{id}: {text}");
        assert_eq!(text.contains("which is not here"), missing, "{id}: {text}");
    }
    assert_eq!(first.matches("no parent").count(), 0);

    // The link leads to a page with the span, and the notice to the next ones.
    let later = page(&exporter, &format!("/trace/{TRACE}?span={:016x}", 3500)).await;
    assert!(
        later.contains(&format!("id=\"s-{:016x}\" open", 3500))
            && later.contains("The spans 3500 to 4000 of 4000")
    );
    assert!(later.contains("parent not shown") && !later.contains("no parent"));
    assert!(of_line(&later, 1).contains("which is not shown above"));
    let next = first.split("href=\"").find(|rest| rest.contains("\">The next spans")).unwrap();
    let next = page(&exporter, next.split('"').next().unwrap()).await;
    assert!(next.contains("The spans 3001 to 4000 of 4000 are shown"));
    assert_eq!(next.matches("<details class=\"span").count(), 1000);
}

#[tokio::test]
async fn a_line_shows_line_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = json!({ "trace": TRACE, "message": "panic: boom\n\tat main.rs:1\n", "error": { "cause": "a\n\"b\"" } });
    std::fs::write(&log, format!("{line}\n")).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    exporter.trace(TRACE, 0, 1).await;
    let page = page(&exporter, &format!("/trace/{TRACE}")).await;
    assert!(!page.contains("\\n") && !page.contains("\\t") && !page.contains("\\&quot;"), "{page}");
    assert_eq!(page.matches("panic: boom\n\tat main.rs:1").count(), 2, "{page}");
    assert!(page.contains("<b>error.cause</b>  a\n&quot;b&quot;\n"), "{page}");
    let style = exporter.get("/assets/style.css").await.text().await.unwrap();
    assert!(style.contains(".line .message { overflow-wrap: anywhere; white-space: pre-wrap; }"));
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
    let html = page(&exporter, &format!("/trace/{TRACE}")).await;
    assert!(html.len() < 100_000, "{} bytes", html.len());
    let whole = format!("/api/traces/{TRACE}/spans/0000000000000001");
    assert_eq!(html.matches("Only a part of this span is shown").count(), 1);
    assert!(html.contains(&format!("<a href=\"{whole}\">The whole span as JSON</a>")));
    let span = exporter.json(&whole).await;
    assert_eq!(
        (span["name"].as_str(), span["attributes"]["text"].as_str()),
        (Some(&text[..]), Some(&text[..]))
    );
    assert_eq!(span, exporter.trace(TRACE, 2, 0).await["spans"][0]);
    for (path, status) in [
        (format!("/api/traces/{TRACE}/spans/0000000000000009"), 404),
        (format!("/api/traces/{TRACE}/spans/x"), 400),
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
        let rows = html.split("<div class=\"name in").skip(1);
        let depth = |row: &str| row.split('"').next().unwrap().parse::<u32>().unwrap();
        let name = |row: &str| row.split("title=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut tree: Vec<(String, u32)> = rows.map(|row| (name(row), depth(row))).collect();
        tree.sort();
        let expected = [("call", 0), ("own", 1), ("query", 2), ("serve", 1)]
            .map(|(name, depth)| (name.to_owned(), depth));
        assert_eq!(tree, expected, "{order:?}");
    }
}
