//! [`Failures`]: services and bodies of a server that fail, each told once.

use super::{Side, lines};
use crate::current::Scope;

/// What had been told before a service or a body was polled: a layer within may tell the same failure first.
pub(super) struct Failures {
    side: Side,
    told_before: u64,
}

impl Failures {
    pub(super) fn before(side: Side) -> Self {
        Self { side, told_before: lines::failures_told() }
    }

    /// Tells of a failure in its trace; what a client makes of one is its caller's business.
    pub(super) fn tell(&self, scope: Option<Scope>, tell: impl FnOnce()) {
        if self.side == Side::Server && self.told_before == lines::failures_told() {
            match scope {
                Some(scope) => scope.entered(tell),
                None => tell(),
            }
        }
    }
}
