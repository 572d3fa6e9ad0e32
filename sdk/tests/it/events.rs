//! Options of events and of the logging: `httpRequest`, labels, severities, reports, names, levels.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use logtracer_sdk::logging::LoggerNames;
use logtracer_sdk::testing::{capture, capture_with};
use logtracer_sdk::{Format, Logging};
use serde_json::json;
use tracing::{error, info, warn};
use tracing_subscriber::prelude::*;

#[test]
fn an_http_request_of_the_application() {
    let lines = capture(|| {
        info!(
            http_request.request_method = "GET",
            http_request.request_url = "http://x/\"q\"",
            http_request.status = 503,
            http_request.request_size = 12_u64,
            http_request.response_size = "34",
            http_request.latency = ?Duration::from_micros(12_300),
            http_request.userAgent = %"curl",
            http_request.unknown = 1,
            other = 2,
            "fetched"
        );
        info!(http_request.latency = 0.25, "seconds");
        info!(http_request.status = -1, "invalid");
    });
    assert_eq!(
        lines[0]["httpRequest"],
        json!({
            "requestMethod": "GET", "requestUrl": "http://x/\"q\"", "requestSize": "12", "status": 503,
            "responseSize": "34", "userAgent": "curl", "latency": "0.0123s",
        })
    );
    assert_eq!(lines[0]["other"], 2);
    assert_eq!(lines[1]["httpRequest"], json!({ "latency": "0.25s" }));
    assert!(lines[2].get("httpRequest").is_none());
}

/// `tracing` does not know the function, and the name of a span is another thing.
#[test]
fn a_source_location_has_no_function() {
    #[tracing::instrument]
    fn instrumented() {
        info!("in a span of `#[instrument]`");
        not_instrumented();
    }
    fn not_instrumented() {
        info!("in the span of the caller");
    }
    let lines = capture(|| {
        info!("outside of a span");
        instrumented();
        tracing::info_span!("basket").in_scope(|| info!("in another span"));
    });
    assert_eq!(lines.len(), 4);
    for line in lines {
        let location = line["sourceLocation"].as_object().unwrap();
        assert_eq!(location.keys().collect::<Vec<_>>(), ["file", "line"], "{line}");
    }
}

#[test]
fn labels_and_severities() {
    let lines = capture_with(
        |logging| logging.label("team", "data").format(Format::Stackdriver),
        || {
            info!(labels.step = 3, labels.team = "not this", labels.ok = true, "one");
            for severity in ["NOTICE", "CRITICAL", "ALERT", "EMERGENCY", "DEFAULT", "loud"] {
                warn!(logtracer.severity = severity, "two");
            }
        },
    );
    assert_eq!(
        lines[0]["logging.googleapis.com/labels"],
        json!({ "team": "data", "step": "3", "ok": "true" })
    );
    let severities: Vec<_> = lines[1..].iter().map(|line| line["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, ["NOTICE", "CRITICAL", "ALERT", "EMERGENCY", "DEFAULT", "WARNING"]);
}

/// A label of a span is on every line in the span. Of two with the same name, the inner one wins.
#[test]
fn labels_of_spans() {
    let lines = capture_with(
        |logging| logging.label("team", "data"),
        || {
            let outer =
                tracing::info_span!("outer", labels.team = "x", labels.job = 7, labels.step = "outer", a = 1);
            let _outer = outer.enter();
            let inner = tracing::info_span!("inner", labels.step = tracing::field::Empty, labels.empty = "");
            info!("one");
            let _inner = inner.enter();
            for step in ["first", "second"] {
                inner.record("labels.step", step);
                info!("two");
            }
            info!(labels.step = "of the event", "three");
        },
    );
    let labels: Vec<_> = lines.iter().map(|line| line["labels"].clone()).collect();
    let with = |step: &str| json!({ "team": "data", "job": "7", "step": step });
    assert_eq!(labels, [with("outer"), with("first"), with("second"), with("of the event")]);
    assert!(lines.iter().all(|line| line["a"] == 1 && line.get("labels.job").is_none()), "{lines:?}");
}

#[test]
fn a_repeatedly_recorded_field_has_its_last_value() {
    let lines = capture(|| {
        let span = tracing::info_span!("span", a = "first", count = 0, z = "last");
        let _entered = span.enter();
        for count in [1, 1000, 20] {
            span.record("count", count);
            span.record("a", "changed");
        }
        info!("counted");
    });
    let line = &lines[0];
    assert_eq!((&line["a"], &line["count"], &line["z"]), (&json!("changed"), &json!(20), &json!("last")));
}

/// Formatting a recorded value may log in the same span.
#[test]
fn a_recorded_value_that_logs() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            info!("inner");
            f.write_str("chatty")
        }
    }
    let (done, is_done) = std::sync::mpsc::channel();
    // On another thread, because a deadlock would block it.
    std::thread::spawn(move || {
        let lines = capture(|| {
            let span = tracing::info_span!("span", a = 1, value = tracing::field::Empty);
            let _entered = span.enter();
            span.record("value", tracing::field::debug(Chatty));
            info!("outer");
        });
        done.send(lines)
    });
    let lines = is_done.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(
        (&lines[0]["message"], &lines[1]["message"]),
        (&json!("test - inner"), &json!("test - outer"))
    );
    assert_eq!((&lines[1]["a"], &lines[1]["value"]), (&json!(1), &json!("chatty")));
}

#[test]
fn reports() {
    let report = |logging: Logging| logging.report_errors(tracing::Level::ERROR).version("1.2");
    let lines = capture_with(report, || {
        let span = tracing::info_span!("span", context = "of the span");
        let error = std::fmt::Error;
        span.in_scope(|| error!(serviceContext = "mine", error = &error as &dyn std::error::Error, "failed"));
        warn!(context = "stays", "not reported");
    });
    assert_eq!(
        lines[0]["@type"],
        "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    );
    assert_eq!(lines[0]["serviceContext"], json!({ "service": "test", "version": "1.2" }));
    assert_eq!(lines[0]["context"]["reportLocation"]["filePath"], "sdk/tests/it/events.rs");
    assert_eq!(lines[0]["fields.serviceContext"], "mine");
    assert_eq!(lines[0]["fields.context"], "of the span");
    assert_eq!(lines[0]["error"], std::fmt::Error.to_string());
    assert_eq!(lines[1]["context"], "stays");
    assert!(lines[1].get("@type").is_none());
}

#[test]
fn logger_names() {
    let names = |logging: Logging| logging.logger_names(LoggerNames::PerModule);
    let lines = capture_with(names, || {
        info!("here");
        info!(target: "shop::db", "there");
    });
    assert_eq!(lines[0]["message"], "test.it::events - here");
    assert_eq!(lines[1]["message"], "test.shop::db - there");
}

#[test]
fn values_that_json_cannot_hold() {
    let huge = "x".repeat(1 << 20);
    let lines = capture(|| {
        info!(nan = f64::NAN, infinite = f64::INFINITY, huge, control = "\u{0}\u{1b}[31m\u{7f}\n", "numbers");
    });
    assert_eq!((&lines[0]["nan"], &lines[0]["infinite"]), (&json!("NaN"), &json!("Infinity")));
    assert_eq!(lines[0]["control"], "\u{0}\u{1b}[31m\u{7f}\n");
    let truncated = lines[0]["huge"].as_str().unwrap();
    assert!(truncated.len() < 20_000 && truncated.ends_with('…'));
}

/// `enabled!` without an event does not affect the next event.
#[test]
fn enabled_does_not_affect_the_next_line() {
    // With a directive for a span, the answer is not cached.
    let lines = capture_with(
        |logging| logging.level("info,it::events[job]=debug"),
        || {
            tracing::enabled!(tracing::Level::DEBUG);
            info!("one");
            tracing::enabled!(tracing::Level::DEBUG);
            let span = tracing::info_span!("job", user = "ada");
            span.in_scope(|| tracing::debug!("two"));
            tracing::debug!("not written");
        },
    );
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["test - one", "test - two"]);
    assert_eq!(lines[1]["user"], "ada");
}

#[test]
fn levels_change_at_runtime() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&lines);
    let logging = Logging::new("p", "shop").level("info").ignore_environment().output(move |line| {
        sink.lock().unwrap().push(serde_json::from_slice::<serde_json::Value>(line).unwrap());
    });
    let (layer, handle) = logging.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let log = |step: u32| {
            tracing::debug!(step, "debug");
            tracing::info!(step, "info");
        };
        log(1);
        handle.set_level("debug").unwrap();
        log(2);
        handle.set_level("warn").unwrap();
        log(3);
        assert!(handle.set_level("it=loud").is_err());
        log(4);
    });
    let steps: Vec<_> = lines.lock().unwrap().iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 2]);
}

/// A blocked writer blocks no caller, and dropped lines are reported.
#[test]
fn a_blocked_writer() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&lines);
    let logging = Logging::new("p", "shop").level("info").ignore_environment().non_blocking_lines(4).output(
        move |line| {
            let _ = gate.lock().unwrap().recv();
            sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        },
    );
    let (layer, handle) = logging.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        (0..20).for_each(|step| info!(step, "line"));
    });
    assert!(!handle.flush(Duration::from_millis(5)));
    let dropped = handle.dropped_lines();
    assert!((15..=16).contains(&dropped), "{dropped}");
    drop(release);
    assert!(handle.flush(Duration::MAX));
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len() as u64, 20 - dropped + 1, "{lines:?}");
    let report = lines.iter().find(|line| line.contains("dropped")).unwrap_or_else(|| panic!("{lines:?}"));
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(
        (&report["severity"], &report["message"]),
        (&json!("WARNING"), &json!(format!("shop - dropped {dropped} log lines")))
    );
    assert!(report["time"].is_string(), "{report}");
}

#[test]
fn messages_that_are_not_text() {
    let lines = capture(|| {
        info!(message = 5);
        info!(message = true, step = 2);
        info!(message = 0.5);
    });
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["test - 5", "test - true", "test - 0.5"]);
}

/// A severity can be a text, or the output of `%` or `?`, with the names of log libraries. An unknown name stays a field.
#[test]
fn severities_in_all_forms() {
    #[derive(Debug)]
    enum Severity {
        Notice,
    }
    let lines = capture(|| {
        info!(logtracer.severity = %"ALERT", "display");
        info!(logtracer.severity = ?"CRITICAL", "debug of a text");
        info!(logtracer.severity = ?Severity::Notice, "debug of a name");
        info!(logtracer.severity = "loud", "unknown");
        info!(logtracer.severity = "far too long to be the name of one", "unknown");
        info!(logtracer.severity = "WARN", "another name");
        info!(logtracer.severity = "Err", "another name");
        info!(logtracer.severity = ?"fatal", "another name");
        info!(logtracer.severity = "TRACE", "another name");
        info!(logtracer.severity = 500, "a number of Cloud Logging");
    });
    let severities: Vec<_> = lines.iter().map(|line| line["severity"].as_str().unwrap()).collect();
    assert_eq!(
        severities,
        ["ALERT", "CRITICAL", "NOTICE", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG", "ERROR"]
    );
    assert!(
        lines[..3].iter().chain(&lines[5..]).all(|line| line.get("logtracer.severity").is_none()),
        "{lines:?}"
    );
    assert_eq!(lines[3]["logtracer.severity"], "loud");
}

/// This compares the text, because `serde_json` accepts a duplicate key.
#[test]
fn a_label_that_is_set_twice() {
    let lines = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new("p", "shop").ignore_environment().label("team", "a").label("team", "b");
    let logging =
        logging.output(move |line| sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap()));
    let subscriber = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(subscriber, || info!("hi"));
    let line = lines.lock().unwrap();
    assert!(line.contains(r#"labels":{"team":"b"}"#), "{line}");
}

/// The names of levels in Python and in Google Cloud.
#[test]
fn foreign_names_of_levels() {
    for (level, expected) in
        [("WARNING", 2), ("CRITICAL", 1), ("it=warning", 2), ("NOTSET", 4), ("NOTICE", 3)]
    {
        let lines = capture_with(
            |logging| logging.level(level),
            || {
                error!("1");
                warn!("2");
                info!("3");
                tracing::trace!("4");
            },
        );
        assert_eq!(lines.len(), expected, "{level}");
    }
    let logging = Logging::new("p", "shop").ignore_environment().output(|_| {});
    let (layer, handle) = logging.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        handle.set_level("WARNING").unwrap();
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        assert!(handle.set_level("shop=LOUD").is_err());
    });
}

/// Each writes the fields of a span in its own format.
#[test]
fn two_loggings_of_one_subscriber() {
    let texts = [(); 2].map(|()| Arc::new(Mutex::new(String::new())));
    let layer = |place: usize, format| {
        let sink = Arc::clone(&texts[place]);
        let logging = Logging::new("p", "shop").ignore_environment().format(format);
        logging.output(move |line| sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap()))
    };
    let subscriber = tracing_subscriber::registry()
        .with(layer(0, Format::Local).layer().unwrap())
        .with(layer(1, Format::Stackdriver).layer().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("span", trace = "mine", later = tracing::field::Empty);
        let _entered = span.enter();
        span.record("later", 7);
        info!("both");
    });
    // The name is reserved in one format only.
    let [local, stackdriver] = texts.map(|text| text.lock().unwrap().clone());
    assert!(local.contains(r#""fields.trace":"mine""#) && local.contains(r#""later":7"#), "{local}");
    assert!(
        stackdriver.contains(r#""trace":"mine""#) && stackdriver.contains(r#""later":7"#),
        "{stackdriver}"
    );
}

/// Error Reporting reads the error with its causes from the field.
#[test]
fn an_error_chain_in_a_report() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot open basket")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let lines = capture_with(
        |logging| logging.report_errors(tracing::Level::WARN),
        || {
            let error = Outer(std::io::Error::other("disk full"));
            warn!(error = &error as &dyn std::error::Error, stack_trace = "mine", "failed");
        },
    );
    assert_eq!(lines[0]["error"], "cannot open basket: disk full");
    assert!(lines[0]["@type"].as_str().unwrap().ends_with(".ReportedErrorEvent"));
    // Error Reporting would prefer a field `stack_trace`.
    assert_eq!((lines[0].get("stack_trace"), &lines[0]["fields.stack_trace"]), (None, &json!("mine")));
}

/// Parallel captures do not see each other's lines.
#[test]
fn parallel_captures() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..50 {
                    let lines = capture(|| (0..3).for_each(|step| info!(thread, round, step, "hi")));
                    let steps: Vec<_> =
                        lines.iter().map(|line| (&line["thread"], &line["round"], &line["step"])).collect();
                    let expected: Vec<_> =
                        (0..3).map(|step| (json!(thread), json!(round), json!(step))).collect();
                    let expected: Vec<_> = expected.iter().map(|(a, b, c)| (a, b, c)).collect();
                    assert_eq!(steps, expected);
                }
            });
        }
    });
}
