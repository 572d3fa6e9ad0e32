# The filter as an image that Istio's WasmPlugin loads (url: oci://…): one layer, with plugin.wasm at its top.
# `docker push` and skopeo send the layer as a gzipped tar, as Istio requires.
FROM scratch
COPY plugin.wasm /plugin.wasm
