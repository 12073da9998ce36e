#!/usr/bin/env python3
"""Deletes the stack: containers, networks, volumes (people's grants, certificates), images and .secrets/.

    clean.py [--yes]

.env and compose.d/ stay: they are yours. Asks first, and does nothing when nobody can answer and --yes is not given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from compose import ROOT, command, configuration, environment, run, start
from make_secrets import PLACE


def main(arguments: list[str]) -> int:
    name = configuration()["name"]
    if "--yes" not in arguments:
        print(f"This deletes the stack {name}: every registration and sign-in, the certificates, the volumes of MCP servers, its images, and {PLACE}.")
        print("Take a backup first if any of it is worth something (just backup). Backups stay, but they can only be put back with a copy of "
              f"{PLACE / 'gateway_jwt_secret'}: copy it to another place, and later: just restore --secret COPY --clear")
        try:
            answer = input(f"Type {name} to go on: ")
        except EOFError:
            answer = ""
        if answer.strip() != name:
            print("just: nothing was deleted", file=sys.stderr)
            return 1
    full = command("--profile", "*", "down", "--volumes", "--remove-orphans")
    status = subprocess.run(full, cwd=ROOT, env=environment(), check=False).returncode
    if status != 0:
        return status
    shutil.rmtree(PLACE, ignore_errors=True)
    # Those that are built here; Compose itself deletes either only images without a name, or also Traefik's and Redis's.
    ours = sorted({service["image"] for service in configuration()["services"].values() if "build" in service})
    present = [image for image in ours if run(["docker", "image", "inspect", image]).returncode == 0]
    return subprocess.run(["docker", "image", "rm", *present], stdout=subprocess.DEVNULL, check=False).returncode if present else 0


if __name__ == "__main__":
    start(main, interrupted="nothing was deleted")
