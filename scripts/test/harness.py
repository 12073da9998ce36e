"""What the tests of the stack stand on: a Docker engine, the recipes with settings of their own, and a count of checks."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import story

ROOT = Path(__file__).resolve().parent.parent.parent
# Another name where somebody else on this machine may run the same.
PROJECT = os.environ.get("STACK_PROJECT") or "mcp-gateway-test"
PREBUILT = ROOT / "deploy" / "docker" / "prebuilt"
IMAGES = ("traefik:v3.7.15", "redis:7.4-bookworm", "python:3.12-slim-bookworm", "node:22-bookworm-slim", "debian:bookworm-slim",
          "gcr.io/distroless/cc-debian12:nonroot")
# The images are Debian 12: what was built against a newer C library does not run in them.
IMAGE_GLIBC = (2, 36)
MCP = ("mcp-echo", "mcp-everything", "mcp-fetch", "mcp-fetchs", "mcp-memory", "mcp-time")
# Turned on for one check: thirteen containers that are asked for their health every second leave little of two processors.
MORE_MCP = ("mcp-filesystem", "mcp-playwright", "mcp-sequentialthinking", "mcp-tmux")


class Stop(Exception):
    """The rest of the checks makes no sense."""


def engine() -> None:
    """A Docker engine with Compose, or one line that says that there is none."""
    if shutil.which("docker") and run(["docker", "info"], check=False).returncode == 0 and run(["docker", "compose", "version"], check=False).returncode == 0:
        present = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout.split()
        if not any(line.startswith("localhost/standin-") for line in present):
            return  # An engine with a registry behind it.
    ready = Path(os.environ.get("DOCKER_READY") or ROOT.parent / "shared" / "tools" / "docker-ready")
    if not ready.exists():
        raise Stop("no Docker engine answers; install Docker with Compose v2 and start it")
    print("stack: preparing a Docker engine and its base images (the first time takes a minute or two)", flush=True)
    done = run([str(ready), *IMAGES], check=False)
    if done.returncode != 0:
        raise Stop(f"{ready.name}: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")


def run(command: list[str], *, check: bool = True, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


def switched(names: tuple[str, ...], *, on: bool) -> dict[str, str]:
    """As a person writes it into .env."""
    return {f"{name.upper().replace('-', '_')}_ENABLED": str(on).lower() for name in names}


class Stack:
    """The recipes, with the settings of this test."""

    def __init__(self, place: Path, binaries: Path) -> None:
        self.port = story.free_port()
        self.password = secrets.token_urlsafe(12)
        self.binaries = binaries
        hashed = run([str(binaries / "mcp-auth"), "hash-password"], input=self.password).stdout.strip()
        (place / "env").write_text("")
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST", "GATEWAY_TOOLS") if name in os.environ},
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(place / "env"),
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}:{ROOT / 'scripts/test/stack.yml'}",
            "STACK_ADDED": str(place / "added"),
            "CONFIG_DIR": str(place / "config"),
            "BACKUP_DIR": str(place / "backups"),
            "SECRETS_DIR": str(place / "secrets"),
            **switched(MCP, on=True),
            "IMAGE_TAG": PROJECT,
            "DOMAIN": "localhost",
            "PUBLIC_SCHEME": "http",
            "PUBLIC_PORT": str(self.port),
            "HTTP_PORT": f"127.0.0.1:{self.port}",
            "HTTPS_PORT": f"127.0.0.1:{story.free_port()}",
            # One person plays many clients here.
            "LIMIT_REGISTER": "200",
            # Where the doctor's client in a browser comes from.
            "MCP_CORS_ORIGINS": "http://localhost:6274",
            "IDENTITY_PROVIDER": "local",
            "LOCAL_USERS": f"tester:{hashed}",
            "BINARIES": "prebuilt" if self.use_prebuilt() else "build",
        }
        if run(["docker", "image", "inspect", "localhost/standin-base:bookworm"], check=False).returncode == 0:
            self.environment["REDIS_USER"] = "0:0"  # The stand-in's /data belongs to root.

    def use_prebuilt(self) -> bool:
        """Copying what the tests have built saves compiling everything again inside; where it would not run, that is done."""
        name, version = platform.libc_ver()
        if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) > IMAGE_GLIBC:
            return False
        PREBUILT.mkdir(exist_ok=True)
        shutil.copy2(self.binaries / "mcp-auth", PREBUILT / "mcp-auth")
        # mcp-proxy has to run in any image, also in one that holds nothing else: linked as for the images, with the libraries that are there already.
        print("stack: building mcp-proxy with its C library inside", flush=True)
        programs = ("mcp-proxy", "mcp-echo")
        # A cache of compilations knows rustc, not what we put in front of it.
        environment = {name: value for name, value in os.environ.items() if name != "RUSTC_WRAPPER"}
        run(["cargo", "build", "--quiet", "--locked", "--workspace", *(part for program in programs for part in ("--bin", program))],
            env=environment | {"RUSTC_WORKSPACE_WRAPPER": str(ROOT / "deploy" / "docker" / "rustc.sh")})
        for program in programs:
            shutil.copy2(self.binaries / program, PREBUILT / program)
        return True

    def just(self, *arguments: str) -> str:
        # The time limit is for an engine that hangs; compiling inside takes minutes.
        done = run(["./justw", *arguments], env=self.environment, timeout=1800)
        return done.stdout + done.stderr

    def compose(self, *arguments: str) -> str:
        return run([sys.executable, "scripts/stack/docker_compose.py", *arguments], env=self.environment).stdout


class Checks:
    """Runs named checks and counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def check(self, name: str, action, *arguments: object) -> object:
        start = time.monotonic()
        try:
            result = action(*arguments)
        except (AssertionError, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as error:
            self.failed += 1
            print(f"stack: FAILED {name}: {error}", flush=True)
            return None
        self.passed += 1
        print(f"stack: ok {name} ({time.monotonic() - start:.1f} s)", flush=True)
        return result if result is not None else True
