"""Open every page of the documentation in a headless Chromium, wide and narrow, light and dark.

    pip install -e ".[docs,browser]" && python tools/docs.py && python tools/browse.py

Looks for errors on the console, requests off this machine, formulas that were not rendered, pages
that scroll sideways, and pictures that did not load. ``--shots FOLDER`` keeps pictures of the pages,
``--axe`` runs axe-core, as axe-playwright-python brings it, on some of them and reports what it calls
serious or critical for those who read with a keyboard or a screen reader. The browser is ``chromium``
or ``google-chrome`` on the PATH, else the one that ``playwright install chromium`` fetched.
"""

import argparse
import functools
import itertools
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docs import pages_of

HTML = Path(__file__).parents[1] / "docs" / "_build" / "html"
WIDTHS, HEIGHT, THEMES = (1280, 390), 900, ("light", "dark")
BROWSERS = "chromium", "chromium-browser", "google-chrome"
AXED = (
    "index.html",
    "choosing/optimizer.html",
    "auto_gallery/paths/plot_paths.html",
    "reference/Adam.html",
    "coming_from/pytorch.html",
)

READY = """async () => {
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    for (const image of document.images) image.loading = 'eager';
    await Promise.allSettled([...document.images].map(image => image.decode()));
}"""
LOOK = """() => {
    const maths = [...document.querySelectorAll('.math')];
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('main *')].filter(e => {
        const box = e.getBoundingClientRect();
        if (box.width === 0 || box.right <= document.documentElement.clientWidth + 1) return false;
        for (let p = e.parentElement; p; p = p.parentElement)
            if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return false;
        return true;
    });
    return {
        wide: wide,
        out: wide > 0 ? out.slice(0, 3).map(e => e.tagName + '.' + e.className) : [],
        raw: maths.filter(e => !e.querySelector('mjx-container svg')).map(e => e.textContent.slice(0, 60)),
        wrong: [...document.querySelectorAll('[data-mml-node=merror]')].length,
        blank: [...document.images].filter(e => !(e.complete && e.naturalWidth)).map(e => e.src.slice(0, 99)),
    };
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, says nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def program() -> str | None:
    """Path of a browser that is installed beside Playwright, if any."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


class Looker:
    """Opens pages in one tab, and collects what they say and ask for."""

    def __init__(self, chromium: Any, address: str) -> None:
        self.page, self.address = chromium.new_page(), address
        self.said: list[str] = []
        on, say = self.page.on, self.said.append
        on("console", lambda message: say(message.text) if message.type == "error" else None)
        on("pageerror", lambda error: say(str(error)))
        on("request", lambda request: None if self.is_here(request.url) else say(f"asks for {request.url}"))
        on("requestfailed", lambda request: say(f"did not get {request.url}"))

    def is_here(self, url: str) -> bool:
        return url.startswith((self.address, "data:", "blob:"))

    def open(self, name: str) -> None:
        """Load a page, its formulas and all its pictures."""
        self.said.clear()
        self.page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
        self.page.goto(f"{self.address}/{name}", wait_until="load")
        self.page.add_style_tag(content="* { transition: none !important }")  # colours are what they will be
        self.page.evaluate(READY)

    def see(self, width: int, theme: str) -> Iterator[str]:
        """Faults of the page at a width and in a theme, as sentences."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        seen = self.page.evaluate(LOOK)
        if seen["wide"] > 0:
            yield f"scrolls sideways by {seen['wide']} pixels: {', '.join(seen['out'])}"
        yield from (f"has a formula that is not rendered: {text}" for text in seen["raw"])
        if seen["wrong"]:
            yield f"has {seen['wrong']} formulas with an error"
        yield from (f"has a picture that does not load: {source}" for source in seen["blank"])


def look(html: Path, names: Iterable[str] | None = None, shots: Path | None = None) -> list[str]:
    """Every fault of the pages of a folder."""
    names = list(names or (str(path.relative_to(html)) for path in pages_of(html)))
    faults = [] if names else [f"there are no pages in {html}"]
    with served(html) as address, browser() as chromium:
        looker = Looker(chromium, address)
        for name in names:
            looker.open(name)
            for width, theme in itertools.product(WIDTHS, THEMES):
                faults += [f"{name}, {width} wide, {theme}: {fault}" for fault in looker.see(width, theme)]
                if shots:
                    shots.mkdir(parents=True, exist_ok=True)
                    file = f"{name.removesuffix('.html').replace('/', '_')}-{width}-{theme}.png"
                    looker.page.screenshot(path=str(shots / file), full_page=True)
            faults += [f"{name}: {said}" for said in looker.said]
    return faults


def axe(html: Path, names: Iterable[str] = AXED) -> list[str]:
    """Findings that axe-core calls serious or critical, in both themes."""
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        raise SystemExit('axe-core is not installed: pip install -e ".[browser]"')
    faults, script = [], Path(package.origin).with_name("axe.min.js")
    with served(html) as address, browser() as chromium:
        looker = Looker(chromium, address)
        for name, theme in itertools.product(names, THEMES):
            looker.open(name)
            list(looker.see(WIDTHS[0], theme))
            looker.page.add_script_tag(path=str(script))
            found = looker.page.evaluate("async () => (await axe.run()).violations")
            faults += [
                f"{name}, {theme}: {each['impact']}: {each['id']}: {each['help']}: "
                f"{'; '.join(node['html'][:140] for node in each['nodes'][:3])} ({len(each['nodes'])})"
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", help="pages to open, as index.html; default: all")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the pages")
    parser.add_argument("--axe", action="store_true", help="run axe-core instead")
    options = parser.parse_args()
    names = options.pages
    faults = axe(HTML, names or AXED) if options.axe else look(HTML, names, options.shots)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
