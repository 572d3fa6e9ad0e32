//! A backend that responds 503 until it recovers, and then 200 after a delay.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logtracer_harness::{Error, Result, wire};

/// A backend that runs until the program ends.
pub(super) struct Backend {
    address: SocketAddr,
    is_available: Arc<AtomicBool>,
}

impl Backend {
    pub(super) fn start(response_delay: Duration) -> Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::when("the backend"))?;
        let address = listener.local_addr().map_err(Error::when("the backend"))?;
        let is_available = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&is_available);
        wire::serve(listener, move |stream| drop(serve(stream, response_delay, &shared)));
        Ok(Backend { address, is_available })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn recover(&self) {
        self.is_available.store(true, Ordering::Relaxed);
    }
}

/// Serves a connection until the client closes it.
fn serve(mut stream: TcpStream, response_delay: Duration, is_available: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    while wire::read(&mut reader)?.is_some() {
        let status = if is_available.load(Ordering::Relaxed) {
            std::thread::sleep(response_delay);
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n");
        stream.write_all(response.as_bytes())?;
    }
    Ok(())
}
