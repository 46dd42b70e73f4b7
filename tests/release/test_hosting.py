"""The site on a plain static host, without headers of its own."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.page.tympan_page import BOOT_MS
from tympan.cli.site import ROOT
from tympan.cli.testing import OpenBrowser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print no access log."""


@pytest.fixture
def host(tympan_site: Path, tmp_path: Path) -> Iterator[str]:
    """What `python -m http.server` serves: files, without headers of our own, the site in a folder."""
    (tmp_path / "tympan").symlink_to(tympan_site)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_the_page_works_in_a_folder_of_a_plain_server(host: str, tympan_browser: OpenBrowser) -> None:
    page = tympan_browser().new_context(service_workers="block").new_page()
    page.set_default_timeout(BOOT_MS)
    page.goto(f"{host}/tympan/?backend=simd")
    assert page.evaluate("tympan.ready")["title"] == "Tympan demo, English"
    page.context.close()


def test_a_space_gets_every_binary_file_through_lfs(tympan_site: Path) -> None:
    """The host rejects a push with binary files outside of LFS."""
    document = (ROOT / "docs" / "hosting.md").read_text("utf-8")
    (tracked,) = re.findall(r"^git lfs track (.*)$", document, re.MULTILINE)
    suffixes = {path.suffix for path in tympan_site.rglob("*") if path.is_file() and b"\0" in path.read_bytes()}
    assert {f"*{suffix}" for suffix in suffixes} == set(shlex.split(tracked))


def test_no_file_is_too_large_for_common_hosts(tympan_site: Path) -> None:
    """Hosts refuse single files above 25 MB; a Space refuses those above 10 MB outside of LFS."""
    large = {path.suffix for path in tympan_site.rglob("*") if path.is_file() and path.stat().st_size > 10_000_000}
    assert large == {".safetensors", ".wasm"}
    assert all(path.stat().st_size < 25_000_000 for path in tympan_site.rglob("*") if path.is_file())
