//! Retries of dead letters: those that an operator has selected are queued again, and removed once they are settled.

use tokio::time::Instant;

use super::super::{Delivery, Origin, Sink, Slice, warn};

impl<S: Sink> Delivery<S> {
    /// Removes the dead letters that are settled, and queues those for which a retry was requested.
    pub(in crate::deliver) async fn retry_dead_letters(&mut self) {
        match self.dead_letters.remove(&self.settled_letters).await {
            Ok(()) => self.settled_letters.drain(..).for_each(|id| self.sink_calls.forget_letter(id)),
            // Queue nothing: the letters that are not removed would be delivered again.
            Err(error) => return warn(&self.name, "failed to remove a settled dead letter", &error),
        }
        if let Some(count) = self.dead_letters.count(&self.name).await {
            self.metrics.set_dead_letters(&self.name, count);
        }
        if !self.open_letters.is_empty() || self.is_paused(Instant::now()) {
            return;
        }
        for letter in self.dead_letters.to_retry(&self.name).await {
            self.open_letters.insert(letter.id, letter.items);
            let origin = Origin::DeadLetter(letter.id);
            let slice = Slice::new(origin, letter.items, letter.body);
            self.enqueue(letter.signal, slice, Instant::now());
        }
    }

    /// Settles items of a dead letter that is being retried. Once all its items are settled, the letter is removed.
    pub(in crate::deliver) fn settle_dead_letter(&mut self, id: i64, items: u32) {
        if let Some(unsettled) = self.open_letters.get_mut(&id) {
            *unsettled = unsettled.saturating_sub(items);
            if *unsettled == 0 {
                self.open_letters.remove(&id);
                self.settled_letters.push(id);
            }
        }
    }
}
