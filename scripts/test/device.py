"""`just token`: a script gets a token after a person agreed once."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import story
from browser import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["./justw", "token", *arguments], cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(environment: dict[str, str], *arguments: str) -> str:
    """Standard output of a call that needs nobody."""
    process = start(environment, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Open" not in err, f"just token {' '.join(arguments)}: {process.returncode} {err}"
    return out


def refused(environment: dict[str, str], *arguments: str) -> str:
    """The one line with which a call fails."""
    process = start(environment, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and not out and len(err.strip().splitlines()) == 1, f"just token {' '.join(arguments)}: {process.returncode} {out}{err}"
    return err


def a_person_agrees_once(environment: dict[str, str], port: int, password: str, place: Path) -> None:
    environment = environment | {"XDG_STATE_HOME": str(place / "state")}
    for arguments, why in ((("--no-ask",), "nobody has agreed yet"), (("nothing",), "mcp-nothing is not enabled"), (("--url", "http://example.com"), "must be an https URL"),
                           (("--url", f"http://auth.localhost:{port}/x"), "does not say where to sign in")):
        assert why in (line := refused(environment, *arguments)), line

    process = start(environment, "fetch")
    assert process.stderr and process.stdout
    shown = process.stderr.readline()
    opened = re.fullmatch(r"Open +(http://auth\.localhost:\d+/device\?user_code=\S+)\n", shown)
    assert opened, shown + process.stderr.read()
    Browser("tester", password).connect(opened[1])
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and re.fullmatch(r"[\w.-]+\n", out), f"{process.returncode} {err}"
    works(port, out.strip())

    kept = place / "state" / "mcp-gateway" / "tokens.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and out.strip() not in kept.read_text()
    works(port, said(environment).strip())
    # From elsewhere, without the compose file.
    answer = json.loads(said(environment, "--json", "--url", f"http://mcp-fetch.localhost:{port}"))
    works(port, answer["access_token"])
    assert answer["expires_in"] > 60 and answer["resource"] == story.mcp_url(port), answer

    said(environment, "--forget")
    ended = story.initialize(port, answer["access_token"])
    assert ended.status == 401, ended
    assert "nobody has agreed yet" in refused(environment, "--no-ask")
    assert len(json.loads(kept.read_text())["clients"]) == 1, "registered more than once"


def works(port: int, token: str) -> None:
    answer = story.initialize(port, token)
    assert answer.status == 200, answer
