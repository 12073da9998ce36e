"""The book of docs/ as mdBook makes it: nothing is said on the way, every link and picture leads to something that is there, and no mark-up is left over."""

from __future__ import annotations

import html.parser
import subprocess
import tempfile
import urllib.parse
from pathlib import Path

# Pages of mdBook itself: all in one, and what is shown for an address that leads nowhere.
OF_MDBOOK = ("404.html", "print.html", "toc.html")
# What a line of a paragraph begins with when it was meant to be a table, code or a heading.
LEFT_OVER = ("|", "```", "# ", "## ", "### ")


class Page(html.parser.HTMLParser):
    """What a page of the book refers to, what can be referred to in it, and mark-up that came through."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.targets: list[str] = []
        self.left_over: list[str] = []
        self.headings = 0
        self.is_paragraph = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.headings += tag == "h1"
        # Code and emphasis in a paragraph begin a line as they like.
        self.is_paragraph = tag == "p" or (self.is_paragraph and tag == "br")
        self.names |= {value for name in ("id", "name") if (value := named.get(name))}
        self.targets += [value for name in ("href", "src") if (value := named.get(name))]

    def handle_data(self, data: str) -> None:
        if self.is_paragraph:
            self.left_over += [line for line in map(str.strip, data.splitlines()) if line.startswith(LEFT_OVER)]

    def handle_endtag(self, tag: str) -> None:
        self.is_paragraph = self.is_paragraph and tag != "p"


def wrong_links(pages: dict[Path, Page], place: Path) -> list[str]:
    wrong = []
    for file, page in pages.items():
        for target in page.targets:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (file.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else file
            if not there.is_file() or not there.is_relative_to(place):
                wrong.append(f"{file.relative_to(place)}: {target} is not in the book")
            elif parts.fragment and there in pages and urllib.parse.unquote(parts.fragment) not in pages[there].names:
                wrong.append(f"{file.relative_to(place)}: {target} has no such heading")
    return wrong


def check(mdbook: Path, docs: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="book-") as temporary:
        place = Path(temporary).resolve() / "book"
        done = subprocess.run([str(mdbook), "build", str(docs), "--dest-dir", str(place)], text=True, capture_output=True, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "INFO" not in line]
        assert done.returncode == 0 and not said, "mdbook says: " + "\n".join(said)
        files = [file for file in place.rglob("*.html") if file.name not in OF_MDBOOK]
        pages = {file: Page(file.read_text(encoding="utf-8")) for file in files}
        wrong = wrong_links(pages, place)
        # mdBook has the title of the book in one of its own.
        wrong += [f"{file.relative_to(place)}: {page.headings - 1} titles, not one" for file, page in pages.items() if page.headings != 2]
        wrong += [f"{file.relative_to(place)}: not rendered: {text}" for file, page in pages.items() for text in page.left_over]
        assert len(pages) > 1 and not wrong, "\n".join(wrong)
