#!/usr/bin/env python3
"""Writes the files that are made from what the binaries say of their own settings.

    main.py --binaries DIRECTORY [--check]

--check writes nothing, shows what would change, and ends with exit status 1 if anything would. `just gen` builds the binaries and runs it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

import env_example
from reference import Reference

ROOT = Path(__file__).resolve().parent.parent.parent
# File → what makes its text.
FILES = {".env.example": env_example.text}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write what is made from the settings of the binaries")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target" / "debug")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    options = parser.parse_args()
    reference = Reference.ask(options.binaries)
    changed = []
    for name, make in FILES.items():
        file, wanted = ROOT / name, make(reference)
        present = file.read_text(encoding="utf-8") if file.exists() else ""
        if wanted == present:
            continue
        changed.append(name)
        if options.check:
            sys.stdout.writelines(difflib.unified_diff(present.splitlines(True), wanted.splitlines(True), name, "as it would be made"))
        else:
            file.write_text(wanted, encoding="utf-8")
            print(f"gen: wrote {name}")
    if options.check and changed:
        print(f"gen: {', '.join(changed)} would change; run: just gen", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f"gen: {error}")
