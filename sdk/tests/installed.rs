//! The logging of the process, in a separate process.

use std::sync::{Arc, Mutex};

use logtracer_sdk::logging::LoggerNames;
use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, Logging, LoggingError, Project, TraceContext};

#[test]
fn the_logging_of_a_process() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new(Project::none(), "shop")
        .version("1.2")
        .label("team", "data")
        .ignore_environment()
        .format(Format::Local)
        .level("info,chatty=off")
        .log_panics(true)
        .output(move |line| {
            sink.lock().unwrap().push(serde_json::from_slice::<serde_json::Value>(line).unwrap());
        });
    let handle = logging.install().unwrap();
    let take = || std::mem::take(&mut *lines.lock().unwrap());

    let again = Logging::new(Project::none(), "shop").format(Format::Local).install();
    assert!(matches!(again, Err(LoggingError::AlreadyInstalled)));

    /// Formatting it logs, while a line is being written.
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("inner");
            f.write_str("chatty")
        }
    }
    tracing::info!(field = ?Chatty, "outer");
    let written = take();
    assert_eq!(written.len(), 2);
    assert_eq!(written[0]["message"], "shop - inner");
    assert_eq!((&written[1]["message"], &written[1]["field"]), (&"shop - outer".into(), &"chatty".into()));

    // Records of `log` become lines with their own source location, the trace and the fields of the span.
    let context = TraceContext::new_root();
    context.run(|| {
        let _span = tracing::info_span!("request", user = "ada").entered();
        log::warn!(target: "legacy::db", "slow {}", "query");
        log::debug!("not written");
        log::error!(target: "chatty", "not written");
    });
    let written = take();
    assert_eq!(written.len(), 1, "{written:?}");
    let line = &written[0];
    assert_eq!((&line["severity"], &line["message"]), (&"WARNING".into(), &"shop - slow query".into()));
    assert_eq!((&line["trace"], &line["user"]), (&context.trace_id.to_string().into(), &"ada".into()));
    assert_eq!(line["sourceLocation"]["file"], "sdk/tests/installed.rs");
    assert!(line.as_object().unwrap().keys().all(|key| !key.starts_with("log.")), "{line}");

    // Key-values become fields before those of the span; known fields keep their meaning.
    let error = std::io::Error::other("disk full");
    tracing::info_span!("request", user = "of the span", path = "/").in_scope(|| {
        log::info!(
            user = "ada", items = 3, ratio = 0.5, cached = true, big = u128::MAX, list:? = [1, 2], none:? = None::<u8>,
            severity = "mine", user = "again", "log.source" = "kept", "labels.step" = 3, "logtracer.severity" = "NOTICE", err:err = error;
            "with {}", "pairs"
        );
        log::info!("without");
    });
    let written = take();
    let [line, without] = written.as_slice() else { panic!("{written:?}") };
    let mut line = line.clone();
    for variable in ["time", "sourceLocation"] {
        line.as_object_mut().unwrap().remove(variable);
    }
    let expected = serde_json::json!({
        "severity": "NOTICE", "message": "shop - with pairs", "user": "ada", "items": 3, "ratio": 0.5, "cached": true,
        "big": u128::MAX.to_string(), "list": "[1, 2]", "none": "None", "fields.severity": "mine",
        "log.source": "kept", "labels": { "team": "data", "step": "3" }, "err": "disk full", "path": "/",
    });
    assert_eq!(line, expected);
    assert_eq!((&without["user"], without.get("items")), (&"of the span".into(), None));

    // A check whether a line is enabled does not affect the next line or span.
    let is_enabled = || log::log_enabled!(target: "chatty", log::Level::Info);
    assert!(log::log_enabled!(target: "legacy::db", log::Level::Info));
    assert!(!is_enabled());
    tracing::info!("after one check");
    assert!(!is_enabled());
    log::info!("after another");
    assert!(!is_enabled());
    let span = context.run(|| tracing::info_span!("after a third", user = "ada"));
    span.in_scope(|| tracing::info!("in a span"));
    let written = take();
    let messages: Vec<_> = written.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["shop - after one check", "shop - after another", "shop - in a span"]);
    assert_eq!(
        (&written[2]["user"], &written[2]["trace"]),
        (&"ada".into(), &context.trace_id.to_string().into())
    );

    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    handle.set_level("debug").unwrap();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    log::debug!("written");
    assert_eq!(take().len(), 1);

    // A panic is one line with the current trace.
    let caught = std::panic::catch_unwind(|| context.run(|| panic!("out of {}", "eggs")));
    assert!(caught.is_err());
    let written = take();
    assert_eq!(written.len(), 1);
    let line = &written[0];
    assert_eq!(
        (&line["severity"], &line["message"]),
        (&"ERROR".into(), &"shop - panicked: out of eggs".into())
    );
    assert_eq!(line["trace"], context.trace_id.to_string());
    assert_eq!(line["context"]["reportLocation"]["filePath"], "sdk/tests/installed.rs");
    assert_eq!(
        line["@type"],
        "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    );
    assert_eq!(line["serviceContext"], serde_json::json!({ "service": "shop", "version": "1.2" }));
    assert_eq!(line["labels"], serde_json::json!({ "team": "data" }));
    let _ = std::panic::take_hook();

    // Records of `log` name their module.
    let per_module = |logging: Logging| logging.logger_names(LoggerNames::PerModule);
    let captured = logtracer_sdk::testing::capture_with(per_module, || {
        log::warn!(target: "legacy::db", "slow");
        log::info!("here");
    });
    let messages: Vec<_> = captured.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["test.legacy::db - slow", "test.installed - here"]);
}
