"""Tries the newest Pyodide, PyScript and MicroPython on npm, or given versions, against those of the lock file.

    .venv/bin/python -m tools.newest [--pyodide VERSION] [--pyscript VERSION] [--micropython VERSION]

Installs them into a temporary folder, builds the site with them, transcribes the sample on the page, and measures the
start of both sites in turn. The lock file stays as it is. The exit status is 1 if the page does not work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import Error, sync_playwright

import bootstrap
from bench.start import RECORD_TIMES, visit
from tympan.cli import chromium
from tympan.cli.errors import CommandError
from tympan.cli.server import serving
from tympan.cli.site import ROOT, build

PACKAGES = {
    "pyodide": "pyodide",
    "pyscript": "@pyscript/core",
    "micropython": "@micropython/micropython-webassembly-pyscript",
}
LINKED = ("app", "shaders", "static", "tools", "pyproject.toml", "pyscript.toml", ".venv")
N_VISITS = 5
TIMEOUT_MS = 180_000

_TRANSCRIBE = "async () => (await tympan.transcribe('./sample.wav')).text"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.newest", description="Try the newest interpreters.")
    for name in PACKAGES:
        parser.add_argument(f"--{name}", metavar="VERSION", default="latest")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            install(root, {PACKAGES[name]: getattr(options, name) for name in PACKAGES})
            sites = {"locked": Path(folder) / "locked", "newest": Path(folder) / "newest"}
            build(sites["locked"])
            build(sites["newest"], root)
            compare(sites)
    except (CommandError, Error) as error:
        print(f"newest: {error}", file=sys.stderr)
        return 1
    return 0


def install(root: Path, versions: dict[str, str]) -> None:
    """Make a folder like the checkout, with other npm packages and the wheels that belong to them."""
    root.mkdir()
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    for name in ("package.json", "package-lock.json"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    wanted = [f"{name}@{version}" for name, version in versions.items()]
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--save-exact", *wanted]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"npm cannot install {' '.join(wanted)}: {done.stderr.strip()}")
    print((root / "package.json").read_text("utf-8"))
    bootstrap.install_wheels(root)


def compare(sites: dict[str, Path]) -> None:
    """Transcribe the sample on every site, and print it with the medians of the starts. Raises Playwright's Error."""
    times: dict[str, list[dict[str, float]]] = {name: [] for name in sites}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.flags())
        for number in range(N_VISITS):
            for name in sorted(sites, reverse=bool(number % 2)):
                with serving(sites[name]) as url:
                    context = browser.new_context()
                    context.add_init_script(RECORD_TIMES)
                    times[name].append(visit(context, url))
                    if number == 0:
                        page = context.new_page()
                        page.set_default_timeout(TIMEOUT_MS)
                        page.goto(url)
                        print(f"{name}: {page.evaluate(_TRANSCRIBE)}")
                    context.close()
    for name, visits in times.items():
        shown = "  ".join(f"{key} {median(v[key] for v in visits):6.0f}" for key in visits[0])
        print(f"{name}: {shown}   median of {N_VISITS} first visits")


if __name__ == "__main__":
    sys.exit(main())
