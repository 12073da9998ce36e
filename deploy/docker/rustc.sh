#!/bin/sh
# What cargo calls for our own crates (RUSTC_WORKSPACE_WRAPPER): rustc and its arguments. Each program is linked as its image needs it; cargo has no
# setting for one program, and flags for all would compile every library twice. Relocations in the packed form, which glibc 2.36 and newer read: less to
# read at each start (that of each MCP server passes through mcp-proxy), and to keep in memory.
case ${CARGO_BIN_NAME-} in
  # In any image, also in one that holds nothing else: with the C library inside.
  mcp-proxy | mcp-echo) exec "$@" -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs ;;
  mcp-auth) exec "$@" -C link-arg=-Wl,-z,pack-relative-relocs ;;
  *) exec "$@" ;;
esac
