#!/usr/bin/env python3
"""Makes the files in .secrets/ (or SECRETS_DIR) that docker-compose.yml hands to the services.

A value in the environment or in .env wins; else what is there is kept; else a new one is generated. Needs only the Python standard library.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# File, variable, and whether it can be generated: the secrets of an identity provider come from there.
FILES = (
    ("gateway_jwt_secret", "GATEWAY_JWT_SECRET", True),
    ("redis_password", "REDIS_PASSWORD", True),
    ("github_client_secret", "GITHUB_CLIENT_SECRET", False),
    ("github_org_token", "GITHUB_ORG_TOKEN", False),
    ("oidc_client_secret", "OIDC_CLIENT_SECRET", False),
)


def settings() -> dict[str, str]:
    """NAME=value lines of .env, in quotes or not; the environment wins."""
    found = {}
    try:
        lines = (ROOT / ".env").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        name, assigned, value = line.strip().removeprefix("export ").partition("=")
        if assigned and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value.split(" #")[0].rstrip()
    return found | {name: value for name, value in os.environ.items() if value}


# As docker-compose.yml, which also knows what .env says.
PLACE = ROOT / (settings().get("SECRETS_DIR") or ".secrets")


def write(name: str, value: str) -> None:
    file, fresh = PLACE / name, PLACE / f".{name}.new"
    fresh.write_text(value, encoding="utf-8")
    fresh.chmod(0o444)
    fresh.replace(file)


def write_mounted(name: str, value: str) -> None:
    """Into the same file, not a new one in its place: running containers have mounted this very file."""
    file = PLACE / name
    if not file.exists():
        file.touch(mode=0o600)
    file.chmod(0o600)
    with file.open("r+", encoding="utf-8") as target:
        target.write(value)
        target.truncate()
        target.flush()
        os.fsync(target.fileno())
    # Readable, because services run as other users; the directory keeps others of this machine out.
    file.chmod(0o444)


def filled(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def main() -> None:
    values = settings()
    if values.get("GITHUB_CLIENT_ID") and not values.get("GITHUB_CLIENT_SECRET") and not filled(PLACE / "github_client_secret"):
        sys.exit("just: GITHUB_CLIENT_ID is set but GITHUB_CLIENT_SECRET is not; make a secret at https://github.com/settings/developers and put it into .env")
    if values.get("OIDC_CLIENT_ID") and not values.get("OIDC_CLIENT_SECRET") and not filled(PLACE / "oidc_client_secret"):
        sys.exit("just: OIDC_CLIENT_ID is set but OIDC_CLIENT_SECRET is not; take the secret from the page of the application at the provider and put it into .env")
    # The directory keeps others of this machine out. The files are readable because the services run as other users.
    PLACE.mkdir(mode=0o700, exist_ok=True)
    PLACE.chmod(0o700)
    for name, variable, generated in FILES:
        file = PLACE / name
        value = values.get(variable)
        if value is None and filled(file):
            continue
        if value is None:
            value = secrets.token_urlsafe(48) if generated else ""
            if generated:
                print(f"just: made {file}; keep a copy elsewhere", file=sys.stderr)
        write(name, value)
    # The secret before the present one, while `just rotate-secrets` changes it; else the present one.
    previous = values.get("GATEWAY_JWT_SECRET_PREVIOUS")
    if previous or not filled(PLACE / "gateway_jwt_secret_previous"):
        write("gateway_jwt_secret_previous", previous or (PLACE / "gateway_jwt_secret").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
