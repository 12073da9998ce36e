"""`just init` in a copy of the checkout, with and without a terminal, and a GitHub that knows one OAuth app."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import playing

ROOT = Path(__file__).resolve().parent.parent.parent
APP = {"client_id": "Ov23liTestTestTest00", "client_secret": "0123456789abcdef0123456789abcdef01234567"}
PATIENCE = 30.0


@contextlib.contextmanager
def github() -> Iterator[str]:
    """Answers as GitHub does: a wrong code for the right app, wrong credentials for any other."""
    class Token(playing.Quiet):
        def do_POST(self) -> None:
            form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            known = self.path == "/login/oauth/access_token" and all(form.get(name) == value for name, value in APP.items())
            self.answer(200, json.dumps({"error": "bad_verification_code" if known else "incorrect_client_credentials"}).encode())

    with playing.serving(Token) as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def issuer() -> Iterator[str]:
    """Says who it is, as a provider of OpenID Connect does."""
    class Discovery(playing.Quiet):
        def do_GET(self) -> None:
            body = json.dumps({"issuer": f"http://127.0.0.1:{self.server.server_port}/realms/main"}).encode()
            self.answer(200 if self.path == "/realms/main/.well-known/openid-configuration" else 404, body)

    with playing.serving(Discovery) as port:
        yield f"http://127.0.0.1:{port}/realms/main"


def copy(place: Path) -> Path:
    there = place / "checkout"
    shutil.copytree(ROOT / "scripts", there / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("docker-compose.yml", ".env.example"):
        shutil.copy2(ROOT / file, there / file)
    return there


def command(there: Path) -> list[str]:
    return [sys.executable, str(there / "scripts/stack/init.py")]


def environment(address: str, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "GITHUB_URL": address, **more}


def settings(there: Path) -> dict[str, str]:
    lines = (there / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def without_terminal(place: Path) -> None:
    there = copy(place)
    with github() as address:
        def init(**more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command(there), env=environment(address, **more), text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)

        refused = init(DOMAIN="https://example.com")
        assert refused.returncode == 1 and "is no domain" in refused.stderr and not (there / ".env").exists(), refused.stderr
        refused = init(DOMAIN="example.invalid")
        assert refused.returncode == 1 and "ACME_EMAIL: is needed" in refused.stderr, refused.stderr
        answers = {"DOMAIN": "example.invalid", "ACME_EMAIL": "me@example.com", "ALLOWED_GITHUB_USERS": "octocat, @hubot"}
        done = init(**answers, GITHUB_CLIENT_ID=APP["client_id"], GITHUB_CLIENT_SECRET=APP["client_secret"])
        assert done.returncode == 0 and "GitHub knows the OAuth app" in done.stdout and "have no address yet" in done.stdout, done.stdout + done.stderr
        assert (there / ".env").stat().st_mode & 0o777 == 0o600
        found = settings(there)
        assert found["DOMAIN"] == "example.invalid" and found["ALLOWED_GITHUB_USERS"] == "octocat,hubot", found
        sealed = {name: (there / ".secrets" / name).read_text() for name in ("gateway_jwt_secret", "redis_password")}
        assert all(len(value) >= 32 for value in sealed.values())
        # Again, with one other answer: what was there is kept, a line of the operator's own too.
        with (there / ".env").open("a") as file:
            file.write("MY_OWN=line\n")
        done = init(DOMAIN="example.org", GITHUB_CLIENT_SECRET="f" * 40)
        assert done.returncode == 0 and "does not know this client id" in done.stdout, done.stdout
        found = settings(there)
        assert (found["DOMAIN"], found["MY_OWN"], found["ACME_EMAIL"]) == ("example.org", "line", "me@example.com"), found
        assert sealed == {name: (there / ".secrets" / name).read_text() for name in sealed}, "a secret was made anew"
        # Where .env says that they are, which is where Compose looks for them.
        with (there / ".env").open("a") as file:
            file.write("SECRETS_DIR=elsewhere\n")
        done = init(DOMAIN="example.org", GITHUB_CLIENT_SECRET="f" * 40)
        assert done.returncode == 0 and (there / "elsewhere" / "redis_password").exists(), done.stdout + done.stderr


def with_openid(place: Path) -> None:
    """Another provider than GitHub: asked for what it needs, and whether it calls itself so."""
    there = copy(place / "openid")
    with issuer() as address:
        def init(**more: str) -> subprocess.CompletedProcess[str]:
            known = environment("http://127.0.0.1:1", DOMAIN="localhost", IDENTITY_PROVIDER="oidc", **more)
            return subprocess.run(command(there), env=known, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)

        refused = init(OIDC_ISSUER=f"{address}/.well-known/openid-configuration")
        assert refused.returncode == 1 and "leave /.well-known" in refused.stderr, refused.stderr
        answers = {"OIDC_CLIENT_ID": "gateway", "OIDC_CLIENT_SECRET": "of the gateway", "ALLOWED_OIDC_USERS": "ann, bob@example.com"}
        done = init(OIDC_ISSUER=f"{address}/", **answers)
        assert done.returncode == 0 and f"calls itself {address};" in done.stdout, done.stdout + done.stderr
        done = init(OIDC_ISSUER=address, **answers)
        assert done.returncode == 0 and "calls itself that" in done.stdout, done.stdout + done.stderr
        found = settings(there)
        assert (found["IDENTITY_PROVIDER"], found["OIDC_ISSUER"], found["ALLOWED_OIDC_USERS"]) == ("oidc", address, "ann,bob@example.com"), found
        assert (there / ".secrets" / "oidc_client_secret").read_text() == "of the gateway"


def at_a_terminal(place: Path) -> None:
    """A wrong answer is asked again, and the secret is not shown."""
    there = copy(place / "terminal")
    with github() as address:
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(command(there), env=environment(address, TERM="dumb"), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        shown, heard = "", 0

        def until(text: str) -> None:
            """Reads on until the text comes, after what was waited for before."""
            nonlocal shown, heard
            deadline = time.monotonic() + PATIENCE
            while (found := shown.find(text, heard)) < 0:
                assert time.monotonic() < deadline, f"no {text!r} in {shown[heard:]!r}"
                if select.select([terminal], [], [], 0.2)[0]:
                    shown += os.read(terminal, 4096).decode()
            heard = found + len(text)

        def answer(question: str, text: str) -> None:
            until(question)
            os.write(terminal, f"{text}\n".encode())

        answer("Domain", "not a domain")
        until("is no domain")
        answer("Domain", "auth.example.com")
        until("write example.com")
        answer("Domain", "localhost")
        answer("Who knows the people", "google")
        until("write github, or oidc")
        answer("Who knows the people (github, or oidc for another provider) [github]", "")
        answer("client id", APP["client_id"])
        answer("client secret", APP["client_secret"])
        answer("Who may come in", "octo cat")
        until("no names like")
        answer("Who may come in", "octocat")
        until("Next: ./justw up")
        status = process.wait(PATIENCE)
        os.close(terminal)
    assert status == 0, shown
    assert APP["client_secret"] not in shown, "the secret was shown"
    assert settings(there)["PUBLIC_SCHEME"] == "http", settings(there)
