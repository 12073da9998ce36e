#!/usr/bin/env python3
"""Runs cargo-deny with deny.toml: licences, forbidden crates, sources; advisories when their database can be reached."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
UNREACHABLE = ("failed to fetch advisory database", "failed to load advisory database", "unable to resolve", "Could not resolve")


def main() -> int:
    if not shutil.which("cargo-deny"):
        print("deny: skipped, cargo-deny is not installed; get it with: cargo install --locked cargo-deny")
        return 0
    policy = subprocess.run(["cargo", "deny", "--locked", "--workspace", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"], cwd=ROOT)
    if policy.returncode != 0:
        return policy.returncode
    advisories = subprocess.run(["cargo", "deny", "--locked", "--workspace", "check", "advisories"], cwd=ROOT, text=True, capture_output=True)
    if advisories.returncode != 0 and any(sign in advisories.stderr for sign in UNREACHABLE):
        print("deny: advisories skipped, their database (https://github.com/rustsec/advisory-db) cannot be reached")
        return 0
    sys.stderr.write(advisories.stderr)
    return advisories.returncode


if __name__ == "__main__":
    sys.exit(main())
