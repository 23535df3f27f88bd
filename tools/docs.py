"""Build the documentation into docs/_build/html, and check it.

    pip install -e ".[docs]" && python tools/docs.py

Three steps, each of which has to pass: the examples of the pages run as doctests; Sphinx makes the
pages, runs the gallery's scripts, and takes a warning for an error; every link and anchor of the
pages leads somewhere, and nothing on them is fetched from another machine. ``--check`` is the last
step alone. No network is needed.
"""

import argparse
import doctest
import os
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
DOCS, HTML = ROOT / "docs", ROOT / "docs" / "_build" / "html"
FETCHED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "source": "srcset",
    "iframe": "src",
    "image": "href",
}
NOT_FETCHED = {"canonical", "search", "index", "next", "prev", "author", "genindex"}  # of <link rel=…>


def run_doctests() -> int:
    """Run the examples of every page that is written by hand; the number of those that failed."""
    failed = 0
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # pages write checkpoints
        for path in sorted(DOCS.rglob("*.rst")):
            here = path.relative_to(DOCS)
            if here.parts[0] not in ("_build", "auto_gallery", "reference"):
                failed += doctest.testfile(
                    str(path), module_relative=False, optionflags=flags, encoding="utf-8", name=str(here)
                ).failed
        os.chdir(ROOT)
    return failed


def build(fresh: bool) -> int:
    """Make the pages; Sphinx's exit status."""
    from sphinx.cmd.build import main

    if fresh:
        for folder in (HTML.parent, DOCS / "auto_gallery"):
            shutil.rmtree(folder, ignore_errors=True)
    return main(["-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(HTML)])


def pages_of(html: Path) -> list[Path]:
    """The pages in a folder; the theme's own templates among its files are none."""
    return [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]


class Page(HTMLParser):
    """Links of a page, its anchors, and the files that a browser fetches for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.fetched: list[str] = []
        self.without_text: list[str] = []  # images
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if (
            tag == "img" and "alt" not in given
        ):  # "" is for ornaments, which thumbnails beside their title are
            self.without_text.append(given.get("src", ""))
        name = FETCHED.get(tag)
        if name in given and not set(given.get("rel", "").split()) & NOT_FETCHED:
            parts = given[name].split(",") if name == "srcset" else [given[name]]
            self.fetched += [part.split()[0] for part in parts if part.strip()]


def check(html: Path) -> list[str]:
    """Every fault of the links, anchors and images of the pages in a folder, as a sentence."""
    pages = {path.resolve(): Page(path) for path in pages_of(html)}
    faults = [] if pages else [f"there are no pages in {html}"]
    for path, page in pages.items():
        name = path.relative_to(html.resolve())
        faults += [
            f"{name}: the image {src} has no text for those who do not see it" for src in page.without_text
        ]
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    faults.append(f"{name}: {link} is fetched from another machine")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{name}: {link} leads to a page without that anchor")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="check the links of the pages that are there")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="make everything anew: a script of the gallery else runs again if it has changed, not its data",
    )
    options = parser.parse_args()
    if not options.check:
        os.environ.setdefault("MPLBACKEND", "Agg")
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # small products: threads would wait
        if failed := run_doctests():
            print(f"{failed} examples of the pages failed")
            return 1
        if status := build(options.fresh):
            return int(status)
    faults = check(HTML)
    for fault in faults:
        print(fault)
    if faults:
        print(f"{len(faults)} faults")
        return 1
    print(f"{HTML / 'index.html'}: {len(pages_of(HTML))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
