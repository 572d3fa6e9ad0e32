//! Statistics of services and routes as JSON.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::store::{ReadResult, Route, Snapshot, Statistics, Totals, is_service};
use crate::view::parameters::RangeQuery;

/// How long traces are read.
const TIME: Duration = Duration::from_millis(70);

pub(in crate::view) fn read(snapshot: &Snapshot<'_>, query: &RangeQuery) -> ReadResult<Statistics> {
    snapshot.statistics((query.from, query.to), Instant::now() + TIME)
}

/// The services are nodes and the calls between them edges. The busiest come first.
pub(super) fn services(statistics: &Statistics) -> String {
    let nodes = sorted(statistics.services.iter());
    let nodes = nodes.into_iter().map(|(service, totals)| with(json!({ "service": service }), totals));
    let calls = sorted(statistics.calls.iter());
    let edges = calls
        .into_iter()
        .map(|((caller, callee), totals)| with(json!({ "caller": caller, "callee": callee }), totals));
    let (nodes, edges) = (nodes.collect::<Vec<_>>(), edges.collect::<Vec<_>>());
    read_of(json!({ "nodes": nodes, "edges": edges }), statistics)
}

/// The busiest routes come first.
pub(super) fn routes(statistics: &Statistics, service: Option<&str>) -> String {
    let is_wanted = |key: &&(String, Route)| service.is_none_or(|service| is_service(&key.0, service));
    let routes = sorted(statistics.routes.iter().filter(|(key, _)| is_wanted(key)));
    let routes = routes.into_iter().map(|((service, route), totals)| {
        with(json!({ "service": service, "route": route.as_str() }), totals)
    });
    read_of(json!({ "routes": routes.collect::<Vec<_>>() }), statistics)
}

/// Sorts by the number of requests, then by key.
pub(in crate::view) fn sorted<'a, K: Ord + 'a>(
    all: impl Iterator<Item = (&'a K, &'a Totals)>,
) -> Vec<(&'a K, &'a Totals)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|(a, of_a), (b, of_b)| of_b.count.cmp(&of_a.count).then_with(|| a.cmp(b)));
    all
}

fn with(mut object: Value, totals: &Totals) -> Value {
    object["count"] = totals.count.into();
    object["error_share"] = totals.error_share().into();
    for (name, share) in [("p50_nano", 0.5), ("p95_nano", 0.95), ("p99_nano", 0.99)] {
        object[name] = totals.percentile(share).to_string().into();
    }
    object
}

/// Adds what the statistics are made of.
fn read_of(mut object: Value, statistics: &Statistics) -> String {
    object["traces"] = statistics.traces.into();
    object["is_complete"] = statistics.is_complete.into();
    object.to_string()
}
