//! The last service: it records the trace headers of each request, and holds responses.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};

use logtracer_core::propagation::Header;
use logtracer_harness::wire::{self, Message};

/// Orders with this prefix are held until all of a wave have arrived.
pub(super) const HELD: &str = "held-";

/// A running peer. It ends with this process.
pub(super) struct Peer {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// The trace headers of each order.
type Received = HashMap<String, BTreeMap<String, String>>;

impl Peer {
    /// Starts the peer. A wave has `together` requests.
    pub(super) fn start(together: usize) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Received>> = Arc::default();
        let (into, wave) = (Arc::clone(&received), Arc::new(Barrier::new(together)));
        wire::serve(listener, move |stream| {
            // The client closes the connection whenever it wants.
            let _ = respond_to_all(&stream, &into, &wave);
        });
        Peer { address, received }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the trace headers of an order.
    #[track_caller]
    pub(super) fn received(&self, order: &str) -> BTreeMap<String, String> {
        let received = self.received.lock().unwrap();
        received.get(order).unwrap_or_else(|| panic!("no request for order {order}")).clone()
    }
}

fn respond_to_all(stream: &TcpStream, into: &Mutex<Received>, wave: &Barrier) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = wire::read(&mut reader)? {
        let order = request.path().rsplit('/').next().unwrap_or_default().to_owned();
        let is_held = order.starts_with(HELD);
        into.lock().unwrap().insert(order, trace_headers(&request));
        if is_held {
            wave.wait();
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")?;
    }
    Ok(())
}

fn trace_headers(request: &Message) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in &request.headers {
        let is_beside = ["baggage", "x-request-id"].contains(&name.as_str());
        if is_beside || Header::from_name(name.as_bytes()).is_some() {
            // Servers join lines with and without a space.
            let earlier = found.insert(name.clone(), value.replace(", ", ","));
            assert_eq!(earlier, None, "two lines of {name}");
        }
    }
    found
}
