#!/usr/bin/env python3
"""The documentation agrees with the rest: links lead somewhere, every page is in the book, recipes and variables exist.

Ends with a line `docs: N passed, N failed`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
TOOLS = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools")
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub and mdBook make them of headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in HEADING.findall(page.read_text(encoding="utf-8"))}


def links_lead_somewhere() -> None:
    wrong = []
    for page in PAGES:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target} does not exist")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                wrong.append(f"{page.relative_to(ROOT)}: {target} has no such heading")
    assert not wrong, "\n".join(wrong)


def every_page_is_in_the_book() -> None:
    listed = {(DOCS / target).resolve() for target in LINK.findall((DOCS / "SUMMARY.md").read_text(encoding="utf-8"))}
    pages = {page.resolve() for page in DOCS.rglob("*.md") if page.name != "SUMMARY.md"}
    assert pages == listed, f"not in SUMMARY.md: {sorted(str(page) for page in pages - listed)}, only there: {sorted(str(page) for page in listed - pages)}"


def recipes_exist() -> None:
    just = TOOLS / "bin" / "just"
    done = subprocess.run([str(just) if just.exists() else "just", "--dump", "--dump-format", "json"], cwd=ROOT, text=True, capture_output=True, check=True)
    recipes = set(json.loads(done.stdout)["recipes"])
    wrong = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
        for name in (name for part in code for name in re.findall(r"(?:(?<![\w./-])just|\./justw) +([a-z][a-z-]*)", part)):
            if name not in recipes:
                wrong.append(f"{page.relative_to(ROOT)}: just {name}")
    assert not wrong, "no such recipe: " + ", ".join(sorted(set(wrong)))


def variables_exist() -> None:
    """A variable that a page tells an operator to set is read by something."""
    sources = [*ROOT.glob("crates/*/src/**/*.rs"), *ROOT.glob("scripts/**/*.py"), *ROOT.glob("traefik/*"), ROOT / "docker-compose.yml", ROOT / ".env.example",
               *ROOT.glob("deploy/docker/*.Dockerfile")]
    known = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.is_file())
    wrong = []
    for page in [page for page in PAGES if "decisions" not in page.parts]:
        for name in set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page.read_text(encoding="utf-8"))):
            if name not in known:
                wrong.append(f"{page.relative_to(ROOT)}: {name}")
    assert not wrong, "nothing reads " + ", ".join(sorted(wrong))


CHECKS = (links_lead_somewhere, every_page_is_in_the_book, recipes_exist, variables_exist)


def main() -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
            print(f"docs: ok {check.__name__}", flush=True)
        except AssertionError as error:
            failed += 1
            print(f"docs: FAILED {check.__name__}: {error}", flush=True)
    print(f"docs: {len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
