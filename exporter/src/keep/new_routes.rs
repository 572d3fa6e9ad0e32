//! [`NewRoutes`]: the first traces of each route in an hour.

use std::collections::HashMap;

/// The number of traces that are kept of each route.
const TRACES: usize = 3;
/// How long a route is known.
const HOUR_MS: i64 = 3600 * 1000;
/// How often a full table forgets old routes.
const SWEEP_MS: i64 = 60_000;
/// The maximum number of known routes. Beyond it, no route counts as new before others are forgotten.
const MAX_ROUTES: usize = 10_000;

/// The routes of the last hour, by a hash of the service and the route.
#[derive(Debug, Default)]
pub(super) struct NewRoutes {
    routes: HashMap<u64, Seen>,
    /// When old routes were last forgotten.
    swept_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since_ms: i64,
    /// The number of its first traces, and their ids: more of their spans can come.
    traces: usize,
    first: [u128; TRACES],
}

impl NewRoutes {
    /// Counts a trace of a route, by the hash of the service and the route. Returns whether it is one of the first.
    pub(super) fn register(&mut self, route: u64, trace: u128, now_ms: i64) -> bool {
        if self.routes.len() >= MAX_ROUTES && !self.routes.contains_key(&route) {
            if !(0..SWEEP_MS).contains(&(now_ms - self.swept_ms)) {
                self.swept_ms = now_ms;
                self.routes.retain(|_, seen| !seen.is_old(now_ms));
            }
            if self.routes.len() >= MAX_ROUTES {
                return false;
            }
        }
        let none = Seen { since_ms: now_ms, traces: 0, first: [0; TRACES] };
        let seen = self.routes.entry(route).or_insert(none);
        if seen.is_old(now_ms) {
            *seen = none;
        }
        if seen.first.iter().take(seen.traces).any(|known| *known == trace) {
            return true;
        }
        let Some(next) = seen.first.get_mut(seen.traces) else { return false };
        *next = trace;
        seen.traces += 1;
        true
    }
}

impl Seen {
    fn is_old(&self, now_ms: i64) -> bool {
        !(0..HOUR_MS).contains(&(now_ms - self.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_traces_of_a_route_in_an_hour_are_new() {
        let mut routes = NewRoutes::default();
        let kept = |routes: &mut NewRoutes, route, now_ms: i64| {
            let traces = (0_u128..10).map(|trace| trace << 64 | u128::from(now_ms.unsigned_abs()));
            traces.filter(|trace| routes.register(route, *trace, now_ms)).count()
        };
        assert_eq!(kept(&mut routes, 1, 0), 3);
        assert_eq!(kept(&mut routes, 2, 0), 3);
        assert_eq!(kept(&mut routes, 1, HOUR_MS - 1), 0);
        assert_eq!(kept(&mut routes, 1, HOUR_MS), 3);
    }

    #[test]
    fn a_trace_of_several_batches_counts_once() {
        let mut routes = NewRoutes::default();
        let traces = [1, 1, 2, 1, 2, 3, 2, 4, 3, 4];
        let new = traces.map(|trace| routes.register(7, trace, 0));
        assert_eq!(new, traces.map(|trace| trace < 4));
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let mut routes = NewRoutes::default();
        let new = (0..2 * MAX_ROUTES as u64).filter(|route| routes.register(*route, 1, 0)).count();
        assert_eq!((new, routes.routes.len()), (MAX_ROUTES, MAX_ROUTES));
        assert!(routes.register(u64::MAX, 1, HOUR_MS), "the old routes are forgotten");
    }
}
