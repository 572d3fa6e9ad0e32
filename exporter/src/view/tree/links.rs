//! Links spans to their parents.

use super::{NONE, Tree, packed};
use crate::otlp::shared_span::server_span_id;

impl Tree {
    /// If client and server of a call share an id (Zipkin, Envoy), the parent is the server's half for what the server
    /// calls, in whatever order the spans have arrived.
    pub(super) fn find_parents(&mut self) {
        for index in 0..self.spans.len() {
            let Some(span) = self.spans.get(index).copied() else { continue };
            let Some(named) = span.parent_id else { continue };
            let server = server_span_id(named);
            let mut parent = named;
            if span.id != server
                && span.id != named
                && let Some(half) = self.index(server).and_then(|index| self.spans.get(index))
            {
                let client = self.index(named).and_then(|index| self.spans.get(index));
                let is_of_client = client.is_some_and(|client| client.service == span.service);
                if half.service == span.service || !is_of_client {
                    parent = server;
                }
            }
            let found = self.index(parent).map_or(NONE, packed);
            if let Some(span) = self.spans.get_mut(index) {
                (span.parent_id, span.parent) = (Some(parent), found);
            }
        }
    }

    /// Makes the earliest span of each circle of parents a root.
    pub(super) fn break_circles(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            OnThisWay,
            Yes,
        }
        let mut seen = vec![Seen::No; self.spans.len()];
        for first in 0..self.spans.len() {
            let mut at = Some(first);
            while let Some(index) = at
                && let Some(state) = seen.get_mut(index)
                && *state != Seen::Yes
            {
                if *state == Seen::OnThisWay {
                    self.break_circle(index);
                    break;
                }
                *state = Seen::OnThisWay;
                at = self.parent(index);
            }
            let mut at = Some(first);
            while let Some(index) = at
                && let Some(state) = seen.get_mut(index)
                && *state != Seen::Yes
            {
                *state = Seen::Yes;
                at = self.parent(index);
            }
        }
    }

    fn break_circle(&mut self, member: usize) {
        let (mut earliest, mut at) = (member, self.parent(member));
        let key = |tree: &Self, index: usize| tree.spans.get(index).map(|span| (span.start, span.id.get()));
        while let Some(index) = at
            && index != member
        {
            if key(self, index) < key(self, earliest) {
                earliest = index;
            }
            at = self.parent(index);
        }
        if let Some(span) = self.spans.get_mut(earliest) {
            (span.parent, span.is_in_circle) = (NONE, true);
        }
    }
}
