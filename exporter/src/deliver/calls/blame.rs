//! What a death of the process means for the calls that were under way.

use super::record::{Kind, Record, State};

/// More records are forgotten.
pub(super) const MAX_RECORDS: usize = 4096;

/// Returns the suspects after the death of a process that left these records.
///
/// A trial is alone with its suspicion, so it takes all blame: a single item is a killer, and more items are tried in
/// smaller parts. Without a trial, each call that was under way is a suspect, and one that was already a suspect is tried.
pub(super) fn blame(records: Vec<Record>) -> Vec<Record> {
    let (under_way, mut known): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.state.is_under_way());
    let trials: Vec<&Record> = under_way.iter().filter(|record| record.state == State::Trial).collect();
    if trials.is_empty() {
        known = merge(&under_way).iter().fold(known, blame_call);
    }
    for trial in trials {
        let state = if trial.items.len() == 1 { State::Killer } else { State::Twice };
        let blamed = Record { state, ..trial.clone() };
        if !known.contains(&blamed) {
            // In front, because the table is cut at its end.
            known.insert(0, blamed);
        }
    }
    known.truncate(MAX_RECORDS);
    known
}

fn blame_call(known: Vec<Record>, call: &Record) -> Vec<Record> {
    let mut next = Vec::new();
    // The parts of the call that were not suspect.
    let mut new = vec![(call.first, call.last)];
    for record in known {
        let is_same = record.sink == call.sink && record.kind == call.kind;
        let overlap = (record.first.max(call.first), record.last.min(call.last));
        if !is_same || overlap.0 > overlap.1 {
            next.push(record);
            continue;
        }
        new = new.into_iter().flat_map(|ids| without(ids, overlap)).collect();
        if record.state == State::Once {
            next.push(Record { state: State::Twice, ..record.with_ids(overlap.0, overlap.1) });
            let rest = without((record.first, record.last), overlap);
            next.extend(rest.map(|(first, last)| record.with_ids(first, last)));
        } else {
            next.push(record);
        }
    }
    let suspect = |(first, last)| Record { state: State::Once, items: 0..0, ..call.with_ids(first, last) };
    next.extend(new.into_iter().map(suspect));
    next
}

/// Merges calls that overlap or follow each other: parts of one batch can be in several calls.
fn merge(calls: &[Record]) -> Vec<Record> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| (call.sink, call.kind == Kind::DeadLetter, call.first));
    let mut merged: Vec<Record> = Vec::new();
    for call in calls {
        match merged.last_mut() {
            Some(last)
                if last.sink == call.sink
                    && last.kind == call.kind
                    && call.first <= last.last.saturating_add(1) =>
            {
                last.last = last.last.max(call.last);
            }
            _ => merged.push(call),
        }
    }
    merged
}

/// Returns what is left of a range of ids.
pub(super) fn without(
    (first, last): (i64, i64),
    (from, until): (i64, i64),
) -> impl Iterator<Item = (i64, i64)> {
    let before = (first, last.min(from.saturating_sub(1)));
    let after = (first.max(until.saturating_add(1)), last);
    [before, after].into_iter().filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State, (first, last): (i64, i64), items: std::ops::Range<u32>) -> Record {
        Record { sink: 1, state, kind: Kind::Batch, first, last, items, digest: 0 }
    }

    fn batches(state: State, ids: (i64, i64)) -> Record {
        record(state, ids, 0..0)
    }

    #[test]
    fn a_call_that_was_under_way_at_two_deaths_is_tried() {
        use State::{Call, Killer, Once, Trial, Twice};
        let other_sink = Record { sink: 2, ..batches(Once, (1, 9)) };
        for (before, after) in [
            (vec![], vec![]),
            (vec![batches(Call, (3, 5))], vec![batches(Once, (3, 5))]),
            (
                vec![batches(Call, (3, 5)), batches(Call, (5, 5)), batches(Call, (5, 7))],
                vec![batches(Once, (3, 7))],
            ),
            // An idle process died: the suspicion stays.
            (vec![batches(Once, (3, 5))], vec![batches(Once, (3, 5))]),
            (
                vec![batches(Once, (3, 5)), batches(Call, (5, 8)), other_sink.clone()],
                vec![batches(Twice, (5, 5)), batches(Once, (3, 4)), other_sink, batches(Once, (6, 8))],
            ),
            (
                vec![batches(Twice, (3, 5)), batches(Call, (7, 7)), record(Trial, (4, 4), 10..20)],
                vec![record(Twice, (4, 4), 10..20), batches(Twice, (3, 5))],
            ),
            (
                vec![batches(Twice, (3, 5)), record(Trial, (4, 4), 10..11)],
                vec![record(Killer, (4, 4), 10..11), batches(Twice, (3, 5))],
            ),
        ] {
            assert_eq!(blame(before.clone()), after, "{before:?}");
        }
    }
}
