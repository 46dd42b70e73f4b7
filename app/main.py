"""The page's own thread (MicroPython): buttons to engine, engine to transcript. Wiring only."""

import asyncio
import json

from pyscript import window

from tympan.browser.engine import Engine, EngineError
from tympan.browser.files import RATE_HZ, decode
from tympan.browser.microphone import Microphone
from tympan.browser.models import Models
from tympan.browser.storage import ask_to_persist, used_bytes
from tympan.browser.view import View

CHUNK_SAMPLES = 2 * RATE_HZ  # of a file, handed to the engine at once

CPU = ("backend", "simd", "Use the CPU instead.")
DEMO = ("model", "", "Load the demo model instead.")
GPU_TROUBLE = ("NoWebGPU", "GpuLimit", "GpuFault", "GpuWrong", "DeviceLost")
WAYS_OUT = {"UnknownModel": DEMO, "BadModel": DEMO}
WAYS_OUT.update((kind, CPU) for kind in GPU_TROUBLE)


class Page:
    """Does one thing at a time: load a model, listen to a voice, or transcribe a file."""

    def __init__(self):
        self.view = View(
            on_button=self.press,
            on_file=lambda file: asyncio.create_task(self.transcribe(file)),
            on_cancel=self.press_cancel,
        )
        self.models = Models(
            on_choice=lambda model, agreed: asyncio.create_task(self.load(model, agreed)),
            on_delete=self.press_delete,
        )
        self.page_url = window.URL.new(".", window.location.href).href
        self.query = window.URLSearchParams.new(window.location.search)
        self.trace = self.query.get("trace") or ""
        self.engine = Engine(on_message=self.receive)
        self.turn = asyncio.Lock()  # whoever holds it uses the engine
        self.stop = asyncio.Event()  # the button was pressed while something was going on
        self.total_s = 0  # length of the file that is being transcribed
        self.is_loaded = False

    async def open(self):
        """Start the engine and load the model that the address asks for."""
        self.view.show_state("idle", "Starting the engine…")
        asyncio.create_task(self.models.show_catalogue(f"{self.page_url}models/catalogue.json"))
        await self.engine.start()
        await self.load(self.query.get("model") or "")

    async def load(self, model, agreed=False):
        """Load a model in place of the one before. agreed: a person has read what would be downloaded."""
        async with self.turn:
            self.begin("loading", "Loading the model…")
            self.models.hide_offer()
            try:
                offer = await self.engine.call("offer", model, self.page_url)
                if offer["must_ask"] and not agreed:
                    self.ask(model, offer)
                    return
                if offer["missing"] and agreed:
                    await ask_to_persist()
                backend, simd = self.query.get("backend") or "auto", self.query.get("simd") or "auto"
                loaded = await self.engine.call("open_model", model, backend, simd, self.page_url)
            except EngineError as error:
                self.fail_to_load(model, agreed, error)
            else:
                self.is_loaded = True
                self.view.show_model(loaded)
                self.rest("Ready")
                window.tympan.open(success(loaded), self.transcribe, self.listen, self.stop.set)
            self.models.show_stored(await used_bytes())

    def ask(self, model, offer):
        """Wait for a person's word before much is downloaded."""
        self.view.hide_progress()
        self.view.show_state("idle")
        self.view.enable(microphone=self.is_loaded, file=self.is_loaded)
        self.view.enable_choice(True)
        self.models.show_offer(offer, on_download=lambda: asyncio.create_task(self.load(model, agreed=True)))

    def fail_to_load(self, model, agreed, error):
        """The model before, if any, is still there; whoever waits for the first one is told."""
        self.view.show_state("error")
        self.view.enable(microphone=self.is_loaded, file=self.is_loaded)
        self.view.enable_choice(True)
        self.show_trouble(error, on_retry=lambda: asyncio.create_task(self.load(model, agreed)))
        if not self.is_loaded:
            window.tympan.open(failure(error), None, None, None)

    def press_cancel(self):
        asyncio.create_task(self.engine.call("cancel"))

    def press_delete(self):
        asyncio.create_task(self.delete_models())

    async def delete_models(self):
        """Make room."""
        async with self.turn:
            await self.engine.call("delete_models")
            self.models.show_stored(await used_bytes())

    async def transcribe(self, source):
        """Transcribe a File, a Blob or an address; answers with JSON, as the engine does."""
        async with self.turn:
            self.begin("transcribing", "Reading the sound…")
            try:
                samples = await decode(source)
                self.total_s = samples.length / RATE_HZ
                await self.engine.call("begin", RATE_HZ, False, self.trace)
                for start in range(0, samples.length, CHUNK_SAMPLES):
                    if self.stop.is_set():
                        break
                    await self.engine.call("feed", samples.slice(start, start + CHUNK_SAMPLES))
                transcript = await self.engine.call("finish")
            except Exception as error:
                await self.engine.call("abandon")
                self.fail(error)
                return failure(error)
            self.show(transcript)
            return success(transcript)

    async def listen(self):
        """Transcribe the microphone until the button is pressed again; answers as `transcribe` does."""
        async with self.turn:
            self.begin("ready", "Waiting for the microphone…")
            try:
                microphone = await Microphone.open()
                try:
                    trouble = await self.pass_on(microphone)
                finally:
                    await microphone.close()
                self.view.show_state("transcribing", "Finishing…")
                transcript = await self.engine.call("finish")
                self.show(transcript)
            except Exception as error:
                await self.engine.call("abandon")
                trouble = error
            if trouble:
                self.fail(trouble)
                return failure(trouble)
            return success(transcript)

    async def pass_on(self, microphone):
        """Pass samples on until the button is pressed or the microphone is gone; return the engine's error, if any."""
        await self.engine.call("begin", microphone.rate_hz, True, self.trace)
        self.view.show_state("listening", "Listening")
        self.view.enable(microphone=True, file=False)
        troubles = []

        async def hear(samples):
            try:
                await self.engine.call("hear", samples)
            except EngineError as error:
                troubles.append(error)
                self.stop.set()

        microphone.start(lambda samples: asyncio.create_task(hear(samples)), on_end=self.stop.set)
        await self.stop.wait()
        await microphone.flush()
        return troubles[0] if troubles else None

    def press(self):
        """The button: listen, or stop what is going on."""
        if self.view.state in ("listening", "transcribing"):
            self.stop.set()
        else:
            asyncio.create_task(self.listen())

    def receive(self, message):
        """A message of the engine: how far the download is, what was heard, or whose turn it is."""
        window.tympan.hear(message)
        if message.kind == "progress":
            self.view.show_loading(message.phase, message.done, message.total, message.rate, message.seconds_left)
        elif message.kind == "heard":
            self.view.show_words([word.text for word in message.words], message.partial)
            self.view.show_heard(message.seconds, self.total_s, message.backlog_s)

    def begin(self, state, status):
        self.stop.clear()
        self.total_s = 0
        self.view.clear()
        self.view.show_state(state, status)
        self.view.enable(microphone=state == "transcribing", file=False)
        self.view.enable_choice(False)

    def show(self, transcript):
        """The end of a recording."""
        self.view.show_transcript(transcript["text"])
        timing = transcript["timing"]
        self.rest(
            f"{transcript['seconds']:.1f} s of sound. "
            f"A frame of 80 ms: Mimi {timing['mimi_ms']:.0f} ms, transformer {timing['lm_ms']:.0f} ms"
        )

    def rest(self, status=""):
        """Ready for the next recording."""
        self.view.hide_progress()
        self.view.show_state("ready", status)
        self.view.enable(microphone=True, file=True)
        self.view.enable_choice(True)

    def fail(self, error):
        """The end of a recording that went wrong; the next one may go well."""
        self.rest()
        self.show_trouble(error)

    def show_trouble(self, error, on_retry=None):
        """Say what went wrong, and offer a way out where there is one."""
        self.view.hide_progress()
        self.view.show_state("error")
        kind = getattr(error, "kind", "")
        if kind in WAYS_OUT:
            key, value, text = WAYS_OUT[kind]
            query = window.URLSearchParams.new(window.location.search)
            query.set(key, value)
            self.view.show_error(str(error), text, href=f"?{query.toString()}")
        elif kind == "StorageFull":
            self.view.show_error(str(error), "Delete downloaded models.", on_press=self.press_delete)
        elif kind in ("DownloadFailed", "CorruptFile", "Cancelled") and on_retry:
            self.view.show_error(str(error), "Try again.", on_press=on_retry)
        else:
            self.view.show_error(str(error))


def success(value):
    return json.dumps({"value": value})


def failure(error):
    return json.dumps({"error": {"kind": getattr(error, "kind", "Bug"), "message": str(error)}})


asyncio.create_task(Page().open())
