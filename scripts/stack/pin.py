#!/usr/bin/env python3
"""Pins the base images: asks the registry for the digest behind each tag, and writes it into .env.

    pin.py [--dry-run]

`traefik:v3.7.15` becomes `traefik:v3.7.15@sha256:…`, so that every later build and start uses these very bytes, whatever the tag means by then.
Run it again to move on to what the tags mean now; `just pull` alone does not. The digest is the one of the list for all platforms.
"""

from __future__ import annotations

import re
import sys

import inside
from compose import ROOT, StackError, run, start
from init import write
from make_secrets import settings

# Which variables name an image, and what they are when nobody says.
IMAGE = re.compile(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def images() -> dict[str, str]:
    """Variable → image without a digest, as .env and docker-compose.yml say."""
    known = settings()
    found = {**dict(IMAGE.findall((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))), "TOOLBOX_IMAGE": inside.BASE}
    return {name: (known.get(name) or default).partition("@")[0] for name, default in sorted(found.items())}


def digest(image: str) -> str:
    # As JSON: without it buildx takes a template that begins with .Manifest for its own table.
    done = run(["docker", "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest.Digest}}"])
    found = done.stdout.strip().strip('"')
    if done.returncode != 0 or not DIGEST.fullmatch(found):
        reason = (done.stderr.strip() or found or "no answer").splitlines()[-1]
        raise StackError(f"the registry of {image} gave no digest: {reason}")
    return found


def main(arguments: list[str]) -> None:
    # All of them, or none: a half-pinned .env would say less than it seems to.
    pinned = {name: f"{image}@{digest(image)}" for name, image in images().items()}
    for name, image in pinned.items():
        print(f"{name}={image}")
    if "--dry-run" not in arguments:
        write(pinned)
        print("just: wrote these into .env; next: just build, just up", file=sys.stderr)


if __name__ == "__main__":
    start(main, interrupted="nothing was written")
