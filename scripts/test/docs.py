#!/usr/bin/env python3
"""The documentation agrees with the rest: links lead somewhere, every page is in the book and rendered, recipes, variables and named tests exist.

Ends with a line `docs: N passed, N failed`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import book

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


def the_book_is_whole() -> None:
    mdbook = TOOLS / "bin" / "mdbook"
    assert mdbook.exists(), "mdBook is not installed; run: python3 scripts/tools.py mdbook"
    book.check(mdbook, DOCS)


def the_stack_needs_no_newer_python() -> None:
    """README names the oldest Python with which the stack is run; what macOS and long-lived systems bring is old."""
    named = re.search(r"Docker \(Compose v2\), Python (\d+)\.(\d+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named, "README.md does not say which Python the stack needs"
    for script in sorted(ROOT.glob("scripts/stack/*.py")):
        try:
            ast.parse(script.read_text(encoding="utf-8"), feature_version=(int(named[1]), int(named[2])))
        except SyntaxError as error:
            raise AssertionError(f"{script.relative_to(ROOT)}: {error.msg}; README.md says Python {named[1]}.{named[2]}") from None


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
            # A secret or a list may be in a file that VARIABLE_FILE names.
            if name.removesuffix("_FILE") not in known:
                wrong.append(f"{page.relative_to(ROOT)}: {name}")
    assert not wrong, "nothing reads " + ", ".join(sorted(wrong))


# An attribute that makes a test, then others, then the name of the function.
TEST = re.compile(r"#\[(?:\w+::)*test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async\s+)?fn\s+(\w+)")


def modules(path: Path) -> list[str]:
    """What stands before the names of the tests in a file: the crate, or the program of tests, and the modules."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[3:] if parts[0] == "crates" and parts[2] == "tests" else [parts[1].replace("-", "_"), *parts[3:]] if parts[0] == "crates" else parts[1:]
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def all_tests() -> set[str]:
    found = set()
    files = [*ROOT.glob("crates/*/src/**/*.rs"), *ROOT.glob("crates/*/tests/**/*.rs"), *ROOT.glob("tests/it/**/*.rs")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    for path, text in texts.items():
        inner = text.find("\nmod tests {")
        for test in TEST.finditer(text):
            inside = ["tests"] if 0 <= inner < test.start() else []
            found.add("::".join([*modules(path), *inside, test[1]]))
    # The behaviours that every store has are made into tests by a macro, once for each store.
    macro = texts[ROOT / "crates/store/src/contract/mod.rs"]
    behaviours = re.findall(r"^ {12}(\w+),$", macro, re.MULTILINE)
    for path, text in texts.items():
        if "contract_tests!(" in text and "tests" in path.parts:
            found |= {"::".join([*modules(path), name]) for name in behaviours}
    return found


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def named_tests_exist() -> None:
    """In a table with a column "Test" each row names what shows it: `program::module::name` (also `crate::module::tests::name`), or a file."""
    tests, wrong = all_tests(), []
    for page in PAGES:
        column = None
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if not line.startswith("|"):
                column = None
                continue
            row = cells(line)
            if "Test" in row:
                column = row.index("Test")
                continue
            if column is None or set("".join(row)) <= set("-: "):
                continue
            cell = row[column] if column < len(row) else ""
            names = re.findall(r"`([^`]+)`", cell)
            where = f"{page.relative_to(ROOT)}:{number}"
            if not cell:
                wrong.append(f"{where}: the column Test is empty")
            for name in names:
                if name not in tests if "::" in name else not (ROOT / name).exists():
                    wrong.append(f"{where}: {name}")
    assert not wrong, "no such test:\n" + "\n".join(wrong)


CHECKS = (links_lead_somewhere, every_page_is_in_the_book, the_book_is_whole, the_stack_needs_no_newer_python, recipes_exist, variables_exist, named_tests_exist)


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
