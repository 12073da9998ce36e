"""Gets the programs: ours from cargo, the others into .tools/."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from processes import Failure, Processes

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools")
OURS = ("mcp-auth", "mcp-proxy", "mcp-echo")
OFFLINE = ("failed to download", "Could not resolve", "Couldn't resolve", "Could not connect", "unable to update registry",
           "could not download", "network failure", "[7]", "[6]")


def crates() -> None:
    """Downloads the sources first, so that a missing network is one line and not a page of cargo's."""
    done = subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=ROOT, text=True, capture_output=True)
    if done.returncode == 0:
        return
    if any(sign in done.stderr for sign in OFFLINE):
        raise Failure("the crates cannot be downloaded: the network or the crate registry cannot be reached; connect and run this again")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    raise Failure(f"cargo fetch failed: {lines[0] if lines else 'no output'}")


def binaries(processes: Processes, debug: bool) -> Path:
    """Builds ours and returns the directory they are in."""
    ready = os.environ.get("GATEWAY_DEV_BINARIES")
    if ready:
        return Path(ready)
    crates()
    command = ["cargo", "build", "--locked", *(f"--package={name}" for name in ("auth", "mcp-proxy", "mcp-echo"))]
    if not debug:
        command.append("--release")
    processes.say(f"dev: building {', '.join(OURS)} ({'debug' if debug else 'release'}; the first time takes some minutes)")
    start = time.monotonic()
    # cargo shows its own progress on a terminal, so it keeps ours. Its own session would take Ctrl-C away, so we end it.
    child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    processes.tell_guard(child.pid)
    try:
        status = child.wait()
    except BaseException:
        os.killpg(child.pid, 15)
        child.wait()
        raise
    finally:
        processes.tell_guard(-child.pid)
    if status != 0:
        raise Failure("the build failed; cargo says why above")
    if time.monotonic() - start > 2:
        processes.say(f"dev: built after {time.monotonic() - start:.0f} s")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / ("debug" if debug else "release")


def tools(processes: Processes) -> None:
    """Installs Traefik and the fetch server, showing what tools.py says."""
    process = processes.start("tools", [sys.executable, str(ROOT / "scripts" / "tools.py"), "dev"])
    if processes.finish(process) != 0:
        last = process.last[-1] if process.last else "tools.py wrote nothing"
        raise Failure(last.removeprefix("tools: "))
