//! HTTP/1.1 by hand for clients and servers, to send and read what HTTP libraries reject or hide.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::{Error, Result, wait};

/// A request or a response.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The first line, `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// The header lines in order, with names in lower case. Bytes that are not UTF-8 become U+FFFD.
    pub headers: Vec<(String, String)>,
    /// The body without the sizes of its chunks.
    pub body: Vec<u8>,
}

impl Message {
    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The path of a request, with its query.
    pub fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a response, 0 if it is absent.
    pub fn status(&self) -> u16 {
        self.path().parse().unwrap_or(0)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn has_body(&self) -> bool {
        !(self.start.starts_with("HTTP/") && matches!(self.status(), 100..=199 | 204 | 304))
    }
}

/// Reads a message with its body. Returns `None` if the connection was closed before the message.
pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(mut message) = read_head(stream)? else { return Ok(None) };
    let is_response = message.start.starts_with("HTTP/");
    if !message.has_body() {
    } else if message.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = read_line(stream)?.unwrap_or_default();
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk)?;
            message.body.append(&mut chunk);
            read_line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().map_err(io::Error::other)?];
        stream.read_exact(&mut message.body)?;
    } else if is_response {
        stream.read_to_end(&mut message.body)?;
    }
    Ok(Some(message))
}

/// Reads the head of a message.
pub fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(start) = read_line(stream)? else { return Ok(None) };
    let mut message = Message { start, ..Message::default() };
    while let Some(line) = read_line(stream)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(message))
}

fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// The connection of a client.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a server.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).map_err(Error::when(address))?;
        stream.set_read_timeout(Some(wait::TIMEOUT)).map_err(Error::when("a read timeout"))?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref()).map_err(Error::when("sending"))
    }

    /// Reads a response with its body.
    pub fn response(&mut self) -> Result<Message> {
        let message = read(&mut self.reader).map_err(Error::when("a response"))?;
        message.ok_or_else(|| Error::new("connection closed without a response"))
    }

    /// Reads the head of a response, for HEAD requests and for bodies without an end.
    pub fn response_head(&mut self) -> Result<Message> {
        let message = read_head(&mut self.reader).map_err(Error::when("a response"))?;
        message.ok_or_else(|| Error::new("connection closed without a response"))
    }

    /// Reads exactly `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).map_err(Error::when("reading"))?;
        Ok(bytes)
    }

    /// Reads until the peer closes the connection or resets it.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader.read_to_end(&mut bytes);
        bytes
    }
}

/// Serves each connection to `listener` in a new thread, until this process ends.
pub fn serve(listener: TcpListener, handle: impl Fn(TcpStream) + Clone + Send + 'static) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
}

/// Sends nothing and waits until the peer closes the connection.
pub(crate) fn hang(stream: &mut TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(300)));
    let _ = io::copy(stream, &mut io::sink());
}
