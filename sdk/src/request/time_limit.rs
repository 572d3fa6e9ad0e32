//! [`TimeLimits`]: how a request that is dropped because of a time limit differs from one whose caller went away.
//!
//! Both drop the future of the handler without a word. A request that is dropped when its time is over was dropped by
//! the limit.

use std::time::Duration;

use logtracer_core::request::grpc;

use super::{LogOptions, RequestHeaders};

/// The time limits of a request, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimeLimits {
    /// Until the head of the response: the shorter of the server's limit and the caller's.
    head: Option<Duration>,
    /// Until the end of the response: the caller's limit.
    body: Option<Duration>,
}

/// The timer of an outer layer may start before ours, and a caller's deadline may end the call a little early.
const MAX_SLACK: Duration = Duration::from_millis(10);

impl TimeLimits {
    pub(super) fn new(options: &LogOptions, is_grpc: bool, headers: &RequestHeaders<'_>) -> Self {
        let caller = if is_grpc { grpc::parse_timeout(headers.grpc_timeout) } else { None };
        Self { head: caller.into_iter().chain(options.timeout).min(), body: caller }
    }

    /// Returns true if a request that is dropped after this time, before its response, is dropped by a limit.
    pub(super) fn is_head_late(self, elapsed: Duration) -> bool {
        is_reached(self.head, elapsed)
    }

    /// Returns true if a request that is dropped after this time, before the end of its response, is dropped by a
    /// limit.
    pub(super) fn is_body_late(self, elapsed: Duration) -> bool {
        is_reached(self.body, elapsed)
    }
}

fn is_reached(limit: Option<Duration>, elapsed: Duration) -> bool {
    limit.is_some_and(|limit| elapsed >= limit - (limit / 10).min(MAX_SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_some_slack() {
        let ms = Duration::from_millis;
        for (limit, elapsed, expected) in [
            (Some(ms(1000)), ms(989), false),
            (Some(ms(1000)), ms(990), true),
            (Some(ms(20)), ms(17), false),
            (Some(ms(20)), ms(18), true),
            (Some(ms(0)), ms(0), true),
            (Some(Duration::MAX), ms(1), false),
            (None, Duration::MAX, false),
        ] {
            assert_eq!(is_reached(limit, elapsed), expected, "{limit:?} {elapsed:?}");
        }
    }
}
