//! Linker options of the module.

fn main() {
    // The module's threads run until Envoy exits, so its code stays loaded.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
