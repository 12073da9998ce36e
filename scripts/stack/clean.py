#!/usr/bin/env python3
"""Deletes the stack: containers, networks, volumes (people's grants, certificates), images and .secrets/.

    clean.py [--yes]

.env and compose.d/ stay: they are yours. Asks first, and does nothing when nobody can answer and --yes is not given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from compose import ROOT, StackError, command, configuration, environment


def main(arguments: list[str]) -> int:
    name = configuration()["name"]
    place = ROOT / (os.environ.get("SECRETS_DIR") or ".secrets")
    if "--yes" not in arguments:
        print(f"This deletes the stack {name}: every registration and sign-in, the certificates, the volumes of MCP servers, its images, and {place}.")
        print("Take a backup first if any of it is worth something (just backup).")
        try:
            answer = input(f"Type {name} to go on: ")
        except EOFError:
            answer = ""
        if answer.strip() != name:
            print("just: nothing was deleted", file=sys.stderr)
            return 1
    full = command("--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local")
    status = subprocess.run(full, cwd=ROOT, env=environment(), check=False).returncode
    if status == 0:
        shutil.rmtree(place, ignore_errors=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as error:
        sys.exit(f"just: {error}")
    except KeyboardInterrupt:
        sys.exit("\njust: nothing was deleted")
