//! A backend that refuses everything until it comes back, and then takes its time for every answer.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Error, Result, wire};

/// It runs as long as the program does.
pub(super) struct Backend {
    address: SocketAddr,
    is_back: Arc<AtomicBool>,
}

impl Backend {
    pub(super) fn start(answer_after: Duration) -> Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::when("a backend"))?;
        let address = listener.local_addr().map_err(Error::when("a backend"))?;
        let is_back = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&is_back);
        wire::serve(listener, move |stream| drop(converse(stream, answer_after, &shared)));
        Ok(Backend { address, is_back })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn come_back(&self) {
        self.is_back.store(true, Ordering::Relaxed);
    }
}

/// One connection, until the client hangs up.
fn converse(mut stream: TcpStream, answer_after: Duration, is_back: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    while wire::read(&mut reader)?.is_some() {
        let status = if is_back.load(Ordering::Relaxed) {
            std::thread::sleep(answer_after);
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n");
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}
