"""A run that was killed could not tidy up: its containers, networks and volumes would be found by the next one, with secrets that nobody has any more."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import swarm
from harness import PROJECT, run

# Compose and Swarm each mark what they make. Containers first: they hold the others.
MARKS = (f"com.docker.compose.project={PROJECT}", f"com.docker.stack.namespace={swarm.PROJECT}")
KINDS = {"container": (["container", "ls", "--all"], ["container", "rm", "--force", "--volumes"]),
         "network": (["network", "ls"], ["network", "rm"]),
         "volume": (["volume", "ls"], ["volume", "rm"])}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Waits until no other run uses the project's name on this machine; a run that was killed holds nothing."""
    with (Path(tempfile.gettempdir()) / f"{PROJECT}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"stack: another run has the project {PROJECT}; waiting for its end (STACK_PROJECT gives this one another name)", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove() -> list[str]:
    """What was removed, a line each."""
    removed = []
    if run(["docker", "info", "--format", "{{.Swarm.ControlAvailable}}"]).stdout.strip() == "true":
        stacks = run(["docker", "stack", "ls", "--format", "{{.Name}}"]).stdout.split()
        if swarm.PROJECT in stacks:
            swarm.remove(leave=stacks == [swarm.PROJECT])
            removed.append(f"stack {swarm.PROJECT}")
    for kind, (listing, removal) in KINDS.items():
        for mark in MARKS:
            names = run(["docker", *listing, "--quiet", "--filter", f"label={mark}"]).stdout.split()
            if names:
                run(["docker", *removal, *names])
                removed.append(f"{len(names)} {kind}{'' if len(names) == 1 else 's'} of {mark.partition('=')[2]}")
    return removed
