#!/usr/bin/env python3
"""Backups of what auth remembers, in backups/ (or BACKUP_DIR), readable by nobody else.

    backup.py save                       backups/backup-<time>.jsonl
    backup.py list
    backup.py restore [FILE] [FLAGS]     the newest if none is named; flags of `mcp-auth restore`

`mcp-auth backup` and `mcp-auth restore` do the work, in a container of their own beside the running ones.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

from compose import ROOT, StackError, command, environment

PLACE = Path(os.environ.get("BACKUP_DIR") or ROOT / "backups")


def backups() -> list[Path]:
    return sorted(PLACE.glob("backup-*.jsonl"))


def save() -> None:
    PLACE.mkdir(mode=0o700, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    file = PLACE / f"backup-{now:%Y%m%d-%H%M%S}.jsonl"
    # Under its own name only when it is whole.
    partial = file.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        status = subprocess.run(command("run", "--rm", "--no-deps", "--no-TTY", "auth", "backup", "-"), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                                stdout=out, check=False).returncode
    if status != 0:
        partial.unlink()
        raise StackError("no backup was written; the reason stands above")
    partial.rename(file)
    print(f"just: wrote {file} ({file.stat().st_size // 1024 + 1} KiB). The sealed keys in it can only be read with .secrets/gateway_jwt_secret: keep a copy of that elsewhere.")


def show() -> None:
    found = backups()
    for file in found:
        print(f"{file.stat().st_size:>12}  {file}")
    if not found:
        print(f"none in {PLACE}; make one with `just backup`")


def restore(arguments: list[str]) -> int:
    named = [argument for argument in arguments if not argument.startswith("-")]
    flags = [argument for argument in arguments if argument.startswith("-")]
    if len(named) > 1:
        raise StackError("one backup at a time")
    file = Path(named[0]) if named else next(reversed(backups()), None)
    if file is None:
        raise StackError(f"there is no backup in {PLACE}")
    print(f"just: restoring {file}", file=sys.stderr)
    with file.open("rb") as source:
        return subprocess.run(command("run", "--rm", "--no-TTY", "auth", "restore", "-", *flags), cwd=ROOT, env=environment(), stdin=source, check=False).returncode


def main(arguments: list[str]) -> int:
    match arguments:
        case ["save"]:
            save()
        case ["list"]:
            show()
        case ["restore", *rest]:
            return restore(rest)
        case _:
            raise StackError("backup.py save | list | restore [FILE] [FLAGS]")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (StackError, OSError) as error:
        sys.exit(f"just: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
