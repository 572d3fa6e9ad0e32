//! Messages and jobs: a producer and a consumer in one trace, a batch, and a job with a trace for each run.
//!
//! `cargo run -p logtracer-sdk --example queue` sends some orders through a queue in memory and exits. With the address of
//! an exporter (`-- http://127.0.0.1:4318`) the spans appear in its viewer.

use std::collections::HashMap;
use std::time::Duration;

use logtracer_sdk::messaging::{Destination, inject};
use logtracer_sdk::prelude::*;
use logtracer_sdk::spans::SpanExport;
use logtracer_sdk::{Format, Logging, Project, TraceContext, job};
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
    Logging::new(Project::none(), "shop").format(Format::Local).install()?;
    let exporter = std::env::args().nth(1).map(|url| SpanExport::new("shop", url).install()).transpose()?;

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

    tokio::task::spawn_blocking(|| drop(exporter)).await?;
    Ok(())
}
