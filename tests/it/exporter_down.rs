//! An exporter that is not there costs no request anything.

use std::time::{Duration, Instant};

use logtracer_tests::hop::Hop;
use serde_json::json;

use crate::{NONE, values};

#[test]
fn requests_and_lines_go_on() {
    let hop = Hop::start(json!({
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms", "max_batch_spans": 4 },
    }))
    .unwrap();

    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let start = Instant::now();
        let headers = hop.echo(NONE).unwrap();
        slowest = slowest.max(start.elapsed());
        assert_eq!(values(&headers, "x-b3-sampled"), ["1"]);
    }
    assert!(slowest < Duration::from_secs(1), "a request took {slowest:?}"); // far below the callout's 2 s

    assert_eq!(hop.envoy.lines(200).unwrap().len(), 200);
}

#[test]
fn a_cluster_that_does_not_exist_is_no_reason_to_fail() {
    let hop = Hop::start(json!({ "exporter": { "cluster": "nowhere", "flush_interval": "100ms" } })).unwrap();
    for _ in 0..3 {
        hop.echo(NONE).unwrap();
        std::thread::sleep(Duration::from_millis(150)); // over a flush
    }
    assert_eq!(hop.envoy.lines(3).unwrap().len(), 3);
}
