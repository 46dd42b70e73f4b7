"""Losing the GPU in the middle of a file does not change the transcript."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.page.author import author_site
from tests.page.test_transcribe import start_of_speech
from tests.page.tympan_page import BOOT_MS, TympanPage, change_engine

pytestmark = pytest.mark.needs("playwright", "scripts in workers")

LOSE = """
(submit) => {
    globalThis.submits = 0;
    globalThis.devices = 0;
    globalThis.lastSubmit = submit;
    if (globalThis.isCounting) return;
    globalThis.isCounting = true;
    const { createCommandEncoder } = GPUDevice.prototype, { requestDevice } = GPUAdapter.prototype;
    GPUDevice.prototype.createCommandEncoder = function (...values) {
        if (++submits === lastSubmit) this.destroy();
        return createCommandEncoder.apply(this, values);
    };
    GPUAdapter.prototype.requestDevice = function (...values) {
        devices++;
        return requestDevice.apply(this, values);
    };
}
"""

AUDIO_S = 4.0  # a software GPU takes as long
NEVER = 0  # submits are counted from 1
LOSE_FOR_GOOD = "() => { GPUAdapter.prototype.requestDevice = async () => { throw new Error('it is gone'); }; }"
PREFER_WEBGPU = """
from tympan import loading
from tympan.lm.backend_selection import Choice

loading.choose = lambda requested, adapter: Choice(("webgpu", "simd"), Reason("gpu"))  # as with a GPU

async def is_gpu_too_slow(lm, weights):
    return None

loading.is_gpu_too_slow = is_gpu_too_slow
"""


def test_lost_gpu_loses_and_repeats_no_word(context: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(context, f"{site}/?trace=1&backend=webgpu")
    [worker] = [worker for worker in tympan.page.workers if worker.evaluate("'GPUDevice' in globalThis")]
    worker.evaluate(LOSE, NEVER)
    undisturbed = tympan.transcribe(start_of_speech(AUDIO_S))
    assert len(undisturbed["words"]) > 3
    n_submits = worker.evaluate("submits")
    worker.evaluate(LOSE, n_submits // 2)

    disturbed = tympan.transcribe(start_of_speech(AUDIO_S))

    assert worker.evaluate("devices") == 1, "the model was loaded on a new device"
    assert worker.evaluate("submits") > 1.4 * n_submits, "the recording was replayed on it"
    for key in ("text", "words", "tokens", "codes", "frames"):
        assert disturbed[key] == undisturbed[key], key


def test_cpu_replaces_a_gpu_that_cannot_be_reopened(context: BrowserContext, site: str) -> None:
    change_engine(context, after=PREFER_WEBGPU)
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    undisturbed = tympan.transcribe(start_of_speech(AUDIO_S))
    assert len(undisturbed["words"]) > 3
    [worker] = [worker for worker in tympan.page.workers if worker.evaluate("'GPUDevice' in globalThis")]
    worker.evaluate(LOSE, 5)
    worker.evaluate(LOSE_FOR_GOOD)

    disturbed = tympan.transcribe(start_of_speech(AUDIO_S))

    assert disturbed["text"] == undisturbed["text"]
    expect(tympan.page.locator("#model")).to_contain_text("(the GPU was lost during the recording)")
    tympan.page.click("#panel summary")
    assert tympan.page.locator("#figures dt", has_text="Transformer backend").locator("+ dd").inner_text() == "simd"


def test_embedded_page_continues_and_reports_the_backend(browser: Browser, site: str, tmp_path: Path) -> None:
    context = browser.new_context()
    change_engine(context, after=PREFER_WEBGPU)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    with author_site(tmp_path, site) as url:
        page.goto(f"{url}/blank.html")
        page.evaluate(f"import('{site}/embed.js?model=demo').then(() => {{}})")
        assert page.evaluate("tympan.ready")["backend"] == "webgpu"
        undisturbed = page.evaluate("tympan.transcribe('speech.wav')")
        [worker] = [worker for worker in page.workers if worker.evaluate("'GPUDevice' in globalThis")]
        worker.evaluate(LOSE, 5)
        worker.evaluate(LOSE_FOR_GOOD)
        page.evaluate(
            "() => { window.moves = []; tympan.addEventListener('backend', ({ detail }) => moves.push(detail)); }"
        )

        disturbed = page.evaluate("tympan.transcribe('speech.wav')")

        assert disturbed["text"] == undisturbed["text"]
        assert [(move["backend"], move["why"]["kind"]) for move in page.evaluate("moves")] == [("simd", "gpu_lost")]
        assert page.evaluate("tympan.ready")["backend"] == "simd"
        assert failures == []
    context.close()
