//! Clients that send as fast as possible while the exporter is killed.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tonic::transport::Channel;

use crate::harness::{Exporter, eventually, request};

/// The ids of the traces that were acknowledged.
#[derive(Clone, Default)]
pub(crate) struct AcknowledgedTraces(Arc<Mutex<Vec<String>>>);

impl AcknowledgedTraces {
    /// Starts `clients` clients, which send traces with these spans, one per request. Kills the exporter while they send,
    /// when at least `enough` traces are acknowledged in total.
    pub(crate) async fn send_until_killed(
        &self,
        exporter: Exporter,
        (round, clients): (u128, u128),
        enough: usize,
        spans: fn(&str) -> Vec<Span>,
    ) {
        let mut senders = tokio::task::JoinSet::new();
        for sender in 1..=clients {
            let traces = (1..).map(move |n| (round << 96) | (sender << 64) | n);
            let client = Client::new(sender, &exporter).await;
            senders.spawn(self.clone().send(client, traces, spans));
        }
        eventually("acknowledgements", async || (self.0.lock().unwrap().len() >= enough).then_some(())).await;
        exporter.kill();
        while senders.join_next().await.is_some() {}
    }

    async fn send(
        self,
        mut client: Client,
        traces: impl Iterator<Item = u128>,
        spans: fn(&str) -> Vec<Span>,
    ) {
        for trace in traces {
            let trace = format!("{trace:032x}");
            if !client.send(spans(&trace)).await {
                return;
            }
            self.0.lock().unwrap().push(trace);
        }
    }

    pub(crate) fn take(self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A client of one of the protocols.
enum Client {
    Http(reqwest::Client, String),
    Grpc(TraceServiceClient<Channel>),
    Zipkin(reqwest::Client, String),
}

impl Client {
    async fn new(n: u128, exporter: &Exporter) -> Self {
        let url = |path: &str| format!("{}{path}", exporter.http);
        match n % 3 {
            0 => Self::Grpc(TraceServiceClient::connect(exporter.grpc.clone()).await.expect("a listener")),
            1 => Self::Zipkin(reqwest::Client::new(), url("/api/v2/spans")),
            _ => Self::Http(reqwest::Client::new(), url("/v1/traces")),
        }
    }

    /// Sends spans. Returns true if all of them were acknowledged.
    async fn send(&mut self, spans: Vec<Span>) -> bool {
        match self {
            Self::Http(client, url) => {
                let body = request("shop", spans).encode_to_vec();
                let post = client.post(&*url).header("content-type", "application/x-protobuf").body(body);
                post.send().await.is_ok_and(|response| response.status() == 200)
            }
            Self::Grpc(client) => client.export(request("shop", spans)).await.is_ok(),
            Self::Zipkin(client, url) => {
                let spans: Vec<_> = spans.iter().map(zipkin).collect();
                let body = serde_json::to_vec(&spans).expect("JSON");
                let post = client.post(&*url).header("content-type", "application/json").body(body);
                post.send().await.is_ok_and(|response| response.status() == 202)
            }
        }
    }
}

/// Converts the fields of a span that the tests need.
fn zipkin(span: &Span) -> serde_json::Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "traceId": hex(&span.trace_id),
        "id": hex(&span.span_id),
        "parentId": hex(&span.parent_span_id),
        "name": span.name,
        "kind": "SERVER",
        "timestamp": span.start_time_unix_nano / 1000,
        "localEndpoint": { "serviceName": "shop" },
    })
}
