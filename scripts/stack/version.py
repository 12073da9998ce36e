#!/usr/bin/env python3
"""Versions of everything that takes part, for a report."""

from __future__ import annotations

import platform
import sys

from compose import ROOT, command, configuration, environment, run, start


def first_line(arguments: list[str], **more: object) -> str:
    try:
        done = run(arguments, **more)
    except FileNotFoundError:
        return "not installed"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[0] if lines else "no answer"


def text() -> str:
    lines = [
        f"gateway   {first_line(['git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--tags'])}",
        f"docker    {first_line(['docker', 'version', '--format', '{{.Server.Version}}'])}",
        f"compose   {first_line(['docker', 'compose', 'version', '--short'])}",
        f"system    {platform.platform()}",
    ]
    for service, ask in (("auth", ["mcp-auth", "--version"]), ("traefik", ["traefik", "version", "--format", "{{.Version}}"]), ("redis", ["redis-server", "--version"])):
        lines.append(f"{service:<9} {first_line(command('exec', '-T', service, *ask), env=environment())}")
    for name, service in sorted(configuration()["services"].items()):
        lines.append(f"image     {name} {service['image']} {first_line(['docker', 'image', 'inspect', '--format', '{{.Id}}', service['image']])}")
    return "\n".join(lines) + "\n"


def main(_: list[str]) -> None:
    sys.stdout.write(text())


if __name__ == "__main__":
    start(main)
