//! What the compiler says about a service that does not fit into a layer, and about other headers of messages.
//!
//! The traits are compiled alone, with a stand-in for `http-body`, so that no other build is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a file, and returns what the compiler writes.
fn compile(dir: &Path, name: &str, source: &str, options: &[&str]) -> String {
    let path = dir.join(name).with_extension("rs");
    std::fs::write(&path, source).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=rlib", "--emit=metadata", "--color=never"]);
    rustc.arg("--out-dir").arg(dir).arg("-L").arg(dir).args(options).arg(&path);
    String::from_utf8(rustc.output().unwrap().stderr).unwrap()
}

#[test]
fn the_compiler_explains_what_a_service_lacks() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiler_messages");
    std::fs::create_dir_all(&dir).unwrap();
    assert_eq!(compile(&dir, "http_body", "pub trait Body { type Error; }", &[]), "");
    let bounds = concat!(env!("CARGO_MANIFEST_DIR"), "/src/request/bounds.rs");
    let source = format!(
        "#[path = {bounds:?}] pub mod bounds;
        pub struct NoText;
        pub struct NoBody;
        pub fn error<E: bounds::ServiceError>() {{}}
        pub fn body<B: bounds::ResponseBody>() {{}}
        pub fn test() {{ error::<NoText>(); body::<NoBody>(); }}"
    );
    let errors = compile(&dir, "service", &source, &["--extern=http_body"]);
    for text in [
        "the error `NoText` of a service or a body within a `TraceLayer` has no text to log",
        "the error `NoText` does not implement `std::fmt::Display`",
        "`NoBody` is not a response body that a `TraceLayer` can pass on",
        "see the table of versions in the guide",
    ] {
        assert!(errors.contains(text), "no {text:?} in:\n{errors}");
    }
}

#[test]
fn the_compiler_explains_what_headers_are() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiler_messages_of_headers");
    std::fs::create_dir_all(&dir).unwrap();
    let headers = concat!(env!("CARGO_MANIFEST_DIR"), "/src/messaging/headers.rs");
    let source = format!(
        "#[path = {headers:?}] pub mod headers;
        pub struct Record;
        pub fn read<H: headers::Headers>() {{}}
        pub fn write<H: headers::HeadersMut>() {{}}
        pub fn test() {{ read::<Record>(); write::<Record>(); }}"
    );
    let errors = compile(&dir, "message", &source, &["--check-cfg=cfg(feature, values(any()))"]);
    for text in [
        "`Record` is not a type of the headers or attributes of a message",
        "`Record` is not a type of the headers or attributes of a message that is sent",
        "for the headers of another type implement `fn get(&self, name: &str) -> Option<&[u8]>`",
    ] {
        assert!(errors.contains(text), "no {text:?} in:\n{errors}");
    }
}
