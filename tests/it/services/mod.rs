//! The services of `docs/services.md`: log lines with the trace of the request, and headers that pass it on.
//!
//! ```text
//! caller ──► service "first" ──► service "second" ──► peer, which records the headers and holds responses
//!                 │ stdout              │ stdout
//!                 ▼                     ▼
//!               lines                 lines
//! ```

mod cases;
mod languages;
mod peer;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use logtracer_harness::process::Process;
use logtracer_harness::{HttpClient, envoy, lines, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Headers;
use cases::{CASES, Case, Ids};
use languages::{GO, JAVA, JAVA_LOGBACK, Language, NODE, PYTHON_ASGI, PYTHON_WSGI};
use peer::Peer;

const PROJECT: &str = "my-project";
const ERROR_EVENT: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// Requests that are in both services at the same time.
const TOGETHER: u128 = 4;
const WAVES: u128 = 5;

#[test]
fn python_with_wsgi() {
    check(&PYTHON_WSGI);
}

#[test]
fn python_with_asgi() {
    check(&PYTHON_ASGI);
}

#[test]
fn node() {
    check(&NODE);
}

#[test]
fn java() {
    check(&JAVA);
}

#[test]
fn java_with_logback() {
    check(&JAVA_LOGBACK);
}

#[test]
fn go() {
    check(&GO);
}

fn check(language: &'static Language) {
    let dir = tempfile::tempdir().unwrap();
    let command = (language.build)(dir.path());
    let peer = Peer::start(usize::try_from(TOGETHER).unwrap());
    let second = Service::start(language, &command, "second", Some(peer.url()), &[]);
    let project = [("GOOGLE_CLOUD_PROJECT", PROJECT)];
    let first = Service::start(language, &command, "first", Some(second.url()), &project);

    a_line_outside_of_requests_has_no_ids(&first);
    interleaved_requests_keep_their_traces(&first, &second, &peer);
    // After the others, so that threads which served a request serve one without a trace.
    each_case_of_headers(&first, &second, &peer);
    every_kind_of_value(&first, &Keys::stackdriver(Some(PROJECT)));
    a_failure_is_one_line(&first);
    drop(first);
    drop(second);

    let local = [("GOOGLE_CLOUD_PROJECT", PROJECT), ("LOGGING_FORMAT", "local")];
    let service = Service::start(language, &command, "local", None, &local);
    every_kind_of_value(&service, &Keys::local());
    an_uncaught_error_is_one_line(language, &command);
    an_unknown_format_is_an_error(&command);
}

#[track_caller]
fn a_line_outside_of_requests_has_no_ids(service: &Service) {
    let expected = json!({ "severity": "INFO", "message": "ready", "address": service.address });
    assert_eq!(service.lines(1, |line| line["message"] == "ready"), [expected]);
}

/// Each wave is complete in both services before the first of its responses.
#[track_caller]
fn interleaved_requests_keep_their_traces(first: &Service, second: &Service, peer: &Peer) {
    for wave in 0..WAVES {
        thread::scope(|scope| {
            for number in wave * TOGETHER..(wave + 1) * TOGETHER {
                scope.spawn(move || {
                    let (traceparent, request_id) = (traceparent(number), format!("request-{number}"));
                    let headers = [("traceparent", &*traceparent), ("x-request-id", &*request_id)];
                    first.get(&format!("/orders/{}{number}", peer::HELD), &headers, 200);
                });
            }
        });
    }
    for number in 0..WAVES * TOGETHER {
        let order = format!("{}{number}", peer::HELD);
        let (trace, span) = (crate::trace(number), span(number));
        let ids = Ids { trace: &trace, span: Some(&span), is_sampled: number % 2 == 1 };
        check_order(first, second, &order, Some(&ids));
        let expected = BTreeMap::from([
            ("traceparent".to_owned(), traceparent(number)),
            ("x-request-id".to_owned(), format!("request-{number}")),
        ]);
        assert_eq!(peer.received(&order), expected, "order {order}");
    }
}

#[track_caller]
fn each_case_of_headers(first: &Service, second: &Service, peer: &Peer) {
    for (number, Case { incoming, ids, forwarded }) in CASES.iter().enumerate() {
        let order = format!("case-{number}");
        first.get(&format!("/orders/{order}"), incoming, 200);
        check_order(first, second, &order, ids.as_ref());
        let expected: BTreeMap<String, String> =
            forwarded.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(peer.received(&order), expected, "{incoming:?}");
    }
}

/// Compares all lines of an order in both services.
#[track_caller]
fn check_order(first: &Service, second: &Service, order: &str, ids: Option<&Ids<'_>>) {
    for (service, keys) in [(first, Keys::stackdriver(Some(PROJECT))), (second, Keys::stackdriver(None))] {
        let line = |message: &str| {
            let mut line = json!({ "severity": "INFO", "message": message, "order": order });
            keys.add_ids(&mut line, ids);
            line
        };
        let mut answered = line("next service answered");
        answered["status"] = json!(200);
        let expected = [line("order opened"), answered];
        assert_eq!(service.lines(2, |line| line["order"] == order), expected, "{}", service.name);
    }
}

#[track_caller]
fn every_kind_of_value(service: &Service, keys: &Keys) {
    let number = 7001;
    service.get("/fields", &[("traceparent", &*traceparent(number))], 200);
    let (trace, span) = (crate::trace(number), span(number));
    let mut expected = json!({
        "severity": "WARNING",
        "message": "naïve \"quotes\",\na line break, \u{1b} and 🧺",
        "user": 7,
        "big": "18446744073709551615",
        "ratio": "NaN",
        "list": [1, { "a": null }],
        "fields.severity": "mine",
        "cut": service.language.half_of_a_pair,
        "httpRequest": { "requestMethod": "GET", "status": 200, "responseSize": "512", "latency": "0.005s" },
    });
    expected[keys.labels] = json!({ "team": "data" });
    keys.add_ids(&mut expected, Some(&Ids { trace: &trace, span: Some(&span), is_sampled: true }));
    assert_eq!(service.lines(1, |line| line["severity"] == "WARNING"), [expected]);
}

#[track_caller]
fn a_failure_is_one_line(service: &Service) {
    let number = 8001;
    service.get("/fail", &[("traceparent", &*traceparent(number))], 500);
    let mut found = service.lines(1, |line| line["severity"] == "ERROR");
    let stack = found[0].as_object_mut().unwrap().remove("stack_trace").unwrap();
    let (trace, span) = (crate::trace(number), span(number));
    let mut expected = json!({
        "severity": "ERROR",
        "message": service.language.failure,
        "serviceContext": { "service": "first", "version": "1.2" },
    });
    let ids = Ids { trace: &trace, span: Some(&span), is_sampled: true };
    Keys::stackdriver(Some(PROJECT)).add_ids(&mut expected, Some(&ids));
    assert_eq!(found, [expected]);

    let stack = stack.as_str().unwrap();
    assert!(stack.starts_with(service.language.stack_start), "{stack}");
    assert!(
        stack.contains("disk full:\n0 bytes left") && stack.contains(service.language.stack_part),
        "{stack}"
    );
}

/// The error that ends a service, because another program has its port.
#[track_caller]
fn an_uncaught_error_is_one_line(language: &Language, command: &[String]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let process = start(command, "first", None, &[("PORT", &port)], &dir);
    let find = || lines::read(process.stdout()).map(|found| (!found.is_empty()).then_some(found));
    let mut found = wait::try_until("a line", find).unwrap();
    take_time_and_place(&mut found[0]);

    let members = found[0].as_object_mut().unwrap();
    let (severity, message) = language.uncaught;
    let mut expected = json!({
        "severity": severity,
        "message": message,
        "serviceContext": { "service": "first", "version": "1.2" },
    });
    let text = match members.remove("stack_trace") {
        Some(stack) => stack,
        // Error Reporting reads the place of an error without a stack.
        None => {
            let place = members.remove("context").unwrap()["reportLocation"].take();
            assert!(place["filePath"].as_str().unwrap().ends_with("main.go"), "{place}");
            assert!(place["lineNumber"].is_u64() && place["functionName"] == "main.main", "{place}");
            expected["@type"] = json!(ERROR_EVENT);
            members.remove("error").unwrap()
        }
    };
    assert!(text.as_str().unwrap().to_lowercase().contains("address already in use"), "{text}");
    assert_eq!(found, [expected]);
}

#[track_caller]
fn an_unknown_format_is_an_error(command: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let mut process = start(command, "misconfigured", None, &[("LOGGING_FORMAT", "xml")], &dir);
    let error = wait::until("the end of the service", || process.check_running().err()).unwrap().to_string();
    assert!(error.contains("LOGGING_FORMAT: expected stackdriver or local, found"), "{error}");
}

/// The trace context of a request. Those with odd numbers are sampled.
fn traceparent(number: u128) -> String {
    format!("00-{}-{}-0{}", crate::trace(number), span(number), number % 2)
}

fn span(number: u128) -> String {
    format!("{:016x}", 0x00f0_0000_0000_0000_u128 + number)
}

/// The keys of a format of lines.
struct Keys {
    trace: &'static str,
    span: &'static str,
    sampled: &'static str,
    labels: &'static str,
    trace_prefix: String,
}

impl Keys {
    fn stackdriver(project: Option<&str>) -> Keys {
        Keys {
            trace: "logging.googleapis.com/trace",
            span: "logging.googleapis.com/spanId",
            sampled: "logging.googleapis.com/trace_sampled",
            labels: "logging.googleapis.com/labels",
            trace_prefix: project.map(|project| format!("projects/{project}/traces/")).unwrap_or_default(),
        }
    }

    fn local() -> Keys {
        Keys {
            trace: "trace",
            span: "spanId",
            sampled: "traceSampled",
            labels: "labels",
            trace_prefix: String::new(),
        }
    }

    fn add_ids(&self, line: &mut Value, ids: Option<&Ids<'_>>) {
        let Some(ids) = ids else { return };
        line[self.trace] = json!(format!("{}{}", self.trace_prefix, ids.trace));
        if let Some(span) = ids.span {
            line[self.span] = json!(span);
        }
        line[self.sampled] = json!(ids.is_sampled);
    }
}

/// A running service.
struct Service {
    name: String,
    language: &'static Language,
    process: Process,
    address: String,
    client: HttpClient,
    _dir: TempDir,
}

impl Service {
    fn start(
        language: &'static Language,
        command: &[String],
        name: &str,
        next: Option<String>,
        variables: &[(&str, &str)],
    ) -> Service {
        let dir = tempfile::tempdir().unwrap();
        let mut process = start(command, name, next, variables, &dir);
        let address = process.wait_until_ready().unwrap().address("address").unwrap().to_string();
        let client = envoy::client().unwrap();
        Service { name: name.to_owned(), language, process, address, client, _dir: dir }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[track_caller]
    fn get(&self, path: &str, headers: Headers<'_>, status: u16) {
        // A connection for each request: a server may close an idle one at any time.
        let request = self.client.get(format!("{}{path}", self.url()));
        let mut request = request.header("connection", "close");
        for (name, value) in headers {
            // Latin-1, to send bytes that are not UTF-8.
            let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            request = request.header(*name, bytes);
        }
        assert_eq!(request.send().unwrap().status().as_u16(), status, "{path}");
    }

    /// Waits for `count` lines that are chosen, and returns them without time and place, which it checks.
    #[track_caller]
    fn lines(&self, count: usize, is_chosen: impl Fn(&Value) -> bool) -> Vec<Value> {
        let find = || {
            let mut found = lines::read(self.process.stdout())?;
            found.retain(&is_chosen);
            Ok((found.len() >= count).then_some(found))
        };
        let mut found = wait::try_until("the lines", find).unwrap();
        for line in &mut found {
            take_time_and_place(line);
        }
        found
    }
}

fn start(
    command: &[String],
    name: &str,
    next: Option<String>,
    variables: &[(&str, &str)],
    dir: &TempDir,
) -> Process {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).arg(name).args(next);
    for name in ["LOGGING_FORMAT", "GOOGLE_CLOUD_PROJECT"] {
        process.env_remove(name);
    }
    process.env("PORT", "0").env("SERVICE_NAME", name); // Logback's configuration reads the name
    process.env("PYTHONPATH", languages::python_servers()).envs(variables.iter().copied());
    // Lines are UTF-8 also without a locale.
    process.env("LC_ALL", "C").env("PYTHONCOERCECLOCALE", "0").env("PYTHONUTF8", "0");
    Process::start(name, process, dir.path()).unwrap()
}

#[track_caller]
fn take_time_and_place(line: &mut Value) {
    let whole = line.to_string();
    let members = line.as_object_mut().unwrap();
    let time = members.remove("time").unwrap();
    assert!(is_utc_time(time.as_str().unwrap()), "{whole}");

    let place =
        members.remove("logging.googleapis.com/sourceLocation").or_else(|| members.remove("sourceLocation"));
    let place = place.unwrap_or_else(|| panic!("no place: {whole}"));
    let file = place["file"].as_str().unwrap();
    assert!([".py", ".mjs", ".java", ".go"].iter().any(|end| file.ends_with(end)), "{whole}");
    assert!(place["line"].as_str().unwrap().parse::<u32>().unwrap() > 0, "{whole}");
    assert!(place.get("function").is_none_or(Value::is_string), "{whole}");
}

/// RFC 3339 with a fraction: `2018-07-25T14:04:05.499Z`.
fn is_utc_time(text: &str) -> bool {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fraction = digits.strip_prefix("0000-00-00T00:00:00.").and_then(|rest| rest.strip_suffix('Z'));
    fraction.is_some_and(|fraction| (1..=9).contains(&fraction.len()) && fraction.chars().all(|c| c == '0'))
}
