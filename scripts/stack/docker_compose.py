#!/usr/bin/env python3
"""Docker Compose, told what `just` knows.

    docker_compose.py ARGUMENTS...      as `docker compose ARGUMENTS...`

What can be seen to be wrong is said first, mcp-proxy is built before the images that copy it, auth is told which servers there are, and
`up --wait` ends when clients get an answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import check
from compose import ROOT, StackError, check_name, command, config_directory, configuration, container, enabled, environment, mcp_services, run, start, switch, tell_auth

# Seconds; Traefik gathers changes for two of them.
ROUTES_WITHIN = 20
# Commands whose arguments without a hyphen are services.
OF_SERVICES = ("build", "down", "logs", "ps", "restart", "rm", "stats", "stop", "up")
# Their flags that stand alone; what follows another one may be its value.
ALONE = ("--all", "-a", "--build", "--detach", "-d", "--dry-run", "--follow", "-f", "--force", "--force-recreate", "--no-cache", "--no-color", "--no-deps", "--no-log-prefix",
         "--no-recreate", "--no-stream", "--quiet", "-q", "--remove-orphans", "--stop", "--timestamps", "--volumes", "-v", "--wait")


def named(arguments: list[str]) -> Iterator[str]:
    """The services that a command names."""
    if arguments[0] in OF_SERVICES:
        for before, word in zip(arguments, arguments[1:]):
            if not word.startswith("-") and (before in ALONE or not before.startswith("-")):
                yield word


def check_enabled(services: list[str]) -> None:
    """One that is turned off would start, and nobody could use it: auth is told of those that are on."""
    for name in services:
        if mcp_services().get(name) is False:
            raise StackError(f"{name} is turned off; set {switch(name)}=true in .env, then `just up`")


def wants_images(arguments: list[str]) -> bool:
    return arguments[0] == "build" or (arguments[0] == "up" and "--no-build" not in arguments)


def look_before_start() -> None:
    """Said before images are built for minutes, not after."""
    # What stands in gateway.toml only auth itself knows.
    settings = () if (config_directory() / "gateway.toml").exists() else check.check_settings()
    wrong = [finding for finding in (*settings, *check.check_ports()) if not finding.well]
    if wrong:
        for finding in wrong:
            print(f"WRONG {finding.what}: {finding.said}", file=sys.stderr)
        raise StackError("nothing was started; `just init` asks for what .env must say, and `just check-env` looks at it")
    for finding in check.switches_of_nobody():
        print(f"just: note: {finding.what}: {finding.said}", file=sys.stderr)


def build_proxy_first(arguments: list[str]) -> None:
    """The images of the MCP servers copy mcp-proxy from its image, so that one has to be there before them."""
    image = configuration()["services"]["mcp-proxy"]["image"]
    if arguments[0] == "build" or "--build" in arguments or run(["docker", "image", "inspect", image]).returncode != 0:
        flags = [argument for argument in arguments[1:] if argument in ("--no-cache", "--quiet", "-q")] if arguments[0] == "build" else []
        status = subprocess.run(command("build", *flags, "mcp-proxy"), cwd=ROOT, env=environment(), check=False).returncode
        if status != 0:
            raise StackError("the image of mcp-proxy was not built; the reason stands above")


def wait_for_routes() -> int:
    """Traefik learns of a healthy container a moment later; `just up` is done when clients get an answer."""
    missing = enabled()
    if not run(command("ps", "--quiet", "--status", "running", "traefik"), env=environment()).stdout.strip():
        return 0  # Only some services were asked for.
    deadline = time.monotonic() + ROUTES_WITHIN
    while missing := [name for name in missing if is_running(name) and not check.route(name).well]:
        if time.monotonic() > deadline:
            print("".join(f"just: {finding.what}: {finding.said}\n" for finding in map(check.route, missing)), end="", file=sys.stderr)
            return 1
        time.sleep(0.2)
    return 0


def tell_who_is_not_well() -> None:
    """Compose only says which container is unhealthy; the last line of its log usually says why."""
    for finding in check.containers():
        if not finding.well and finding.state:
            # Compose's own `logs` puts control sequences before a line.
            log = run(["docker", "logs", "--tail", "1", container(finding.what, running=False)])
            print(f"just: {finding.what} is {finding.said}; it said last: {(log.stdout + log.stderr).strip()[-500:] or 'nothing'}", file=sys.stderr)


def is_running(service: str) -> bool:
    return bool(run(command("ps", "--quiet", "--status", "running", service), env=environment()).stdout.strip())


def main(arguments: list[str]) -> int:
    if not arguments:
        raise StackError("docker_compose.py ARGUMENTS..., as for docker compose")
    services = list(named(arguments))
    for service in services:
        check_name(service)
    if arguments[0] == "up" and "--no-start" not in arguments:
        check_enabled(services)
    if arguments[0] == "up" and not services:
        look_before_start()
    if wants_images(arguments):
        if "--pull" in arguments:
            raise StackError("--pull would ask a registry for mcp-proxy, which is made here; `just pull` gets newer base images and builds on them")
        build_proxy_first(arguments)
    if arguments[0] == "up" and "--no-start" not in arguments:
        tell_auth()
    os.chdir(ROOT)
    full = command(*arguments)
    if arguments[0] != "up" or "--wait" not in arguments:
        os.execvpe(full[0], full, environment())
    status = subprocess.run(full, env=environment(), check=False).returncode
    if status != 0:
        tell_who_is_not_well()
    return status or wait_for_routes()


if __name__ == "__main__":
    start(main)
