//! The memory of the bodies that a sink makes. It is bounded whatever the chunks are: a text of a resource is repeated for
//! each span of it in some formats, and a character takes up to six bytes in JSON.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::deliver::DeliveryError;

/// The size of a body that is made from a chunk.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;

/// The size of the bodies of one sink that are made and not sent yet. A single body can be larger.
const BUDGET_BYTES: usize = 8 << 20;

/// A permit is for this many bytes.
const UNIT: usize = 1 << 10;

/// The number of bodies that are made at one time, by all sinks. Making a body does not wait for anything.
static MAKING: Semaphore = Semaphore::const_new(2);

/// The budget of one sink. A body is part of it until it is sent, so a backend that reads slowly delays only this sink.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES / UNIT)))
    }

    /// Makes a body of at most about `max_bytes`, as soon as there is memory for it.
    pub(super) async fn make<T>(
        &self,
        max_bytes: usize,
        make: impl FnOnce() -> Result<(T, Bytes), DeliveryError>,
    ) -> Result<(T, Bytes), DeliveryError> {
        // Fails only if the semaphore is closed, and nothing closes it.
        let mut permit = self.0.clone().acquire_many_owned(units(max_bytes)).await.ok();
        let (value, bytes) = {
            let _making = MAKING.acquire().await.ok();
            make()?
        };
        if let Some(permit) = &mut permit {
            let unused = permit.num_permits().saturating_sub(units(bytes.len()) as usize);
            drop(permit.split(unused));
        }
        Ok((value, Bytes::from_owner(Body { bytes, _permit: permit })))
    }
}

/// A body with its permit, which is dropped when the last of its bytes is sent.
struct Body {
    bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).clamp(1, BUDGET_BYTES / UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_body_waits_until_there_is_memory_for_it() {
        let budget = BodyBudget::new();
        let make = async |max_bytes, len| {
            let made = budget.make(max_bytes, || Ok(((), Bytes::from(vec![0; len])))).await;
            made.unwrap().1
        };
        let first = make(BUDGET_BYTES, 10).await;
        let second = make(BUDGET_BYTES - UNIT, BUDGET_BYTES - UNIT).await;
        let part = second.slice(5..6);
        let short = Duration::from_millis(50);
        assert!(timeout(short, make(1, 1)).await.is_err(), "the budget is used up");
        drop(second);
        assert!(timeout(short, make(1, 1)).await.is_err(), "a part is not sent yet");
        drop(part);
        assert_eq!(make(1, 1).await.len(), 1);
        drop(first);
        assert_eq!(make(100 * BUDGET_BYTES, 20).await.len(), 20, "a larger body gets the whole budget");
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_made_takes_nothing() {
        let budget = BodyBudget::new();
        for _ in 0..3 {
            let made = budget.make(BUDGET_BYTES, || {
                Err::<((), Bytes), _>(DeliveryError::Rejected { reason: "no".to_owned() })
            });
            made.await.unwrap_err();
        }
        budget.make(BUDGET_BYTES, || Ok(((), Bytes::new()))).await.unwrap();
    }
}
