"""`just pin` against a registry: one that has only what Docker asks for, on a port of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import init

INDEX = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).encode()
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
NAMES = ("TRAEFIK", "REDIS", "RUST", "RUNTIME", "PYTHON", "NODE", "TOOLBOX")


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Knows the tag 1 of every image (the part of the OCI distribution specification that resolves a tag)."""
    class Manifests(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = bool(re.fullmatch(rf"/v2/|/v2/[a-z]+/manifests/(1|{DIGEST})", self.path))
            self.send_response(200 if there else 404)
            self.send_header("Docker-Content-Digest", DIGEST)
            self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
            self.send_header("Content-Length", str(len(INDEX) if there else 0))
            self.end_headers()
            if there and self.command == "GET":
                self.wfile.write(INDEX)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Manifests)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


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
