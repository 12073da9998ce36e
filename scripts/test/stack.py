#!/usr/bin/env python3
"""The stack on a real Docker engine: brought up by the recipes a person types, signed in to by a real MCP client, taken down.

    stack.py [--keep]      --keep leaves it running afterwards

Then every command of docs/how-to/troubleshooting.md is taken from the page and run, and the stack is hurt: a service is killed, Redis stopped,
secrets are rotated, everything is deleted and restored from a backup.

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
import tarfile
import tempfile
import time
from pathlib import Path

import guide
import init
import labels
import services
import story
import swarm
from browser import ask

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "mcp-gateway-test"
PREBUILT = ROOT / "deploy" / "docker" / "prebuilt"
GUIDE = ROOT / "docs" / "how-to" / "troubleshooting.md"
IMAGES = ("traefik:v3.7.15", "redis:7.4-bookworm", "python:3.12-slim-bookworm", "node:22-bookworm-slim", "debian:bookworm-slim",
          "gcr.io/distroless/cc-debian12:nonroot")
# The images are Debian 12: what was built against a newer C library does not run in them.
IMAGE_GLIBC = (2, 36)
MCP = ("mcp-echo", "mcp-everything", "mcp-fetch", "mcp-fetchs", "mcp-memory", "mcp-time")
SERVICES = ("traefik", "auth", "redis", *MCP)


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
            "STACK_ADDED": str(place / "added"),
            "BACKUP_DIR": str(place / "backups"),
            "SECRETS_DIR": str(place / "secrets"),
            **{f"{name.upper().replace('-', '_')}_ENABLED": "true" for name in MCP},
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
        shutil.copy2(self.binaries / "mcp-auth", PREBUILT / "mcp-auth")
        # mcp-proxy has to run in any image, also in one that holds nothing else.
        target = f"{platform.machine()}-unknown-linux-gnu"
        print("stack: building mcp-proxy with its C library inside", flush=True)
        run(["cargo", "build", "--quiet", "--locked", "--target", target, "--package", "mcp-proxy", "--package", "mcp-echo"],
            env={**os.environ, "RUSTFLAGS": "-C target-feature=+crt-static"})
        for program in ("mcp-proxy", "mcp-echo"):
            shutil.copy2(self.binaries.parent / target / "debug" / program, PREBUILT / program)
        return True

    def just(self, *arguments: str) -> str:
        # The time limit is for an engine that hangs; compiling inside takes minutes.
        done = run(["./justw", *arguments], env=self.environment, timeout=1800)
        return done.stdout + done.stderr

    def compose(self, *arguments: str) -> str:
        return run([sys.executable, "scripts/stack/compose.py", *arguments], env=self.environment).stdout


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
        if service not in ("traefik", "redis"):
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


def restarted(stack: Stack, *names: str) -> None:
    stack.just("restart", *names)
    stack.just("up")


def added_and_removed(stack: Stack) -> None:
    """A new server in one line: reachable when `just add` returns, guarded like the others, gone after `just remove`."""
    stack.just("add", "notes", "--volume", "--env", "MEMORY_FILE_PATH=/data/memory.jsonl", "--", "npx", "-y", "@modelcontextprotocol/server-memory@2026.8.31")
    services.CALLS["mcp-notes"] = services.CALLS["mcp-memory"]
    services.call(stack.port, "mcp-notes", stack.password)
    for arguments, said in ((("add", "notes", "--", "npx", "x"), "is there already"), (("add", "Notes!", "--", "npx", "x"), "cannot be part of a host name"),
                            (("add", "other", "--", "my-server"), "--image"), (("remove", "fetch"), "was not added")):
        refused = run(["./justw", *arguments], env=stack.environment, check=False)
        assert refused.returncode != 0 and said in refused.stderr, f"just {' '.join(arguments)}: {refused.returncode} {refused.stderr}"
    stack.just("remove", "notes")
    assert "mcp-notes" not in stack.compose("ps", "--all")
    run(["docker", "volume", "rm", f"{PROJECT}_mcp-notes"])


def unguarded_is_found(stack: Stack, place: Path) -> None:
    """A route without its guard would be open to everybody: the check says so."""
    hole = place / "hole.yml"
    hole.write_text(json.dumps({"services": {"mcp-hole": {"image": "scratch", "labels": {"traefik.enable": "true", "traefik.http.routers.mcp-hole.rule": "Host(`x`)"}}}}))
    done = run(["./justw", "validate-compose"], env=stack.environment | {"COMPOSE_FILE": f"{stack.environment['COMPOSE_FILE']}:{hole}"}, check=False)
    assert done.returncode == 1 and "WRONG mcp-hole: its route mcp-hole would be open" in done.stdout, done.stdout + done.stderr


def bundle_has_no_secret(stack: Stack, place: Path) -> None:
    file = place / "bundle.tar.gz"
    stack.just("diagnostic-bundle", str(file))
    assert file.stat().st_mode & 0o077 == 0, oct(file.stat().st_mode)
    with tarfile.open(file) as archive:
        texts = {entry.name: archive.extractfile(entry).read().decode() for entry in archive if entry.isfile()}  # type: ignore[union-attr]
    for part in ("version.txt", "configuration.json", "check-health.txt", "auth-config.txt", "stats.txt", "logs/auth.log", "logs/mcp-fetch.log"):
        assert texts.get(f"diagnostics/{part}", "").strip(), f"{part} is empty"
    hidden = [path.read_text() for path in (place / "secrets").iterdir()] + [stack.environment["LOCAL_USERS"].split(":")[1], stack.password]
    for name, text in texts.items():
        assert not any(value and value in text for value in hidden), f"{name} shows a secret"


def killed(stack: Stack) -> None:
    """A service that dies is back by itself."""
    run(["docker", "kill", "--signal", "KILL", inspect(stack, "mcp-time")["Id"]])
    stack.just("up")
    services.call(stack.port, "mcp-time", stack.password)


def well_again(stack: Stack) -> None:
    """By itself, without a restart."""
    deadline = time.monotonic() + 30
    while (done := run(["./justw", "health-check"], env=stack.environment, check=False)).returncode != 0:
        assert time.monotonic() < deadline, done.stdout


def redis_away(stack: Stack) -> None:
    """No answer is wrong meanwhile, and nobody has to sign in again."""
    token = services.sign_in(stack.port, "mcp-time", stack.password)
    stack.compose("stop", "redis")
    answer = story.initialize(stack.port, "eyJhbGciOiJFUzI1NiJ9.e30.x", "mcp-time")
    assert answer.status in (401, 503), f"a forged token: {answer.status}"
    answer = ask("POST", f"http://auth.localhost:{stack.port}/token", body="grant_type=refresh_token&refresh_token=x&client_id=x",
                 headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status in (400, 401, 503), f"/token: {answer.status} {answer.body}"
    stack.compose("start", "redis")
    well_again(stack)
    services.Session(stack.port, "mcp-time", token).close()


def health_check_for_cron(stack: Stack) -> None:
    """Silent while all is well; says what is wrong, and fails, when something is."""
    def cron() -> subprocess.CompletedProcess[str]:
        return run(["scripts/health-check.sh"], env=stack.environment, check=False)
    well = cron()
    assert (well.returncode, well.stdout) == (0, ""), well.stdout
    stack.compose("stop", "mcp-time")
    wrong = cron()
    assert wrong.returncode == 1 and "WRONG mcp-time" in wrong.stdout, f"{wrong.returncode} {wrong.stdout}"
    stack.just("up")


def guide_of_operators(stack: Stack, done: Checks) -> None:
    tools = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools") / "bin"
    environment = stack.environment | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "AUTH": f"http://auth.localhost:{stack.port}",
                                       "SERVICE": f"http://mcp-fetch.localhost:{stack.port}"}
    for command in guide.commands(GUIDE):
        done.check(f"guide, line {command.line}: {command.text[:80]}", guide.run, command, ROOT, environment)


def checks(stack: Stack, done: Checks, place: Path) -> None:
    done.check("labels say what traefik/dynamic says", labels.compare, stack.compose("--profile", "*", "config", "--format", "json"))
    done.check(".env.example names what the stack reads", labels.settings_documented)
    done.check("just init without a terminal", init.without_terminal, place)
    done.check("just init at a terminal", init.at_a_terminal, place)
    if not done.check("just build", stack.just, "build") or not done.check("just up", stack.just, "up"):
        raise Stop("the stack does not come up")
    done.check("just ps: all are healthy", all_healthy, stack)
    done.check("only Traefik has ports", only_traefik_published, stack)
    done.check("no privilege, nothing to write to, limits", hardened, stack)
    done.check("no secret in settings or arguments", no_secret_in_sight, stack, place / "secrets")
    done.check("a route without a guard is found", unguarded_is_found, stack, place)
    done.check("without a token: 401 and the way to one", story.challenge, stack.port)
    done.check("/verify has no route", story.no_verify, stack.port)
    gateway = json.loads(run(["docker", "network", "inspect", f"{PROJECT}-edge"]).stdout)[0]["IPAM"]["Config"][0]["Gateway"]
    with story.page(gateway) as page, story.Client(stack.port, page, stack.password, place / "client.log") as client:
        if done.check("a client signs in and calls fetch", client.sign_in_and_fetch):
            done.check("it refreshes", client.refresh)
            done.check("just restart", restarted, stack)
            done.check("its token outlives the restart of every service", client.token_works)
            done.check("once revoked, the next call ends at the sign-in", client.revoke)
    for service in services.CALLS:
        done.check(f"a person signs in to {service} and calls a tool", services.call, stack.port, service, stack.password)
    done.check("just logs auth -n 5", logs_of_one, stack)
    done.check("Traefik logs no warning and no error", traefik_is_content, stack)
    done.check("just add, just remove", added_and_removed, stack)
    done.check("just diagnostic-bundle holds no secret", bundle_has_no_secret, stack, place)
    done.check("a killed service is back", killed, stack)
    done.check("Redis away and back", redis_away, stack)
    done.check("scripts/health-check.sh", health_check_for_cron, stack)
    guide_of_operators(stack, done)


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
            if not done.failed:
                swarm.checks(stack.environment, stack.password, done)
    print(f"stack: {done.passed} passed, {done.failed} failed", flush=True)
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
