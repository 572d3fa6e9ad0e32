//! [`check`]: a request to a service that was built, so that all of them are known to do the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Kind, Service};

const TRACE_ID: &str = "463ac35c9f6413ad48485a3953bb6124";
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of a request: one of the handler, one of the layer.
const LINES: usize = 2;

/// A service that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a service, sends a request with a trace to it, and looks for the trace in its lines and in its call.
pub(crate) fn check(program: &Path, service: Service) -> Result<(), String> {
    let next = TcpListener::bind("127.0.0.1:0").map_err(failed("the next service"))?;
    let stock = next.local_addr().map_err(failed("the next service"))?;
    let address = unused_address()?;
    let mut command = Command::new(program);
    command.env("LISTEN", address.to_string()).env("STOCK", format!("http://{stock}/items"));
    command.env_remove("RUST_LOG").env_remove("LOG_LEVEL").env_remove("LOGGING_FORMAT");
    let mut running = Running(command.stdout(Stdio::piped()).spawn().map_err(failed("starting it"))?);
    let lines = lines_of(&mut running)?;

    let call = thread::spawn(move || serve_once(&next));
    let mut stream = connect(address)?;
    let request = format!(
        "GET /basket/17 HTTP/1.1\r\nhost: {address}\r\nuser-agent: curl/8.5.0\r\nconnection: close\r\n\
         traceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed("the request"))?;
    let mut response = String::new();
    stream.read_to_string(&mut response).map_err(failed("the response"))?;
    if !response.starts_with("HTTP/1.1 200") || !response.contains("200 OK") {
        return Err(format!("it responds {response:?}"));
    }
    if service.kind == Kind::Bare {
        return Ok(());
    }
    let call = call.join().map_err(|_| "the next service panicked".to_owned())??;
    if !call.contains(TRACE_ID) {
        return Err(format!("its call has no trace: {call:?}"));
    }
    for _ in 0..LINES {
        let line = lines.recv_timeout(PATIENCE).map_err(failed("its lines"))?;
        if !line.starts_with('{') || !line.contains(TRACE_ID) {
            return Err(format!("a line without the trace: {line}"));
        }
    }
    Ok(())
}

fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

fn unused_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed("a port"))?;
    listener.local_addr().map_err(failed("a port"))
}

fn lines_of(running: &mut Running) -> Result<Receiver<String>, String> {
    let stdout = running.0.stdout.take().ok_or("it has no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.for_each(|line| _ = sender.send(line));
    });
    Ok(receiver)
}

/// Connects as soon as the service listens.
fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).map_err(failed("a timeout"))?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > deadline => return Err(format!("it does not listen: {error}")),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Responds to one request, and returns its head.
fn serve_once(listener: &TcpListener) -> Result<String, String> {
    let (stream, _) = listener.accept().map_err(failed("the call"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed("a timeout"))?;
    let mut head = String::new();
    let mut reader = BufReader::new(&stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).map_err(failed("the call"))? == 0 {
            return Err(format!("its call ends within the headers: {head:?}"));
        }
    }
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    (&stream).write_all(response).map_err(failed("the response to the call"))?;
    Ok(head)
}
