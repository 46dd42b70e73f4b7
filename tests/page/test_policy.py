"""The Content-Security-Policy: the page complies with it, and the browser enforces it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.engines.engine import Engine
from tests.page.tympan_page import BOOT_MS, TympanPage

pytestmark = pytest.mark.needs("playwright")

ROOT = Path(__file__).parents[2]
KEEP_VIOLATIONS = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


def test_page_complies_and_violations_are_blocked(engine: Engine, context: BrowserContext, site: str) -> None:
    tympan = TympanPage(context.new_page())
    logged: list[str] = []
    tympan.page.on("console", lambda message: logged.append(message.text))
    tympan.page.add_init_script(KEEP_VIOLATIONS)
    tympan.page.goto(f"{site}/?backend=numpy")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.choose_file(Path(__file__).parent / "speech.webm")
    expect(tympan.page.locator("video#player")).to_be_visible()
    engine.download(tympan.page, lambda: tympan.page.click("#save-srt"))
    assert tympan.transcript
    assert tympan.page.evaluate("violations") == []
    assert [text for text in logged if "Content Security Policy" in text] == []

    assert tympan.page.evaluate(
        """async () => {
            const reported = new Promise((resolve) => {
                addEventListener("securitypolicyviolation", () => { if (violations.length === 2) resolve(); });
            });
            const script = document.createElement("script");
            script.textContent = "window.intruded = true";
            document.body.append(script);
            const style = document.createElement("p");
            style.setAttribute("style", "color: red");
            document.body.append(style);
            await reported;  // the events are dispatched in separate tasks
            return [window.intruded ?? false, style.style.color];
        }"""
    ) == [False, ""]
    assert set(tympan.page.evaluate("violations")) == {"script-src-elem", "style-src-attr"}


def test_policy_is_strict_and_no_text_is_parsed_as_html() -> None:
    index = (ROOT / "static" / "index.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', index)
    assert policy
    directives = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert "unsafe-inline" not in policy[1]
    assert index.index("Content-Security-Policy") < index.index("<script")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", index)
    sources = [*(ROOT / "app").rglob("*.py"), *(ROOT / "static").glob("*.js")]
    for path in sources:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text("utf-8")
        ), path
