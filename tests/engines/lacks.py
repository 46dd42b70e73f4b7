"""What browser engines lack, so that some tests cannot run in them. `docs/browsers.md` has the same as a table.

A test that needs such a feature has the mark `needs`: `@pytest.mark.needs("subgroups")`. It is not collected in the
engines that lack the feature. `test_lacks.py` fails as soon as an engine has one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from playwright.sync_api import Error, Page

HasFeature: TypeAlias = Callable[[Page], bool]


@dataclass(frozen=True)
class Lack:
    """feature: argument of the mark. reason: a clause for the table. is_there: whether a page of the site has it."""

    engine: str
    feature: str
    reason: str
    is_there: HasFeature


def _evaluates_to_true(expression: str) -> HasFeature:
    return lambda page: bool(page.evaluate(expression))


def _has_devtools(page: Page) -> bool:
    try:
        page.context.new_cdp_session(page)
    except Error:
        return False
    return True


def _runs_scripts_in_workers(page: Page) -> bool:
    with page.expect_worker() as started:
        page.evaluate("() => { window.worker = new Worker(URL.createObjectURL(new Blob([]))); }")
    try:
        return bool(started.value.evaluate("true"))
    except Error:
        return False


def _emulates_touch(page: Page) -> bool:
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(has_touch=True)
    n_points = context.new_page().evaluate("navigator.maxTouchPoints")
    context.close()
    return bool(n_points)


LACKS: Sequence[Lack] = (
    Lack(
        "firefox",
        "subgroups",
        "its WebGPU has no subgroups; the kernels run without them",
        _evaluates_to_true("navigator.gpu.requestAdapter().then(({ features }) => features.has('subgroups'))"),
    ),
    Lack(
        "firefox",
        "quota override",
        "only Chromium's DevTools protocol can change the storage quota of an open page",
        _has_devtools,
    ),
    Lack(
        "firefox",
        "scripts in workers",
        "over WebDriver BiDi, Playwright runs none, so the tests cannot take the GPU away",
        _runs_scripts_in_workers,
    ),
    Lack(
        "firefox",
        "touch",
        "over WebDriver BiDi, Playwright emulates no touch screen, so the tests cannot emulate phones",
        _emulates_touch,
    ),
    Lack(
        "webkit",
        "webgpu",
        "WebKitGTK has no WebGPU; the page uses the CPU and says so",
        _evaluates_to_true("navigator.gpu !== undefined"),
    ),
    Lack(
        "webkit",
        "playwright",
        "Playwright drives only a WebKit of its own; the tests' own driver changes no requests, presses no keys and "
        "reaches no workers",
        lambda page: isinstance(page, Page),
    ),
)


def lacks(engine: str, features: Sequence[str]) -> bool:
    """Whether an engine lacks one of these features."""
    assert set(features) <= {lack.feature for lack in LACKS}, features
    return any(lack.engine == engine and lack.feature in features for lack in LACKS)
