//! [`NewRoutes`]: the first traces of each route in an hour.

use std::collections::HashMap;

/// The number of traces that are kept of each route.
const TRACES: u8 = 3;
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

#[derive(Debug)]
struct Seen {
    since_ms: i64,
    traces: u8,
}

impl NewRoutes {
    /// Counts a trace of a route, by the hash of the service and the route. Returns whether it is one of the first.
    pub(super) fn is_new(&mut self, key: u64, now_ms: i64) -> bool {
        if self.routes.len() >= MAX_ROUTES && !self.routes.contains_key(&key) {
            if !(0..SWEEP_MS).contains(&(now_ms - self.swept_ms)) {
                self.swept_ms = now_ms;
                self.routes.retain(|_, seen| !seen.is_old(now_ms));
            }
            if self.routes.len() >= MAX_ROUTES {
                return false;
            }
        }
        let seen = self.routes.entry(key).or_insert(Seen { since_ms: now_ms, traces: 0 });
        if seen.is_old(now_ms) {
            *seen = Seen { since_ms: now_ms, traces: 0 };
        }
        let is_new = seen.traces < TRACES;
        seen.traces = seen.traces.saturating_add(1);
        is_new
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
        let kept =
            |routes: &mut NewRoutes, key, now_ms| (0..10).filter(|_| routes.is_new(key, now_ms)).count();
        assert_eq!(kept(&mut routes, 1, 0), 3);
        assert_eq!(kept(&mut routes, 2, 0), 3);
        assert_eq!(kept(&mut routes, 1, HOUR_MS - 1), 0);
        assert_eq!(kept(&mut routes, 1, HOUR_MS), 3);
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let mut routes = NewRoutes::default();
        let new = (0..2 * MAX_ROUTES as u64).filter(|key| routes.is_new(*key, 0)).count();
        assert_eq!((new, routes.routes.len()), (MAX_ROUTES, MAX_ROUTES));
        assert!(routes.is_new(u64::MAX, HOUR_MS), "the old routes are forgotten");
    }
}
