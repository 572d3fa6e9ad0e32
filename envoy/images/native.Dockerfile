# The native module as an image: one layer, with liblogtracer.so at its top. It is a volume of a pod, or the source of
# COPY --from. It has no program, so it cannot run as an init container.
FROM scratch
COPY liblogtracer.so /liblogtracer.so
