//! How far the clocks of services are ahead or behind, from calls that seem to happen outside of their caller.

use std::collections::VecDeque;

use super::{Role, Tree};

/// A smaller difference can be the time in which a response is flushed.
const MIN_SKEW_NANOS: u64 = 100_000;

impl Tree {
    /// Returns what has to be added to the times of each service, by its number, so that calls are within their callers.
    ///
    /// As in Jaeger's adjuster, a call that begins before its caller or ends after it is moved to the middle of it, and one
    /// that takes longer than its caller is moved only so far that it does not begin earlier. The offset of a service is the
    /// median of all calls to it, so that work which goes on after its caller does not look like another clock.
    pub(in crate::view) fn clock_offsets(&self, services: usize) -> Vec<i64> {
        // The calls between services: (service of the caller, service, how far the call has to be moved).
        let mut calls: Vec<(u16, u16, i64)> = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            let caller = self.parent(index).and_then(|parent| self.spans.get(parent));
            let Some(caller) = caller.filter(|caller| caller.service != span.service) else { continue };
            // A message is consumed after it was produced, so that says nothing of the clocks.
            if span.role == Role::Consumer || caller.role == Role::Producer {
                continue;
            }
            let known = usize::from(span.service) < services && usize::from(caller.service) < services;
            // The durations decide, so the offset between the clocks is added later.
            if known {
                calls.push((
                    caller.service,
                    span.service,
                    needed_shift((caller.start, caller.end), (span.start, span.end)),
                ));
            }
        }
        let mut offsets = vec![None; services];
        let roots = self.children(None).filter_map(|root| self.spans.get(root));
        let mut queue: VecDeque<u16> = VecDeque::new();
        for root in roots {
            if let Some(offset) = offsets.get_mut(usize::from(root.service)).filter(|offset| offset.is_none())
            {
                *offset = Some(0);
                queue.push_back(root.service);
            }
        }
        calls.sort_unstable();
        while let Some(caller) = queue.pop_front() {
            let own = offsets.get(usize::from(caller)).copied().flatten().unwrap_or(0_i64);
            let begin = calls.partition_point(|call| call.0 < caller);
            let end = calls.partition_point(|call| call.0 <= caller);
            let of_caller = calls.get(begin..end).unwrap_or_default();
            for of_service in of_caller.chunk_by(|one, other| one.1 == other.1) {
                let Some((service, median)) = median(of_service) else { continue };
                if let Some(offset) = offsets.get_mut(usize::from(service)).filter(|offset| offset.is_none())
                {
                    let is_skew = median.unsigned_abs() >= MIN_SKEW_NANOS;
                    *offset = Some(if is_skew { own.saturating_add(median) } else { own });
                    queue.push_back(service);
                }
            }
        }
        offsets.into_iter().map(Option::unwrap_or_default).collect()
    }
}

/// Returns the service of these sorted calls to it, and the median of how far they have to be moved. Of two values in the
/// middle, it is the one nearer to 0.
fn median(calls: &[(u16, u16, i64)]) -> Option<(u16, i64)> {
    let middle = calls.get((calls.len().checked_sub(1)?) / 2..=calls.len() / 2)?;
    let (_, service, median) = middle.iter().copied().min_by_key(|(_, _, shift)| shift.unsigned_abs())?;
    Some((service, median))
}

/// Returns how far a call has to be moved to be within its caller. Both are (start, end).
pub(super) fn needed_shift(caller: (i64, i64), call: (i64, i64)) -> i64 {
    let length = |(start, end): (i64, i64)| end.saturating_sub(start);
    let to_start = caller.0.saturating_sub(call.0);
    if length(call) > length(caller) {
        return to_start.max(0);
    }
    if call.0 >= caller.0 && call.1 <= caller.1 {
        return 0;
    }
    let latency = length(caller).saturating_sub(length(call)) / 2;
    to_start.saturating_add(latency)
}
