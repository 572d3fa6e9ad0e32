//! Clients that send as fast as they can while the exporter is killed.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::harness::{Exporter, eventually, request};

/// The traces that were acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Sent(Arc<Mutex<Vec<String>>>);

impl Sent {
    /// Lets so many clients send, each request a trace with these spans, until so many traces are acknowledged in all;
    /// in the midst of it the exporter is killed.
    pub(crate) async fn until_killed(
        &self,
        exporter: Exporter,
        (round, clients): (u128, u128),
        enough: usize,
        spans: fn(&str) -> Vec<Span>,
    ) {
        let mut senders = tokio::task::JoinSet::new();
        for sender in 1..=clients {
            let traces = (1..).map(move |n| (round << 96) | (sender << 64) | n);
            senders.spawn(self.clone().send(format!("{}/v1/traces", exporter.http), traces, spans));
        }
        eventually("acknowledgements", async || (self.0.lock().unwrap().len() >= enough).then_some(())).await;
        exporter.kill();
        while senders.join_next().await.is_some() {}
    }

    async fn send(self, url: String, traces: impl Iterator<Item = u128>, spans: fn(&str) -> Vec<Span>) {
        let client = reqwest::Client::new();
        for trace in traces {
            let trace = format!("{trace:032x}");
            let body = request("shop", spans(&trace)).encode_to_vec();
            let post = client.post(&url).header("content-type", "application/x-protobuf").body(body);
            match post.send().await {
                Ok(response) if response.status() == 200 => self.0.lock().unwrap().push(trace),
                _ => return,
            }
        }
    }

    pub(crate) fn acknowledged(self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}
