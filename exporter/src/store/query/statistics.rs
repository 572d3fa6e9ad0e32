//! Statistics of the newest traces: of services, of calls between them, and of routes.
//!
//! They are calculated on request, from the newest traces that can be read in a limited time. They contain the number of
//! these traces.

use std::collections::HashMap;
use std::time::Instant;

use super::{ServiceNames, Snapshot, TraceSeq, sql_limit};
use crate::otlp::in_place::SpanRef;
use crate::otlp::shared_span::server_span_id;
use crate::store::index::SpanFacts;
use crate::store::summary::short;
use logtracer_core::SpanId;

/// Counts and durations of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    /// The number of durations in each bucket, by bucket.
    buckets: Vec<(u16, u32)>,
}

/// What the newest traces of a range of time have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// By service.
    pub(crate) services: HashMap<String, Totals>,
    /// By the caller and the called service.
    pub(crate) calls: HashMap<(String, String), Totals>,
    /// By service and route. A span without a route has its name.
    pub(crate) routes: HashMap<(String, Route), Totals>,
    /// The number of traces that were read.
    pub(crate) traces: u64,
    /// All traces of the range were read.
    pub(crate) is_complete: bool,
}

/// What a service was called for. A long text is truncated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    /// The attribute `http.route`.
    Route(String),
    /// The name of a span without a route.
    Name(String),
}

impl Route {
    pub(crate) fn as_str(&self) -> &str {
        let (Self::Route(text) | Self::Name(text)) = self;
        text
    }
}

/// Further services, calls and routes are not counted, and the statistics are not complete.
const MAX_KEYS: usize = 2000;

/// The number of spans that are read of a trace.
const MAX_SPANS: usize = 10_000;

/// Buckets of a power of two: a percentile is exact to 6 %.
const STEPS: u32 = 16;

impl Totals {
    fn add(&mut self, duration_nano: u64, is_error: bool) {
        self.count += 1;
        self.errors += u64::from(is_error);
        let bucket = bucket(duration_nano);
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(index) => {
                if let Some((_, count)) = self.buckets.get_mut(index) {
                    *count = count.saturating_add(1);
                }
            }
            Err(index) => self.buckets.insert(index, (bucket, 1)),
        }
    }

    /// Returns the share of errors.
    pub(crate) fn error_share(&self) -> f64 {
        self.errors as f64 / self.count.max(1) as f64
    }

    /// Returns the duration in nanoseconds that this share of the requests does not exceed, to 6 %.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil().max(1.);
        let mut count = 0_u64;
        for (bucket, of_bucket) in &self.buckets {
            count += u64::from(*of_bucket);
            if count as f64 >= wanted {
                return upper_bound(*bucket);
            }
        }
        0
    }
}

/// Returns the bucket of a duration: exact below [`STEPS`], then 16 for each power of two.
fn bucket(nanos: u64) -> u16 {
    let power = nanos.checked_ilog2().unwrap_or(0);
    let Some(shift) = power.checked_sub(STEPS.ilog2()) else { return u16::try_from(nanos).unwrap_or(0) };
    let step = (nanos >> shift) & u64::from(STEPS - 1);
    u16::try_from((shift + 1) * STEPS).unwrap_or(u16::MAX) + u16::try_from(step).unwrap_or(0)
}

/// Returns the greatest duration of a bucket.
fn upper_bound(bucket: u16) -> u64 {
    let (row, step) = (u32::from(bucket) / STEPS, u64::from(bucket) % u64::from(STEPS));
    let Some(shift) = row.checked_sub(1) else { return step };
    ((u64::from(STEPS) + step + 1).checked_shl(shift)).map_or(u64::MAX, |next| next.wrapping_sub(1))
}

/// A span, as far as statistics use it.
struct Node {
    span_id: SpanId,
    parent: Option<SpanId>,
    service: std::sync::Arc<str>,
    kind: i32,
    duration_nano: u64,
    is_error: bool,
    route: Route,
    name: String,
}

/// The spans of a trace with one name and of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) errors: u64,
    /// The sum of their durations.
    pub(crate) total_nano: u64,
}

/// `SPAN_KIND_CLIENT` and `SPAN_KIND_PRODUCER`.
const OUTGOING: [i32; 2] = [3, 4];

impl Snapshot<'_> {
    /// Reads the newest traces of a range of time, until the deadline.
    pub(crate) fn statistics(
        &self,
        (from, to): (Option<i64>, Option<i64>),
        deadline: Instant,
    ) -> rusqlite::Result<Statistics> {
        let mut statistics = Statistics { is_complete: true, ..Statistics::default() };
        let mut names = ServiceNames::default();
        let mut traces = self.0.prepare_cached(
            "SELECT seq FROM trace WHERE untraced = 0 AND order_ns BETWEEN ? AND ?
             ORDER BY order_ns DESC, duration_ns DESC, seq DESC",
        )?;
        let mut rows = traces.query([from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            if Instant::now() >= deadline {
                statistics.is_complete = false;
                break;
            }
            let (nodes, has_all) = self.nodes(row.get(0)?, &mut names)?;
            statistics.is_complete &= has_all;
            statistics.traces += 1;
            statistics.add(&nodes);
        }
        Ok(statistics)
    }

    /// Returns the operations of a trace, and whether all of its spans are in them.
    pub(crate) fn operations(&self, trace: TraceSeq) -> rusqlite::Result<(Vec<Operation>, bool)> {
        let (nodes, is_complete) = self.nodes(trace.0, &mut ServiceNames::default())?;
        let mut operations: HashMap<(String, String), Operation> = HashMap::new();
        for node in nodes {
            let key = (node.service.to_string(), node.name);
            let (service, name) = key.clone();
            let new = || Operation { service, name, count: 0, errors: 0, total_nano: 0 };
            let operation = operations.entry(key).or_insert_with(new);
            operation.count += 1;
            operation.errors += u64::from(node.is_error);
            operation.total_nano = operation.total_nano.saturating_add(node.duration_nano);
        }
        Ok((operations.into_values().collect(), is_complete))
    }

    /// Returns the first spans of a trace, and whether they are all.
    fn nodes(&self, trace: i64, names: &mut ServiceNames) -> rusqlite::Result<(Vec<Node>, bool)> {
        let mut spans =
            self.0.prepare_cached("SELECT span_id, origin, body FROM span WHERE trace = ? LIMIT ?")?;
        let mut rows = spans.query([trace, sql_limit(MAX_SPANS + 1)])?;
        let mut nodes = Vec::new();
        while let Some(row) = rows.next()? {
            if nodes.len() == MAX_SPANS {
                return Ok((nodes, false));
            }
            let Some(span_id) = SpanId::new(row.get::<_, i64>(0)?.cast_unsigned()) else { continue };
            let service = names.of_origin(self, row.get(1)?)?;
            let span = SpanRef::new(row.get_ref(2)?.as_blob()?);
            let facts = SpanFacts::new(&span, "".into());
            let route = match facts.route {
                "" => Route::Name(short(span.name).into_owned()),
                route => Route::Route(short(route).into_owned()),
            };
            nodes.push(Node {
                span_id,
                parent: span.parent_span_id,
                service,
                kind: span.kind,
                duration_nano: span.duration_nano(),
                is_error: facts.is_error,
                route,
                name: short(span.name).into_owned(),
            });
        }
        Ok((nodes, true))
    }
}

impl Statistics {
    /// Adds a trace. A request of a service is a span that another service or nobody has called.
    fn add(&mut self, nodes: &[Node]) {
        let by_id: HashMap<SpanId, &Node> = nodes.iter().map(|node| (node.span_id, node)).collect();
        for node in nodes {
            // A span that is its own parent has none.
            let parent = node.parent.filter(|parent| *parent != node.span_id).and_then(|parent| {
                // The server's half of a call, if both halves have one id.
                let server = server_span_id(parent);
                if node.span_id == server {
                    return by_id.get(&parent);
                }
                let halves = [by_id.get(&server), by_id.get(&parent)].into_iter().flatten();
                halves.clone().find(|half| half.service == node.service).or(halves.clone().next())
            });
            let caller = parent.filter(|parent| parent.service != node.service);
            if parent.is_some() && caller.is_none() {
                continue;
            }
            let service = node.service.to_string();
            if let Some(caller) = caller {
                // A service that only calls others is a node, too.
                if self.services.len() < MAX_KEYS {
                    self.services.entry(caller.service.to_string()).or_default();
                }
                let key = (caller.service.to_string(), service.clone());
                self.is_complete &= add(&mut self.calls, key, node);
            } else if OUTGOING.contains(&node.kind) {
                // A call whose caller has no span of its own.
                continue;
            }
            self.is_complete &= add(&mut self.routes, (service.clone(), node.route.clone()), node);
            self.is_complete &= add(&mut self.services, service, node);
        }
    }
}

/// Adds a request to its key. Returns false if there are too many keys.
fn add<K: std::hash::Hash + Eq>(totals: &mut HashMap<K, Totals>, key: K, node: &Node) -> bool {
    if totals.len() >= MAX_KEYS && !totals.contains_key(&key) {
        return false;
    }
    totals.entry(key).or_default().add(node.duration_nano, node.is_error);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's and the server's half of a call can have one id.
    #[test]
    fn a_call_with_one_id_is_a_request() {
        let node = |id: SpanId, parent: Option<SpanId>, service: &str, kind| Node {
            span_id: id,
            parent,
            service: service.into(),
            kind,
            duration_nano: 1,
            is_error: false,
            route: Route::Name("get".to_owned()),
            name: "get".to_owned(),
        };
        const SERVER: i32 = 2;
        const CLIENT: i32 = 3;
        let [call, below] = [1, 2].map(|id| SpanId::new(id).unwrap());
        let served = server_span_id(call);
        let mut statistics = Statistics::default();
        statistics.add(&[
            node(call, None, "front", CLIENT),
            node(served, Some(call), "back", SERVER),
            node(below, Some(call), "back", CLIENT),
            node(server_span_id(below), Some(below), "db", SERVER),
        ]);
        let calls = statistics.calls.iter().map(|((from, to), totals)| (&from[..], &to[..], totals.count));
        assert_eq!(
            calls.collect::<std::collections::BTreeSet<_>>(),
            [("front", "back", 1), ("back", "db", 1)].into()
        );
        let mut own = Statistics::default();
        own.add(&[node(call, Some(call), "back", SERVER)]);
        assert_eq!(own.services["back"].count, 1);
    }

    #[test]
    fn a_bucket_is_exact_to_6_percent() {
        for nanos in (0..1000).chain([1_234_567, 999_999_999, u64::MAX / 2, u64::MAX]) {
            let bound = upper_bound(bucket(nanos));
            assert!(bound >= nanos && bound as f64 <= nanos as f64 * 1.0626 + 0.5, "{nanos}: {bound}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_durations() {
        let mut totals = Totals::default();
        (1..=1000).for_each(|millis| totals.add(millis * 1_000_000, millis % 10 == 0));
        assert_eq!((totals.count, totals.error_share()), (1000, 0.1));
        for (share, millis) in [(0.5, 500.), (0.95, 950.), (0.99, 990.), (1., 1000.)] {
            let found = totals.percentile(share) as f64 / 1e6;
            assert!((millis..millis * 1.0626).contains(&found), "{share}: {found}");
        }
        assert_eq!(Totals::default().percentile(0.5), 0);
    }
}
