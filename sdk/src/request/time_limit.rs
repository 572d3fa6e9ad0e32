//! [`TimeLimits`]: how a request that is dropped because of a time limit differs from one whose caller went away.
//!
//! Both drop the future of the handler, and neither gives a reason. If the time is over, it was the limit.

use std::time::Duration;

use logtracer_core::request::grpc;

use super::{LogOptions, RequestHeaders};

/// The time limits of a request, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimeLimits {
    /// The server's limit for the head of the response.
    server: Option<Duration>,
    /// The caller's limit for the whole response.
    caller: Option<Duration>,
}

/// How much earlier than its limit a request may end: a part of the limit, and a maximum.
struct Slack(u32, Duration);

/// The timer of an outer layer may start a little before ours.
const SERVER: Slack = Slack(10, Duration::from_millis(10));
/// The caller's timer starts before the request is sent, and the caller may end the call itself.
const CALLER: Slack = Slack(10, Duration::from_millis(50));

impl TimeLimits {
    pub(super) fn new(options: &LogOptions, is_grpc: bool, headers: &RequestHeaders<'_>) -> Self {
        let caller = if is_grpc { grpc::parse_timeout(headers.grpc_timeout) } else { None };
        Self { server: options.timeout, caller }
    }

    /// Returns true if a request that is dropped after this time, before its response, is dropped by a limit.
    pub(super) fn is_head_late(self, elapsed: Duration) -> bool {
        is_reached(self.server, SERVER, elapsed) || self.is_body_late(elapsed)
    }

    /// Returns true if a request that is dropped after this time, before the end of its response, is dropped by a
    /// limit.
    pub(super) fn is_body_late(self, elapsed: Duration) -> bool {
        is_reached(self.caller, CALLER, elapsed)
    }
}

fn is_reached(limit: Option<Duration>, Slack(part, max): Slack, elapsed: Duration) -> bool {
    limit.is_some_and(|limit| elapsed >= limit - (limit / part).min(max))
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
            let limits = TimeLimits { server: limit, caller: None };
            assert_eq!((limits.is_head_late(elapsed), limits.is_body_late(elapsed)), (expected, false));
            assert_eq!(is_reached(limit, SERVER, elapsed), expected, "{limit:?} {elapsed:?}");
        }
    }

    #[test]
    fn the_limit_of_a_caller_has_more_slack() {
        let ms = Duration::from_millis;
        for (limit, elapsed, expected) in [
            (200, 179, false),
            (200, 180, true),
            (200, 300, true),
            // A caller that cancels shortly before its deadline.
            (40, 35, false),
            (1000, 949, false),
            (1000, 950, true),
        ] {
            let (limit, elapsed) = (ms(limit), ms(elapsed));
            let limits = TimeLimits { server: None, caller: Some(limit) };
            assert_eq!((limits.is_head_late(elapsed), limits.is_body_late(elapsed)), (expected, expected));
        }
    }
}
