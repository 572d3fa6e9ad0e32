//! An exporter of several clusters: each trace belongs to one, and no cluster depends on another.

use logtracer_core::{TraceId, shard_of};

use super::*;
use crate::host::ExportResponse;
use crate::reporter::MAX_BATCHES;
use crate::shared::lock;

fn root_of(host: &FakeHost, clusters: &[&str], more: &str) -> Root {
    let clusters = serde_json::json!(clusters);
    configured(host, &format!(r#"{{"service_name": "shop", "exporter": {{"cluster": {clusters}, {more}}}}}"#))
}

fn trace(number: u128) -> TraceId {
    // Different bits everywhere, as those of a tracer.
    TraceId::new((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).unwrap()
}

/// Handles a request of a trace.
fn request(host: &FakeHost, root: &Root, number: u128) {
    let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace(number));
    host.set(HeadersOf::Request, &[(":method", "GET"), (":path", "/"), ("traceparent", &traceparent)]);
    run(host, root);
}

/// The number of spans of a trace in the callouts to a cluster.
fn sent(host: &FakeHost, cluster: &str, number: u128) -> usize {
    let callouts = host.sent.borrow();
    let to = host.sent_to.borrow();
    let to_cluster = to.iter().zip(callouts.iter()).filter(|((name, _), _)| name == cluster);
    to_cluster.map(|(_, body)| count(body, &trace(number).to_bytes())).sum()
}

fn unavailable() -> ExportResponse {
    ExportResponse { status: Some(503), ..ExportResponse::default() }
}

#[test]
fn a_trace_goes_to_one_cluster() {
    const TRACES: u128 = 300;
    const NAMES: [&str; 3] = ["outbound|4318||a.obs", "b", "c"];
    let host = host();
    let mut root = root_of(&host, &NAMES, r#""timeout": "1s""#);
    for number in (0..TRACES).chain(0..TRACES) {
        request(&host, &root, number);
    }
    host.now.set(2 * SECOND);
    root.on_tick(&host);
    let mut parts = [0; 3];
    for number in 0..TRACES {
        let shard = shard_of(trace(number), NAMES.len());
        parts[shard] += 1;
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(sent(&host, name, number), if index == shard { 2 } else { 0 }, "{name} {number}");
        }
    }
    assert!(parts.iter().all(|part| (75..=125).contains(part)), "{parts:?}");
    let mut sent_to = host.sent_to.borrow().clone();
    sent_to.sort_unstable();
    let expected = [("b", "b"), ("c", "c"), (NAMES[0], "a.obs:4318")];
    assert_eq!(sent_to, expected.map(|(name, authority)| (name.to_owned(), authority.to_owned())));
}

#[test]
fn a_list_of_one_is_the_same_as_a_text() {
    let callouts = |cluster: &str| {
        let host = host();
        let json = format!(r#"{{"exporter": {{"cluster": {cluster}, "max_batch_spans": 10}}}}"#);
        let mut root = configured(&host, &json);
        (0..95).for_each(|number| request(&host, &root, number));
        host.now.set(2 * SECOND);
        root.on_tick(&host);
        let sizes: Vec<_> = host.sent.borrow().iter().map(Vec::len).collect();
        (sizes, host.sent_to.borrow().clone(), root.held_spans(), host.tick.get())
    };
    let of_text = callouts(r#""c""#);
    assert_eq!((of_text.0.len(), of_text.2), (MAX_BATCHES, 95));
    assert_eq!(callouts(r#"["c"]"#), of_text);
}

/// One cluster responds 503 or not at all. All spans of the other are delivered, as if it were alone.
#[test]
fn an_unavailable_cluster_holds_up_no_other() {
    for responds in [true, false] {
        let host = host();
        let options = r#""max_buffer_bytes": "32KiB", "flush_interval": "1s", "max_batch_spans": 10"#;
        let mut root = root_of(&host, &["down", "up"], options);
        let (mut number, mut answered, mut failed) = (0, 0, 0);
        for second in 1..60 {
            host.now.set(second * SECOND);
            // In the last seconds, what is left of the last batches is sent.
            for _ in 0..if second < 55 { 40 } else { 0 } {
                request(&host, &root, number);
                number += 1;
            }
            root.on_tick(&host);
            while answered < host.sent_to.borrow().len() {
                let is_up = host.sent_to.borrow()[answered].0 == "up";
                failed += u32::from(!is_up);
                if is_up || responds {
                    let response = if is_up { ok() } else { unavailable() };
                    root.on_response(&host, answered as u32, Some(&response));
                }
                answered += 1;
            }
        }
        let of_up: Vec<u128> = (0..number).filter(|number| shard_of(trace(*number), 2) == 1).collect();
        assert!(of_up.len() > 1000, "{}", of_up.len());
        for number in of_up {
            assert_eq!(sent(&host, "up", number), 1, "{responds} {number}");
        }
        let buffers = &root.plugin().buffers;
        assert_eq!(lock(&buffers[1]).spans(), 0);
        assert!((8 << 10..=16 << 10).contains(&lock(&buffers[0]).bytes()), "{:?}", buffers[0]);
        // Its buffer is nearly full, so each pause is the shortest one.
        let callouts = if responds { 10..=61 } else { 2..=2 };
        assert!(callouts.contains(&failed), "{failed} callouts to the one that is down");
        let logged = host.logged.borrow();
        let expected = "logtracer: exporter unavailable (status 503), retrying, cluster down";
        let unavailable: Vec<_> = logged.iter().filter(|message| message.contains("unavailable")).collect();
        assert_eq!(unavailable, if responds { vec![expected] } else { vec![] });
        drop(logged);

        // It comes back, with what its buffer still has.
        if responds {
            // The last batch is a partial one, which waits for the flush interval.
            for second in 200..204 {
                host.now.set(second * SECOND);
                root.on_tick(&host);
                while answered < host.sent_to.borrow().len() {
                    root.on_response(&host, answered as u32, Some(&ok()));
                    answered += 1;
                }
            }
            assert_eq!(root.held_spans(), 0);
            let resumed = "logtracer: delivery to the exporter resumed, cluster down".to_owned();
            assert!(host.logged.borrow().contains(&resumed), "{:?}", host.logged);
        }
    }
}

/// Whatever the number of clusters: the buffers together have the limit, and what is in flight has its own.
#[test]
fn the_bounds_hold_over_all_clusters() {
    const LIMIT: usize = 64 << 10;
    for clusters in [1, 2, 3, 4, 5, 16] {
        let names: Vec<String> = (0..clusters).map(|number| format!("c{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let host = host();
        let mut root = root_of(&host, &names, r#""max_buffer_bytes": "64KiB", "max_batch_spans": 10000"#);
        let mut number = 0;
        for second in 1..20 {
            host.now.set(second * SECOND);
            for _ in 0..200 {
                request(&host, &root, number);
                number += 1;
            }
            let plugin = root.plugin();
            let bytes = || plugin.buffers.iter().map(|buffer| lock(buffer).bytes()).sum::<usize>();
            assert!(bytes() <= LIMIT, "{clusters}: {}", bytes());
            root.on_tick(&host);
        }
        // No callout has a response, so each cluster has as many as it may have.
        let bodies = host.sent.borrow();
        let expected =
            [4, 4, 3, 4, 5, 16][[1, 2, 3, 4, 5, 16].iter().position(|it| *it == clusters).unwrap()];
        assert_eq!(bodies.len(), expected, "{clusters} clusters");
        let in_flight: usize = bodies.iter().map(Vec::len).sum();
        // Each body has the resource, too.
        assert!(in_flight <= 2 * LIMIT + bodies.len() * 200, "{clusters}: {in_flight}");
        assert!(root.held_spans() < number as usize, "{clusters}: some were dropped");
        drop(bodies);

        // The end of the root: what was not answered is dropped and counted once.
        let held = root.held_spans();
        assert!(!root.on_done(&host));
        let callouts = host.sent.borrow().len();
        let done: Vec<bool> =
            (0..callouts as u32).map(|token| root.on_response(&host, token, Some(&unavailable()))).collect();
        assert_eq!(done.iter().position(|is_done| *is_done), Some(callouts - 1), "{clusters}: {done:?}");
        let message = format!("logtracer: dropped {held} spans: shutdown");
        assert!(host.logged.borrow().contains(&message), "{message}: {:?}", host.logged.borrow().last());
        assert_eq!(root.held_spans(), 0);
    }
}

/// Two clusters that are unavailable and respond late do not send again and again on behalf of each other.
#[test]
fn a_draining_root_ends_although_clusters_are_unavailable() {
    let host = host();
    let mut root = root_of(&host, &["drain-a", "drain-b"], r#""max_batch_spans": 10, "timeout": "1h""#);
    (0..100).for_each(|number| request(&host, &root, number));
    host.now.set(SECOND);
    assert!(!root.on_done(&host));
    let mut token = 0;
    loop {
        host.now.set(host.now.get() + 60 * SECOND);
        assert!(
            (token as usize) < host.sent.borrow().len(),
            "the root waits for a callout that it has not made"
        );
        if root.on_response(&host, token, Some(&unavailable())) {
            break;
        }
        token += 1;
    }
    assert!(token < 10, "{token}");
}

/// The same with large buffers, of which a batch is not half.
#[test]
fn batches_of_large_buffers_are_bounded_over_all_clusters() {
    const CLUSTERS: usize = 16;
    let names: Vec<String> = (0..CLUSTERS).map(|number| format!("large{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let host = host();
    let mut root = root_of(&host, &names, r#""max_buffer_bytes": "64MiB", "max_batch_spans": 10000"#);
    // About 3 MiB for each cluster.
    for buffer in &root.plugin().buffers {
        for _ in 0..100 {
            lock(buffer).push(|out| out.extend([b'a'; 32 << 10]));
        }
    }
    host.now.set(2 * SECOND);
    root.on_tick(&host);
    let bodies = host.sent.borrow();
    let in_flight: usize = bodies.iter().map(Vec::len).sum();
    assert_eq!(bodies.len(), CLUSTERS);
    assert!((4 << 20..=(8 << 20) + CLUSTERS * 200).contains(&in_flight), "{in_flight}");
}

/// A stream that ends while the root drains leaves a span for a cluster without a callout.
#[test]
fn a_draining_root_sends_late_spans_to_every_cluster() {
    for (first, second) in [(0, 1), (1, 0)] {
        let host = host();
        let names = ["late-a", "late-b"];
        let mut root = root_of(&host, &names, r#""timeout": "1s""#);
        let of = |shard| (0..).find(|number| shard_of(trace(*number), 2) == shard).unwrap();
        request(&host, &root, of(first));
        assert!(!root.on_done(&host));
        request(&host, &root, of(second));
        assert!(!root.on_response(&host, 7, Some(&ok())), "an unknown token");
        assert_eq!(host.sent.borrow().len(), 1);
        assert!(!root.on_response(&host, 0, Some(&ok())), "the late span is in flight");
        assert_eq!(sent(&host, names[second], of(second)), 1, "{}", names[second]);
        assert!(root.on_response(&host, 1, Some(&ok())));
        assert_eq!((root.held_spans(), host.sent.borrow().len()), (0, 2));
    }
}

/// The clusters that both configurations have take over what the old root had for them.
#[test]
fn a_replaced_root_leaves_the_spans_of_each_cluster() {
    let host = host();
    let mut old = root_of(&host, &["left-a", "left-b"], r#""timeout": "1s""#);
    let numbers: Vec<u128> = (0..40).collect();
    numbers.iter().for_each(|number| request(&host, &old, *number));
    let mut new = root_of(&host, &["left-b", "left-c"], r#""timeout": "1s""#);
    assert!(!old.on_done(&host));
    for token in 0..2 {
        let is_done = old.on_response(&host, token, Some(&unavailable()));
        assert_eq!(is_done, token == 1);
    }
    old.on_delete(&host);
    host.sent.borrow_mut().clear();
    host.sent_to.borrow_mut().clear();
    host.now.set(10 * SECOND);
    new.on_tick(&host);
    let of_b: Vec<u128> = numbers.into_iter().filter(|number| shard_of(trace(*number), 2) == 1).collect();
    for number in &of_b {
        assert_eq!(sent(&host, "left-b", *number), 1, "{number}");
    }
    assert_eq!(host.sent_to.borrow().len(), 1);
    assert!(
        host.logged.borrow().contains(&format!("logtracer: dropped {} spans: shutdown", 40 - of_b.len())),
        "{:?}",
        host.logged
    );
}
