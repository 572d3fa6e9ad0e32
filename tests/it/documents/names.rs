//! Metrics, reasons and figures in the documents.

use logtracer_harness::envoy::root;

use super::pages::{self, Page};

#[test]
fn every_named_metric_is_documented() {
    let of_filter = documented("docs/metrics.md");
    let of_exporter = documented("docs/exporter.md");
    assert!(of_filter.len() > 20 && of_exporter.len() > 20);
    let crates = [
        "logtracer_core",
        "logtracer_output",
        "logtracer_filter",
        "logtracer_exporter",
        "logtracer_sdk",
        "logtracer_harness",
        "logtracer_tests",
    ];

    let mut found = 0;
    for page in pages::all() {
        let in_blocks = page.blocks.iter().flat_map(|block| (block.line + 1..).zip(block.text.lines()));
        for (line, text) in page.lines.iter().map(|(line, text)| (*line, text.as_str())).chain(in_blocks) {
            for name in names(text) {
                let known = if name.starts_with("logtracer_exporter_") { &of_exporter } else { &of_filter };
                // `logtracer_invalid_…` means all metrics with this prefix.
                let is_known = match name.strip_suffix('_') {
                    Some(_) => known.iter().any(|known| known.starts_with(name)),
                    None => known.iter().any(|known| known == name) || crates.contains(&name),
                };
                assert!(is_known, "{}: no metric is called {name}", page.at(line));
                found += 1;
            }
        }
    }
    assert!(found > 100, "only {found} metrics were found");
}

/// Returns the names in the first column of the tables of a page.
fn documented(path: &str) -> Vec<String> {
    let page = pages::page(path);
    let rows = page.lines.iter().filter_map(|(_, line)| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| Some(row.split_once('`')?.0));
    names.filter(|name| name.starts_with("logtracer_")).map(str::to_owned).collect()
}

/// Returns every word with the prefix `logtracer_`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    // `wasm.logtracer_skipped` is a filter state.
    words.filter(|word| word.starts_with("logtracer_") && *word != "logtracer_skipped")
}

/// Each `reason="…"` of a query, and each reason in a table, is a string in the exporter's source.
#[test]
fn every_named_reason_exists() {
    let mut sources = String::new();
    super::read_sources(&root().join("exporter/src"), &mut sources);
    let mut found = 0;
    for page in pages::all() {
        for (line, text) in &page.lines {
            for rest in text.split("reason=\"").skip(1) {
                let reason = rest.split('"').next().unwrap();
                let exists = sources.contains(&format!("\"{reason}\""));
                assert!(exists, "{}: the exporter gives no reason {reason:?}", page.at(*line));
                found += 1;
            }
        }
    }
    let troubleshooting = pages::page("docs/troubleshooting.md");
    for (line, cells) in
        rows_after(&troubleshooting, "| `reason` of `logtracer_exporter_requests_rejected_total`")
    {
        let reason = cells[0].trim_matches('`');
        assert!(sources.contains(&format!("=> \"{reason}\"")), "{}: {reason:?}", troubleshooting.at(line));
        found += 1;
    }
    assert!(found > 4, "only {found} reasons were found");
}

/// The figures of the comparison are those of the page on capacity.
#[test]
fn the_comparison_has_the_figures_of_capacity() {
    let (capacity, comparison) = (pages::page("docs/capacity.md"), pages::page("docs/comparison.md"));
    let filter = rows_after(&capacity, "| | all | over plain |");
    let column = |name: &str, index: usize| cell(&filter, name, index);
    let set_ups = ["wasm: context, line, span", "OpenTelemetry tracer, JSON log", "Zipkin tracer, JSON log"];
    let in_proxy = rows_after(&comparison, "| | logtracer | OpenTelemetry tracer");
    for (column_there, name) in (1..).zip(set_ups) {
        assert_eq!(cell(&in_proxy, "CPU over plain Envoy, µs a request", column_there), column(name, 2));
        let share = "CPU as a share of the OpenTelemetry tracer's";
        assert_eq!(cell(&in_proxy, share, column_there), column(name, 3));
    }

    let exporter = rows_after(&capacity, "| | spans/s | CPU of a span |");
    let behind = rows_after(&comparison, "| | logtracer-exporter |");
    for (there, name) in [(1, "exporter, on disk"), (3, "rotel, to nothing")] {
        assert_eq!(cell(&behind, "spans/s, in batches of 512", there), cell(&exporter, name, 1));
        assert_eq!(cell(&behind, "CPU of a span", there), cell(&exporter, name, 2));
    }
}

type Rows = Vec<(usize, Vec<String>)>;

/// Returns the rows of the table whose head begins with `head`.
fn rows_after(page: &Page, head: &str) -> Rows {
    let start = page.lines.iter().position(|(_, line)| line.starts_with(head));
    let start = start.unwrap_or_else(|| panic!("{}: no table {head}", page.path.display()));
    let rows = page.lines[start + 2..].iter().take_while(|(_, line)| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.map(|(number, line)| (*number, cells(line))).collect()
}

fn cell(rows: &Rows, name: &str, index: usize) -> String {
    let (_, cells) =
        rows.iter().find(|(_, cells)| cells[0] == name).unwrap_or_else(|| panic!("no row {name}"));
    let cell = cells.get(index).unwrap_or_else(|| panic!("{name} has no cell {index}"));
    assert!(cell.starts_with(|c: char| c.is_ascii_digit()), "{name}: {cell:?} is no figure");
    cell.clone()
}
