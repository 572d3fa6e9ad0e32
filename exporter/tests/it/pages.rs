//! What web pages of other origins can do with the addresses of the exporter, tried with a real browser.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::browser::Browser;
use crate::harness::{Exporter, command_on, request, span};
use crate::receiver::{Answer, Receiver};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn zipkin() -> String {
    json!([{ "traceId": TRACE, "id": "00000000000000aa", "name": "written" }]).to_string()
}

/// Each request that a page can send to another origin without its consent: all methods, paths and content types.
const WRITE: &str = "
    const [body, ...addresses] = arguments[0] ?? ARGUMENTS;
    const outcomes = [];
    for (const address of addresses) {
      for (const path of ['/api/v2/spans', '/v1/traces', '/v1/logs', '/']) {
        const url = address + path;
        const typed = (type) => new Blob([body], { type });
        const attempt = (options) => fetch(url, options).then((r) => outcomes.push(r.type), (e) => outcomes.push(String(e)));
        for (const type of ['', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
          await attempt({ method: 'POST', mode: 'no-cors', body: typed(type), referrerPolicy: 'no-referrer' });
          await attempt({ method: 'POST', body: typed(type), credentials: 'include' });
        }
        await attempt({ method: 'POST', mode: 'no-cors', body: new TextEncoder().encode(body) });
        await attempt({ method: 'POST', body: typed('application/json') });
        await attempt({ method: 'POST', body: typed('application/x-protobuf') });
        navigator.sendBeacon(url, typed(''));
        navigator.sendBeacon(url, body);
        const frame = Object.assign(document.createElement('iframe'), { name: 'f' + Math.random() });
        document.body.append(frame);
        const form = Object.assign(document.createElement('form'),
          { action: url, method: 'POST', enctype: 'text/plain', target: frame.name });
        form.append(Object.assign(document.createElement('input'), { name: body, value: '' }));
        document.body.append(form);
        const loaded = new Promise((resolve) => { frame.onload = resolve; });
        form.submit();
        await loaded;
      }
    }
    return outcomes;";

/// Each way in which a page can try to read another origin.
const READ: &str = "
    const outcomes = [];
    for (const path of ['/', '/trace/' + TRACE, '/api/traces', '/api/traces/' + TRACE, '/metrics', '/assets/list.js']) {
      const url = VIEW + path;
      const seen = (text) => outcomes.push(path + ': ' + text);
      await fetch(url).then((r) => seen('read ' + r.status), () => {});
      await fetch(url, { headers: { accept: 'text/html' }, credentials: 'include' }).then((r) => seen('read ' + r.status), () => {});
      const load = (tag, attributes) => new Promise((resolve) => {
        const element = Object.assign(document.createElement(tag), attributes);
        element.onload = () => { seen(tag + ' loaded'); resolve(); };
        element.onerror = resolve;
        document.head.append(element);
      });
      await load('script', { src: url });
      await load('img', { src: url });
      await load('link', { rel: 'stylesheet', href: url });
    }
    return outcomes;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_can_neither_write_nor_read() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "secret", 0, 1)])).await;
    exporter.trace(TRACE, 1, 0).await;
    let pages = Receiver::start(|_| {
        let headers = vec![("content-type", "text/html".to_owned())];
        Answer { headers, ..Answer::new(200, "<body>a page</body>") }
    })
    .await;
    let browser = Browser::start().await;
    let addresses = json!([zipkin(), exporter.http, exporter.grpc, exporter.view]);
    let write = WRITE.replace("arguments[0] ?? ARGUMENTS", &addresses.to_string());
    let read =
        READ.replace("TRACE", &json!(TRACE).to_string()).replace("VIEW", &json!(exporter.view).to_string());

    // A page of another site, and one of this machine (another development server).
    for page in [pages.url.replace("127.0.0.1", "evil.example"), pages.url.clone()] {
        browser.open(&page).await;
        let outcomes = browser.run(&write).await;
        for outcome in outcomes.as_array().expect("a list") {
            let outcome = outcome.as_str().unwrap();
            assert!(outcome == "opaque" || outcome.contains("Failed to fetch"), "{outcome}");
        }
        let outcomes = browser.run(&read).await;
        assert_eq!(outcomes, json!([]), "{page} has read");
    }
    let refused = "logtracer_exporter_requests_rejected_total{reason=\"from a web page\"}";
    assert!(exporter.metric(refused).await >= 50.);

    // DNS rebinding: the page's own host name leads to the exporter.
    for address in [&exporter.http, &exporter.view] {
        browser.open(&address.replace("127.0.0.1", "evil.example")).await;
        let text = browser.run("return document.body.innerText").await;
        assert!(!text.as_str().unwrap().contains("secret"), "{text}");
        for path in ["/api/v2/spans", "/v1/traces", "/api/traces"] {
            for method in ["GET", "POST"] {
                let options = json!({ "method": method, "headers": { "content-type": "application/json" } });
                let body = if method == "GET" { json!(null) } else { json!(zipkin()) };
                let fetch =
                    format!("return (await fetch('{path}', {{ ...{options}, body: {body} }})).status");
                let status = browser.run(&fetch).await;
                assert!(status == 403 || status == 404 || status == 405, "{method} {path}: {status}");
            }
        }
    }
    exporter.trace(TRACE, 1, 0).await;
    assert_eq!(exporter.metric("logtracer_exporter_spans_received_total").await, 1.);

    // The viewer itself works, also after a link from another page.
    browser.open(&pages.url).await;
    browser.run(&format!("location.href = '{}/trace/{TRACE}'", exporter.view)).await;
    browser.open(&format!("{}/trace/{TRACE}", exporter.view)).await;
    let loaded =
        browser.run("return [document.querySelector('h1').innerText, document.styleSheets.length]").await;
    assert_eq!(loaded, json!(["secret", 3]));
    let own = browser.run("return (await fetch('/api/traces')).status").await;
    assert_eq!(own, 200);
}

#[tokio::test]
async fn requests_of_pages_and_for_foreign_hosts_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    let otlp = || request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]);
    // (headers, rejected)
    for (headers, rejected) in [
        (&[("host", "localhost:4318")][..], false),
        (&[("host", "[::1]")], false),
        (&[("host", "shop.localhost")], false),
        (&[("host", "host.docker.internal:4318")], false),
        (&[("host", "logtracer-exporter")], false),
        (&[("host", "exporter.logtracer.svc.cluster.local")], false),
        (&[("sec-fetch-mode", "cors")], false),
        (&[("host", "evil.example")], true),
        (&[("host", "localhost.evil.example:4318")], true),
        (&[("host", "192.168.0.1")], true),
        (&[("origin", "http://evil.example")], true),
        (&[("origin", "http://localhost:3000")], true),
        (&[("origin", "null")], true),
        (&[("sec-fetch-site", "cross-site")], true),
        (&[("sec-fetch-site", "same-origin")], true),
    ] {
        let bodies = [
            ("/v1/traces", "application/x-protobuf", otlp().encode_to_vec()),
            ("/v1/logs", "application/json", b"{}".to_vec()),
            ("/api/v2/spans", "application/json; charset=utf-8", zipkin().into_bytes()),
        ];
        for (path, content_type, body) in bodies {
            let mut post =
                client.post(format!("{}{path}", exporter.http)).header("content-type", content_type);
            for (name, value) in headers {
                post = post.header(*name, *value);
            }
            let response = post.body(body).send().await.unwrap();
            assert_eq!(response.status() == 403, rejected, "{path} {headers:?}: {}", response.status());
            assert!(rejected || response.status().is_success(), "{path} {headers:?}");
        }
        if headers.iter().all(|(name, _)| *name != "host") {
            let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
            let mut call = tonic::Request::new(otlp());
            for (name, value) in headers {
                call.metadata_mut().insert(*name, value.parse().unwrap());
            }
            let code = grpc.export(call).await.map_or_else(|status| status.code(), |_| Code::Ok);
            assert_eq!(code == Code::PermissionDenied, rejected, "{headers:?}: {code:?}");
        }
    }
    for (host, code) in [("evil.example", Code::PermissionDenied), ("exporter", Code::Ok)] {
        let endpoint = tonic::transport::Endpoint::from_shared(exporter.grpc.clone()).unwrap();
        let channel = endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap();
        let got = TraceServiceClient::new(channel).export(otlp()).await;
        assert_eq!(got.map_or_else(|status| status.code(), |_| Code::Ok), code, "{host}");
    }
    for content_type in [None, Some(""), Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        for path in ["/v1/traces", "/v1/logs", "/api/v2/spans"] {
            let mut post = client.post(format!("{}{path}", exporter.http)).body(zipkin());
            if let Some(content_type) = content_type {
                post = post.header("content-type", content_type);
            }
            assert_eq!(post.send().await.unwrap().status(), 415, "{path} {content_type:?}");
        }
    }
}

#[tokio::test]
async fn other_addresses_than_loopback_accept_any_host_but_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(command_on("0.0.0.0:0", dir.path()));
    let client = reqwest::Client::new();
    let local = |address: &str| address.replace("0.0.0.0", "127.0.0.1");
    let post = |name, value: &str| {
        let post = client.post(local(&exporter.http) + "/api/v2/spans").body(zipkin());
        post.header("content-type", "application/json").header(name, value).send()
    };
    assert_eq!(post("host", "logtracer-exporter.example.com").await.unwrap().status(), 202);
    assert_eq!(post("origin", "http://evil.example").await.unwrap().status(), 403);
    let get = |origin: &str| {
        let get = client.get(local(&exporter.view) + "/api/traces").header("host", "traces.example.com");
        get.header("origin", origin).send()
    };
    assert_eq!(get("https://traces.example.com").await.unwrap().status(), 200);
    assert_eq!(get("https://evil.example").await.unwrap().status(), 403);
}
