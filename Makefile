.DEFAULT_GOAL := help
.PHONY: help demo test envoy-test w3c lint deny bench soak filter exporter image reproducible package clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

demo: filter ## two services behind Envoy, a few requests, and a page that shows them; ONCE=1 shows one trace and ends
	scripts/demo $(if $(ONCE),--once)

test: filter ## every test; the end-to-end ones run on a real Envoy
	scripts/test

envoy-test: filter ## the compose stack of envoy/ in containers: what goes through it, and what is lost when a part goes away (nothing)
	scripts/envoy-test

w3c: filter ## the W3C's own test suite for trace context; SUITE=a checkout of https://github.com/w3c/trace-context
	scripts/w3c-suite "$(SUITE)"

lint: ## format, clippy, documentation and shell scripts, all without a warning; the SDK with its oldest Rust
	scripts/lint

deny: ## licenses and sources of the dependencies
	scripts/deny

bench: filter ## what a line, a span and a request cost, beside other crates, rotel, and Envoy's own tracers
	scripts/bench

soak: filter ## ten million requests through an Envoy with the filter, and its memory meanwhile
	scripts/soak

filter: ## build/plugin.wasm, the module that Envoy loads
	scripts/wasm-build

exporter: ## target/release/logtracer-exporter
	cargo build --release -p logtracer-exporter

image: filter ## container images of exporter and module, the module as an OCI layout, bills of materials (build/image, build/sbom)
	scripts/image

reproducible: ## builds the module twice, in two folders, and compares the bytes
	scripts/reproducible

package: ## the crates as they would be published, each built from what is in its package
	scripts/package

clean: ## everything that was built
	cargo clean
	rm -rf build
