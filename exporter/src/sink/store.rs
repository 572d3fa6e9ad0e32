//! The embedded store as a sink.

use std::time::Duration;

use crate::deliver::{Accepted, Chunk, DeliveryError, DroppedItems, Pace, Sink};
use crate::store::{ID_IS_TAKEN, Store, WriteError};

impl Sink for Store {
    /// One writer, one call.
    fn pace(&self) -> Pace {
        let bytes = self.max_write_bytes().min(4 << 20);
        Pace { calls: 1, items: u32::MAX, bytes, linger: Duration::ZERO }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let store = self.clone();
        let (signal, bodies) = (chunk.signal(), chunk.bodies().collect::<Vec<_>>());
        let written = tokio::task::spawn_blocking(move || store.append(signal, &bodies)).await;
        let failed = |reason| DeliveryError::Unavailable { reason, retry_after: None };
        match written {
            Ok(Ok(0)) => Ok(Accepted::default()),
            Ok(Ok(dropped)) => {
                let items = u32::try_from(dropped).unwrap_or(u32::MAX);
                Ok(Accepted {
                    dropped: Some(DroppedItems { items, reason: ID_IS_TAKEN }),
                    ..Default::default()
                })
            }
            Ok(Err(WriteError::Undecodable(reason))) => Err(DeliveryError::Rejected { reason }),
            Ok(Err(error)) => Err(failed(format!("failed to write to the store: {error}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
