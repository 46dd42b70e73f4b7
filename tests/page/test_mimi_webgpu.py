"""The page with Mimi on the GPU: the same transcript, also after the GPU was lost."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.page.test_device_loss import LOSE, LOSE_FOR_GOOD
from tests.page.test_transcribe import SPEECH, wav
from tests.page.tympan_page import TympanPage

pytestmark = pytest.mark.needs("playwright", "webgpu")

AUDIO_S = 2.5  # a software GPU takes twice as long
MIN_EQUAL_CODES = 0.99  # on the CPU, the matrices of Mimi's transformer are rounded to 16 bits


@pytest.fixture(scope="module")
def speech() -> bytes:
    """The first words of the recording, as a WAV file."""
    with wave.open(str(SPEECH)) as file:
        rate_hz = file.getframerate()
        return wav(np.frombuffer(file.readframes(int(AUDIO_S * rate_hz)), "<i2") / 32768, rate_hz)


def test_mimi_on_the_gpu_continues_on_the_cpu_when_the_gpu_is_lost(
    context: BrowserContext, site: str, speech: bytes
) -> None:
    on_cpu = TympanPage.open(context, f"{site}/?trace=1&backend=simd")
    expected = on_cpu.transcribe(speech)
    assert len(expected["words"]) > 3
    assert on_cpu.page.evaluate("tympan.ready")["mimi"] == "cpu"
    on_cpu.close()

    tympan = TympanPage.open(context, f"{site}/?trace=1&backend=simd&mimi=webgpu")
    info = tympan.page.evaluate("tympan.ready")
    assert (info["mimi"], info["mimi_why"]["kind"]) == ("webgpu", "asked")
    expect(tympan.page.locator("#model")).to_contain_text("Mimi on WebGPU")
    undisturbed = tympan.transcribe(speech)
    assert undisturbed["text"] == expected["text"]
    assert (np.array(undisturbed["codes"]) == np.array(expected["codes"])).mean() > MIN_EQUAL_CODES

    [worker] = [worker for worker in tympan.page.workers if worker.evaluate("'GPUDevice' in globalThis")]
    worker.evaluate(LOSE, 2)
    again = tympan.transcribe(speech)
    assert worker.evaluate("devices") == 1, "the encoder was loaded on a new device"
    assert again["codes"] == undisturbed["codes"]

    worker.evaluate(LOSE, 2)
    worker.evaluate(LOSE_FOR_GOOD)
    disturbed = tympan.transcribe(speech)
    assert disturbed["text"] == undisturbed["text"]
    assert tympan.page.evaluate("tympan.ready")["mimi"] == "cpu"
    expect(tympan.page.locator("#model")).not_to_contain_text("Mimi on WebGPU")
