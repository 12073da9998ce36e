#!/usr/bin/env python3
"""Asks what the stack needs, checks it, and writes .env (mode 0600).

Can be run again: what .env says is offered as the answer, and lines that it does not ask about are kept as they are. Answers may come from
the environment (DOMAIN, ACME_EMAIL, GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET, ALLOWED_GITHUB_USERS; or IDENTITY_PROVIDER=oidc and OIDC_ISSUER,
OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, ALLOWED_OIDC_USERS), so that it runs without a terminal. Nothing is sent anywhere but to GitHub, to see whether
it knows the OAuth app, or to the issuer, to see what it calls itself.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from make_secrets import settings

ROOT = Path(__file__).resolve().parent.parent.parent
ENV = ROOT / ".env"
# Where GitHub is; another address is for tests and for GitHub Enterprise.
GITHUB = os.environ.get("GITHUB_URL", "https://github.com").rstrip("/")


class Problem(Exception):
    """Why an answer cannot be right."""


def domain(value: str) -> str:
    value = value.strip().rstrip(".").lower()
    if value == "localhost":
        return value
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise Problem(f"{value!r} is no domain; write it like example.com, without https:// and without auth. in front")
    if value.startswith(("auth.", "mcp-")):
        raise Problem(f"the sign-in would be at auth.{value}; write {value.partition('.')[2]}")
    return value


def email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value.strip()):
        raise Problem(f"{value!r} is no e-mail address")
    return value.strip()


def client_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{10,64}", value.strip()):
        raise Problem("GitHub shows the client id on the page of the OAuth app; it looks like Ov23li1a2B3c4D5e6F7g")
    return value.strip()


def client_secret(value: str) -> str:
    if len(value.strip()) < 20:
        raise Problem("that is too short; make a new client secret on the page of the OAuth app and paste all of it")
    return value.strip()


def people(value: str) -> str:
    names = [name.strip().lstrip("@") for name in value.split(",") if name.strip()]
    if not names:
        raise Problem("nobody could come in; write GitHub names with commas between, or * for everybody with a GitHub account")
    wrong = [name for name in names if name != "*" and not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}", name)]
    if wrong:
        raise Problem(f"GitHub has no names like {', '.join(map(repr, wrong))}; write names with commas between, or * for everybody with a GitHub account")
    return ",".join(names)


def provider(value: str) -> str:
    if value.strip() not in ("github", "oidc", "local"):
        raise Problem("write github, or oidc for another provider of OpenID Connect (Keycloak, Google, Entra, Authentik, …)")
    return value.strip()


def issuer(value: str) -> str:
    value = value.strip()
    parts = urllib.parse.urlsplit(value)
    if not (parts.scheme == "https" or parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")) or not parts.hostname or parts.query or parts.fragment:
        raise Problem(f"{value!r} is no issuer; it is an https address like https://id.example.com/realms/main")
    if value.endswith("/.well-known/openid-configuration"):
        raise Problem("leave /.well-known/openid-configuration out")
    return value


def given(value: str) -> str:
    return value.strip()


def listed(value: str) -> str:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise Problem("nobody: write logins, verified e-mail addresses or sub:VALUE with commas between; * is everybody whom the provider knows")
    return ",".join(names)


class Asker:
    """Asks at the terminal, or takes what the environment says when there is none."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known
        self.interactive = sys.stdin.isatty()

    def ask(self, name: str, question: str, parse, *, secret: bool = False) -> str:
        offered = self.known.get(name, "")
        while True:
            if self.interactive:
                shown = "keep the present one" if secret and offered else offered
                prompt = f"{question}{f' [{shown}]' if shown else ''}: "
                answer = (getpass.getpass(prompt) if secret else input(prompt)).strip() or offered
            else:
                answer = offered
            try:
                if not answer:
                    raise Problem("the stack does not start without it" if self.interactive else "is needed; run this at a terminal, or give it as a variable of the environment")
                return parse(answer)
            except Problem as problem:
                if not self.interactive:
                    sys.exit(f"just: {name}: {problem}")
                print(f"  {problem}")
                # What was offered stays on offer, unless it is what is wrong.
                offered = "" if answer == offered else offered


def warn(text: str) -> None:
    print(f"  note: {text}")


def check_dns(name: str) -> None:
    """Do the hosts lead to this machine?"""
    if name == "localhost":
        return
    unknown = []
    for host in (f"auth.{name}", f"mcp-fetch.{name}"):
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
        except OSError:
            unknown.append(host)
            continue
        if not any(map(is_ours, found)):
            warn(f"{host} leads to {', '.join(sorted(found))}, which is none of this machine's own addresses; that is right behind a router or load balancer that forwards 80 and 443")
    if unknown:
        verb = "has" if len(unknown) == 1 else "have"
        warn(f"{' and '.join(unknown)} {verb} no address yet; point them (or *.{name}) at this machine before the stack starts")


def is_ours(address: str) -> bool:
    """Only an address of this machine can be bound to, on every system."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:  # Also where the system has no IPv6 at all.
        return False
    return True


def check_ports() -> None:
    for port in (80, 443):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                warn(f"something listens on port {port} already; unless it is this stack, stop it (`sudo lsof -i :{port}`) or set HTTP_PORT and HTTPS_PORT in .env")


def check_github(identity: str, secret: str) -> None:
    """GitHub tells a wrong client id or secret from a wrong code: it is asked to redeem a code that cannot exist."""
    form = urllib.parse.urlencode({"client_id": identity, "client_secret": secret, "code": "0" * 20}).encode()
    request = urllib.request.Request(f"{GITHUB}/login/oauth/access_token", data=form, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            said = json.load(answer).get("error", "")
    except urllib.error.HTTPError as error:
        said = "incorrect_client_credentials" if error.code == 404 else f"status {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        warn(f"{GITHUB} could not be asked whether it knows the OAuth app ({getattr(reason, 'strerror', None) or reason})")
        return
    if said == "bad_verification_code":
        print("  GitHub knows the OAuth app, and the secret is right.")
    elif said == "incorrect_client_credentials":
        warn("GitHub does not know this client id with this secret; compare both with the page of the OAuth app")
    else:
        warn(f"GitHub answered {said!r} about the OAuth app")


def check_issuer(value: str) -> None:
    """It must call itself what is written here, character for character."""
    try:
        with urllib.request.urlopen(f"{value.rstrip('/')}/.well-known/openid-configuration", timeout=5) as answer:
            said = json.loads(answer.read(65536)).get("issuer", "")
    except (OSError, ValueError, AttributeError) as error:
        warn(f"{value} could not be asked who it is ({getattr(error, 'reason', error)}); `just up` goes on without")
        return
    if said == value:
        print("  The issuer answers, and calls itself that.")
    else:
        warn(f"the issuer calls itself {said}; write OIDC_ISSUER exactly so")


def write(answers: dict[str, str]) -> None:
    """Replaces the lines of the answers; every other line stays."""
    template = ENV if ENV.exists() else ROOT / ".env.example"
    lines = template.read_text(encoding="utf-8").splitlines()
    for name, value in answers.items():
        # Where it is set, else where it stands commented out, else at the end.
        places = [index for mark in ("", "#") for index, line in enumerate(lines) if line.startswith(f"{mark}{name}=")]
        if places:
            lines[places[0]] = f"{name}={quoted(value)}"
        else:
            lines.append(f"{name}={quoted(value)}")
    fresh = ROOT / ".env.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    fresh.chmod(0o600)
    fresh.replace(ENV)


def quoted(value: str) -> str:
    """In single quotes Compose takes a value as it is."""
    return value if re.fullmatch(r"[A-Za-z0-9@._,:/*+-]*", value) else f"'{value}'"


def main() -> None:
    asker = Asker({"IDENTITY_PROVIDER": "github", **settings(), **{name: value for name, value in os.environ.items() if value}})
    print("What the stack needs. Enter keeps what stands in brackets.\n")
    answers = {"DOMAIN": asker.ask("DOMAIN", "Domain (the hosts will be auth.DOMAIN and mcp-<name>.DOMAIN; localhost to try it here)", domain)}
    check_dns(answers["DOMAIN"])
    if answers["DOMAIN"] == "localhost":
        answers |= {"PUBLIC_SCHEME": "http"}
    else:
        check_ports()
        answers["ACME_EMAIL"] = asker.ask("ACME_EMAIL", "E-mail for Let's Encrypt", email)
    chosen = asker.ask("IDENTITY_PROVIDER", "Who knows the people (github, or oidc for another provider)", provider)
    # What is the default, and was not written down, need not be now.
    if chosen != "github" or "IDENTITY_PROVIDER" in settings():
        answers["IDENTITY_PROVIDER"] = chosen
    if chosen == "oidc":
        scheme = answers.get("PUBLIC_SCHEME", "https")
        answers["OIDC_ISSUER"] = asker.ask("OIDC_ISSUER", "The issuer, as the provider writes it", issuer)
        check_issuer(answers["OIDC_ISSUER"])
        print(f"\nA web application at the provider with the redirect URI {scheme}://auth.{answers['DOMAIN']}/callback")
        answers["OIDC_CLIENT_ID"] = asker.ask("OIDC_CLIENT_ID", "Its client id", given)
        answers["OIDC_CLIENT_SECRET"] = asker.ask("OIDC_CLIENT_SECRET", "Its client secret", given, secret=True)
        if not asker.known.get("ALLOWED_OIDC_GROUPS") or asker.known.get("ALLOWED_OIDC_USERS"):
            answers["ALLOWED_OIDC_USERS"] = asker.ask("ALLOWED_OIDC_USERS", "Who may come in (logins, verified e-mail addresses or sub:VALUE, commas between)", listed)
    if chosen == "github":
        scheme = answers.get("PUBLIC_SCHEME", "https")
        print(f"\nAn OAuth app of https://github.com/settings/developers with the callback URL {scheme}://auth.{answers['DOMAIN']}/callback")
        answers["GITHUB_CLIENT_ID"] = asker.ask("GITHUB_CLIENT_ID", "Its client id", client_id)
        answers["GITHUB_CLIENT_SECRET"] = asker.ask("GITHUB_CLIENT_SECRET", "Its client secret", client_secret, secret=True)
        check_github(answers["GITHUB_CLIENT_ID"], answers["GITHUB_CLIENT_SECRET"])
        if not any(asker.known.get(name) for name in ("ALLOWED_GITHUB_ORGS", "ALLOWED_GITHUB_TEAMS")) or asker.known.get("ALLOWED_GITHUB_USERS"):
            answers["ALLOWED_GITHUB_USERS"] = asker.ask("ALLOWED_GITHUB_USERS", "Who may come in (GitHub names, commas between)", people)
    write(answers)
    subprocess.run([sys.executable, str(Path(__file__).with_name("make_secrets.py"))], check=True)
    print("\nWrote .env, and the secrets that are made here. Next: ./justw up")


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, EOFError):
        sys.exit("\njust: nothing was written")
    except OSError as error:
        sys.exit(f"just: {error}")
