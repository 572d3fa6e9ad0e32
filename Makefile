.DEFAULT_GOAL := help
.PHONY: help demo test envoy-test w3c lint deny bench screenshots soak memcheck mutants filter native exporter image reproducible package clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

demo: filter ## run two services behind Envoy and show a trace of them; ONCE=1 shows one trace and exits
	scripts/demo $(if $(ONCE),--once)

test: filter ## run every test; the end-to-end tests need a real Envoy
	scripts/test

envoy-test: filter ## check the compose stack of envoy/ in containers, also while a part of it is down
	scripts/envoy-test

w3c: filter ## run the W3C's test suite for trace context; SUITE=a checkout of https://github.com/w3c/trace-context
	scripts/w3c-suite "$(SUITE)"

lint: ## check format, clippy, documentation and shell scripts, and the SDK with its oldest Rust
	scripts/lint

deny: ## check licenses and sources of the dependencies
	scripts/deny

bench: filter ## measure a line, a span and a request beside other crates, rotel and Envoy's own tracers
	scripts/bench

screenshots: ## take the pictures of the viewer in docs/images, with Chromium
	scripts/screenshots

soak: filter ## send requests through the whole chain while parts of it fail, and account for each of them; SOAK="--minutes 20"
	scripts/soak $(SOAK)

memcheck: ## send a million requests through the native module under valgrind (an hour); MEMCHECK="--requests 20000"
	scripts/native-memcheck $(MEMCHECK)

mutants: ## change core and the filter's logic at each place and list the changes that no test notices (an hour)
	scripts/mutants

filter: ## build build/plugin.wasm, the module for Envoy
	scripts/wasm-build

native: ## build build/liblogtracer.so, the filter as a native module for Envoy 1.38 and newer
	scripts/native-build

exporter: ## build target/release/logtracer-exporter
	cargo build --release -p logtracer-exporter

image: filter ## build the images of exporter and modules, the modules as OCI layouts, and bills of materials (build/image, build/sbom)
	scripts/image

reproducible: ## build the modules twice in two folders and compare the bytes
	scripts/reproducible

package: ## package the published crates and build each from its package
	scripts/package

clean: ## remove everything that was built
	cargo clean
	rm -rf build
