"""The GPU is taken away in the middle of a file; whoever reads the transcript does not notice."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import TympanPage

LOSE = """
(step) => {
    const { createCommandEncoder } = GPUDevice.prototype, { requestDevice } = GPUAdapter.prototype;
    globalThis.steps = 0;
    globalThis.devices = 0;
    GPUDevice.prototype.createCommandEncoder = function (...values) {
        if (++steps === step) this.destroy();
        return createCommandEncoder.apply(this, values);
    };
    GPUAdapter.prototype.requestDevice = function (...values) {
        devices++;
        return requestDevice.apply(this, values);
    };
}
"""


def test_no_word_is_lost_or_doubled(chromium: Browser, site: str) -> None:
    tympan = TympanPage.open(chromium, f"{site}/?trace=1&backend=webgpu")
    undisturbed = tympan.transcribe(SPEECH.read_bytes())
    [worker] = [worker for worker in tympan.page.workers if worker.evaluate("'GPUDevice' in globalThis")]
    worker.evaluate(LOSE, len(undisturbed["tokens"]) // 2)

    disturbed = tympan.transcribe(SPEECH.read_bytes())

    assert worker.evaluate("devices") == 1, "the model is on a new device"
    assert worker.evaluate("steps") > 1.4 * len(undisturbed["tokens"]), "which was told what the first one had heard"
    for key in ("text", "words", "tokens", "codes", "frames"):
        assert disturbed[key] == undisturbed[key], key
    tympan.close()
