# Everything a person types. `./justw RECIPE` works without just installed; `just` alone lists.

set shell := ["bash", "-euo", "pipefail", "-c"]

compose := "docker compose"

_default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Run the whole gateway on this machine, without Docker; more MCP servers as 'NAME=COMMAND'
[group('dev')]
[no-exit-message]
[positional-arguments]
dev *arguments:
    @exec python3 scripts/dev/main.py "$@"

# Formatting, lints, licences: what CI refuses
[group('dev')]
check: _fmt-check lint deny

# Format the code
[group('dev')]
fmt:
    cargo fmt --all

_fmt-check:
    cargo fmt --all --check

# Lints of all crates, warnings are errors
[group('dev')]
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences, forbidden crates, sources, advisories (needs cargo-deny)
[group('dev')]
[no-exit-message]
deny:
    @python3 scripts/test/deny.py

# Install what the tests need into .tools/
[group('dev')]
[no-exit-message]
tools:
    @python3 scripts/tools.py test

# Run all tests, installing what they need
[group('test')]
[no-exit-message]
test:
    @exec python3 scripts/test/main.py

# Unit and boundary tests of one crate: just test-crate store
[group('test')]
test-crate crate *arguments:
    cargo test --locked --package {{ crate }} {{ arguments }}

# The official MCP conformance suite against mcp-proxy
[group('test')]
conformance: tools
    cargo build --locked --workspace --bins
    cargo test --locked --package it conformance -- --nocapture --test-threads=1

# Speed and memory of mcp-proxy, beside a handler without a child and another bridge
[group('test')]
bench-proxy *arguments:
    cargo build --release --locked --package mcp-proxy --package bench
    [ -x .tools/bench/bin/mcp-proxy ] || cargo install --quiet --locked --root .tools/bench mcp-proxy --version 0.6.0
    @target/release/bench-proxy {{ arguments }}

# The stack on Docker: brought up, signed in to, used, taken down
[group('test')]
[no-exit-message]
test-stack:
    @python3 scripts/test/stack.py

# Start the stack, build what is missing
[group('run')]
up *arguments: _docker _secrets
    {{ compose }} up --detach --wait {{ arguments }}

# Stop the stack; --volumes also deletes its data
[group('run')]
down *arguments: _docker
    {{ compose }} down {{ arguments }}

# State of every service
[group('run')]
ps *arguments: _docker
    @{{ compose }} ps {{ arguments }}

# Logs: just logs [SERVICE] [flags of docker compose logs, such as --follow, --since 10m, -n 100]
[group('run')]
[no-exit-message]
logs *arguments: _docker
    @{{ compose }} logs {{ arguments }}

# Restart one service, or all
[group('run')]
restart *services: _docker
    {{ compose }} restart {{ services }}

# Build the images
[group('run')]
build *arguments: _docker _secrets
    {{ compose }} build {{ arguments }}

# Run a command in a service: just exec auth mcp-auth config
[group('run')]
exec service *command: _docker
    {{ compose }} exec {{ service }} {{ command }}

[no-exit-message]
_docker:
    @docker compose version >/dev/null 2>&1 || { echo 'just: Docker with Compose v2 is not installed; see https://docs.docker.com/engine/install/ (./justw dev needs no Docker)' >&2; exit 1; }
    @docker info >/dev/null 2>&1 || { echo 'just: the Docker engine does not answer; start it (systemctl start docker) or join the docker group' >&2; exit 1; }

_secrets:
    @python3 scripts/stack/make_secrets.py

# Documentation of the crates, in target/doc
[group('docs')]
doc:
    cargo doc --workspace --no-deps --locked --document-private-items

# Release binaries, in target/release
[group('release')]
release:
    cargo build --release --locked --package auth --package mcp-proxy --package mcp-echo
