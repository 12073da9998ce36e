#!/usr/bin/env python3
"""The stack on a real Docker engine: brought up by the recipes a person types, signed in to by a real MCP client, taken down.

    stack.py [--keep]      --keep leaves it running until the next run, and says with which settings

Then every command of docs/how-to/troubleshooting.md is taken from the page and run, and the stack is hurt: a service is killed, Redis stopped,
secrets are rotated, everything is deleted and restored from a backup.

Uses a project, networks, volumes, images and secrets of its own, so that a stack that runs on this machine is not touched; what an earlier run
of this script left there, because it was killed or had --keep, is removed first.
Where there is no engine, the script DOCKER_READY (or ../shared/tools/docker-ready) is run to get one.
Ends with a line `stack: N passed, N failed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import containers
import device
import guide
import init
import labels
import leftovers
import old_names
import pin
import pull
import recovery
import refusals
import services
import story
import swarm
from harness import MCP, MORE_MCP, PROJECT, ROOT, Checks, Stack, Stop, engine, run, switched

GUIDE = ROOT / "docs" / "how-to" / "troubleshooting.md"


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
    """A new server in one line: reachable when `just add` returns, guarded like the others, gone after `just remove`. Nobody else notices."""
    services.CALLS["mcp-notes"] = services.CALLS["mcp-memory"]
    before = containers.started()
    with services.Caller(stack.port, "mcp-echo", stack.password):
        stack.just("add", "notes", "--volume", "--env", "MEMORY_FILE_PATH=/data/memory.jsonl", "--", "npx", "-y", "@modelcontextprotocol/server-memory@2026.8.31")
        services.call(stack.port, "mcp-notes", stack.password)
        added, shared = (containers.variables(service) for service in ("mcp-notes", "mcp-echo"))
        assert shared.items() <= added.items(), f"an added server gets other settings: {shared.items() - added.items()}"
        adding_again_is_refused(stack)
        stack.just("remove", "notes")
    assert containers.started() == before, "a container was made anew"
    assert "mcp-notes" not in stack.compose("ps", "--all")
    assert "mcp-notes" not in (Path(stack.environment["CONFIG_DIR"]) / "services").read_text()
    run(["docker", "volume", "rm", f"{PROJECT}_mcp-notes"])


def adding_again_is_refused(stack: Stack) -> None:
    for arguments, said in ((("add", "notes", "--", "npx", "x"), "is there already"), (("add", "Notes!", "--", "npx", "x"), "cannot be part of a host name"),
                            (("add", "other", "--", "my-server"), "--image")):
        refusals.refused(stack, arguments, {}, said)


def neighbours_are_strangers(stack: Stack) -> None:
    """Code in the container of one server cannot call another in somebody's name; what Traefik sends is believed."""
    claims = [part for name in ("Subject", "Login", "Client", "Scope") for part in ("-H", f"X-Auth-{name}: somebody")]
    for source, status in (("mcp-time", "403"), ("mcp-fetch", "403"), ("traefik", "404")):
        said = stack.just("exec", source, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: localhost", *claims, "http://mcp-fetch:3000/elsewhere")
        assert said.strip().endswith(status), (source, said)
    # It has no mcp-proxy that would refuse them: they do not reach it, under whichever address.
    address = containers.inspect("mcp-fetchs")["NetworkSettings"]["Networks"][f"{PROJECT}-fetchs"]["IPAddress"]
    reach = ["curl", "-sS", "-o", "/dev/null", "--connect-timeout", "3", f"http://{address}:3000/"]
    stack.just("exec", "traefik", *reach)
    for source in ("mcp-time", "auth"):
        done = run(["./justw", "exec", source, *reach], env=stack.environment, check=False)
        assert done.returncode in (7, 28), f"{source} reaches mcp-fetchs: {done.returncode} {done.stderr}"


def unguarded_is_found(stack: Stack, place: Path) -> None:
    """A route without its guard would be open to everybody: the check says so."""
    hole = place / "hole.yml"
    hole.write_text(json.dumps({"services": {"mcp-hole": {"image": "scratch", "labels": {"traefik.enable": "true", "traefik.http.routers.mcp-hole.rule": "Host(`x`)"}}}}))
    done = run(["./justw", "validate-compose"], env=stack.environment | {"COMPOSE_FILE": f"{stack.environment['COMPOSE_FILE']}:{hole}"}, check=False)
    assert done.returncode == 1 and "WRONG mcp-hole: its route mcp-hole would be open" in done.stdout, done.stdout + done.stderr
    hole.write_text(json.dumps({"services": {"mcp-fetchs": {"networks": ["edge"]}}}))
    done = run(["./justw", "validate-compose"], env=stack.environment | {"COMPOSE_FILE": f"{stack.environment['COMPOSE_FILE']}:{hole}"}, check=False)
    assert done.returncode == 1 and "WRONG mcp-fetchs: believes whoever reaches it, and auth, " in done.stdout, done.stdout + done.stderr


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


def more_servers(stack: Stack) -> None:
    """A variable turns a server on; who signs in may call a tool of it."""
    before = stack.environment
    stack.environment = before | switched(MORE_MCP, on=True)
    try:
        stack.just("up")
        for service in MORE_MCP:
            services.call(stack.port, service, stack.password)
        stack.compose("rm", "--stop", "--force", *MORE_MCP)
    finally:
        stack.environment = before
    stack.just("up")


def guide_of_operators(stack: Stack, done: Checks) -> None:
    tools = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools") / "bin"
    environment = stack.environment | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "AUTH": f"http://auth.localhost:{stack.port}",
                                       "SERVICE": f"http://mcp-fetch.localhost:{stack.port}"}
    for command in guide.commands(GUIDE):
        done.check(f"guide, line {command.line}: {command.text[:80]}", guide.run, command, ROOT, environment)


def checks(stack: Stack, done: Checks, place: Path) -> None:
    done.check("labels say what traefik/dynamic says", labels.compare, stack.compose("--profile", "*", "config", "--format", "json"))
    done.check("just pin", pin.tags_become_digests, place)
    done.check("just pull", pull.bases_are_pulled_and_ours_are_not, place)
    done.check("every old name is tried and explained", old_names.documented, stack.just)
    done.check("just up without .env", refusals.without_env, place)
    done.check("just init without a terminal", init.without_terminal, place)
    done.check("just init at a terminal", init.at_a_terminal, place)
    done.check("just init with another provider", init.with_openid, place)
    if not done.check("just build", stack.just, "build") or not done.check("just up", stack.just, "up"):
        raise Stop("the stack does not come up")
    done.check("just ps: all are healthy", containers.all_healthy, stack)
    done.check("only Traefik has ports", containers.only_traefik_published)
    done.check("no privilege, nothing to write to, limits", containers.hardened)
    done.check("images are labelled", containers.images_are_labelled)
    done.check("no secret in settings or arguments", containers.no_secret_in_sight, place / "secrets")
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
    called = filter(services.CALLS.__contains__, MCP)
    tokens = {service: done.check(f"a person signs in to {service} and calls a tool", services.call, stack.port, service, stack.password) for service in called}
    done.check("a token opens its own service only", services.each_opens_its_own, stack.port, {service: token for service, token in tokens.items() if token})
    done.check(f"{', '.join(MORE_MCP)}: turned on, used, turned off", more_servers, stack)
    done.check("just token: a person agrees once", device.a_person_agrees_once, stack.environment, stack.port, stack.password, place)
    done.check("just logs auth -n 5", logs_of_one, stack)
    done.check("Traefik logs no warning and no error", traefik_is_content, stack)
    done.check("neighbours are strangers", neighbours_are_strangers, stack)
    done.check("just add, just remove", added_and_removed, stack)
    done.check("what is wrong is said", refusals.each_says_why, stack, place)
    done.check("what does not start says why", refusals.what_does_not_start_says_why, stack, place)
    done.check("just diagnostic-bundle holds no secret", bundle_has_no_secret, stack, place)
    done.check("a killed service is back", recovery.killed, stack)
    done.check("Redis away and back", recovery.redis_away, stack)
    done.check("scripts/health-check.sh", recovery.health_check_for_cron, stack)
    done.check("recipes under their old names", old_names.each_works, stack.just, stack.environment, stack.port, stack.password)
    done.check("aliases under their old names", old_names.aliases_work, stack.just, stack.environment)
    guide_of_operators(stack, done)
    done.check("just clean-all, just restore --secret", recovery.restored_after_clean_all, stack, place)


def main() -> int:
    binaries = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug"
    keep = "--keep" in sys.argv
    done = Checks()
    stack = None
    with contextlib.ExitStack() as ending:
        place = Path(tempfile.mkdtemp(prefix="stack-"))
        if not keep:
            ending.callback(shutil.rmtree, place)
        try:
            engine()
            missing = [program for program in ("mcp-auth", "mcp-proxy") if not (binaries / program).exists()]
            if missing:
                raise Stop(f"{binaries / missing[0]} does not exist; run: cargo build --workspace --bins")
            ending.enter_context(leftovers.alone())
            for line in leftovers.remove():
                print(f"stack: removed what an earlier run left: {line}", flush=True)
            stack = Stack(place, binaries)
            checks(stack, done, place)
        except (Stop, AssertionError) as why:
            done.failed += 1
            print(f"stack: FAILED {why}", flush=True)
        if stack and done.failed:
            print(run(["docker", "compose", "logs", "--tail", "40"], env=stack.environment, check=False).stdout, flush=True)
        if stack and keep:
            settings = place / "settings.sh"
            settings.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in stack.environment.items()))
            print(f"stack: left running; `. {settings}` gives the recipes its settings; sign in as tester with {stack.password}")
        elif stack:
            done.check("just down --volumes", stack.just, "down", "--volumes")
            if not done.failed:
                swarm.checks(stack.environment, stack.password, done)
    print(f"stack: {done.passed} passed, {done.failed} failed", flush=True)
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
