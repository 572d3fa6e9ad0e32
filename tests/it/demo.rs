//! The programs of `make demo` and `make demo ONCE=1`.

use std::process::Command;

use logtracer_harness::process::{Process, sibling};
use logtracer_harness::{lines, wait};

fn demo() -> Command {
    Command::new(sibling("logtracer-demo").unwrap())
}

#[test]
fn once_shows_one_trace_and_exits() {
    let output = demo().arg("--once").output().unwrap();
    let (shown, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{errors}");
    assert!(!shown.contains('\x1b'), "colours without a terminal");

    // The caller with Google's header, whose span id is decimal.
    let trace = "105445aa7843bc8bf206b12000100000";
    let objects: Vec<_> = shown.lines().filter(|line| line.starts_with('{')).collect();
    assert!(objects.len() >= 9, "{shown}");
    for object in objects {
        let line = lines::parse(object).unwrap();
        assert_eq!(lines::trace_id(&line), Some(trace), "{object}");
    }

    let section = |title: &str| -> Vec<&str> {
        let lines = shown.lines().skip_while(|line| !line.starts_with(title)).skip(1);
        lines.take_while(|line| !line.is_empty()).collect()
    };
    let spans = section("Spans");
    for (span, words) in spans.iter().zip([
        ["GET orders", "frontend", "server"],
        ["├─ GET stock", "frontend", "client"],
        ["│  └─ GET stock", "backend", "server"],
        ["└─ /demo.Prices/Quote", "frontend", "client"],
        ["   └─ /demo.Prices/Quote", "backend", "server"],
    ]) {
        assert!(words.iter().all(|word| span.contains(word)), "{span}");
    }
    assert_eq!(spans.len(), 5, "{shown}");
    let failed = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(section("Kept"), [format!("  1 of 24 traces: GET /checkout/44, 3 spans   {failed}")]);
}

#[test]
fn a_signal_stops_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Process::start("demo", demo(), dir.path()).unwrap();
    let shown = |demo: &Process| std::fs::read_to_string(demo.stdout()).unwrap_or_default();
    wait::try_until("the demo's page", || {
        demo.check_running()?;
        Ok(Some(shown(&demo)).filter(|text| text.contains("Ctrl-C")).map(drop))
    })
    .unwrap();

    let status = demo.stop().unwrap();
    assert!(status.success(), "{status}: {}", demo.errors());
}
