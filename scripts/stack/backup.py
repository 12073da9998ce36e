#!/usr/bin/env python3
"""Backups of what auth remembers, in backups/ (or BACKUP_DIR), readable by nobody else.

    backup.py save                                                     backups/backup-<time>.jsonl
    backup.py list
    backup.py restore [FILE] [--secret FILE] [--clear] [--dry-run]     the newest if none is named

`mcp-auth backup` and `mcp-auth restore` do the work: the first beside the running service, which it asks where a store file is open to one process only; the
second, and a backup while nothing runs, in a container of its own. auth is stopped while a backup is put back. The signing keys of a backup are sealed with
the GATEWAY_JWT_SECRET of its time: if that is another one than now, --secret names a copy.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

from compose import ROOT, StackError, command, environment, run, start, tell_auth
from make_secrets import PLACE as SECRETS
from make_secrets import write_mounted

PLACE = Path(os.environ.get("BACKUP_DIR") or ROOT / "backups")


def backups() -> list[Path]:
    return sorted(PLACE.glob("backup-*.jsonl"))


def backup_command() -> list[str]:
    running = run(command("ps", "--status", "running", "--quiet", "auth")).stdout.strip()
    if running:
        return command("exec", "-T", "auth", "mcp-auth", "backup", "-")
    tell_auth()
    return command("run", "--rm", "--no-deps", "--no-TTY", "auth", "backup", "-")


def save() -> None:
    PLACE.mkdir(mode=0o700, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    file = PLACE / f"backup-{now:%Y%m%d-%H%M%S}.jsonl"
    # Under its own name only when it is whole.
    partial = file.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        status = subprocess.run(backup_command(), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                                stdout=out, check=False).returncode
    if status != 0:
        partial.unlink()
        raise StackError("no backup was written; the reason stands above")
    partial.rename(file)
    print(f"just: wrote {file} ({file.stat().st_size // 1024 + 1} KiB). The keys in it are sealed with {SECRETS / 'gateway_jwt_secret'}: keep a copy of that, but not beside the backups.")


def show() -> None:
    found = backups()
    for file in found:
        print(f"{file.stat().st_size:>12}  {file}")
    if not found:
        print(f"none in {PLACE}; make one with `just backup`")


def restore(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="just restore", description="Put a backup back.")
    parser.add_argument("file", nargs="?", type=Path, help="the newest in backups/ if none is named")
    parser.add_argument("--secret", type=Path, metavar="FILE", help="a copy of .secrets/gateway_jwt_secret from the time of the backup, if that is another one now")
    parser.add_argument("--clear", action="store_true", help="remove all that is in the store first")
    parser.add_argument("--dry-run", action="store_true", help="only check the backup and tell what would be done")
    options = parser.parse_args(arguments)
    file = options.file or next(reversed(backups()), None)
    if file is None:
        raise StackError(f"there is no backup in {PLACE}")
    if not file.is_file():
        raise StackError(f"{file} does not exist; `just backup-list` shows what there is")
    present = (SECRETS / "gateway_jwt_secret").read_text(encoding="utf-8")
    print(f"just: restoring {file}", file=sys.stderr)
    tell_auth()
    flags = [flag for flag, given in (("--clear", options.clear), ("--dry-run", options.dry_run)) if given]
    try:
        if options.secret:
            write_mounted("gateway_jwt_secret_previous", options.secret.read_text(encoding="utf-8").strip())
        # Whatever is wrong is found before anything is stopped.
        status = put_back(file, [*flags, *([] if options.dry_run else ["--dry-run"])])
        if options.dry_run or status != 0:
            return status
        compose("stop", "auth")
        status = put_back(file, flags)
        # With either outcome: the service goes on with what is in the store. Its first start seals the keys with the present secret too.
        started = compose("up", "--detach", "--wait", "auth", quiet=False)
    finally:
        if options.secret:
            write_mounted("gateway_jwt_secret_previous", present)
    if status == 0 and started == 0:
        print("just: auth runs again, with what was restored")
    return status or started


def put_back(file: Path, flags: list[str]) -> int:
    with file.open("rb") as source:
        status = subprocess.run(command("run", "--rm", "--no-TTY", "auth", "restore", "-", *flags), cwd=ROOT, env=environment(), stdin=source, check=False).returncode
    if status != 0:
        print("just: nothing was restored; where the secret is another one than at the time of the backup: just restore --secret COPY", file=sys.stderr)
    return status


def compose(*arguments: str, quiet: bool = True) -> int:
    status = subprocess.run(command(*arguments), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0 and quiet:
        raise StackError(f"docker compose {' '.join(arguments)} failed; the reason stands above")
    return status


def main(arguments: list[str]) -> int:
    if arguments == ["save"]:
        save()
    elif arguments == ["list"]:
        show()
    elif arguments[:1] == ["restore"]:
        return restore(arguments[1:])
    else:
        raise StackError("backup.py save | list | restore [FILE] [--secret FILE] [--clear] [--dry-run]")
    return 0


if __name__ == "__main__":
    start(main)
