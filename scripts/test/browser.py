"""The person's side of a sign-in: follows redirects, fills in forms, keeps cookies. Standard library only."""

from __future__ import annotations

import html.parser
import http.client
import http.cookies
import urllib.parse
from typing import NamedTuple

MOST_STEPS = 12


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: str


def ask(method: str, url: str, *, body: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request to this machine, whatever name the URL has: not every system resolves *.localhost."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=30)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {"Host": parts.netloc, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))
    finally:
        connection.close()


class Forms(html.parser.HTMLParser):
    """Reads the fields and buttons of every form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append({"action": named.get("action", ""), "fields": {}, "buttons": []})
        elif self.forms and named.get("name"):
            form = self.forms[-1]
            if tag == "button":
                form["buttons"].append((named["name"], named.get("value", "")))
            elif tag == "input" and named.get("type") != "checkbox":
                form["fields"][named["name"]] = named.get("value", "")


class Browser:
    """Signs one person in."""

    def __init__(self, username: str, password: str) -> None:
        self.person = {"username": username, "password": password}
        self.cookies: dict[str, dict[str, str]] = {}

    def open(self, method: str, url: str, body: str | None = None) -> Answer:
        origin = urllib.parse.urlsplit(url)
        jar = self.cookies.setdefault(origin.hostname or "", {})
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}
        if method == "POST":
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{origin.scheme}://{origin.netloc}",
                        "Sec-Fetch-Site": "same-origin"}
        answer = ask(method, url, body=body, headers=headers)
        for line in answer.headers.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    jar.pop(name, None)
                else:
                    jar[name] = morsel.value
        return answer

    def approve(self, url: str, redirect_uri: str) -> str:
        """Consents and signs in; returns the URL that the browser is sent to in the end, without opening it."""
        end = self.walk(url, redirect_uri)
        assert isinstance(end, str), f"no redirect to {redirect_uri}: {end.status} {end.body[:500]}"
        return end

    def connect(self, url: str) -> None:
        """Sends the code that a device showed, consents and signs in (RFC 8628 section 3.3)."""
        end = self.walk(url, None)
        assert isinstance(end, Answer) and end.status == 200 and "Your device is connected" in end.body, end

    def walk(self, url: str, redirect_uri: str | None) -> str | Answer:
        """Follows redirects and fills in forms until there is none, or until the redirect URI."""
        method, body = "GET", None
        for _ in range(MOST_STEPS):
            answer = self.open(method, url, body)
            if answer.status in (302, 303):
                url = urllib.parse.urljoin(url, answer.headers["Location"])
                if redirect_uri and url.startswith(redirect_uri):
                    return url
                method, body = "GET", None
                continue
            forms = Forms()
            forms.feed(answer.body)
            form = next((form for form in forms.forms if self.fill(form)), None)
            if answer.status != 200 or form is None:
                return answer
            url = urllib.parse.urljoin(url, form["action"])
            method, body = "POST", urllib.parse.urlencode(form["fields"])
        raise AssertionError(f"no end after {MOST_STEPS} steps")

    def fill(self, form: dict) -> bool:
        """Fills in the login form, approves the consent form, or sends a device's code; false for any other form."""
        if ("decision", "approve") in form["buttons"]:
            form["fields"]["decision"] = "approve"
            return True
        if "password" in form["fields"]:
            form["fields"] |= self.person
            return True
        return "user_code" in form["fields"]
