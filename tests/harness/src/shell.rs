//! The shell of the filter that the tests run: `LOGTRACER_SHELL` is `wasm` (the default) or `native`.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Error, Result, envoy};

/// A shell of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// The WebAssembly module.
    Wasm,
    /// The dynamic module of Envoy.
    Native,
}

impl Shell {
    /// Returns the prefix of the filter's metrics in Envoy.
    pub const fn metric_prefix(self) -> &'static str {
        match self {
            Shell::Wasm => "wasmcustom.",
            Shell::Native => "dynamicmodulescustom.",
        }
    }
}

thread_local! {
    static SELECTED: Cell<Option<Shell>> = const { Cell::new(None) };
    static ENVIRONMENT: RefCell<Vec<(&'static str, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// Sets variables in the environment of each Envoy that this thread starts.
pub fn set_environment(variables: &[(&'static str, &'static str)]) {
    ENVIRONMENT.set(variables.to_vec());
}

pub(crate) fn environment() -> Vec<(&'static str, &'static str)> {
    ENVIRONMENT.with_borrow(Clone::clone)
}

/// Selects a shell for this thread, whatever the environment selects.
pub fn select(shell: Shell) {
    SELECTED.set(Some(shell));
}

/// Returns the shell that the test or the environment selects.
pub fn shell() -> Shell {
    if let Some(selected) = SELECTED.get() {
        return selected;
    }
    match std::env::var("LOGTRACER_SHELL").as_deref() {
        Ok("native") => Shell::Native,
        Ok("wasm") | Err(_) => Shell::Wasm,
        Ok(other) => panic!("LOGTRACER_SHELL: expected wasm or native, found {other}"),
    }
}

/// Returns the name of one of the filter's metrics in Envoy.
pub fn metric(name: &str) -> String {
    format!("{}logtracer_{name}", metric_prefix())
}

/// Returns the prefix of the filter's metrics in Envoy.
pub fn metric_prefix() -> &'static str {
    shell().metric_prefix()
}

/// Returns the prefix of the filter's metrics in the format of Prometheus.
pub fn prometheus_prefix() -> &'static str {
    match shell() {
        Shell::Wasm => "",
        Shell::Native => "envoy_dynamicmodulescustom_",
    }
}

/// Returns the path of the native module: `LOGTRACER_NATIVE`, else the one that `make native` builds.
pub fn native_library() -> Result<PathBuf> {
    let path = std::env::var_os("LOGTRACER_NATIVE")
        .map_or_else(|| envoy::root().join("build/liblogtracer.so"), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::new(format!("no native module at {}; run `make native`", path.display())))
}

/// Returns the folder of the native module, in which Envoy looks for it.
pub(crate) fn native_folder() -> Result<PathBuf> {
    let library = native_library()?;
    Ok(library.parent().map_or_else(PathBuf::new, Path::to_owned))
}

/// Returns the configuration of the native module that Envoy loads.
pub fn native_module() -> Value {
    json!({ "name": "logtracer", "do_not_close": true })
}

/// Returns Envoy's `bootstrap_extensions` with the native module, which then delivers the spans before Envoy exits.
pub fn native_bootstrap() -> Value {
    json!([{ "name": "envoy.bootstrap.dynamic_modules", "typed_config": {
        "@type":
            "type.googleapis.com/envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension",
        "dynamic_module_config": native_module(),
        "extension_name": "logtracer",
    } }])
}

/// Adds what the native filter cannot know about its Envoy to the filter's configuration: a user writes it there.
pub(crate) fn native_config(filter: Option<&Value>, node: &Value, direction: &str) -> Result<Value> {
    let mut filter = filter.cloned().unwrap_or_else(|| json!({}));
    if !filter.is_object() {
        return Ok(filter); // the filter rejects it
    }
    if filter.get("service_name").is_none() {
        let labels = &node["metadata"]["LABELS"];
        let names = [&labels["service.istio.io/canonical-name"], &labels["app"], &node["cluster"]];
        filter["service_name"] = names.into_iter().find(|name| name.is_string()).cloned().unwrap_or_default();
    }
    let is_auto = filter.get("span_kind").is_none_or(|kind| kind == "auto");
    let is_gateway = node["id"].as_str().is_some_and(|id| id.starts_with("router~"));
    if is_auto && (is_gateway || envoy::version()? < (1, 40)) {
        let is_client = direction == "OUTBOUND" && !is_gateway;
        filter["span_kind"] = if is_client { "client" } else { "server" }.into();
    }
    Ok(filter)
}
