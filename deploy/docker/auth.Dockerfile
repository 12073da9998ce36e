# The authorization server. Builds by itself: docker build -f deploy/docker/auth.Dockerfile .
#
# BINARIES=prebuilt copies deploy/docker/prebuilt/mcp-auth instead of compiling (built on Debian 12 or older).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG BINARIES=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG GATEWAY_COMMIT
# Relocations in the packed form, which glibc 2.36 and newer read: half a MiB less to read at each start, and to keep in memory.
# Locked: cargo's own lock is not in the registry's directory, so two builds at once would unpack over each other.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=gateway-target,sharing=locked \
    cargo rustc --release --locked --package auth --bin mcp-auth -- -C link-arg=-Wl,-z,pack-relative-relocs \
 && install -D target/release/mcp-auth /out/mcp-auth

FROM scratch AS prebuilt
COPY deploy/docker/prebuilt/mcp-auth /out/mcp-auth

FROM ${BINARIES} AS binaries

FROM ${RUNTIME_IMAGE}
ARG GATEWAY_COMMIT
LABEL org.opencontainers.image.title="mcp-auth" \
      org.opencontainers.image.description="OAuth 2.1 authorization server of the MCP OAuth Gateway" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${GATEWAY_COMMIT}"
COPY --from=binaries /out/mcp-auth /usr/local/bin/mcp-auth
# Numeric, so that an orchestrator can see that it is not root.
USER 65532:65532
# Metrics and health stay on 127.0.0.1:9000, inside the container.
ENV HOST=0.0.0.0
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/mcp-auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-auth"]
CMD ["serve"]
