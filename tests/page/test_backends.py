"""The page shows what Mimi and the transformer run on, and why, and works without WebGPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Route

from tests.engines.engine import Engine
from tests.page.test_errors import failed_to_load, follow_link
from tests.page.test_transcribe import MAX_WORD_ERROR_RATE, SAID, SPEECH
from tests.page.tympan_page import CAPTIONS, TympanPage, change_engine
from tympan.cli.word_errors import word_error_rate

SOFTWARE = "WebGPU is emulated in software here"
BACKENDS = {  # and the reason, by the query of the page
    "": ("simd", SOFTWARE),
    "?simd=simd": ("simd", SOFTWARE),
    "?simd=numpy": ("numpy", SOFTWARE),
    "?backend=webgpu": ("webgpu", "selected in the address of the page"),
}
SIMD_LEVELS = {"relaxed": "relaxed SIMD", "simd": "SIMD", "numpy": "NumPy"}  # and how the page shows them

# The engine reports whether the library was imported when it started.
REPORT_IMPORTED = (
    "import sys\n\nIMPORTED = 'tympan.session' in sys.modules\n",
    "\nasync def captions(self, words, format):\n    return str(IMPORTED)\n\nEngine.captions = captions\n",
)

ON_GPU = pytest.param("?backend=webgpu", marks=pytest.mark.needs("webgpu"))


@pytest.fixture(scope="module", params=[*(query for query, (name, _) in BACKENDS.items() if name != "webgpu"), ON_GPU])
def query(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tympan(module_context: BrowserContext, site: str, query: str) -> Iterator[TympanPage]:
    opened = TympanPage.open(module_context, f"{site}/{query}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def without_webgpu(engine: Engine) -> Iterator[BrowserContext]:
    """A context of a browser without WebGPU."""
    browser = engine.launch(webgpu=False)
    yield browser.new_context(service_workers="block")
    browser.close()


def check_backend(tympan: TympanPage, backend: str, why: str) -> None:
    """The page shows the backend and the reason, and transcribes."""
    assert tympan.error == ""
    loaded = tympan.page.evaluate("tympan.ready")
    assert (loaded["backend"], loaded["why"]["message"]) == (backend, why)
    assert f"{backend} on {loaded['runs_on']} ({why})" in tympan.page.inner_text("#model")
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript


@pytest.mark.needs("webgpu")
def test_page_shows_the_backend_and_the_reason(tympan: TympanPage, query: str) -> None:
    check_backend(tympan, *BACKENDS[query])


def test_page_shows_the_simd_level_of_mimi(engine: Engine, tympan: TympanPage, query: str) -> None:
    level = query.removeprefix("?simd=") if query.startswith("?simd=") else engine.simd
    assert tympan.page.evaluate("tympan.ready")["simd"] == level
    assert f"Mimi on {SIMD_LEVELS[level]}" in tympan.page.inner_text("#model")


def test_unknown_simd_level_is_rejected(module_context: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(module_context, f"{site}/?simd=sse2")
    assert tympan.state == "error"
    assert "auto, relaxed, simd, numpy" in tympan.error
    tympan.close()


def test_cpu_is_selected_without_webgpu(without_webgpu: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(without_webgpu, site)
    check_backend(tympan, "simd", "this browser does not offer WebGPU")
    tympan.close()


@pytest.mark.needs("playwright")
def test_request_for_a_missing_webgpu_shows_a_link_to_the_cpu(without_webgpu: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(without_webgpu, f"{site}/?backend=webgpu")
    assert "WebGPU is not available" in failed_to_load(tympan)
    follow_link(tympan)


@pytest.mark.needs("playwright")
def test_engine_starts_without_the_snapshot_only_where_it_does_not_fit(
    module_context: BrowserContext, site: str
) -> None:
    fetched = []

    def move(route: Route) -> None:
        libraries = route.fetch().json()
        libraries[0]["tableBase"] += 2
        route.fulfill(json=libraries)

    def note(route: Route) -> None:
        fetched.append(route.request.url)
        route.continue_()

    change_engine(module_context, *REPORT_IMPORTED)
    module_context.route("**/numpy-*.whl", note)
    with_snapshot = TympanPage.open(module_context, f"{site}/?backend=simd")
    assert (with_snapshot.error, with_snapshot.page.evaluate(CAPTIONS), fetched) == ("", "True", [])
    with_snapshot.close()

    module_context.route("**/vendor/pyodide/libraries.json", move)
    without = TympanPage.open(module_context, f"{site}/?backend=simd")
    assert (without.error, without.page.evaluate(CAPTIONS), len(fetched)) == ("", "False", 1)
    without.close()
    module_context.unroute_all()
