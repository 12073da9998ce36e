"""`just pin` against a registry: one that has only what Docker asks for, on a port of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import init
import playing

INDEX = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).encode()
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
NAMES = ("TRAEFIK", "REDIS", "RUST", "RUNTIME", "PYTHON", "NODE", "TOOLBOX")


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Knows the tag 1 of every image (the part of the OCI distribution specification that resolves a tag)."""
    class Manifests(playing.Quiet):
        def do_GET(self) -> None:
            there = bool(re.fullmatch(rf"/v2/|/v2/[a-z]+/manifests/(1|{DIGEST})", self.path))
            self.answer(200 if there else 404, INDEX if there else b"", Docker_Content_Digest=DIGEST, Content_Type="application/vnd.oci.image.index.v1+json")

        do_HEAD = do_GET

    with playing.serving(Manifests) as port:
        yield f"127.0.0.1:{port}"


def tags_become_digests(place: Path) -> None:
    there = init.copy(place / "pin")
    (there / ".env").write_text("DOMAIN=example.com\nREDIS_IMAGE=old@sha256:0\n")

    def pin(address: str, tag: str) -> subprocess.CompletedProcess[str]:
        images = {f"{name}_IMAGE": f"{address}/{name.lower()}:{tag}" for name in NAMES}
        command = [sys.executable, str(there / "scripts/stack/pin.py")]
        return subprocess.run(command, env=init.environment("", **images), text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)

    with registry() as address:
        refused = pin(address, "2")
        assert refused.returncode == 1 and "gave no digest" in refused.stderr and "traefik" not in (there / ".env").read_text(), refused
        done = pin(address, "1")
        assert done.returncode == 0, done
    found = init.settings(there)
    assert found == {"DOMAIN": "example.com", **{f"{name}_IMAGE": f"{address}/{name.lower()}:1@{DIGEST}" for name in NAMES}}, found
    shutil.rmtree(there)
