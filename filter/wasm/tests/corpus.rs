//! Replays the corpus of the fuzz targets: an input that failed once passes from then on.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/invariants.rs"]
mod invariants;

#[test]
fn every_corpus_input_upholds_the_invariants() {
    replay("headers", invariants::headers);
    replay("config", invariants::config);
    replay("url", invariants::url);
    replay("line", invariants::line);
    replay("header_map", invariants::header_map);
    replay("otlp_response", invariants::otlp_response);
}

fn replay(target: &str, invariant: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        eprintln!("{}", path.display());
        invariant(&fs::read(&path).expect("a file"));
        inputs += 1;
    }
    assert!(inputs > 0, "no corpus in {}", folder.display());
}
