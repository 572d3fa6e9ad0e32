//! How the service of each language is built and started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use logtracer_harness::envoy::root;

/// A language, or one of its kinds of servers.
pub(super) struct Language {
    /// Builds the service in a folder, and returns its command.
    pub(super) build: fn(&Path) -> Vec<String>,
    /// The message of the line of a request that fails.
    pub(super) failure: &'static str,
    /// How the stack trace of that line begins, so that Error Reporting reads it.
    pub(super) stack_start: &'static str,
    /// A frame of it.
    pub(super) stack_part: &'static str,
    /// The severity and the message of an error that ends the service.
    pub(super) uncaught: (&'static str, &'static str),
    /// What becomes of a text that ends with half of a surrogate pair.
    pub(super) half_of_a_pair: &'static str,
}

pub(super) static PYTHON_WSGI: Language = Language {
    build: |_| python("shop.py"),
    failure: "unhandled exception",
    stack_start: "Traceback (most recent call last):\n",
    stack_part: "shop.py\", line ",
    uncaught: ("CRITICAL", "uncaught exception"),
    half_of_a_pair: "cut ?",
};

pub(super) static PYTHON_ASGI: Language = Language {
    build: |_| {
        let servers = python_servers();
        assert!(
            servers.join("uvicorn").is_dir(),
            "no uvicorn in {}: run scripts/python-servers",
            servers.display()
        );
        python("shop_asgi.py")
    },
    failure: "Exception in ASGI application\n", // uvicorn's line
    ..PYTHON_WSGI
};

pub(super) static NODE: Language = Language {
    build: |_| {
        require("node", "--version", "scripts/need node nodejs node");
        command(&[Path::new("node"), &source("node/shop.mjs")])
    },
    failure: "unhandled exception",
    stack_start: "Error: disk full:\n0 bytes left\n    at ",
    stack_part: "shop.mjs:",
    uncaught: ("CRITICAL", "uncaughtException"),
    half_of_a_pair: "cut \u{fffd}",
};

pub(super) static JAVA: Language = Language {
    build: build_java,
    failure: "unhandled exception",
    stack_start: "java.lang.IllegalStateException: disk full:\n0 bytes left\n\tat ",
    stack_part: "\nCaused by: java.io.IOException: no space\n",
    uncaught: ("ERROR", "uncaught exception in main"),
    half_of_a_pair: "cut \u{fffd}",
};

pub(super) static JAVA_LOGBACK: Language = Language { build: build_java_with_logback, ..JAVA };

pub(super) static GO: Language = Language {
    build: build_go,
    failure: "panic",
    stack_start: "panic: disk full:\n0 bytes left\n\ngoroutine ",
    stack_part: "main.go:",
    uncaught: ("ERROR", "no listener"),
    half_of_a_pair: "cut \u{fffd}\u{fffd}\u{fffd}", // three bytes that are not UTF-8
};

/// Returns the folder with uvicorn.
pub(super) fn python_servers() -> PathBuf {
    root().join("build/python-servers")
}

fn python(file: &str) -> Vec<String> {
    require("python3", "--version", "scripts/need python3 python3 python3");
    command(&[Path::new("python3"), Path::new("-B"), &source("python").join(file)])
}

fn build_java(folder: &Path) -> Vec<String> {
    compile_java(folder, &[source("java")], Path::new(""));
    java(folder.to_str().unwrap(), "Shop")
}

fn build_java_with_logback(folder: &Path) -> Vec<String> {
    let jars = root().join("build/java-jars");
    assert!(
        jars.join("logback-classic.jar").is_file(),
        "no jars in {}: run scripts/java-jars",
        jars.display()
    );
    let (jars, logback) = (jars.join("*"), source("java/logback"));
    compile_java(folder, &[source("java"), logback.clone()], &jars);
    let path = [folder, &logback, &jars].map(|entry| entry.to_str().unwrap()).join(":");
    java(&path, "LogbackShop")
}

/// Returns the command of a short-lived program, which starts faster with a simple compiler and collector.
fn java(path: &str, class: &str) -> Vec<String> {
    let words = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path, class];
    words.map(str::to_owned).to_vec()
}

fn compile_java(into: &Path, folders: &[PathBuf], jars: &Path) {
    require("javac", "-version", "scripts/need javac default-jdk-headless openjdk");
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "java"));
    let mut javac = Command::new("javac");
    javac.args(["-encoding", "UTF-8", "-Xlint:all,-serial", "-Werror", "-cp"]).arg(jars);
    run(javac.arg("-d").arg(into).args(sources));
}

fn build_go(folder: &Path) -> Vec<String> {
    let (go, program) = (root().join("build/python-go/go/bin/go"), folder.join("shop"));
    assert!(go.is_file(), "no {}: run scripts/python-go", go.display());
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(source("go"));
    // Only this Go, without a network.
    build.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "").env("CGO_ENABLED", "0");
    // The standard library is compiled once.
    build
        .env("GOCACHE", root().join("build/go-cache"))
        .env("HOME", folder)
        .env("GOPATH", folder.join("path"));
    run(&mut build);
    command(&[&program])
}

fn source(path: &str) -> PathBuf {
    root().join("docs/services").join(path)
}

fn command(words: &[&Path]) -> Vec<String> {
    words.iter().map(|word| word.to_str().unwrap().to_owned()).collect()
}

fn require(program: &str, version: &str, how: &str) {
    let output = Command::new(program).arg(version).output();
    assert!(output.is_ok_and(|output| output.status.success()), "no {program}: run {how}");
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}
