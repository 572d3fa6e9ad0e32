//! chromedriver, which starts a Chromium without a window for each session.
//!
//! See <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Error, Result, ports};

/// What every session starts Chromium with.
const OPTIONS: [&str; 4] = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];

/// A running chromedriver. It and its browsers end when it is dropped.
pub struct Driver {
    child: Child,
    port: u16,
    /// The ids of its sessions.
    sessions: Vec<String>,
}

impl Driver {
    /// Starts chromedriver. Its browsers have the variables of `environment`.
    pub fn start(environment: &[(&str, &str)]) -> Result<Self> {
        // With port 0, it takes any free port of IPv6 and exits if that of IPv4 is in use.
        let port = ports::reserve()?;
        let mut child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::when("chromedriver is required: apt-get install chromium chromium-driver"))?;
        let stdout = child.stdout.take().ok_or_else(|| Error::new("chromedriver has no stdout"))?;
        let driver = Self { child, port, sessions: Vec::new() };
        let mut lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
        let mut printed = Vec::new();
        loop {
            let line = lines.next().ok_or_else(|| {
                Error::new(format!("chromedriver has ended, after these lines:\n{}", printed.join("\n")))
            })?;
            if line.contains("successfully on port") {
                break;
            }
            printed.push(line);
        }
        // The driver must not block when it writes more lines.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(driver)
    }

    /// The address to which the body of a new session is sent.
    pub fn new_session_url(&self) -> String {
        format!("http://127.0.0.1:{}/session", self.port)
    }

    /// Takes the response to a new session. Returns the address of the session's commands.
    pub fn opened(&mut self, response: &Value) -> Result<String> {
        let id = response["value"]["sessionId"]
            .as_str()
            .ok_or_else(|| Error::new(format!("chromedriver opened no session: {response}")))?;
        self.sessions.push(id.to_owned());
        Ok(format!("{}/{id}", self.new_session_url()))
    }

    /// Ends a session. The driver ends the browser before it responds.
    fn end(&self, session: &str) -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let host = format!("127.0.0.1:{}", self.port);
        write!(stream, "DELETE /session/{session} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        // The driver keeps the connection open.
        stream.read(&mut [0; 1024])
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for session in &self.sessions {
            let _ = self.end(session);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a new session, with further options of Chromium.
pub fn new_session(options: &[&str]) -> Value {
    let args: Vec<&str> = OPTIONS.iter().chain(options).copied().collect();
    json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } })
}
