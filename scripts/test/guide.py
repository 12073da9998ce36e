"""Takes the commands of a page of the documentation and runs them, one by one.

In a block marked `sh` every line is a command; ` # → TEXT` after it is what its output must have, `(Ctrl-C ends it)` that it goes on until it
is interrupted, `(needs the internet)` that a connection that fails is fine too. Blocks of another kind are not run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ENDLESS = "(Ctrl-C ends it)"
ONLINE = "(needs the internet)"
# Seconds: for a command that ends by itself (one that builds images), and for one that does not.
PATIENCE, LOOK = 600, 6


class Command(NamedTuple):
    line: int
    text: str
    expected: str
    endless: bool
    online: bool


def commands(page: Path) -> Iterator[Command]:
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        mark = line.strip()
        if mark.startswith("```"):
            inside = mark == "```sh"
        elif inside and mark:
            text, _, expected = mark.partition("# →")
            yield Command(number, text.strip(), re.sub(r"\((Ctrl-C ends it|needs the internet)\)", "", expected).strip(), ENDLESS in expected, ONLINE in expected)


def run(command: Command, directory: Path, environment: dict[str, str]) -> None:
    """Fails with what the command printed."""
    process = subprocess.Popen(["bash", "-c", f"set -o pipefail; {command.text}"], cwd=directory, env={**os.environ, **environment}, text=True, errors="replace",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=LOOK if command.endless else PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=LOOK)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"Ctrl-C does not end it: {output[-1000:]}") from None
        assert command.endless, f"no end after {PATIENCE} s: {output[-1000:]}"
    else:
        offline = command.online and re.search(r"curl: \((6|7|28|35|60)\)|no such host|network is unreachable", output)
        assert not command.endless, f"ended by itself with {process.returncode}: {output[-1000:]}"
        if offline:
            return
        assert process.returncode == 0, f"exit status {process.returncode}: {output[-1500:]}"
    assert command.expected in output, f"{command.expected!r} is not in: {output[-1500:]}"
