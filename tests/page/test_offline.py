"""After the first visit the page needs no network; a new version takes over cleanly, at the next visit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import BOOT_MS, TympanPage
from tympan.cli.server import serving
from tympan.cli.site import build
from tympan.cli.testing import OpenBrowser

pytestmark = pytest.mark.needs("playwright")

OLD, NEW = "rgb(247, 246, 243)", "rgb(240, 240, 240)"
INSTALLED = "navigator.serviceWorker.ready.then(registration => registration.active.state)"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of its own, which changes."""
    folder = tmp_path_factory.mktemp("changing")
    build(folder)
    return folder


def kept(page: Page) -> list[str]:
    """The files that the browser keeps, with their hash."""
    names: list[str] = page.evaluate(
        """async () => {
            const cache = await caches.open("tympan-site");
            return (await cache.keys()).map((request) => new URL(request.url).pathname + new URL(request.url).search);
        }"""
    )
    return sorted(names)


def test_second_visit_works_offline_and_third_installs_the_new_version(browser: Browser, dist: Path) -> None:
    context = browser.new_context()
    tympan = TympanPage(context.new_page())
    page = tympan.page
    with serving(dist) as url:
        page.goto(f"{url}/?backend=simd")
        tympan.wait_for("ready", timeout_ms=BOOT_MS)
        assert page.evaluate(INSTALLED)
        files = {path.relative_to(dist).as_posix() for path in dist.rglob("*") if path.is_file()}
        first = kept(page)
        assert {name.split("?")[0].lstrip("/") for name in first} == files - {"service-worker.js", "files.js"}
        port = int(url.rsplit(":", 1)[1])

    page.reload()  # the server is gone
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    page.click("#sample")
    expect(page.locator("#session-list li")).to_have_count(1, timeout=BOOT_MS)
    assert "lights in the kitchen" in tympan.transcript
    # Of one page alone, Firefox installs a new version so early that the page reloads as it without a notice.
    other = context.new_page()
    other.goto(f"{url}/?backend=simd")

    style = dist / "style.css"
    original = style.read_text("utf-8")
    new = original.replace("--ground: #f7f6f3", "--ground: #f0f0f0")
    build_edited(dist, new)
    with serving(dist, port) as url:
        page.goto(f"{url}/?backend=simd")
        expect(page.locator("#new-version")).to_be_visible(timeout=BOOT_MS)
        expect(page.locator("body")).to_have_css("background-color", OLD)  # the version that began goes on
        expect(other.locator("#new-version")).to_be_visible(timeout=BOOT_MS)
        with page.expect_event("load", timeout=BOOT_MS):
            page.click("#new-version button")
        expect(page.locator("#new-version")).to_be_visible(timeout=BOOT_MS)
        expect(page.locator("body")).to_have_css("background-color", OLD)  # which the other page shows
        other.close()
        page.click("#new-version button")
        expect(page.locator("body")).to_have_css("background-color", NEW, timeout=BOOT_MS)
        tympan.wait_for("ready", timeout_ms=BOOT_MS)
        expect(page.locator("#new-version")).to_be_hidden()
        changed = set(kept(page)) ^ set(first)
        assert {name.split("?")[0] for name in changed} == {"/style.css"}, "no more is kept, and no more was fetched"
        assert len(kept(page)) == len(first)
    context.close()


def test_modules_keep_their_query_on_a_second_visit(tympan_browser: OpenBrowser, site: str) -> None:
    """The query chooses the model of an embed, and the channel that a <py-script> reaches the page by."""
    context = tympan_browser(SPEECH).new_context()
    tympan = TympanPage(context.new_page())
    page = tympan.page
    page.goto(f"{site}/?backend=simd")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    assert page.evaluate(INSTALLED)

    page.goto(f"{site}/examples/speech-recognition.html")
    assert page.evaluate("navigator.serviceWorker.controller !== null")
    page.evaluate("import('../embed.js?model=nosuch').then(() => {})")
    assert page.evaluate("tympan.ready.catch(({ name }) => name)") == "UnknownModel"

    page.goto(f"{site}/examples/python.html")
    assert page.evaluate("navigator.serviceWorker.controller !== null")
    expect(page.locator("#transcript")).to_contain_text("can ", timeout=BOOT_MS)
    context.close()


def build_edited(dist: Path, style: str) -> None:
    """Build the site with another style."""
    from tympan.cli import site

    root = dist.parent / "sources"
    root.mkdir()
    for path in site.ROOT.iterdir():
        if path.name not in ("static", "dist"):
            (root / path.name).symlink_to(path)
    shutil.copytree(site.ROOT / "static", root / "static")
    (root / "static" / "style.css").write_text(style, "utf-8")
    build(dist, root)
