"""Starts processes, shows their output under their name, and ends them all, whatever happens."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Callable

COLOURS = (36, 33, 35, 32, 34, 31)
KEPT_LINES = 12
STOP_GRACE = 8.0  # seconds between SIGTERM and SIGKILL


class Failure(Exception):
    """One line for a person: what happened and what to do."""


class Process:
    """One running program with the last lines it wrote."""

    def __init__(self, name: str, child: subprocess.Popen[str], abrupt: bool) -> None:
        self.name = name
        self.child = child
        self.abrupt = abrupt
        self.last: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self.reader: threading.Thread | None = None

    def ended(self) -> str | None:
        """How it ended, or None while it runs."""
        status = self.child.poll()
        if status is None:
            return None
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"

    def signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.child.pid, number)
        except (ProcessLookupError, PermissionError):
            pass


class Processes:
    """All that this run has started. Use as a context manager: leaving it ends them."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.colour = out.isatty() and "NO_COLOR" not in os.environ
        self.running: list[Process] = []
        self.writing = threading.Lock()
        self.width = 9
        guard = [sys.executable, str(Path(__file__).with_name("guard.py"))]
        self.guard = subprocess.Popen(guard, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self.guard.stdin is not None
        self.guard.stdin.close()
        self.guard.wait()

    def tell_guard(self, number: int) -> None:
        assert self.guard.stdin is not None
        self.guard.stdin.write(f"{number}\n")
        self.guard.stdin.flush()

    def say(self, text: str) -> None:
        with self.writing:
            print(text, file=self.out, flush=True)

    def start(self, name: str, command: list[str], *, show: Callable[[str], str | None] | None = None,
              abrupt: bool = False, quiet: bool = False, **more: object) -> Process:
        """Starts a program in a session of its own. `quiet` keeps its output for the case that it fails; `abrupt` means
        that it holds nothing and is ended with SIGKILL."""
        try:
            child = subprocess.Popen(command, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     start_new_session=True, **{"stdin": subprocess.DEVNULL, **more})
        except OSError as error:
            raise Failure(f"{name} cannot be started: {command[0]}: {error.strerror}") from None
        process = Process(name, child, abrupt)
        self.tell_guard(child.pid)
        self.running.append(process)
        colour = COLOURS[len(self.running) % len(COLOURS)]
        process.reader = threading.Thread(target=self.follow, args=(process, colour, show, quiet), daemon=True)
        process.reader.start()
        return process

    def follow(self, process: Process, colour: int, show: Callable[[str], str | None] | None, quiet: bool) -> None:
        label = f"{process.name:<{self.width}} |"
        if self.colour:
            label = f"\x1b[{colour}m{label}\x1b[0m"
        assert process.child.stdout is not None
        for line in process.child.stdout:
            text: str | None = line.rstrip("\n")
            process.last.append(text or "")
            text = show(text or "") if show else text
            if text is not None and not quiet:
                self.say(f"{label} {text}")

    def forget(self, process: Process) -> None:
        self.running.remove(process)
        self.tell_guard(-process.child.pid)

    def finish(self, process: Process) -> int:
        """Waits for a program that ends by itself."""
        status = process.child.wait()
        process.signal_group(signal.SIGKILL)
        if process.reader:
            process.reader.join(2)
        self.forget(process)
        return status

    def check(self) -> None:
        """Raises if one of them has ended, with its last lines."""
        for process in self.running:
            how = process.ended()
            if how:
                if process.reader:
                    process.reader.join(2)
                lines = "".join(f"\n    {line}" for line in process.last) or " (it wrote nothing)"
                raise Failure(f"{process.name} {how}, so everything ends. Its last lines:{lines}")

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{what} did not come within {seconds:.0f} s; the log above says how far it got")
            time.sleep(0.03)

    def stop(self) -> None:
        """Ends all of them: politely, then by force, always with their whole group."""
        for process in self.running:
            process.signal_group(signal.SIGKILL if process.abrupt else signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE
        for process in list(self.running):
            try:
                process.child.wait(max(0.0, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                deadline = 0.0
            process.signal_group(signal.SIGKILL)
            process.child.wait()
            if process.reader:
                process.reader.join(1)
            self.forget(process)
