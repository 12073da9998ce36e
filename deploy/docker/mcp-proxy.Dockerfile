# mcp-proxy as one static file, to be copied into any image:
#
#   COPY --from=mcp-gateway/mcp-proxy /mcp-proxy /usr/local/bin/mcp-proxy
#   ENTRYPOINT ["/usr/local/bin/mcp-proxy", "--"]
#
# mcp-echo, the diagnostic server, is beside it, so that this image by itself is the service mcp-echo.
# BINARIES=prebuilt copies them from deploy/docker/prebuilt/ instead of compiling.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BINARIES=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG GATEWAY_COMMIT
# A C library inside the binary needs none of the image's. The target is named because only then build scripts and macros,
# which are loaded by the compiler, are not linked that way too.
# Locked: cargo's own lock is not in the registry's directory, so two builds at once would unpack over each other.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=gateway-target,sharing=locked \
    host=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$host" --package mcp-proxy --package mcp-echo \
 && install -D -t /out "target/$host/release/mcp-proxy" "target/$host/release/mcp-echo"

FROM scratch AS prebuilt
COPY deploy/docker/prebuilt/mcp-proxy deploy/docker/prebuilt/mcp-echo /out/

FROM ${BINARIES} AS binaries

FROM scratch
ARG GATEWAY_COMMIT
LABEL org.opencontainers.image.title="mcp-proxy" \
      org.opencontainers.image.description="A stdio MCP server behind MCP Streamable HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${GATEWAY_COMMIT}"
COPY --from=binaries /out/mcp-proxy /out/mcp-echo /
# Numeric, so that an orchestrator can see that it is not root. Metrics and health stay on 127.0.0.1:9000.
USER 65532:65532
ENV HOST=0.0.0.0
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/mcp-proxy", "healthcheck"]
ENTRYPOINT ["/mcp-proxy", "--"]
CMD ["/mcp-echo"]
