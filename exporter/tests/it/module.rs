//! `--module`: the filter for proxies that have no registry.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::harness::{Exporter, command, run_to_exit};

const MODULE: &[u8] = b"\0asm\x01\0\0\0 and so on";

fn file(dir: &Path, content: &[u8]) -> PathBuf {
    let path = dir.join("plugin.wasm");
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    path
}

#[tokio::test]
async fn the_module_and_its_digest_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--module").arg(file(dir.path(), MODULE));
    // A proxy has no token.
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    command.arg("--token-file").arg(&token);
    let exporter = Exporter::spawn(command);
    let client = reqwest::Client::new();
    let url = format!("{}/plugin.wasm", exporter.http);

    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/wasm");
    let etag = response.headers()["etag"].clone();
    assert_eq!(&response.bytes().await.unwrap()[..], MODULE);

    let digest: String = Sha256::digest(MODULE).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = client.get(format!("{url}.sha256")).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!("{digest}  plugin.wasm\n"));
    assert_eq!(etag.to_str().unwrap(), format!("\"{digest}\""));
    let again = client.get(&url).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let head = client.head(&url).send().await.unwrap();
    let length = head.headers()["content-length"].to_str().unwrap();
    assert_eq!((head.status().as_u16(), length), (200, MODULE.len().to_string().as_str()));
    assert_eq!(client.post(&url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn without_the_option_there_is_no_module() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for path in ["plugin.wasm", "plugin.wasm.sha256"] {
        let response = reqwest::get(format!("{}/{path}", exporter.http)).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
}

/// A wrong file is an error of the start, not of every proxy.
#[test]
fn a_file_that_is_no_module_is_rejected() {
    let large = [MODULE, &vec![0; 16 << 20]].concat();
    for (content, expected) in [
        (None, "No such file or directory"),
        (Some(&b"\x7fELF"[..]), "it is not a WebAssembly module"),
        (Some(b""), "it is not a WebAssembly module"),
        (Some(&large), "more than 16777216"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = content.map_or_else(|| dir.path().join("missing"), |content| file(dir.path(), content));
        check_rejected(dir.path(), &path, expected);
    }
    let dir = tempfile::tempdir().unwrap();
    check_rejected(dir.path(), dir.path(), "it is not a file");
}

#[track_caller]
fn check_rejected(dir: &Path, module: &Path, expected: &str) {
    let mut command = command(&dir.join("data"));
    command.arg("--module").arg(module);
    let (code, error) = run_to_exit(command);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("cannot use --module") && error.contains(expected), "{expected}: {error}");
}
