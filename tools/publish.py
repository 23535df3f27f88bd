"""Publish the results of ``asv run`` as an offline site: ``python tools/publish.py [--to FOLDER]``.

``asv publish`` makes pages that load jQuery, flot and more from other servers. This puts copies beside
them, from the npm registry (npm_config_registry, where set): pinned versions with pinned hashes.
"""

import argparse
import base64
import hashlib
import html
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {  # the integrity as the registry states it, and the files that asv 0.6.6 loads
    "jquery@3.3.1": (
        "sha512-Ubldcmxp5np52/ENotGxlLe6aGMvmF4R8S6tZjsP6Knsaxd/xp3Zrh50cG93lR6nPXyUFwzN3ZSOQI0wRJNdGg==",
        ["dist/jquery.min.js"],
    ),
    "flot@0.8.3": (
        "sha512-xg2otcTJDvS+ERK+my4wxG/ASq90QURXtoM4LhacCq0jQW2jbyjdttbRNqU2cPykrpMvJ6b2uSp6SAgYAzj9tQ==",
        [f"jquery.flot{part}.js" for part in ("", ".time", ".selection", ".categories")],
    ),
    "flot-orderbars@1.0.0": (
        "sha512-Jv51fvzevUjNXEeozpwEKfPjhiZhfiJddv0WHjduUTCmSF+7T5K7C9c9Y1wIVmUhDBv5fLMjgbwKecT0GIKPZA==",
        ["js/jquery.flot.orderBars.js"],
    ),
    "stupid-table-plugin@1.1.3": (  # asv's 1.0.1 is not in the registry
        "sha512-2Vk7XouQPxUQPRe9w0Fu7ZZ8kHLK7rDoLMsCgtKxRNJ7f4dSOGvW9CkHsq5wD6QsaEnWoyLBYH3xOEsrK3yWBg==",
        ["stupidtable.min.js"],
    ),
    "blueimp-md5@2.19.0": (
        "sha512-DRQrD6gJyy8FbiE4s+bDoXS9hiW3Vbx5uCdwvcCf3zLHL+Iv7LtGHLpr+GZV8rHG8tK766FGYBwRbu8pELTt+w==",
        ["js/md5.min.js"],
    ),
    "bootstrap@3.1.1": (
        "sha512-TAzqS8E/ISpVHP29gYhy+1NSV+FJwApDVQhDfgLYsIuUDJiqJzH2DfORN5tiu+Ie2iBLrzEG34t4Rf465cigqg==",
        ["dist/js/bootstrap.min.js", "dist/css/bootstrap.min.css"],
    ),
}
TAG = re.compile(r"<(?:script|link)\b[^>]*>", re.IGNORECASE)
ELSEWHERE = re.compile(r"""\b(?:src|href)\s*=\s*["']?((?:https?:)?//[^\s"'>]+)""", re.IGNORECASE)
ONLY_ELSEWHERE = re.compile(r"""\s+(?:integrity|crossorigin|referrerpolicy)\b(?:\s*=\s*["'][^"']*["'])?""")


def plain(address):
    """A file's name without version and ``.min``: the same at npm and at the servers that asv names."""
    return re.sub(r"(-\d[\d.]*)?(\.min)?\.(js|css)$", r".\3", address.rpartition("/")[2])


MAJOR = {
    plain(path): re.search(r"@(\d+)", name)[1] for name, (_, paths) in PACKAGES.items() for path in paths
}


def offline(page):
    """The page with ``vendor/`` instead of other servers; ValueError for what PACKAGES does not have."""
    unknown = []

    def local(tag):
        address = ELSEWHERE.search(tag[0])
        if not address:
            return tag[0]
        name = plain(address[1])
        if name not in MAJOR or not re.search(rf"[-@/]{MAJOR[name]}\.\d", address[1]):
            unknown.append(address[1])
        return ONLY_ELSEWHERE.sub("", tag[0].replace(address[1], f"vendor/{name}"))

    page = TAG.sub(local, page)
    if unknown:
        raise ValueError(f"asv's page loads what PACKAGES in {__file__} does not have: {', '.join(unknown)}")
    return page


def download():
    """Name and content of every file in PACKAGES."""
    variables = "npm_config_registry", "NPM_CONFIG_REGISTRY"
    registry = next(filter(None, map(os.environ.get, variables)), "https://registry.npmjs.org").rstrip("/")
    files = {}
    for package, (integrity, paths) in PACKAGES.items():
        name, version = package.split("@")
        address = f"{registry}/{name}/-/{name}-{version}.tgz"
        try:
            with urllib.request.urlopen(address, timeout=60) as reply:
                packed = reply.read()
        except OSError as error:
            raise OSError(f"{address}: {error} (npm_config_registry may name a mirror)") from error
        if integrity != "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode():
            raise ValueError(f"{address} does not have the hash in {__file__}")
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            files |= {plain(path): tar.extractfile(f"package/{path}").read() for path in paths}
    return files


def commits():
    """A page that says what each commit is: show_commit_url in asv.conf.json leads to its anchors."""
    log = subprocess.check_output(["git", "log", "--format=%H %cs %s"], cwd=ROOT, encoding="utf-8")
    page = '<!doctype html><meta charset="utf-8"><style>:target {background: gold}</style>\n'
    for line in log.splitlines():
        digits, rest = line.split(" ", 1)
        page += f'<p id="{digits[:8]}"><code>{digits}</code> {html.escape(rest)}</p>\n'
    return page


def publish(site):
    """Make the site in that folder, or where asv.conf.json says; where it is."""
    conf = json.loads((ROOT / "asv.conf.json").read_text("utf-8"))
    if not any((ROOT / conf["results_dir"]).glob("*/*-*.json")):
        raise FileNotFoundError(
            f"no results in {conf['results_dir']}: asv run comes first, see CONTRIBUTING.md"
        )
    site = Path(site or ROOT / conf["html_dir"]).resolve()
    if site.exists() and not (site / "asv.js").exists() and any(site.iterdir()):
        raise FileExistsError(f"{site} is not empty, and not a site that may be replaced")  # asv deletes it
    files = download()  # first: without a network the old site stays
    subprocess.run([sys.executable, "-m", "asv", "publish", "--html-dir", site], cwd=ROOT, check=True)
    for page in site.glob("*.html"):
        page.write_text(offline(page.read_text("utf-8")), "utf-8")
    (site / "commits.html").write_text(commits(), "utf-8")
    (site / "vendor").mkdir()
    for name, content in files.items():
        (site / "vendor" / name).write_bytes(content)
    return site


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--to", metavar="FOLDER", help="where it goes; otherwise html_dir in asv.conf.json")
    try:
        site = publish(parser.parse_args().to)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"publish: {error}")
    print(f"Open with: python -m http.server -d {site}  (browsers do not load its data from file://)")
