//! [`Connector`]: connections to a host with several addresses, some of which may be dead.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long one address may take, if there are others.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Connects to a host, first to the address that worked last.
#[derive(Debug, Default)]
pub(super) struct Connector {
    first: Mutex<First>,
}

/// The address to try first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum First {
    /// The first one that the system returns.
    #[default]
    Any,
    /// The one that worked last.
    At(SocketAddr),
    /// The one after this, which did not work.
    After(SocketAddr),
}

impl Connector {
    /// Resolves the host and connects to the first address that accepts a connection. Until
    /// [`works`](Self::works) is called with it, the address counts as one that does not work.
    pub(super) async fn connect(
        &self,
        host: &str,
        port: u16,
        limit: Option<Duration>,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        let addresses = lookup_host((host, port)).await?.collect();
        self.connect_to(addresses, limit).await
    }

    async fn connect_to(
        &self,
        mut addresses: Vec<SocketAddr>,
        limit: Option<Duration>,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        order(&mut addresses, self.first());
        let time = time_of_each(addresses.len(), limit);
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            let connected = match time {
                Some(time) => timeout(time, TcpStream::connect(address)).await.unwrap_or_else(|_| {
                    Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no connection to {address} within {time:?}"),
                    ))
                }),
                None => TcpStream::connect(address).await,
            };
            match connected {
                Ok(stream) => {
                    self.set_first(First::After(address));
                    return Ok((stream, address));
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Remembers that the address has sent a response.
    pub(super) fn works(&self, address: SocketAddr) {
        self.set_first(First::At(address));
    }

    fn first(&self) -> First {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_first(&self, first: First) {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = first;
    }
}

/// Rotates the addresses, so that the one to try first is there.
fn order(addresses: &mut [SocketAddr], first: First) {
    let place = |of: SocketAddr| addresses.iter().position(|address| *address == of);
    let start = match first {
        First::Any => None,
        First::At(address) => place(address),
        First::After(address) => place(address).map(|place| place + 1),
    };
    addresses.rotate_left(start.unwrap_or(0));
}

/// Returns the time of each address. A single one has the time of the whole attempt.
fn time_of_each(count: usize, limit: Option<Duration>) -> Option<Duration> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (count > 1).then(|| limit.map_or(MAX_TIME, |limit| MAX_TIME.min(limit / (count + 1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn the_order_of_addresses() {
        let [a, b, c, other] = [1, 2, 3, 4].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for (first, expected) in [
            (First::Any, [a, b, c]),
            (First::At(a), [a, b, c]),
            (First::At(b), [b, c, a]),
            (First::At(other), [a, b, c]),
            (First::After(a), [b, c, a]),
            (First::After(c), [a, b, c]),
            (First::After(other), [a, b, c]),
        ] {
            let mut addresses = [a, b, c];
            order(&mut addresses, first);
            assert_eq!(addresses, expected, "{first:?}");
        }
        order(&mut [], First::After(a));
    }

    #[test]
    fn the_time_of_each_address() {
        let seconds = Duration::from_secs;
        assert_eq!(time_of_each(1, Some(seconds(10))), None);
        assert_eq!(time_of_each(2, Some(seconds(10))), Some(MAX_TIME));
        assert_eq!(time_of_each(3, Some(seconds(1))), Some(seconds(1) / 4));
        assert_eq!(time_of_each(3, None), Some(MAX_TIME));
    }

    /// An address whose queue of connections is full does not answer, as one behind a dead route.
    #[test]
    fn a_dead_address_is_not_tried_for_ever() {
        block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let full = socket.listen(0).unwrap();
            let dead = full.local_addr().unwrap();
            let mut waiting = Vec::new();
            while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(dead)).await {
                waiting.push(stream.unwrap());
                assert!(waiting.len() < 100);
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let live = listener.local_addr().unwrap();

            let connector = Connector::default();
            let limit = Some(Duration::from_millis(900));
            let connect = || timeout(Duration::from_secs(10), connector.connect_to(vec![dead, live], limit));
            let (_, address) = connect().await.unwrap().unwrap();
            assert_eq!(address, live);
            connector.works(live);
            // The one that worked is the first one now.
            let start = std::time::Instant::now();
            let (_, address) = connect().await.unwrap().unwrap();
            assert!(address == live && start.elapsed() < Duration::from_millis(300));
        });
    }

    #[test]
    fn an_address_without_a_response_is_tried_last() {
        block_on(async {
            let listeners = [
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
            ];
            let [first, second] =
                [&listeners[0], &listeners[1]].map(|listener| listener.local_addr().unwrap());
            let connector = Connector::default();
            let connect = async || connector.connect_to(vec![first, second], None).await.unwrap().1;
            assert_eq!((connect().await, connect().await, connect().await), (first, second, first));
            connector.works(second);
            assert_eq!(connect().await, second);
        });
    }
}
