#!/usr/bin/env python3
"""Runs the whole gateway on this machine: Traefik, auth, the fetch server and the echo server.

    ./justw dev [--port NUMBER] [--debug] [NAME=COMMAND …]

Each NAME=COMMAND is one more MCP server: ./justw dev 'memory=npx -y @modelcontextprotocol/server-memory'.
Secrets and the store are kept in .dev/, logs are on the screen, Ctrl-C ends everything.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import build
import preflight
import services
from processes import Failure, Processes

# A test, or a second gateway on this machine, has a place of its own.
PLACE = Path(os.environ.get("GATEWAY_DEV_PLACE") or build.ROOT / ".dev")


class Stopped(Exception):
    """Somebody asked for the end."""


def stop(number: int, _: object) -> None:
    # A second signal, while everything is being ended, must not interrupt that.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(signal.Signals(number).name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./justw dev", description="Run the whole gateway on this machine")
    parser.add_argument("--port", type=int, help=f"port of Traefik (default: {preflight.PORT}, or the next free one)")
    parser.add_argument("--debug", action="store_true", help="build without optimisation: builds faster, runs slower")
    parser.add_argument("servers", nargs="*", metavar="NAME=COMMAND", help="another stdio MCP server")
    return parser.parse_args()


def extra(words: list[str]) -> dict[str, list[str]]:
    servers = {}
    for word in words:
        name, found, line = word.partition("=")
        name = f"mcp-{name.removeprefix('mcp-')}"
        command = shlex.split(line)
        if not found or not re.fullmatch(r"mcp-[a-z0-9][a-z0-9-]*", name) or not command:
            raise Failure(f"{word!r} is not NAME=COMMAND with a name of a-z, 0-9 and -; for example: ./justw dev 'time=uvx mcp-server-time'")
        servers[name] = command
    return servers


def summary(processes: Processes, port: int, names: list[str], password: str, seconds: float) -> str:
    bold, plain = ("\x1b[1m", "\x1b[0m") if processes.colour else ("", "")
    urls = [f"http://{name}.{services.DOMAIN}:{port}/mcp" for name in names]
    lines = [f"{bold}Ready after {seconds:.1f} s.{plain}", ""]
    lines += [f"  {'MCP services' if not index else '':<14} {url}" for index, url in enumerate(urls)]
    lines += [f"  {'Sign in as':<14} {bold}{services.USER}{plain}   password {bold}{password}{plain}   (for this run)"]
    short = names[0].removeprefix("mcp-")
    lines += [f"  {'Claude Code':<14} claude mcp add --transport http {short} {urls[0]}; claude mcp login {short}"]
    lines += [f"  {'MCP Inspector':<14} npx @modelcontextprotocol/inspector --transport http --server-url {urls[0]}"]
    lines += [f"  {'End':<14} Ctrl-C"]
    hint = preflight.unresolved([f"auth.{services.DOMAIN}", *(f"{name}.{services.DOMAIN}" for name in names)])
    if hint:
        lines += ["", f"Note: {hint}"]
    return "\n".join(["", *lines, ""])


def serve(processes: Processes, options: argparse.Namespace, started: float) -> None:
    servers = extra(options.servers)
    build.tools(processes)
    binaries = build.binaries(processes, options.debug).resolve()
    missing = [name for name in build.OURS if not (binaries / name).exists()]
    if missing:
        raise Failure(f"{binaries / missing[0]} does not exist; remove GATEWAY_DEV_BINARIES from the environment or build it")
    servers = {"mcp-fetch": [str(build.TOOLS / "bin" / "mcp-server-fetch")], "mcp-echo": [str(binaries / "mcp-echo")]} | servers
    names = list(servers)
    processes.width = max(len(name) for name in names)

    run = PLACE / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700)
    port, note = preflight.port(options.port)
    if note:
        processes.say(f"dev: {note}")
    processes.say("dev: starting Traefik, auth and the MCP servers")
    traefik = services.start_traefik(processes, run, port)
    web = services.announced(processes, "traefik", run / "traefik")["web"]
    password = services.password(binaries, PLACE)
    services.start_auth(processes, binaries, PLACE, port, names)
    for name, command in servers.items():
        services.start_proxy(processes, binaries, PLACE, name, command)
    auth = services.announced(processes, "auth", run / "auth")
    proxies = {name: services.announced(processes, name, run / name) for name in names}

    backends = ",".join(f"{name}=http://{address['public']}" for name, address in proxies.items())
    assert traefik.child.stdin is not None
    traefik.child.stdin.write(f"AUTH_URL=http://{auth['public']}\nMCP_BACKENDS={backends}\n")
    traefik.child.stdin.close()
    processes.wait_for("auth behind Traefik", lambda: services.status(web, "/health", f"auth.{services.DOMAIN}") == 200)
    for name, address in proxies.items():
        processes.wait_for(f"{name} (its MCP server answering)", lambda: services.status(address["private"], "/health/ready") == 200)
    processes.say(summary(processes, port, names, password, time.monotonic() - started))

    parent = os.getppid()
    while os.getppid() == parent:
        processes.check()
        time.sleep(0.2)
    raise Stopped("the end of the process that started this")


def main() -> int:
    started = time.monotonic()
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        preflight.programs()
        PLACE.mkdir(mode=0o700, exist_ok=True)
        with preflight.lock(PLACE), Processes(sys.stdout) as processes:
            try:
                serve(processes, options, started)
            except Stopped as why:
                processes.say(f"dev: ending everything ({why})")
        print("dev: everything has ended", flush=True)
        return 0
    except Stopped:
        return 0
    except Failure as failure:
        print(f"dev: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
