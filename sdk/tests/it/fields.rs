//! Fields of events: names twice, errors, backtraces, long texts, `httpRequest`, entry fields, targets and spans.

use std::error::Error;
use std::fmt;

use logtracer_sdk::logging::LoggerNames;
use logtracer_sdk::testing::{capture, capture_with};
use logtracer_sdk::{Format, Logging};
use serde_json::{Value, json};
use tracing::{error, info, info_span, instrument};

/// Captures the text of one line, because `serde_json` accepts a duplicate key.
fn text_of(log: impl FnOnce()) -> String {
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    let logging = Logging::new("p", "shop").format(Format::Local).ignore_environment();
    let logging =
        logging.output(move |line| sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap()));
    let subscriber = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(subscriber, log);
    let text = text.lock().unwrap();
    text.clone()
}

#[test]
fn a_name_that_is_used_twice_is_one_key() {
    let line = text_of(|| {
        let _span = info_span!("span", a = 3, b = 1, b = 2).entered();
        info!(a = 1, a = 2, message = "bb", message = "cc", "aa");
    });
    assert_eq!(line.matches(r#""a":"#).count(), 1, "{line}");
    assert_eq!(line.matches(r#""b":"#).count(), 1, "{line}");
    assert!(line.starts_with(r#"{"severity":"INFO","message":"shop - aa","#), "{line}");
    assert!(line.ends_with("\"a\":1,\"fields.message\":\"bb\",\"b\":2}\n"), "{line}");
}

/// A backtrace is `stack_trace` once, also beside fields of this name.
#[test]
fn a_stack_trace_beside_another_one() {
    let backtrace = "   0: main";
    let line = text_of(|| {
        let _span = info_span!("span", stack_trace = "of the span").entered();
        info!(error = "disk full", backtrace, "one");
    });
    assert_eq!(line.matches(r#""stack_trace":"#).count(), 1, "{line}");
    assert!(line.contains(r#""stack_trace":"disk full\n   0: main""#), "{line}");
    let line = text_of(|| info!(error = "disk full", backtrace, stack_trace = "mine", "one"));
    assert_eq!(line.matches(r#""stack_trace":"#).count(), 1, "{line}");
    // One that is not captured does not replace that of the error.
    let anyhow = "disk full\n\nStack backtrace:\n   0: main";
    let lines = capture(|| info!(error = anyhow, backtrace = "disabled backtrace", "one"));
    assert_eq!(lines[0]["stack_trace"], "disk full\n   0: main");
}

/// Of two members with one name, the first one counts, in either spelling.
#[test]
fn a_member_of_a_request_that_is_set_twice() {
    let lines = capture(|| {
        info!(
            http_request.status = 200,
            http_request.request_method = "GET",
            http_request.requestMethod = "PUT",
            http_request.status = 500,
            "one"
        );
    });
    assert_eq!(lines[0]["httpRequest"]["status"], 200);
    assert_eq!(lines[0]["httpRequest"]["requestMethod"], "GET");
}

/// What is not part of `httpRequest` stays a field.
#[test]
fn fields_of_a_request_that_are_no_part_of_it() {
    let lines = capture(|| {
        info!(
            http_request.status = 200,
            http_request.unknown = 1,
            http_request.latency = "soon",
            http_request.cache_hit = "perhaps",
            http_request.request_size = -1,
            "one"
        );
        info!(http_request.status = 70_000, http_request.latency = "3 weeks", "two");
    });
    let line = &lines[0];
    assert_eq!(line["httpRequest"], json!({ "status": 200 }));
    assert_eq!(line["http_request.unknown"], 1);
    assert_eq!(line["http_request.latency"], "soon");
    assert_eq!(line["http_request.cache_hit"], "perhaps");
    assert_eq!(line["http_request.request_size"], -1);
    let line = &lines[1];
    assert_eq!((line.get("httpRequest"), &line["http_request.status"]), (None, &json!(70_000)));
    assert_eq!(line["http_request.latency"], "3 weeks");
}

#[test]
fn cache_fields_of_a_request() {
    let lines = capture(|| {
        info!(
            http_request.status = 200,
            http_request.cache_lookup = true,
            http_request.cacheHit = true,
            http_request.cache_validated_with_origin_server = false,
            http_request.cache_fill_bytes = 512,
            "one"
        );
        info!(http_request.cache_validated_with_origin_server = true, "two");
    });
    assert_eq!(
        lines[0]["httpRequest"],
        json!({ "status": 200, "cacheLookup": true, "cacheHit": true, "cacheFillBytes": "512" })
    );
    assert_eq!(lines[1]["httpRequest"], json!({ "cacheValidatedWithOriginServer": true }));
}

#[test]
fn insert_ids_and_operations() {
    for format in [Format::Stackdriver, Format::Local] {
        let lines = capture_with(
            |logging| logging.format(format),
            || {
                let import = info_span!(
                    "import",
                    logtracer.operation.id = 7,
                    logtracer.operation.producer = "github.com/my-org/shop",
                    step = 1
                );
                let _import = import.entered();
                info!(logtracer.insert_id = "a-1", logtracer.operation.first = true, "one");
                info!("two");
                info!(logtracer.operation.id = "mine", logtracer.operation.last = true, "three");
                info!(logtracer.operation.last = "perhaps", logtracer.unknown = 1, "four");
            },
        );
        let producer = "github.com/my-org/shop";
        let operations: Vec<_> =
            lines.iter().map(|line| line["logging.googleapis.com/operation"].clone()).collect();
        assert_eq!(
            operations,
            [
                json!({ "id": "7", "producer": producer, "first": true }),
                json!({ "id": "7", "producer": producer }),
                json!({ "id": "mine", "producer": producer, "last": true }),
                json!({ "id": "7", "producer": producer }),
            ]
        );
        assert_eq!(lines[0]["logging.googleapis.com/insertId"], "a-1");
        assert_eq!(lines[1].get("logging.googleapis.com/insertId"), None);
        assert_eq!(lines[0]["step"], 1);
        // What is not part of the entry stays a field.
        assert_eq!(
            (&lines[3]["logtracer.operation.last"], &lines[3]["logtracer.unknown"]),
            (&json!("perhaps"), &json!(1))
        );
    }
}

#[test]
fn targets_and_spans_on_request() {
    let options = |logging: Logging| logging.show_target().show_spans();
    let lines = capture_with(options, || {
        info!(target: "shop::db", "alone");
        let _outer = info_span!("outer", target = "of the span", spans = 2).entered();
        let inner = info_span!("inner \"quoted\"");
        let _inner = inner.enter();
        info!(target = "of the event", "inside");
    });
    assert_eq!((&lines[0]["target"], &lines[0]["spans"]), (&json!("shop::db"), &json!([])));
    let line = &lines[1];
    assert_eq!(
        (&line["target"], &line["spans"]),
        (&json!("it::fields"), &json!(["outer", "inner \"quoted\""]))
    );
    assert_eq!((&line["fields.target"], &line["fields.spans"]), (&json!("of the event"), &json!(2)));
    // Without the options, the names are free.
    let lines = capture(|| info!(target = "mine", "hi"));
    assert_eq!(lines[0]["target"], "mine");
}

/// The message has no name, and Error Reporting still finds the service.
#[test]
fn no_names_before_messages() {
    let options = |logging: Logging| {
        logging.logger_names(LoggerNames::None).version("1.2").report_errors(tracing::Level::ERROR)
    };
    let lines = capture_with(options, || {
        info!(serviceContext = "mine", "opened");
        error!("failed");
        info!(step = 1);
    });
    let messages: Vec<_> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["opened", "failed", "it::fields"]);
    for line in &lines {
        assert_eq!(line["serviceContext"], json!({ "service": "test", "version": "1.2" }));
    }
    assert_eq!(lines[0]["fields.serviceContext"], "mine");
}

#[test]
fn a_text_that_is_cut_names_the_number_of_bytes() {
    let long = "x".repeat(1 << 20);
    let quotes = "\"".repeat(20_000);
    let lines = capture(|| {
        let _span = info_span!("span", of_span = long).entered();
        info!(text = long, formatted = %long, quotes, short = %"x".repeat(16_000), "cut");
    });
    let line = &lines[0];
    for field in ["text", "formatted", "of_span", "quotes"] {
        let text = line[field].as_str().unwrap();
        let (kept, mark) = text.split_once(" [").unwrap_or_else(|| panic!("{field}: {text}"));
        let cut: usize = mark.strip_suffix(" bytes cut]…").unwrap().parse().unwrap();
        let whole = if field == "quotes" { &quotes } else { &long };
        assert_eq!(kept.len() + cut, whole.len(), "{field}");
        assert!(whole.starts_with(kept));
        assert!(serde_json::to_string(text).unwrap().len() <= 16 * 1024 + 32, "{field}");
    }
    assert_eq!(line["short"].as_str().unwrap().len(), 16_000);
}

// === errors ===

/// An error with a text and a cause.
#[derive(Debug)]
struct Caused(&'static str, Option<Box<Caused>>);

impl Caused {
    fn new<const N: usize>(texts: [&'static str; N]) -> Self {
        *texts.into_iter().rev().fold(None, |cause, text| Some(Box::new(Self(text, cause)))).unwrap()
    }
}

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[test]
fn each_cause_is_there_once() {
    let repeated = Caused::new(["disk gone", "disk gone", "disk gone"]);
    let included = Caused::new(["cannot open: disk gone", "disk gone", "os error 5"]);
    let boxed: Box<dyn Error + Send + Sync> = Box::new(Caused::new(["outer", "inner"]));
    let lines = capture(|| {
        error!(error = &repeated as &dyn Error, "one");
        error!(error = &included as &dyn Error, "two");
        error!(error = &*boxed as &(dyn Error + 'static), "three");
        error!(err = &*boxed as &(dyn Error + 'static));
    });
    let errors: Vec<_> = lines[..3].iter().map(|line| &line["error"]).collect();
    assert_eq!(errors, ["disk gone", "cannot open: disk gone: os error 5", "outer: inner"]);
    assert_eq!(
        (&lines[3]["err"], &lines[3]["message"]),
        (&json!("outer: inner"), &json!("test - outer: inner"))
    );
}

#[instrument(err)]
fn fails() -> Result<(), Caused> {
    Err(Caused::new(["disk gone"]))
}

#[instrument(err(Debug))]
fn fails_with_debug() -> Result<(), &'static str> {
    Err("disk gone")
}

/// Its events have no message, only the field `error`.
#[test]
fn the_error_of_instrument_is_the_message() {
    let lines = capture_with(
        |logging| logging.report_errors(tracing::Level::ERROR),
        || {
            let _ = fails();
            let _ = fails_with_debug();
        },
    );
    let found: Vec<_> =
        lines.iter().map(|line| (&line["message"], &line["error"], &line["severity"])).collect();
    let expected = [json!("disk gone"), json!("\"disk gone\"")];
    assert_eq!(
        found,
        [
            (&json!("test - disk gone"), &expected[0], &json!("ERROR")),
            (&json!("test - \"disk gone\""), &expected[1], &json!("ERROR")),
        ]
    );
    assert!(lines[0]["@type"].as_str().unwrap().ends_with(".ReportedErrorEvent"));
}

/// Asserts that a text is an error and then the frames of a backtrace, as Error Reporting wants it.
#[track_caller]
fn check_stack_trace(line: &Value, first: &str) {
    let trace = line["stack_trace"].as_str().unwrap_or_else(|| panic!("{line}"));
    let (error, frames) = trace.split_once('\n').unwrap();
    assert_eq!(error, first);
    assert!(frames.trim_start().starts_with("0: "), "{frames}");
    assert!(frames.contains("\n             at "), "{frames}");
}

#[test]
fn a_backtrace_is_the_stack_trace() {
    let backtrace = std::backtrace::Backtrace::force_capture();
    let disabled = std::backtrace::Backtrace::disabled();
    let error = Caused::new(["disk gone", "os error 5"]);
    let lines = capture(|| {
        error!(error = &error as &dyn Error, backtrace = %backtrace, "failed");
        error!(%backtrace, "without an error");
        error!(backtrace = %disabled, "not captured");
        error!(backtrace = "mine", "another meaning");
        error!(backtrace = 7, "a number");
        error!(error = &error as &dyn Error, ?backtrace, "failed");
        error!(backtrace = ?disabled, "not captured");
        error!(backtrace = "<unsupported>", "not captured");
    });
    check_stack_trace(&lines[0], "disk gone: os error 5");
    assert_eq!((&lines[0]["error"], lines[0].get("backtrace")), (&json!("disk gone: os error 5"), None));
    assert!(lines[1]["stack_trace"].as_str().unwrap().trim_start().starts_with("0: "), "{}", lines[1]);
    assert_eq!((lines[2].get("stack_trace"), lines[2].get("backtrace")), (None, None));
    assert_eq!((lines[3].get("stack_trace"), &lines[3]["backtrace"]), (None, &json!("mine")));
    assert_eq!(lines[4]["backtrace"], 7);
    let (first, frames) = lines[5]["stack_trace"].as_str().unwrap().split_once('\n').unwrap();
    assert!(first == "disk gone: os error 5" && frames.starts_with("Backtrace [{ fn: "), "{frames}");
    assert!(
        frames.lines().count() > 3 && frames.lines().skip(1).all(|it| it.starts_with("{ fn: ")),
        "{frames}"
    );
    for line in &lines[5..] {
        assert_eq!(line.get("backtrace"), None, "{line}");
    }
    assert!(lines[6..].iter().all(|line| line.get("stack_trace").is_none()), "{lines:?}");
}

/// `anyhow` captures a backtrace if `RUST_BACKTRACE` is set, so the test runs itself with it.
#[test]
fn the_backtrace_of_anyhow_is_the_stack_trace() {
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value != "1") {
        let test = "fields::the_backtrace_of_anyhow_is_the_stack_trace";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LIB_BACKTRACE")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let error = anyhow::Error::from(Caused::new(["disk gone"])).context("cannot open");
    let lines = capture(|| {
        error!(error = ?error, "failed");
        error!(error = ?error);
    });
    for (line, message) in lines.iter().zip(["test - failed", "test - cannot open"]) {
        let text = line["error"].as_str().unwrap();
        assert!(text.starts_with("cannot open\n\nCaused by:\n    disk gone"), "{text}");
        assert!(!text.contains("backtrace"), "{text}");
        let trace = line["stack_trace"].as_str().unwrap();
        let (first, frames) = trace.split_once("\n   0: ").unwrap_or_else(|| panic!("{trace}"));
        assert_eq!(first, text);
        assert!(frames.contains("\n             at "), "{frames}");
        assert!(line["message"].as_str().unwrap().starts_with(message), "{line}");
        assert!(!line["message"].as_str().unwrap().contains("0: "), "{line}");
    }
}
