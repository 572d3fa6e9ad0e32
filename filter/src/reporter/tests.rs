use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

const LIMITS: BatchLimits = BatchLimits { max_spans: 10, max_bytes: 1 << 19 };

const NO_RESPONSE: Response = Response { status: None, retry_after: None };

impl Default for Reporter {
    fn default() -> Self {
        Self::new(MAX_BATCHES, Recovery::default())
    }
}

fn status(status: u16) -> Response {
    Response { status: Some(status), retry_after: None }
}

fn buffer_of(spans: usize) -> SpanBuffer {
    let mut buffer = SpanBuffer::new(1 << 20);
    for _ in 0..spans {
        buffer.push(|out| out.push(b'x'));
    }
    buffer
}

/// Calls [`Reporter::flush`] with the buffer in a mutex.
fn flush_with(
    reporter: &mut Reporter,
    (flush, now, random): (Flush, u64, u64),
    buffer: &mut SpanBuffer,
    call: impl FnMut(&[u8]) -> Option<u32>,
) -> Option<SendResult> {
    let shared = Mutex::new(core::mem::replace(buffer, SpanBuffer::new(0)));
    let result = reporter.flush(flush, now, random, &shared, LIMITS, call);
    *buffer = shared.into_inner().unwrap();
    result
}

/// Flushes the whole buffer, and returns the sizes of the batches that were sent.
fn flush(reporter: &mut Reporter, now: u64, buffer: &mut SpanBuffer, tokens: &mut u32) -> Vec<usize> {
    let mut sizes = Vec::new();
    flush_with(reporter, (Flush::All, now, 0), buffer, |bytes| {
        sizes.push(bytes.len());
        *tokens += 1;
        Some(*tokens)
    });
    sizes
}

fn respond(reporter: &mut Reporter, token: u32, response: Response, now: u64) -> Option<SendResult> {
    reporter.on_response(token, response, now, 0, &buffer_of(0)).map(|(result, _)| result)
}

/// A callout that was made before an outage does not prove that the outage is over.
#[test]
fn a_success_from_before_an_outage_does_not_end_the_backoff() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(30), 0);
    assert_eq!(flush(&mut reporter, SECOND, &mut buffer, &mut tokens), [10, 10, 10]);
    let busy = Response { status: Some(429), retry_after: Some(Duration::from_secs(60)) };
    assert_eq!(respond(&mut reporter, 1, busy, 2 * SECOND), Some(SendResult::Retrying(10)));
    for token in [2, 3] {
        assert_eq!(respond(&mut reporter, token, status(200), 2 * SECOND), Some(SendResult::Delivered(10)));
    }
    assert!(reporter.is_failing());
    assert!(flush(&mut reporter, 61 * SECOND, &mut buffer, &mut tokens).is_empty());
    assert_eq!(flush(&mut reporter, 63 * SECOND, &mut buffer, &mut tokens), [10]);
    assert_eq!(respond(&mut reporter, 4, status(200), 64 * SECOND), Some(SendResult::Delivered(10)));
    assert!(!reporter.is_failing());
}

/// A clock that is set back does not extend a back-off, and the root ends it for its last attempt.
#[test]
fn a_backoff_is_bounded_and_can_be_ended() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(10), 0);
    flush(&mut reporter, 9_000 * SECOND, &mut buffer, &mut tokens);
    respond(&mut reporter, 1, NO_RESPONSE, 9_000 * SECOND);
    assert!(flush(&mut reporter, 9_000 * SECOND, &mut buffer, &mut tokens).is_empty());
    assert!(flush(&mut reporter, SECOND, &mut buffer, &mut tokens).is_empty());
    assert_eq!(flush(&mut reporter, 302 * SECOND, &mut buffer, &mut tokens), [10]);
    respond(&mut reporter, 2, NO_RESPONSE, 302 * SECOND);
    reporter.end_backoff();
    assert_eq!(flush(&mut reporter, 302 * SECOND, &mut buffer, &mut tokens), [10]);
}

#[test]
fn spans_are_delivered_after_the_response() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(25), 0);
    assert_eq!(flush(&mut reporter, 0, &mut buffer, &mut tokens), [10, 10, 5]);
    assert_eq!((reporter.in_flight(), reporter.spans()), (3, 25));
    let expected = (SendResult::Delivered(10), Duration::from_secs(1));
    assert_eq!(reporter.on_response(2, status(200), SECOND, 0, &buffer), Some(expected));
    assert_eq!(respond(&mut reporter, 2, status(200), SECOND), None);
    assert_eq!(respond(&mut reporter, 99, status(200), SECOND), None);
    assert_eq!((reporter.in_flight(), reporter.spans()), (2, 15));
}

#[test]
fn only_full_batches_are_sent_before_the_flush_interval() {
    let (mut reporter, mut buffer, mut sizes) = (Reporter::default(), buffer_of(13), Vec::new());
    assert_eq!(reporter.next_send(LIMITS.has_full_batch(&buffer)), Some(0));
    flush_with(&mut reporter, (Flush::Due, 0, 0), &mut buffer, |bytes| {
        sizes.push(bytes.len());
        Some(sizes.len() as u32)
    });
    assert_eq!((sizes, buffer.spans()), (vec![10], 3));
    assert_eq!(reporter.next_send(LIMITS.has_full_batch(&buffer)), None);
}

/// Rule 73.
#[test]
fn few_batches_are_in_flight_or_waiting() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(100), 0);
    assert_eq!(flush(&mut reporter, 0, &mut buffer, &mut tokens).len(), MAX_BATCHES);
    for token in 1..=MAX_BATCHES as u32 {
        assert_eq!(respond(&mut reporter, token, NO_RESPONSE, 0), Some(SendResult::Retrying(10)));
    }
    assert_eq!((buffer.spans(), reporter.spans()), (60, 40));
    assert_eq!(flush(&mut reporter, 1, &mut buffer, &mut tokens).len(), 0);
    assert_eq!(buffer.spans(), 60);
}

/// Four callouts that fail in one outage start one back-off. Then one batch finds out whether the outage is over.
#[test]
fn one_outage_is_one_failure() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(100), 0);
    flush(&mut reporter, 0, &mut buffer, &mut tokens);
    for token in 1..=MAX_BATCHES as u32 {
        let at = 2 * SECOND + u64::from(token);
        assert_eq!(respond(&mut reporter, token, NO_RESPONSE, at), Some(SendResult::Retrying(10)));
    }
    assert_eq!(reporter.backoff_until, 2 * SECOND + 1 + SECOND / 2);
    assert_eq!(reporter.next_send(false), Some(reporter.backoff_until));

    let now = reporter.backoff_until;
    assert_eq!(flush(&mut reporter, now, &mut buffer, &mut tokens).len(), 1);
    assert_eq!(reporter.next_send(true), None); // its response comes first
    assert_eq!(respond(&mut reporter, tokens, NO_RESPONSE, now + 1), Some(SendResult::Retrying(10)));
    assert_eq!(reporter.backoff_until, now + 1 + SECOND); // half of two seconds

    let now = reporter.backoff_until;
    assert_eq!(flush(&mut reporter, now, &mut buffer, &mut tokens).len(), 1);
    assert_eq!(respond(&mut reporter, tokens, status(200), now + 1), Some(SendResult::Delivered(10)));
    // The others follow at once.
    assert_eq!(reporter.next_send(false), Some(0));
    assert_eq!(flush(&mut reporter, now + 1, &mut buffer, &mut tokens).len(), MAX_BATCHES);
}

#[test]
fn the_backoff_doubles_up_to_a_limit() {
    let (mut reporter, mut buffer, mut now) = (Reporter::default(), buffer_of(1), 0);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let result = flush_with(&mut reporter, (Flush::All, now, u64::MAX), &mut buffer, |_| None);
        assert_eq!(result, Some(SendResult::Retrying(1)));
        pauses.push((reporter.backoff_until - now).div_ceil(SECOND));
        now = reporter.backoff_until;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
}

/// An outage of any length drops no batch. A batch that fails although others are delivered is dropped.
#[test]
fn only_a_batch_that_fails_alone_exhausts_its_attempts() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(1), 0);
    for _ in 0..2 * MAX_ATTEMPTS {
        let now = reporter.backoff_until;
        assert_eq!(flush(&mut reporter, now, &mut buffer, &mut tokens), [1]);
        assert_eq!(respond(&mut reporter, tokens, status(503), now), Some(SendResult::Retrying(1)));
    }
    reporter.successes += 1;
    let now = reporter.backoff_until;
    assert_eq!(flush(&mut reporter, now, &mut buffer, &mut tokens), [1]);
    assert_eq!(respond(&mut reporter, tokens, status(503), now), Some(SendResult::RetriesExhausted(1)));
}

/// A long pause ends when the buffer is half of the way to full, but not before the shortest pause.
#[test]
fn a_pause_ends_before_the_buffer_overflows() {
    const BYTES: usize = 1000;
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), SpanBuffer::new(BYTES), 0);
    let push = |buffer: &mut SpanBuffer, spans| {
        for _ in 0..spans {
            buffer.push(|out| out.extend([0; 10]));
        }
    };
    push(&mut buffer, 1);
    let mut now = SECOND;
    let fail = |reporter: &mut Reporter, buffer: &mut SpanBuffer, tokens: &mut u32, now| {
        let sent = flush(reporter, now, buffer, tokens).len();
        for token in (0..sent as u32).map(|back| *tokens - back) {
            reporter.on_response(token, status(503), now, u64::MAX, buffer);
        }
        sent
    };
    // The full pauses of five failures are 1, 2, 4, 8 and 16 seconds.
    for _ in 0..5 {
        assert_eq!(fail(&mut reporter, &mut buffer, &mut tokens, now), 1);
        now = reporter.backoff_until;
    }
    now = reporter.failed_at + SECOND;
    push(&mut buffer, 49);
    assert_eq!(fail(&mut reporter, &mut buffer, &mut tokens, now), 0, "490 of 1000 bytes");
    push(&mut buffer, 1);
    assert_eq!(fail(&mut reporter, &mut buffer, &mut tokens, now - SECOND / 2), 0, "the shortest pause");
    for (spans, due) in [(0, true), (24, false), (1, true), (12, false), (1, true), (0, true), (50, true)] {
        push(&mut buffer, spans);
        now += SECOND;
        assert_eq!(
            fail(&mut reporter, &mut buffer, &mut tokens, now),
            usize::from(due),
            "{} bytes",
            buffer.bytes()
        );
    }
}

/// One success ends the pauses of all roots, but an older one does not.
#[test]
fn a_success_of_another_root_ends_the_pause() {
    let recovery = Recovery::default();
    let mut roots = [0; 2].map(|_| (Reporter::new(MAX_BATCHES, recovery.clone()), buffer_of(30), 0));
    for _ in 0..4 {
        let now = roots.iter().map(|(reporter, ..)| reporter.backoff_until).max().unwrap() + SECOND;
        for (reporter, buffer, tokens) in &mut roots {
            flush(reporter, now, buffer, tokens);
            for token in 1..=*tokens {
                respond(reporter, token, NO_RESPONSE, now);
            }
        }
    }
    let [(first, buffer, tokens), (second, other_buffer, other_tokens)] = &mut roots;
    let failed_at = second.failed_at;
    recovery.set(failed_at);
    assert!(flush(second, failed_at + 1, other_buffer, other_tokens).is_empty());
    let now = first.backoff_until;
    assert_eq!(flush(first, now, buffer, tokens), [10]);
    respond(first, *tokens, status(200), now + 1);
    assert!(now + 1 < second.backoff_until + SECOND);
    second.backoff_until = now + 20 * SECOND;
    assert_eq!(flush(second, now + 2, other_buffer, other_tokens), [10]);
    respond(second, *other_tokens, status(200), now + 3);
    assert_eq!(flush(second, now + 3, other_buffer, other_tokens), [10, 10]);
}

/// Rule 78.
#[test]
fn retry_after_is_respected_up_to_a_limit() {
    for (retry_after, expected) in [(0, SECOND / 2), (7, 7 * SECOND), (1_000_000, 300 * SECOND)] {
        let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(1), 0);
        flush(&mut reporter, 0, &mut buffer, &mut tokens);
        let busy = Response { status: Some(429), retry_after: Some(Duration::from_secs(retry_after)) };
        assert_eq!(respond(&mut reporter, 1, busy, 0), Some(SendResult::Retrying(1)));
        assert_eq!(reporter.backoff_until, expected, "{retry_after} seconds");
    }
    // A long pause is shortened, but not to less than the shortest pause.
    for (retry_after, expected) in [(2, 2 * SECOND), (0, SECOND / 2)] {
        let (mut reporter, mut buffer, mut tokens, mut now) = (Reporter::default(), buffer_of(1), 0, 0);
        for retry_after in [None, None, None, None, None, Some(Duration::from_secs(retry_after))] {
            now = reporter.backoff_until;
            flush(&mut reporter, now, &mut buffer, &mut tokens);
            respond(&mut reporter, tokens, Response { status: Some(429), retry_after }, now);
        }
        assert_eq!(reporter.backoff_until - now, expected, "{retry_after} seconds");
    }
}

/// A batch that is too large is split again and again, down to the single span that is too large.
#[test]
fn a_batch_that_is_too_large_is_split() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(10), 0);
    assert_eq!(flush(&mut reporter, 0, &mut buffer, &mut tokens), [10]);
    assert_eq!(respond(&mut reporter, 1, status(413), 0), Some(SendResult::Split(10)));
    assert!(!reporter.is_failing());
    assert_eq!(flush(&mut reporter, 0, &mut buffer, &mut tokens), [5, 5]);
    assert_eq!(respond(&mut reporter, 2, status(200), 0), Some(SendResult::Delivered(5)));
    let mut dropped = 0;
    let mut responses = 0;
    while reporter.spans() > 0 {
        let (token, _) = reporter.in_flight[0];
        match respond(&mut reporter, token, status(413), 0) {
            Some(SendResult::TooLarge(1)) => dropped += 1,
            other => assert!(matches!(other, Some(SendResult::Split(_))), "{other:?}"),
        }
        flush(&mut reporter, 0, &mut buffer, &mut tokens);
        responses += 1;
    }
    assert_eq!((dropped, responses), (5, 9)); // five single spans, and four larger batches
}

#[test]
fn a_rejected_request_is_not_retried_and_starts_no_backoff() {
    let (mut reporter, mut buffer, mut tokens) = (Reporter::default(), buffer_of(11), 0);
    flush(&mut reporter, 0, &mut buffer, &mut tokens);
    assert_eq!(respond(&mut reporter, 1, status(400), 0), Some(SendResult::RequestRejected(10)));
    assert_eq!(respond(&mut reporter, 2, status(429), 0), Some(SendResult::Retrying(1)));
    assert!(reporter.is_failing());
    assert_eq!(reporter.take_all().map(|batch| batch.spans()).sum::<usize>(), 1);
    assert_eq!(reporter.spans(), 0);
}

proptest! {
    /// For any responses at any time: every span is delivered or dropped once, the batches outside of the buffer are
    /// bounded, and a waiting batch always has a next attempt.
    #[test]
    fn every_span_is_delivered_or_dropped_once(
        steps in proptest::collection::vec((0u64..40, 0usize..30, 0usize..8, any::<u64>()), 1..200),
    ) {
        let (mut reporter, mut buffer) = (Reporter::default(), buffer_of(0));
        let (mut now, mut tokens, mut pushed, mut done) = (0, 0, 0, 0);
        for (seconds, spans, response, random) in steps {
            now += seconds * SECOND / 4;
            for _ in 0..spans {
                buffer.push(|out| out.push(b'x'));
            }
            pushed += spans;
            let mut results = Vec::new();
            results.extend(flush_with(&mut reporter, (Flush::All, now, random), &mut buffer, |_| {
                tokens += 1;
                (random % 11 > 0).then_some(tokens)
            }));
            let response = [NO_RESPONSE, status(200), status(200), status(413), status(400), status(503)]
                .get(response)
                .copied()
                .unwrap_or(Response { status: Some(429), retry_after: Some(Duration::from_secs(random % 9)) });
            let oldest = reporter.in_flight.iter().map(|(token, _)| *token).min();
            let received = oldest.and_then(|token| reporter.on_response(token, response, now, random, &buffer));
            results.extend(received.map(|(result, _)| result));
            for result in results {
                done += match result {
                    SendResult::Retrying(_) | SendResult::Split(_) => 0,
                    SendResult::Delivered(spans)
                    | SendResult::RequestRejected(spans)
                    | SendResult::TooLarge(spans)
                    | SendResult::RetriesExhausted(spans) => spans,
                };
            }
            prop_assert_eq!(pushed, done + reporter.spans() + buffer.spans());
            prop_assert!(reporter.spans() <= MAX_BATCHES * 10 && reporter.in_flight() <= MAX_BATCHES);
            let has_next = reporter.in_flight() > 0 || reporter.next_send(false).is_some();
            prop_assert!(has_next || reporter.waiting.is_empty());
        }
    }
}
