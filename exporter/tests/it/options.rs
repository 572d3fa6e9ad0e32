//! The options in `--help`, and in docs/exporter.md.

use std::process::Command;

use clap::CommandFactory;
use logtracer_exporter::Config;

fn output_of(option: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOGTRACER_")) {
        command.env_remove(name);
    }
    let output = command.arg(option).output().expect("the program starts");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Returns each option with its environment variable and its default, as a row of the document.
fn rows() -> Vec<String> {
    let command = Config::command();
    let options = command.get_arguments().filter(|option| option.get_env().is_some());
    let row = |option: &clap::Arg| {
        let name = option.get_long().expect("a long name");
        let value = option.get_value_names().expect("a value")[0].as_str();
        let variable = option.get_env().and_then(|name| name.to_str()).expect("a variable");
        let default = option.get_default_values().first().and_then(|value| value.to_str());
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        format!("| `--{name} {value}` | `{variable}` | {default} |").replace("|  |", "| |")
    };
    options.map(row).collect()
}

#[test]
fn exactly_the_existing_options_are_documented() {
    let document = include_str!("../../../docs/exporter.md");
    let documented: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| `--") && line.contains("LOGTRACER_")).collect();
    assert_eq!(documented, rows());
}

#[test]
fn an_empty_variable_is_not_set() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
    let of_traces = Config::command().find_subcommand("traces").cloned().expect("a command");
    for option in Config::command().get_arguments().chain(of_traces.get_arguments()) {
        if let Some(name) = option.get_env() {
            command.env(name, "");
        }
    }
    // The command asks an exporter that is not there.
    let output =
        command.args(["traces", "--server", "http://127.0.0.1:9"]).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("127.0.0.1:9") && !error.contains("invalid value"), "{error}");
}

#[test]
fn help_shows_each_option_with_its_default_and_its_variable() {
    let help = output_of("--help").split_whitespace().collect::<Vec<_>>().join(" ");
    for option in Config::command().get_arguments().filter(|option| option.get_env().is_some()) {
        let name = option.get_long().unwrap();
        let value = option.get_value_names().unwrap()[0].as_str();
        assert!(help.contains(&format!("--{name} <{value}>")), "{name}");
        let variable = option.get_env().unwrap().to_str().unwrap();
        assert!(help.contains(&format!("[env: {variable}")), "{variable}");
        for default in option.get_default_values() {
            let default = default.to_str().unwrap();
            assert!(help.contains(&format!("[default: {default}]")), "{name}: {default}");
        }
    }
    for variable in
        ["GOOGLE_APPLICATION_CREDENTIALS", "OTEL_EXPORTER_OTLP_HEADERS", "SSL_CERT_FILE", "HTTPS_PROXY"]
    {
        assert!(help.contains(variable), "{variable}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(output_of("--version"), format!("logtracer-exporter {}\n", env!("CARGO_PKG_VERSION")));
}
