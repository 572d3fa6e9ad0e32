//! Startup: an error is one line that names its cause.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Exporter, command, run_to_exit};

#[tokio::test]
async fn health_and_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for path in ["/healthz", "/readyz"] {
        let response = exporter.get(path).await;
        assert_eq!(
            (response.status().as_u16(), response.text().await.unwrap().as_str()),
            (200, "ok"),
            "{path}"
        );
    }
    assert!(
        exporter.get("/metrics").await.text().await.unwrap().contains("logtracer_exporter_outbox_bytes 0")
    );
}

#[test]
fn an_unknown_sink_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "kafka"]);
    let (code, stderr) = run_to_exit(command);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("for '--sink <NAME>': unknown sink \"kafka\"; expected one of store"),
        "{stderr}"
    );
}

#[test]
fn a_password_is_not_printed() {
    for source in ["option", "environment"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        match source {
            "option" => command.args(["--sink", "otlp=grpc://me:secret@tempo:4317"]),
            _ => command.env("LOGTRACER_SINK", "otlp=grpc://me:secret@tempo:4317"),
        };
        let (code, stderr) = run_to_exit(command);
        assert_eq!(code, Some(2), "{source}");
        assert!(
            stderr.contains("a user in the URL is supported for http and https only"),
            "{source}: {stderr}"
        );
        assert!(!stderr.contains("secret"), "{source}: {stderr}");
    }
}

#[test]
fn headers_for_one_receiver_are_not_sent_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret");
    command.args(["--sink", "otlp=http://one.example:4318", "--sink", "otlp=grpc://other.example:4317"]);
    let (code, stderr) = run_to_exit(command);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("would be sent to one.example and to other.example"), "{stderr}");
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn invalid_values_are_rejected_with_the_expected_format() {
    for (option, value, expected) in [
        ("--http", "localhost", "expected an IP address and a port"),
        ("--retention-age", "72", "expected a duration above zero with its unit"),
        ("--outbox-max-bytes", "much", "expected a size above zero"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        command.arg("--data-dir").arg(dir.path()).args([option, value]);
        let (code, stderr) = run_to_exit(command);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(option) && stderr.contains(value) && stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn options_come_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("LOGTRACER_SINK", "pigeon");
    let (code, stderr) = run_to_exit(command);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("unknown sink \"pigeon\""), "{stderr}");
}

#[test]
fn an_address_in_use_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let all = ["--http", "--grpc", "--view"];
    for option in all {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        command.arg("--data-dir").arg(dir.path()).args([option, &address]);
        for other in all.into_iter().filter(|other| *other != option) {
            command.args([other, "127.0.0.1:0"]);
        }
        let (code, stderr) = run_to_exit(command);
        assert_eq!(code, Some(1));
        let expected = format!("cannot listen on {address} ({option}): Address already in use");
        assert!(stderr.starts_with(&expected), "{stderr}");
    }
}

#[test]
fn two_exporters_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Exporter::start(dir.path());
    let (code, stderr) = run_to_exit(command(dir.path()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is in use by another exporter (--data-dir)"), "{stderr}");
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A read of a FIFO blocks for ever, `/dev/zero` has no end, and nobody has a token of 1 GB.
#[test]
fn a_file_of_an_option_has_to_be_a_regular_file_of_limited_size() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    mkfifo(&file("fifo"));
    std::fs::create_dir(file("folder")).unwrap();
    std::fs::File::create(file("large")).unwrap().set_len(1 << 30).unwrap();
    std::os::unix::fs::symlink(file("loop"), file("loop")).unwrap();
    std::os::unix::fs::symlink(file("fifo"), file("link")).unwrap();
    let cases = [
        (file("fifo"), "is not a regular file"),
        (file("link"), "is not a regular file"),
        (file("folder"), "is not a regular file"),
        ("/dev/zero".into(), "is not a regular file"),
        (file("large"), "is longer than 1048576 bytes"),
        (file("loop"), "Too many levels of symbolic links"),
        (file("absent"), "No such file or directory"),
    ];
    for (path, expected) in cases {
        for options in [&["--token-file"][..], &["--tls-cert", "--tls-key"]] {
            let mut command = command(&file("data"));
            for option in options {
                command.arg(option).arg(&path);
            }
            let (code, error) = run_to_exit(command);
            assert_eq!(code, Some(1), "{error}");
            let start = format!("cannot use {}: {}", options.join(" and "), path.display());
            assert!(error.starts_with(&start) && error.contains(expected), "{error}");
        }
    }
    for (variable, expected) in [
        ("SSL_CERT_FILE", "cannot use SSL_CERT_FILE: "),
        ("GOOGLE_APPLICATION_CREDENTIALS", "no credentials for Google Cloud: "),
    ] {
        let mut command = command(&file("data"));
        command.args(["--sink", "cloud-trace", "--project", "shop-1"]).env(variable, file("fifo"));
        let (code, error) = run_to_exit(command);
        assert_eq!(code, Some(1), "{error}");
        let expected = format!("{expected}{} is not a regular file", file("fifo").display());
        assert!(error.contains(&expected), "{error}");
    }
}

/// The previous tokens stay in use.
#[tokio::test]
async fn a_token_file_that_becomes_a_fifo_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--token-file").arg(&token);
    let mut exporter = Exporter::spawn(command);
    std::fs::remove_file(&token).unwrap();
    mkfifo(&token);
    let post = async || {
        let client = reqwest::Client::new();
        let request = client.post(format!("{}/v1/traces", exporter.http)).bearer_auth("s3cret");
        request.header("content-type", "application/x-protobuf").send().await.unwrap().status()
    };
    // The files are checked once a second.
    for _ in 0..3 {
        assert_eq!(post().await, 200);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    exporter.line("logtracer-exporter - failed to reload a file, the previous content stays in use");
}

/// None of these blocks the start, and each error names the file.
#[test]
fn a_data_directory_with_the_wrong_kind_of_files_is_rejected() {
    for (name, expected) in [
        ("outbox.db", "is not a regular file"),
        ("outbox.db-wal", "is not a regular file"),
        ("store.db", "is not a regular file"),
        ("dead-letters.db", "is not a regular file"),
        ("lock", "(--data-dir)"),
    ] {
        for make in [
            mkfifo,
            |path: &Path| std::fs::create_dir(path).unwrap(),
            |path: &Path| {
                std::os::unix::fs::symlink(path, path).unwrap();
            },
        ] {
            let dir = tempfile::tempdir().unwrap();
            make(&dir.path().join(name));
            let (code, error) = run_to_exit(command(dir.path()));
            assert_eq!(code, Some(1), "{error}");
            let is_loop = error.contains("Too many levels of symbolic links");
            assert!(error.contains(&dir.path().join(name).display().to_string()), "{name}: {error}");
            assert!(is_loop || error.contains(expected), "{name}: {error}");
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_one_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    mkfifo(&path("fifo"));
    for data_dir in [path("file"), path("loop"), path("fifo"), path("file/below"), "/proc/none".into()] {
        let (code, error) = run_to_exit(command(&data_dir));
        assert_eq!(code, Some(1), "{error}");
        let start = format!("failed to create the data directory {} (--data-dir): ", data_dir.display());
        assert!(error.starts_with(&start), "{error}");
    }
}

/// The exporter works without the reserve.
#[tokio::test]
async fn a_fifo_in_the_place_of_the_reserve_does_not_block_the_start() {
    let dir = tempfile::tempdir().unwrap();
    mkfifo(&dir.path().join("reserve"));
    let exporter = Exporter::start(dir.path());
    assert_eq!(exporter.get("/readyz").await.status(), 200);
}

#[test]
fn the_same_sink_twice_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "store", "--sink", "store"]);
    assert_eq!(run_to_exit(command), (Some(1), "duplicate --sink store".to_owned()));
}

/// Adds rows to a database, so that its check takes this long on this machine.
fn slow_down(database: &Path, target: Duration) {
    let database = Connection::open(database).unwrap();
    let check = || {
        let start = Instant::now();
        let verdict: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        start.elapsed()
    };
    // The check constraint of each row is a slow substring search.
    let table = "CREATE TABLE slow(n CHECK (instr(hex(zeroblob(n)), hex(zeroblob(n / 2)) || '1') = 0))";
    database.execute_batch(&format!("{table}; INSERT INTO slow VALUES (50000)")).unwrap();
    let row = (0..3).map(|_| check()).min().unwrap();
    let rows = target.as_micros() / row.as_micros().max(1);
    database.execute_batch("PRAGMA ignore_check_constraints = ON; BEGIN").unwrap();
    for _ in 0..rows {
        database.execute("INSERT INTO slow VALUES (50000)", []).unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn a_long_check_logs_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    Exporter::start(dir.path()).kill();
    let outbox = dir.path().join("outbox.db");
    slow_down(&outbox, Duration::from_secs(8));

    let mut exporter = command(dir.path()).spawn().unwrap();
    let lines = BufReader::new(exporter.stdout.take().unwrap()).lines();
    let until_ready: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .take_while(|line: &Value| line["message"] != "logtracer-exporter - ready")
        .collect();
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    let progress =
        until_ready.iter().find(|line| line["message"] == "logtracer-exporter - checking a database");
    let progress = progress.unwrap_or_else(|| panic!("{until_ready:?}"));
    assert_eq!(
        (&progress["severity"], &progress["path"]),
        (&"INFO".into(), &outbox.display().to_string().into())
    );
    assert!(
        progress["bytes"].as_u64().unwrap() > 0 && progress["seconds"].as_u64().unwrap() >= 5,
        "{progress}"
    );
}
