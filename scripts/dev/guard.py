"""Ends the process groups of a runner that is gone, however it went.

Reads lines on standard input: a number adds a process group, a negative one takes it away. Only the runner holds
the other end, so the end of input means that the runner has ended, by SIGKILL too. Portable: PR_SET_PDEATHSIG exists only
on Linux, and there it does not reach the children of children.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE = 3.0  # seconds between SIGTERM and SIGKILL


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def end(groups: set[int], number: signal.Signals) -> None:
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        groups.add(number) if number > 0 else groups.discard(-number)
    end(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while any(alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    end(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
