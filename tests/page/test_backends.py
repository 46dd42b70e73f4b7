"""The page chooses what the transformer runs on, says why, and works without WebGPU."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Route

from tests.engines.engine import Engine
from tests.page.test_transcribe import MAX_WORD_ERROR_RATE, SAID, SPEECH
from tests.page.tympan_page import TympanPage
from tympan.cli.word_errors import word_error_rate

WEBGPU = pytest.mark.needs("webgpu")


@pytest.mark.parametrize(
    ("webgpu", "query", "backend", "why"),
    [
        (False, "", "simd", "this browser does not offer WebGPU"),
        pytest.param(True, "", "simd", "WebGPU is emulated in software here", marks=WEBGPU),
        pytest.param(True, "?backend=webgpu", "webgpu", "selected in the address of the page", marks=WEBGPU),
        pytest.param(True, "?simd=numpy", "numpy", "WebGPU is emulated in software here", marks=WEBGPU),
    ],
)
def test_page_shows_the_backend_and_the_reason(
    engine: Engine, context: BrowserContext, site: str, webgpu: bool, query: str, backend: str, why: str
) -> None:
    if not webgpu:
        context = engine.launch(webgpu=False).new_context(service_workers="block")
    tympan = TympanPage.open(context, f"{site}/{query}")
    assert tympan.error == ""
    loaded = tympan.page.evaluate("tympan.ready")
    assert (loaded["backend"], loaded["why"]["message"]) == (backend, why)
    assert f"{backend} on {loaded['runs_on']} ({why})" in tympan.page.inner_text("#model")
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    if not webgpu:
        assert context.browser is not None
        context.browser.close()


@pytest.mark.needs("playwright")
def test_engine_starts_without_the_snapshot_where_it_does_not_fit(context: BrowserContext, site: str) -> None:
    fetched = []

    def move(route: Route) -> None:
        libraries = route.fetch().json()
        libraries[0]["tableBase"] += 2
        route.fulfill(json=libraries)

    def note(route: Route) -> None:
        fetched.append(route.request.url)
        route.continue_()

    context.route("**/vendor/pyodide/libraries.json", move)
    context.route("**/numpy-*.whl", note)
    tympan = TympanPage.open(context, site)
    assert (tympan.state, tympan.error, len(fetched)) == ("ready", "", 1)
