//! Replays the corpus of the fuzz targets: whatever was found once stays mended.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/promises.rs"]
mod promises;

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    replay("headers", promises::headers);
    replay("config", promises::config);
    replay("url", promises::url);
    replay("line", promises::line);
    replay("pairs", promises::pairs);
    replay("otlp_response", promises::otlp_response);
}

fn replay(target: &str, promise: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        eprintln!("{}", path.display());
        promise(&fs::read(&path).expect("a file"));
        inputs += 1;
    }
    assert!(inputs > 0, "no corpus in {}", folder.display());
}
