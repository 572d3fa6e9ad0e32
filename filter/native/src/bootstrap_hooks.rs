//! The hooks of the bootstrap extension, which Envoy finds by their names. The extension is optional: with it, Envoy
//! delivers the spans that the filter holds before it exits, and the filter's configuration can come through ECDS.

use core::ptr;

use crate::abi::{self, EnvoyBuffer, EnvoyHeader, EnvoyPtr};
use crate::filter_hooks::{check_name, reject, response};
use crate::guard::guard;
use crate::process;

/// What Envoy owns for the extension. It has no state of its own.
struct Extension;

static EXTENSION: Extension = Extension;

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_new(
    config: EnvoyPtr,
    name: EnvoyBuffer,
    json: EnvoyBuffer,
) -> *const Extension {
    guard(ptr::null(), || {
        // SAFETY: Envoy keeps both texts until the hook returns.
        let (name, json) = unsafe { (name.as_slice(), json.as_slice()) };
        let is_empty = json.trim_ascii().is_empty() || json == b"{}";
        let unexpected =
            || Err("extension_config: expected nothing, because the extension has no keys".to_owned());
        let checked = check_name("extension_name", name);
        if let Err(reason) = checked.and_then(|()| if is_empty { Ok(()) } else { unexpected() }) {
            reject(&reason);
            return ptr::null();
        }
        // SAFETY: this is the hook that creates a configuration. Envoy waits for the call before it starts its workers.
        unsafe { abi::bootstrap_signal_init_complete(config) };
        // SAFETY: the same.
        unsafe { process::set_bootstrap(config) };
        &raw const EXTENSION
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_destroy(_: *const Extension) {
    guard((), process::remove_bootstrap);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_http_callout_done(
    _: EnvoyPtr,
    _: *const Extension,
    id: u64,
    result: u32,
    headers: *const EnvoyHeader,
    headers_length: usize,
    chunks: *const EnvoyBuffer,
    chunks_length: usize,
) {
    guard((), || {
        // SAFETY: Envoy keeps the headers and the body until the hook returns.
        let response = unsafe { response(result, (headers, headers_length), (chunks, chunks_length)) };
        process::respond(process::BOOTSTRAP, id, response.as_ref());
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_scheduled(
    _: EnvoyPtr,
    _: *const Extension,
    _: u64,
) {
    guard((), process::run);
}

/// Envoy exits. It serves requests and runs callouts until the extension calls `completion`.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_shutdown(
    _: EnvoyPtr,
    _: *const Extension,
    completion: extern "C" fn(EnvoyPtr),
    context: EnvoyPtr,
) {
    guard((), || process::shut_down(completion, context));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_new(
    config: *const Extension,
    _: EnvoyPtr,
) -> *const Extension {
    config
}

/// Hooks that Envoy demands, for what the extension does not do.
mod unused {
    #![allow(unused_variables, reason = "the names are those of Envoy's documentation")]

    use super::{EnvoyBuffer, EnvoyPtr, Extension};

    /// Defines hooks that do nothing.
    macro_rules! unused {
        ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ident: $value:expr)?;)*) => {$(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) $(-> $result)? {
                $($value)?
            }
        )*};
    }

    unused! {
        envoy_dynamic_module_on_bootstrap_extension_destroy(extension: *const Extension);
        envoy_dynamic_module_on_bootstrap_extension_server_initialized(envoy: EnvoyPtr, extension: *const Extension);
        envoy_dynamic_module_on_bootstrap_extension_worker_thread_initialized(
            envoy: EnvoyPtr, extension: *const Extension);
        envoy_dynamic_module_on_bootstrap_extension_drain_started(envoy: EnvoyPtr, extension: *const Extension);
        envoy_dynamic_module_on_bootstrap_extension_timer_fired(
            envoy: EnvoyPtr, config: *const Extension, timer: EnvoyPtr);
        envoy_dynamic_module_on_bootstrap_extension_file_changed(
            envoy: EnvoyPtr, config: *const Extension, path: EnvoyBuffer, events: u32);
        envoy_dynamic_module_on_bootstrap_extension_admin_request(
            envoy: EnvoyPtr, config: *const Extension, method: EnvoyBuffer, path: EnvoyBuffer, body: EnvoyBuffer)
            -> u32: 404;
        envoy_dynamic_module_on_bootstrap_extension_cluster_add_or_update(
            envoy: EnvoyPtr, config: *const Extension, name: EnvoyBuffer);
        envoy_dynamic_module_on_bootstrap_extension_cluster_removal(
            envoy: EnvoyPtr, config: *const Extension, name: EnvoyBuffer);
        envoy_dynamic_module_on_bootstrap_extension_listener_add_or_update(
            envoy: EnvoyPtr, config: *const Extension, name: EnvoyBuffer);
        envoy_dynamic_module_on_bootstrap_extension_listener_removal(
            envoy: EnvoyPtr, config: *const Extension, name: EnvoyBuffer);
    }
}
