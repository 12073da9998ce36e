#!/usr/bin/env python3
"""Adds an MCP server to the stack, and takes it out again.

    added.py add NAME [--image IMAGE] [--env NAME=VALUE]... [--apt PACKAGES] [--volume] [--disabled] -- COMMAND...
    added.py find NAME          the name of the service, if it was added
    added.py remove NAME        and auth forgets it

`add` writes compose.d/mcp-NAME.yml: an image with the server and mcp-proxy, the labels of its route and its guard. What has to be
installed follows from the command: `npx PACKAGE` is a Node package, `uvx PACKAGE` a Python one, anything else must be in --image
or come from --apt.
"""

from __future__ import annotations

import argparse
import json
import re
import sys

from compose import ADDED, ROOT, StackError, configuration, mcp_services, start, tell_auth

# A label of DNS, short enough for `mcp-` in front of it (RFC 1035 section 2.3.4).
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,57}[a-z0-9])?")


def packages(command: list[str], image: str | None) -> tuple[str, dict[str, str], list[str]]:
    """Kind of base, what to install, and the command as it is inside the image."""
    program, *rest = command
    if image:
        return "image", {}, command
    if program == "npx":
        rest = [part for part in rest if part not in ("-y", "--yes", "-q", "--quiet")]
        if not rest or rest[0].startswith("-"):
            raise StackError("write it as: npx -y PACKAGE ARGUMENTS...; other flags of npx have no meaning in an image")
        # What npx would find; deploy/docker/mcp-server.Dockerfile gives it this name.
        return "node", {"NODE_PACKAGES": rest[0]}, ["mcp-server", *rest[1:]]
    if program in ("uvx", "pipx"):
        if program == "pipx":
            rest = rest[1:] if rest[:1] == ["run"] else rest
        if rest[:1] == ["--from"] and len(rest) > 2:
            return "python", {"PYTHON_PACKAGES": rest[1]}, rest[2:]
        if not rest or rest[0].startswith("-"):
            raise StackError("write it as: uvx PACKAGE ARGUMENTS... or uvx --from PACKAGE PROGRAM ARGUMENTS...")
        name, _, version = rest[0].partition("@")
        program = re.split(r"[=<>~!\[]", name)[0]
        return "python", {"PYTHON_PACKAGES": f"{name}=={version}" if version and version != "latest" else name}, [program, *rest[1:]]
    raise StackError(f"it is not known how {program} is installed; start the command with npx or uvx, or name an image that holds it: "
                     f"just add NAME --image IMAGE -- {' '.join(command)}")


def service(name: str, options: argparse.Namespace) -> dict:
    """The service, with the values of the environment left for Compose to fill in."""
    kind, install, command = packages(options.command, options.image)
    base = {"node": "${NODE_IMAGE:-node:22-bookworm-slim}", "python": "${PYTHON_IMAGE:-python:3.12-slim-bookworm}"}.get(kind, options.image)
    if options.apt:
        install["APT_PACKAGES"] = options.apt
    shared = configuration()["services"]["mcp-fetch"]
    environment = {
        # What .env says for every server: limits of sessions, logs.
        **{variable: f"${{{variable}:-}}" for variable in shared["environment"]},
        "ALLOWED_HOSTS": "*.${DOMAIN}",
        "ALLOWED_ORIGINS": "${MCP_CORS_ORIGINS:-}",
        "REQUIRE_IDENTITY": "true",
        "IDENTITY_FROM": "traefik",
        "LOG_LEVEL": "${LOG_LEVEL:-info}",
    }
    if options.env:
        names = []
        for setting in options.env:
            variable, assigned, value = setting.partition("=")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
                raise StackError(f"--env {setting}: write it as NAME=VALUE, or NAME alone to take the value from .env")
            names.append(variable)
            environment[variable] = value.replace("$", "$$") if assigned else f"${{{variable}:-}}"
        environment["MCP_ENV"] = ",".join(names)
    same = ("restart", "init", "read_only", "cap_drop", "security_opt", "logging", "tmpfs", "mem_limit", "pids_limit", "stop_grace_period")
    made = {
        **{key: shared[key] for key in same if key in shared},
        "networks": ["edge"],
        "profiles": ["${MCP_" + name[4:].upper().replace("-", "_") + "_ENABLED:-" + ("false" if options.disabled else "true") + "}"],
        "image": f"mcp-gateway/{name}:${{IMAGE_TAG:-latest}}",
        "build": {
            "context": ".",
            "dockerfile": "deploy/docker/mcp-server.Dockerfile",
            "args": {"BASE_IMAGE": base, "PROXY_IMAGE": "mcp-gateway/mcp-proxy:${IMAGE_TAG:-latest}", **install},
        },
        "command": [part.replace("$", "$$") for part in command],
        "environment": environment,
        "labels": {
            **{key: value for key, value in shared["labels"].items() if "mcp-fetch" not in key},
            f"traefik.http.routers.{name}.rule": shared["labels"]["traefik.http.routers.mcp-fetch.rule"].replace("mcp-fetch", name).replace(
                f".{configuration()['services']['auth']['environment']['DOMAIN']}`", ".${DOMAIN}`"),
            f"traefik.http.routers.{name}.middlewares": "mcp-guard",
        },
    }
    if options.volume:
        made["volumes"] = [{"type": "volume", "source": name, "target": "/data"}]
    return made


def add(options: argparse.Namespace) -> None:
    name = options.name if options.name.startswith("mcp-") else f"mcp-{options.name}"
    if not NAME.fullmatch(name[4:]):
        raise StackError(f"{options.name} cannot be part of a host name; use lower-case letters, digits and hyphens, such as notes")
    if name in mcp_services():
        raise StackError(f"{name} is there already; take it out first with `just remove {name}`, or choose another name")
    if not options.command:
        raise StackError(f"what runs it is missing: just add {options.name} -- npx -y @modelcontextprotocol/server-memory")
    made = {"services": {name: service(name, options)}}
    if options.volume:
        made["volumes"] = {name: {}}
    ADDED.mkdir(exist_ok=True)
    file = ADDED / f"{name}.yml"
    # JSON is YAML: nothing has to be quoted by hand.
    file.write_text(f"# Made by `just add`; change it as you like. `just remove {name}` deletes it.\n{json.dumps(made, indent=2)}\n")
    print(f"just: wrote {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}", file=sys.stderr)
    print(name)


def find(name: str) -> str:
    name = name if name.startswith("mcp-") else f"mcp-{name}"
    file = ADDED / f"{name}.yml"
    if not file.exists():
        here = ", ".join(sorted(path.stem for path in ADDED.glob("*.yml"))) or "none"
        raise StackError(f"{name} was not added with `just add` (added: {here}); a server of docker-compose.yml is turned off by its variable "
                         f"MCP_…_ENABLED=false in .env")
    return name


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="just", description="Adds an MCP server to the stack, or removes it.")
    commands = parser.add_subparsers(required=True, dest="what")
    adding = commands.add_parser("add", usage="just add NAME [options] -- COMMAND...")
    adding.add_argument("name", help="mcp-NAME is the service, mcp-NAME.DOMAIN its host")
    adding.add_argument("--image", help="a base image that holds what the command needs")
    adding.add_argument("--env", action="append", metavar="NAME[=VALUE]", help="a variable for the server; without a value it is taken from .env")
    adding.add_argument("--apt", metavar="PACKAGES", help="Debian packages that it needs, with blanks between")
    adding.add_argument("--volume", action="store_true", help="a volume at /data for what is to stay")
    adding.add_argument("--disabled", action="store_true", help="off until MCP_<NAME>_ENABLED=true")
    for what in ("find", "remove"):
        commands.add_parser(what, usage="just remove NAME").add_argument("name")
    before, _, command = "\0".join(arguments).partition("\0--\0")
    options, rest = parser.parse_known_args(before.split("\0") if before else [])
    if rest:
        raise StackError(f"what is {rest[0]}? Flags stand before --, the command after it: just add notes --volume -- npx -y @modelcontextprotocol/server-memory")
    if options.what == "add":
        options.command = command.split("\0") if command else []
        add(options)
    elif options.what == "find":
        print(find(options.name))
    else:
        (ADDED / f"{find(options.name)}.yml").unlink()
        tell_auth()


if __name__ == "__main__":
    start(main)
