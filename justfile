# Everything a person types. `./justw RECIPE` works without just installed; `just` alone lists.

set shell := ["bash", "-euo", "pipefail", "-c"]

compose := "python3 scripts/stack/docker_compose.py"

import 'scripts/stack/old-names.just'

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

# Write the files that are made from the settings of the binaries: .env.example
[group('dev')]
gen:
    cargo build --locked --package auth --package mcp-proxy --bins
    @python3 scripts/generate/main.py

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

# Kill a process that writes to a store file, 200 times or so many
[group('test')]
test-kills times="200":
    STORE_TEST_KILLS={{ times }} cargo test --locked --package store what_was_answered_survives_kill_nine

# Measure a store file with 10 000 clients and 100 000 grants, and stores with a million grants
[group('test')]
test-size grants="1000000":
    cargo test --locked --package store a_large_store -- --ignored --nocapture
    STORE_TEST_GRANTS={{ grants }} cargo test --locked --release --package store many_grants -- --ignored --nocapture --test-threads 1

# The official MCP conformance suite against mcp-proxy
[group('test')]
conformance: tools
    cargo build --locked --workspace --bins
    cargo test --locked --package it conformance -- --nocapture --test-threads=1

# Speed and memory of mcp-proxy, a static binary as in the images, beside a handler without a child and another bridge
[group('test')]
bench-proxy *arguments:
    RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs' cargo build --release --locked --target "$(rustc --print host-tuple)" --package mcp-proxy --package bench
    [ -x .tools/bench/bin/mcp-proxy ] || cargo install --quiet --locked --root .tools/bench mcp-proxy --version 0.6.0
    @target/"$(rustc --print host-tuple)"/release/bench-proxy {{ arguments }}

# Speed, memory and start of mcp-auth, beside a handler that checks nothing (needs wrk and redis-server)
[group('test')]
[no-exit-message]
bench-auth *arguments: tools
    @command -v wrk >/dev/null || { echo 'just: wrk is not installed; apt-get install wrk, or brew install wrk' >&2; exit 1; }
    cargo build --release --locked --package bench
    cargo rustc --release --locked --package auth --bin mcp-auth -- -C link-arg=-Wl,-z,pack-relative-relocs
    @target/release/bench-auth {{ arguments }}

# Sessions, crashes, streams and clients that leave, for ten minutes or SECONDS: mcp-proxy must end as it began
[group('test')]
soak seconds="600":
    cargo build --release --locked --package mcp-proxy --package bench --package testkit --bins
    @target/release/soak-proxy {{ seconds }}

# One fuzz target until it fails, or for SECONDS; needs the nightly toolchain and cargo-fuzz: just fuzz envelope 60
[group('test')]
fuzz target seconds="0":
    mkdir -p fuzz/corpus/{{ target }}
    cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }}

# The stack on Docker: brought up, signed in to, used, taken down
[group('test')]
[no-exit-message]
test-stack:
    @python3 scripts/test/stack.py

# Ask what the stack needs, check it, write .env and make the secrets; can be run again
[group('run')]
[no-exit-message]
init:
    @python3 scripts/stack/init.py

# Start the stack, or some services; builds what is missing; flags of docker compose up
[group('run')]
[no-exit-message]
up *arguments: _docker _secrets
    @{{ compose }} up --detach --wait {{ arguments }}

# The stack on several machines: Docker Swarm, from the same files; `file` shows what it is given, `down` ends it
[group('run')]
[no-exit-message]
swarm *arguments: _docker _secrets
    @python3 scripts/stack/swarm.py {{ arguments }}

# Stop the stack; --volumes also deletes its data
[group('run')]
[no-exit-message]
down *arguments: _docker
    @{{ compose }} --profile '*' down {{ arguments }}

# Restart one service, or all, with the settings that .env has now
[group('run')]
[no-exit-message]
restart *services: _docker _secrets
    @{{ compose }} up --detach --wait --force-recreate --no-deps {{ services }}

# Build the images: all that are enabled, or the named ones
[group('run')]
[no-exit-message]
build *arguments: _docker _secrets
    @{{ compose }} build {{ arguments }}

# Get newer base images and build on them; then `just up`
[group('run')]
[no-exit-message]
pull: _docker
    @python3 scripts/stack/pull.py

# Pin the base images to what their tags mean now, as digests in .env
[group('run')]
[no-exit-message]
pin *flags: _docker
    @python3 scripts/stack/pin.py {{ flags }}

# Add an MCP server and start it, the others go on: just add notes -- npx -y @modelcontextprotocol/server-memory
[group('run')]
[no-exit-message]
[positional-arguments]
add *arguments: _docker _secrets
    @service=$(python3 scripts/stack/added.py add "$@") \
      && { {{ compose }} up --no-start "$service" || { python3 scripts/stack/added.py remove "$service"; echo "just: $service was not added: its image was not built, the reason stands above" >&2; exit 1; }; } \
      && { {{ compose }} up --detach --wait --no-recreate || { echo "just: $service is added all the same; just remove $service takes it out" >&2; exit 1; }; }

# Stop an added MCP server and forget it; its volume stays
[group('run')]
[no-exit-message]
[positional-arguments]
remove name: _docker
    @service=$(python3 scripts/stack/added.py find "$1") && {{ compose }} rm --stop --force "$service" && python3 scripts/stack/added.py remove "$service"

# The line with which each MCP client gets a service: just mcp-add [NAME]
[group('run')]
[no-exit-message]
mcp-add *name: _docker
    @python3 scripts/stack/clients.py {{ name }}

# An access token for a script, after a person agreed once: just token [SERVICE] [--url URL] [--json]
[group('run')]
[no-exit-message]
[positional-arguments]
token *arguments:
    @exec python3 scripts/stack/get_token.py "$@"

# Hash a password for LOCAL_USERS
[group('run')]
[no-exit-message]
hash-password: _docker _secrets
    @{{ compose }} run --rm --no-deps --no-TTY auth hash-password

# Run a command in a service, with tools that its image lacks: just exec auth curl -I https://api.github.com
[group('look')]
[no-exit-message]
[positional-arguments]
exec service *command: _docker
    @exec python3 scripts/stack/inside.py exec "$@"

# A shell in a service
[group('look')]
[no-exit-message]
shell service: _docker
    @exec python3 scripts/stack/inside.py shell '{{ service }}'

# State of every service
[group('look')]
[no-exit-message]
ps *arguments: _docker
    @{{ compose }} ps {{ arguments }}

# Logs: just logs [SERVICE] [flags of docker compose logs, such as --follow, --since 10m, -n 100]
[group('look')]
[no-exit-message]
logs *arguments: _docker
    @{{ compose }} logs {{ arguments }}

# Memory, processor and network of every service, once; -f goes on
[group('look')]
[no-exit-message]
stats *arguments: _docker
    @{{ compose }} stats {{ if arguments == "-f" { "" } else { "--no-stream " + arguments } }}

# Is every service up and well?
[group('look')]
[no-exit-message]
health-check: _docker
    @python3 scripts/stack/check.py health

# Are all settings right, also in the eyes of the authorization server?
[group('look')]
[no-exit-message]
validate-config: _docker _secrets
    @python3 scripts/stack/check.py config

# Are the compose files well formed, and every route guarded?
[group('look')]
[no-exit-message]
validate-compose: _docker
    @python3 scripts/stack/check.py compose

# Does .env say all that it must?
[group('look')]
[no-exit-message]
check-env: _docker
    @python3 scripts/stack/check.py env

# Can the services reach each other?
[group('look')]
[no-exit-message]
check-network: _docker
    @python3 scripts/stack/check.py network

# Are the ports to the outside ours, or free?
[group('look')]
[no-exit-message]
check-ports: _docker
    @python3 scripts/stack/check.py ports

# Do clients accept the certificates, and for how long?
[group('look')]
[no-exit-message]
check-ssl: _docker
    @python3 scripts/stack/check.py ssl

# One archive for whoever helps you, without secrets
[group('look')]
[no-exit-message]
diagnostic-bundle *file: _docker
    @python3 scripts/stack/bundle.py {{ file }}

# Versions of everything that takes part
[group('look')]
[no-exit-message]
version: _docker
    @python3 scripts/stack/version.py

# Write registrations, grants and sealed keys to backups/
[group('care')]
[no-exit-message]
backup: _docker _secrets
    @python3 scripts/stack/backup.py save

# The backups that there are
[group('care')]
[no-exit-message]
backup-list:
    @python3 scripts/stack/backup.py list

# Put a backup back, the newest if none is named; flags of mcp-auth restore: --dry-run, --clear
[group('care')]
[no-exit-message]
restore *arguments: _docker _secrets
    @python3 scripts/stack/backup.py restore {{ arguments }}

# Operators' commands of mcp-auth: just admin clients list, just admin users, just admin keys
[group('care')]
[no-exit-message]
[positional-arguments]
admin *arguments: _docker
    @exec python3 scripts/stack/inside.py exec auth mcp-auth "$@"

# What would a client trip over?
[group('look')]
[no-exit-message]
[positional-arguments]
doctor *arguments: _docker
    @exec python3 scripts/stack/doctor.py "$@"

# New signing keys and a new password of Redis, without a failed request
[group('care')]
[no-exit-message]
rotate-secrets: _docker _secrets
    @python3 scripts/stack/rotate.py

# Delete the stack with its data, secrets and images; asks first
[group('care')]
[no-exit-message]
clean-all *flags: _docker
    @python3 scripts/stack/clean.py {{ flags }}

[no-exit-message]
_docker:
    @python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { echo 'just: Python 3.9 or newer is needed; put a newer python3 first on the PATH' >&2; exit 1; }
    @docker compose version >/dev/null 2>&1 || { echo 'just: Docker with Compose v2 is not installed; see https://docs.docker.com/engine/install/ (./justw dev needs no Docker)' >&2; exit 1; }
    @docker info >/dev/null 2>&1 || { echo 'just: the Docker engine does not answer; start it (systemctl start docker) or join the docker group' >&2; exit 1; }

[no-exit-message]
_secrets:
    @python3 scripts/stack/make_secrets.py

# Documentation of the crates, in target/doc
[group('docs')]
doc:
    cargo doc --workspace --no-deps --locked --document-private-items

# The book of docs/, in target/book
[group('docs')]
[no-exit-message]
book *arguments:
    @python3 scripts/tools.py mdbook
    @"${GATEWAY_TOOLS:-.tools}/bin/mdbook" build docs {{ arguments }}

# Write docs/reference/ from the code; a test says when it is out of date
[group('docs')]
reference:
    cargo run --quiet --locked --package reference

# Release binaries, in target/release
[group('release')]
release:
    cargo build --release --locked --package auth --package mcp-proxy --package mcp-echo

# What our binaries are made of, as CycloneDX in sbom/
[group('release')]
[no-exit-message]
sbom:
    @python3 scripts/tools.py sbom
    @"${GATEWAY_TOOLS:-.tools}/bin/python-sbom" scripts/sbom.py
