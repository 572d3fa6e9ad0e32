//! Arranges what is below each span by time.

use super::{NONE, Packed, Tree, packed};

impl Tree {
    /// Sorts spans and lines by time into the lists of what is below each span.
    pub(super) fn arrange(&mut self) {
        let roots = self.spans.len();
        let list = |parent: u32| if parent == NONE { roots } else { parent as usize };
        let mut order: Vec<u32> = (0..packed(roots)).collect();
        let time = |index: &u32| self.spans.get(*index as usize).map(|span| (span.start, span.id.get()));
        order.sort_unstable_by_key(time);
        self.lines.sort_by_key(|line| line.time);
        // The number of entries of each list, and then where the next entry of each list goes.
        let mut next = vec![0_u32; roots + 2];
        let all = self.spans.iter().map(|span| span.parent).chain(self.lines.iter().map(|line| line.span));
        for parent in all {
            if let Some(count) = next.get_mut(list(parent) + 1) {
                *count += 1;
            }
        }
        for index in 1..next.len() {
            let before = next.get(index - 1).copied().unwrap_or(0);
            if let Some(count) = next.get_mut(index) {
                *count += before;
            }
        }
        self.begins = next.clone();
        self.below = vec![Packed::default(); self.spans.len() + self.lines.len()];
        let mut lines = (0..packed(self.lines.len())).peekable();
        let mut put = |parent: u32, entry: Packed| {
            if let Some(at) = next.get_mut(list(parent)) {
                if let Some(place) = self.below.get_mut(*at as usize) {
                    *place = entry;
                }
                *at += 1;
            }
        };
        for index in order {
            let Some(span) = self.spans.get(index as usize) else { continue };
            while let Some(line) = lines
                .next_if(|line| self.lines.get(*line as usize).is_some_and(|line| line.time < span.start))
            {
                put(
                    self.lines.get(line as usize).map_or(NONE, |line| line.span),
                    Packed(line | Packed::LINE),
                );
            }
            put(span.parent, Packed(index));
        }
        for line in lines {
            put(self.lines.get(line as usize).map_or(NONE, |line| line.span), Packed(line | Packed::LINE));
        }
    }
}
