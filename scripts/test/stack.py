#!/usr/bin/env python3
"""The stack on a real Docker engine: brought up by the recipes a person types, signed in to by a real MCP client, taken down.

    stack.py [--keep]      --keep leaves it running afterwards

Uses a project, networks, volumes, images and secrets of its own, so that a stack that runs on this machine is not touched.
Where there is no engine, the script DOCKER_READY (or ../shared/tools/docker-ready) is run to get one.
Ends with a line `stack: N passed, N failed`.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import labels
import story

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "mcp-gateway-test"
PREBUILT = ROOT / "deploy" / "docker" / "prebuilt"
IMAGES = ("traefik:v3.7.15", "redis:7.4-bookworm", "python:3.12-slim-bookworm", "gcr.io/distroless/cc-debian12:nonroot")
# The images are Debian 12: what was built against a newer C library does not run in them.
IMAGE_GLIBC = (2, 36)
SERVICES = ("traefik", "auth", "redis", "mcp-fetch")


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


class Stack:
    """The recipes, with the settings of this test."""

    def __init__(self, place: Path, binaries: Path) -> None:
        self.port = story.free_port()
        self.password = secrets.token_urlsafe(12)
        self.binaries = binaries
        hashed = run([str(binaries / "mcp-auth"), "hash-password"], input=self.password).stdout.strip()
        (place / "env").write_text("")
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ},
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(place / "env"),
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}:{ROOT / 'scripts/test/stack.yml'}",
            "SECRETS_DIR": str(place / "secrets"),
            "IMAGE_TAG": "test",
            "DOMAIN": "localhost",
            "PUBLIC_SCHEME": "http",
            "PUBLIC_PORT": str(self.port),
            "HTTP_PORT": f"127.0.0.1:{self.port}",
            "HTTPS_PORT": f"127.0.0.1:{story.free_port()}",
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
        for program in ("mcp-auth", "mcp-proxy"):
            shutil.copy2(self.binaries / program, PREBUILT / program)
        return True

    def just(self, *arguments: str) -> str:
        # The time limit is for an engine that hangs; compiling inside takes minutes.
        done = run(["./justw", *arguments], env=self.environment, timeout=1800)
        return done.stdout + done.stderr

    def compose(self, *arguments: str) -> str:
        return run(["docker", "compose", *arguments], env=self.environment).stdout


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


def all_healthy(stack: Stack) -> None:
    lines = stack.just("ps", "--format", "json").splitlines()
    states = {entry["Service"]: entry["Health"] for entry in map(json.loads, lines)}
    assert states == dict.fromkeys(SERVICES, "healthy"), states


def inspect(stack: Stack, service: str) -> dict:
    container = stack.compose("ps", "--quiet", service).strip()
    return json.loads(run(["docker", "inspect", container]).stdout)[0]


def hardened(stack: Stack) -> None:
    for service in SERVICES:
        container = inspect(stack, service)
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"], f"{service}: {host}"
        if service in ("auth", "mcp-fetch"):
            assert container["Config"]["User"] == "65532:65532", f"{service} runs as {container['Config']['User']!r}"
    limits = inspect(stack, "mcp-fetch")["HostConfig"]
    assert limits["Memory"] == 512 << 20 and limits["PidsLimit"] == 256, limits


def no_secret_in_sight(stack: Stack, secrets_directory: Path) -> None:
    """Neither the configuration of a container nor the arguments of a process hold what is in the secrets."""
    for service in SERVICES:
        container = inspect(stack, service)
        shown = json.dumps(container["Config"]) + run(["docker", "top", container["Id"], "-eo", "pid,args"]).stdout
        for file in secrets_directory.iterdir():
            value = file.read_text()
            assert not value or value not in shown, f"{service} shows {file.name}"


def only_traefik_published(stack: Stack) -> None:
    for service in SERVICES:
        ports = inspect(stack, service)["NetworkSettings"]["Ports"]
        published = {port for port, hosts in ports.items() if hosts}
        assert published == ({"80/tcp", "443/tcp"} if service == "traefik" else set()), f"{service} publishes {published}"


def traefik_is_content(stack: Stack) -> None:
    lines = stack.just("logs", "traefik", "--no-log-prefix").splitlines()
    assert lines, "no log"
    wrong = [line for line in lines if line.startswith("{") and json.loads(line).get("level") in ("warn", "error")]
    assert not wrong, wrong


def logs_of_one(stack: Stack) -> None:
    text = stack.just("logs", "auth", "-n", "5")
    assert "auth-1" in text and "redis-1" not in text, text


def restarted(stack: Stack, *services: str) -> None:
    stack.just("restart", *services)
    stack.just("up")


def checks(stack: Stack, done: Checks, place: Path) -> None:
    done.check("labels say what traefik/dynamic says", labels.compare, stack.compose("config", "--format", "json"))
    done.check(".env.example names what the stack reads", labels.settings_documented)
    if not done.check("just build", stack.just, "build") or not done.check("just up", stack.just, "up"):
        raise Stop("the stack does not come up")
    done.check("just ps: all are healthy", all_healthy, stack)
    done.check("only Traefik has ports", only_traefik_published, stack)
    done.check("no privilege, nothing to write to, limits", hardened, stack)
    done.check("no secret in settings or arguments", no_secret_in_sight, stack, place / "secrets")
    done.check("without a token: 401 and the way to one", story.challenge, stack.port)
    done.check("/verify has no route", story.no_verify, stack.port)
    gateway = json.loads(run(["docker", "network", "inspect", f"{PROJECT}-edge"]).stdout)[0]["IPAM"]["Config"][0]["Gateway"]
    with story.page(gateway) as page, story.Client(stack.port, page, stack.password, place / "client.log") as client:
        if done.check("a client signs in and calls fetch", client.sign_in_and_fetch):
            done.check("it refreshes", client.refresh)
            done.check("just restart", restarted, stack)
            done.check("its token outlives the restart of every service", client.token_works)
            done.check("once revoked, the next call ends at the sign-in", client.revoke)
    done.check("just logs auth -n 5", logs_of_one, stack)
    done.check("Traefik logs no warning and no error", traefik_is_content, stack)


def main() -> int:
    binaries = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug"
    done = Checks()
    stack = None
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        place = Path(name)
        try:
            engine()
            missing = [program for program in ("mcp-auth", "mcp-proxy") if not (binaries / program).exists()]
            if missing:
                raise Stop(f"{binaries / missing[0]} does not exist; run: cargo build --workspace --bins")
            stack = Stack(place, binaries)
            checks(stack, done, place)
        except (Stop, AssertionError) as why:
            done.failed += 1
            print(f"stack: FAILED {why}", flush=True)
        if stack and done.failed:
            print(run(["docker", "compose", "logs", "--tail", "40"], env=stack.environment, check=False).stdout, flush=True)
        if stack and "--keep" not in sys.argv:
            done.check("just down --volumes", stack.just, "down", "--volumes")
    print(f"stack: {done.passed} passed, {done.failed} failed", flush=True)
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
