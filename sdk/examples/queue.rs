//! Messages and jobs: a producer and a consumer in one trace, a batch, and a job with a trace for each run.
//!
//! `cargo run -p logtracer-sdk --example queue` sends some orders through a queue in memory, prints the log lines and
//! spans, and exits. `LOGGING_FORMAT=local` prints shorter lines.

mod services;

use std::collections::HashMap;
use std::time::Duration;

use logtracer_sdk::messaging::{Destination, inject};
use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::SpanExport;
use logtracer_sdk::{Logging, Project, TraceContext, job};
use services::Services;
use tokio::sync::mpsc;

/// A message of the broker, as Pub/Sub has it.
struct Message {
    id: String,
    attributes: HashMap<String, String>,
    item: &'static str,
}

fn orders() -> Destination {
    Destination::new("gcp_pubsub", "orders")
}

/// In a service, a request handler calls this: its trace is current.
async fn order(topic: &mpsc::Sender<Message>, number: u32, item: &'static str) {
    let publish = async {
        let mut message = Message { id: number.to_string(), attributes: HashMap::new(), item };
        inject(&mut message.attributes);
        tracing::info!(item, "ordered");
        topic.send(message).await
    };
    if let Err(error) = orders().send(publish).await {
        tracing::error!(error = &error as &dyn std::error::Error, "not ordered");
    }
}

/// Each message is processed in the trace of its producer.
async fn pack(message: Message) {
    let pack = async { tracing::info!(item = message.item, "packed") };
    orders().with_message_id(message.id).process(&message.attributes, pack).await;
}

/// Several messages together are processed in one span, with a link to each producer.
async fn bill(messages: &[Message]) {
    let bill = async { tracing::info!(orders = messages.len(), "billed") };
    orders().process_batch(messages.iter().map(|message| &message.attributes), bill).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let services = Services::new().await?;
    Logging::new(Project::from("my-project"), "shop").install()?;
    let exporter = SpanExport::new("shop", services.endpoint()).install()?;

    let (topic, mut subscription) = mpsc::channel(10);
    for (number, item) in [(1, "bread"), (2, "eggs"), (3, "milk")] {
        // Within a server layer there is a current trace. A program without one starts it.
        order(&topic, number, item).in_trace(TraceContext::new_root()).await;
    }
    drop(topic);

    if let Some(message) = subscription.recv().await {
        pack(message).await;
    }
    let mut batch = Vec::new();
    while let Some(message) = subscription.recv().await {
        batch.push(message);
    }
    bill(&batch).await;

    for run in 1..=2 {
        job("nightly-report", async { tracing::info!(run, "reported") }).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    // The spans that wait.
    drop(exporter);
    services.stop()
}
