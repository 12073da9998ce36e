"""`just pull` with a `docker` in front of the real one that writes down what it is asked: there is no registry here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import init

# Only what Compose makes of the files is asked of the real one. `made-here` is an image without a digest, `gone` one that no registry has.
DOCKER = """#!/bin/sh
case "$*" in
  *" config "*) exec {docker} "$@" ;;
  "image inspect "*made-here) echo 0 ;;
  "image inspect "*) exit 1 ;;
  "pull "*gone) echo "manifest unknown" >&2; exit 1 ;;
esac
echo "$*" >>{log}
"""


def bases_are_pulled_and_ours_are_not(place: Path) -> None:
    there = init.copy(place / "pull")
    (there / ".env").write_text("DOMAIN=example.com\nACME_EMAIL=me@example.com\nMCP_TIME_ENABLED=true\n")
    log, programs = there / "log", there / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(docker=shutil.which("docker"), log=log))
    (programs / "docker").chmod(0o755)

    def pull(**images: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        log.write_text("")
        environment = init.environment("", **images) | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(Path.home())}
        command = [sys.executable, str(there / "scripts/stack/pull.py")]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return done, log.read_text().splitlines()

    for name in ("traefik", "secrets"):
        (there / name).mkdir()
    (there / "traefik" / "traefik.env").touch()
    (there / "traefik" / "https.env").touch()
    done, asked = pull(TRAEFIK_IMAGE="traefik:1", REDIS_IMAGE="redis:1", PYTHON_IMAGE="python:1", RUST_IMAGE="rust:1", RUNTIME_IMAGE="made-here", NODE_IMAGE="node:1")
    assert done.returncode == 0, done
    pulled = {line.split()[-1] for line in asked if line.startswith("pull ")}
    assert pulled == {"traefik:1", "redis:1", "python:1", "rust:1"}, asked
    assert asked[-1].endswith(" build") and not any("--pull" in line for line in asked), asked
    done, asked = pull(REDIS_IMAGE="gone")
    assert done.returncode == 1 and "gone could not be pulled" in done.stderr and not any(line.endswith(" build") for line in asked), (done, asked)
    shutil.rmtree(there)
