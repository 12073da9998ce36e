#!/usr/bin/env python3
"""Runs all tests, the same way on a laptop and in CI, installing what they need.

Steps: tools, documentation, the Helm chart, the bill of materials, formatting, lints, licences, binaries, tests, documentation tests, the stack on Docker. A step that fails does
not stop the others, but for a build that everything after it needs. Ends with what failed and why, in a line or two each, and a line `N passed, N failed`:
tests, documentation tests and checks of the chart and the stack; a failed step that counts no tests counts as one failure. With CI=true nothing may be left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools")
CI = os.environ.get("CI") == "true"
CARGO_ENVIRONMENT = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "never"} if CI else dict(os.environ)


FAILED: dict[str, list[str]] = {}
"""What failed, by step."""


class Count(NamedTuple):
    passed: int = 0
    failed: int = 0

    def __add__(self, other: object) -> Count:  # type: ignore[override]
        assert isinstance(other, Count)
        return Count(self.passed + other.passed, self.failed + other.failed)


def nextest_summary(text: str) -> Count | None:
    """`Summary [  12.3s] 57 tests run: 55 passed (1 slow), 1 failed, 1 timed out, 3 skipped`."""
    found = re.search(r"Summary \[[^]]*\] +(?:\d+/)?(\d+) tests? run: +(\d+) passed", text)
    return Count(int(found[2]), int(found[1]) - int(found[2])) if found else None


def cargo_test_summary(text: str) -> Count | None:
    """The sum of `test result: ok. 5 passed; 0 failed; …`; a program that crashed has no such line, so it is the exit status that decides."""
    found = re.findall(r"^test result: .*?(\d+) passed; (\d+) failed", text, re.MULTILINE)
    return Count(sum(int(passed) for passed, _ in found), sum(int(failed) for _, failed in found)) if found else None


def stack_summary(text: str) -> Count | None:
    found = re.search(r"^stack: (\d+) passed, (\d+) failed$", text, re.MULTILINE)
    return Count(int(found[1]), int(found[2])) if found else None


def docs_summary(text: str) -> Count | None:
    found = re.search(r"^docs: (\d+) passed, (\d+) failed$", text, re.MULTILINE)
    return Count(int(found[1]), int(found[2])) if found else None


def chart_summary(text: str) -> Count | None:
    found = re.search(r"^chart: (\d+) passed, (\d+) failed$", text, re.MULTILINE)
    return Count(int(found[1]), int(found[2])) if found else None


def no_summary(_: str) -> Count | None:
    return None


FAILURE = re.compile(r"""
      ^\ +(?:FAIL|TIMEOUT|ABORT|SIG[A-Z]+)\ .*               # nextest: a test
    | ^(?:stack|docs|chart):\ FAILED\ .*                    # a check of ours
    | ^.*\ panicked\ at\ .*\n.*                             # where, and what it said
    | ^\ *Error:\ .*                                        # what a test returned
    | ^error(?:\[E\d+\])?:\ .*                              # rustc, clippy
    | ^test\ .*\ FAILED$                                    # cargo test
""", re.MULTILINE | re.VERBOSE)
LONGEST = 400


def failures(text: str) -> list[str]:
    """The lines that tell what failed, each once: they would be far up in the output of all."""
    found = (match[0].strip()[:LONGEST] for match in FAILURE.finditer(text))
    # nextest names a test as it fails, by number and time, and once more at its end.
    lines = (re.sub(r"^(\w+) \[[^]]*\] (?:\(.*?\) )?", r"\1 ", line) for line in found)
    return list(dict.fromkeys(re.sub(r":?\s*\n\s*", ": ", line) for line in lines))


def step(name: str, command: list[str], summary=no_summary) -> Count:
    """Runs one step, showing its output as it comes, and counts."""
    print(f"\n== {name}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    lines = []
    try:
        child = subprocess.Popen(command, cwd=ROOT, env=CARGO_ENVIRONMENT, text=True, errors="replace",
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        FAILED[name] = [f"{command[0]} is not on the PATH"]
        print(f"== {name}: {FAILED[name][0]}", flush=True)
        return Count(failed=1)
    assert child.stdout is not None
    for line in child.stdout:
        lines.append(line)
        sys.stdout.write(line)
        sys.stdout.flush()
    status = child.wait()
    text = re.sub(r"\x1b\[[0-9;]*m", "", "".join(lines))
    count = summary(text)
    if count is None:
        count = Count(failed=1 if status else 0)
    elif status and not count.failed:
        count = Count(count.passed, 1)
    took = time.monotonic() - start
    print(f"== {name}: {'failed' if count.failed else 'ok'} after {took:.0f} s", flush=True)
    if count.failed:
        FAILED[name] = failures(text) or [line.strip()[:LONGEST] for line in text.splitlines()[-5:]]
    return count


def tests() -> Count:
    if shutil.which("cargo-nextest"):
        profile = ["--profile", "ci"] if CI else []
        return step("tests", ["cargo", "nextest", "run", "--workspace", "--locked", "--no-fail-fast", *profile], nextest_summary)
    print("\n== cargo-nextest is not installed, using cargo test (tests that hang are not ended; get it with: cargo install --locked cargo-nextest)")
    # The stories of package `it` start several processes each.
    return (step("tests", ["cargo", "test", "--workspace", "--exclude", "it", "--all-targets", "--locked", "--no-fail-fast"], cargo_test_summary)
            + step("stories", ["cargo", "test", "--package", "it", "--all-targets", "--locked", "--no-fail-fast", "--", "--test-threads=2"], cargo_test_summary))


def stack() -> Count:
    ready = Path(os.environ.get("DOCKER_READY") or ROOT.parent / "shared" / "tools" / "docker-ready")
    if not CI and not shutil.which("docker") and not ready.exists():
        print("\n== stack: skipped, Docker is not installed; with CI=true this is a failure")
        return Count()
    return step("stack", [sys.executable, "scripts/test/stack.py"], stack_summary)


def main() -> int:
    start = time.monotonic()
    total = step("tools", [sys.executable, "scripts/tools.py", "test"])
    total += step("documentation", [sys.executable, "scripts/test/docs.py"], docs_summary)
    total += step("Helm chart", [str(TOOLS / "bin" / "python-helm"), "scripts/test/helm.py"], chart_summary)
    if not shutil.which("cargo"):
        print("test: cargo is not on the PATH; install Rust from https://rustup.rs and open a new terminal", file=sys.stderr)
        return 1
    total += step("bill of materials", [str(TOOLS / "bin" / "python-sbom"), "scripts/sbom.py", "target/sbom"])
    total += step("formatting", ["cargo", "fmt", "--all", "--check"])
    total += step("licences", [sys.executable, "scripts/test/deny.py"])
    total += step("lints", ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    built = step("binaries", ["cargo", "build", "--workspace", "--bins", "--locked"])
    total += built
    if not built.failed:
        total += tests()
        total += step("documentation tests", ["cargo", "test", "--workspace", "--doc", "--locked", "--no-fail-fast"], cargo_test_summary)
        total += stack()
    for name, lines in FAILED.items():
        print(f"\n== {name} failed:", *lines, sep="\n  ")
    print(f"\n== all after {(time.monotonic() - start) / 60:.1f} min\n{total.passed} passed, {total.failed} failed", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
