//! Starts and stops the exporter, sends requests to it, and reads its pages and metrics.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use reqwest::Response;
use serde_json::Value;

/// The timeout of every wait, long enough for a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The start of the earliest span, in nanoseconds since 1970.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;

/// A running exporter. It is killed when dropped.
pub(crate) struct Exporter {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// The lines from before the one that it is ready: sinks deliver while the listeners start.
    early_lines: VecDeque<Value>,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) view: String,
    client: reqwest::Client,
}

/// Returns a command for the exporter with free ports and this data directory.
pub(crate) fn command(data_dir: &Path) -> Command {
    command_on("127.0.0.1:0", data_dir)
}

/// Returns a command for the exporter with all listeners on this address.
pub(crate) fn command_on(address: &str, data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
    command
        .args(["--http", address, "--grpc", address, "--view", address, "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end. Returns the exit code, and the error in its log or, for an error in the options, on stderr.
pub(crate) fn run_to_exit(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let mut errors = stdout.lines().filter_map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let is_fatal = object["message"] == "logtracer-exporter - fatal error";
        is_fatal.then(|| object["error"].as_str().expect("a text").to_owned())
    });
    (output.status.code(), errors.next_back().unwrap_or(stderr))
}

impl Exporter {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::spawn(command(data_dir))
    }

    /// Starts the exporter, and waits for the log line with its addresses.
    #[track_caller]
    pub(crate) fn spawn(command: Command) -> Self {
        Self::try_spawn(command, |_| {}).expect("it is ready")
    }

    /// Starts the exporter, and passes on its process id. Returns `None` if it ends before it is ready.
    pub(crate) fn try_spawn(mut command: Command, started: impl FnOnce(u32)) -> Option<Self> {
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("the program starts");
        started(child.id());
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut exporter = Self {
            child,
            lines,
            early_lines: VecDeque::new(),
            http: String::new(),
            grpc: String::new(),
            view: String::new(),
            client: reqwest::Client::new(),
        };
        let mut early_lines = VecDeque::new();
        let ready = loop {
            match exporter.next_line(Instant::now() + DEADLINE)? {
                line if line["message"] == "logtracer-exporter - ready" => break line,
                line => early_lines.push_back(line),
            }
        };
        exporter.early_lines = early_lines;
        exporter.http = format!("http://{}", ready["http"].as_str().expect("an address"));
        exporter.grpc = format!("http://{}", ready["grpc"].as_str().expect("an address"));
        exporter.view = format!("http://{}", ready["view"].as_str().expect("an address"));
        Some(exporter)
    }

    /// Waits for the log line with this message. Every line must be a JSON object.
    #[track_caller]
    pub(crate) fn line(&mut self, message: &str) -> Value {
        self.try_line(message).unwrap_or_else(|| panic!("no line {message:?}"))
    }

    fn try_line(&mut self, message: &str) -> Option<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let line = self.next_line(deadline)?;
            if line["message"] == message {
                return Some(line);
            }
        }
    }

    fn next_line(&mut self, deadline: Instant) -> Option<Value> {
        if let Some(line) = self.early_lines.pop_front() {
            return Some(line);
        }
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        let object: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(object["severity"].is_string() && object["time"].is_string(), "{line}");
        Some(object)
    }

    pub(crate) async fn post(&self, content_type: &str, body: Vec<u8>) -> reqwest::Result<Response> {
        self.post_with(content_type, None, body).await
    }

    pub(crate) async fn post_with(
        &self,
        content_type: &str,
        encoding: Option<&str>,
        body: Vec<u8>,
    ) -> reqwest::Result<Response> {
        let mut request = self
            .client
            .post(format!("{}/v1/traces", self.http))
            .header("content-type", content_type)
            .body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        request.send().await
    }

    /// Sends spans, which must be accepted.
    pub(crate) async fn send(&self, request: &ExportTraceServiceRequest) {
        let response =
            self.post("application/x-protobuf", request.encode_to_vec()).await.expect("a response");
        assert_eq!(response.status(), 200, "{:?}", response.bytes().await);
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.view)).send().await.expect("a response")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let text = self.get(path).await.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    /// Waits until the trace has this number of spans and log lines.
    pub(crate) async fn trace(&self, trace_id: &str, spans: usize, logs: usize) -> Value {
        let path = format!("/api/traces/{trace_id}");
        eventually(&format!("{spans} spans and {logs} lines of {trace_id}"), async || {
            let trace = self.json(&path).await;
            let count = |part: &str| trace[part].as_array().map_or(0, Vec::len);
            (count("spans") == spans && count("logs") == logs).then_some(trace)
        })
        .await
    }

    /// Returns the value of a metric, or 0 if it was never counted.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.expect("a body");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0., |value| value.parse().expect("a number"))
    }

    /// Waits until a metric has this value. A delivery is counted after its spans are visible.
    pub(crate) async fn wait_for_metric(&self, name: &str, value: f64) {
        eventually(name, async || (self.metric(name).await == value).then_some(())).await;
    }

    /// Returns the peak memory of the process in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
        kib.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    }

    /// Returns a number of `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
        value.expect("a field").parse().expect("a number")
    }

    /// Returns the memory map of the process.
    pub(crate) fn memory_maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("it runs")
    }

    /// Returns the processor time of the exporter in ticks, which are hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields = text.rsplit(')').next().expect("the name is in parentheses").split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Waits until everything in the outbox is delivered, or the process ends. Returns whether it still runs.
    pub(crate) async fn drains(&mut self) -> bool {
        let (child, url) = (&mut self.child, format!("{}/metrics", self.view));
        eventually("an empty outbox, or the end", async || {
            if child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            let text = self.client.get(&url).send().await.ok()?.text().await.ok()?;
            text.lines().any(|line| line == "logtracer_exporter_outbox_bytes 0").then_some(true)
        })
        .await
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the exporter with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs").success());
    }

    /// Returns whether SIGSTOP has stopped the process.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait_for_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the exporter", async || child.try_wait().expect("a child")).await
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until there is a result.
pub(crate) async fn eventually<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = poll().await {
            return result;
        }
        assert!(Instant::now() < deadline, "timeout: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn string(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

/// Returns a span that starts `after` milliseconds after [`START`] and takes `took` milliseconds.
pub(crate) fn number(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(Any::IntValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value), key_strindex: 0 }
}

pub(crate) fn span(trace_id: &str, span_id: u64, parent: u64, name: &str, after: u64, took: u64) -> Span {
    let trace_id = u128::from_str_radix(trace_id, 16).expect("hexadecimal digits");
    Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { vec![] } else { parent.to_be_bytes().to_vec() },
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: START + after * 1_000_000,
        end_time_unix_nano: START + (after + took) * 1_000_000,
        ..Default::default()
    }
}

/// Sets the status of a span to an error.
pub(crate) fn failed(mut span: Span, message: &str) -> Span {
    span.status = Some(Status { code: 2, message: message.to_owned() });
    span
}

/// Returns a request with the spans of one service.
pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![string("service.name", service)],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}
