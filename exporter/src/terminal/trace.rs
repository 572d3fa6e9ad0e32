//! `logtracer-exporter trace ID`: the tree of spans, with the lines under their spans.

use std::io::Write;

use serde_json::Value;

use super::TraceOptions;
use super::client::Client;
use super::text::{Colour, Paint};
use super::tree::Tree;
use crate::clock::unix_nanos;
use crate::view::parameters::encode;

/// Further spans and lines are counted.
const MAX_ROWS: usize = 100_000;

pub(super) async fn run(
    client: &Client,
    options: &TraceOptions,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut path = format!("/api/traces/{}", encode(&options.id));
    let (mut spans, mut lines) = (Vec::new(), Vec::new());
    loop {
        let mut part = client.json(&path, &[]).await?;
        if options.output.json {
            writeln!(out, "{part}")?;
        } else {
            for (member, all) in [("spans", &mut spans), ("logs", &mut lines)] {
                if let Value::Array(rows) = part[member].take() {
                    all.extend(rows);
                }
            }
        }
        match part["next"].as_str() {
            Some(next) if spans.len() + lines.len() < MAX_ROWS => path = next.to_owned(),
            rest => {
                if !options.output.json {
                    Tree::new(&spans, &lines, unix_nanos()).print(paint, out)?;
                }
                if rest.is_some() {
                    writeln!(out, "{}", paint.paint(Colour::Dim, "… the rest of the trace is not shown"))?;
                }
                return Ok(());
            }
        }
    }
}
