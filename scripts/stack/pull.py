#!/usr/bin/env python3
"""Gets newer builds of the images that the stack rests on, and builds ours on them.

`docker compose build --pull` would do both, but it asks a registry for mcp-proxy too, which the images of the MCP servers copy: that is made here
and is in no registry.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from compose import StackError, configuration, enabled, run, start

# Arguments of the Dockerfiles that name an image.
BASES = ("BASE_IMAGE", "RUNTIME_IMAGE", "RUST_IMAGE")


def images() -> list[str]:
    """What the services that run are, or are built on."""
    services = configuration()["services"]
    found = set()
    for name in ("traefik", "redis", "auth", "mcp-proxy", *enabled()):
        build = services[name].get("build")
        if not build:
            found.add(services[name]["image"])
            continue
        arguments = build.get("args") or {}
        compiles = arguments.get("BINARIES") != "prebuilt"
        found |= {arguments[base] for base in BASES if arguments.get(base) and (compiles or base != "RUST_IMAGE")}
    return sorted(found)


def is_made_here(image: str) -> bool:
    """What came from a registry, or went to one, has a digest there."""
    done = run(["docker", "image", "inspect", "--format", "{{len .RepoDigests}}", image])
    return done.returncode == 0 and done.stdout.strip() == "0"


def main(_: list[str]) -> int:
    failed = []
    for image in images():
        if is_made_here(image):
            print(f"just: {image} is made on this machine, and stays", file=sys.stderr)
        elif subprocess.run(["docker", "pull", "--quiet", image], check=False).returncode != 0:
            failed.append(image)
    if failed:
        raise StackError(f"{', '.join(failed)} could not be pulled, the reason stands above; nothing was built")
    return subprocess.run([sys.executable, str(Path(__file__).with_name("docker_compose.py")), "build"], check=False).returncode


if __name__ == "__main__":
    start(main)
