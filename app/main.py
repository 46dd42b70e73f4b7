"""The page's own thread (MicroPython): buttons to engine, engine to transcript. Wiring only."""

import asyncio
import gc
import json

from pyscript import window

from tympan.browser.announcer import Announcer
from tympan.browser.engine import Engine, EngineError
from tympan.browser.error_banner import ErrorBanner, failure, removed, success
from tympan.browser.files import RATE_HZ, decode, read
from tympan.browser.job_queue import JobQueue
from tympan.browser.language import language
from tympan.browser.microphone import Microphone
from tympan.browser.models import Models
from tympan.browser.offline import ask_for_newest, keep_site
from tympan.browser.recorder import Recorder
from tympan.browser.recording import Recording
from tympan.browser.recording_view import RecordingView
from tympan.browser.sessions import Sessions
from tympan.browser.sources import Sources, last_name, source_name
from tympan.browser.storage import ask_to_persist, used_bytes
from tympan.browser.view import View
from tympan.browser.wake_lock import WakeLock
from tympan.errors import StorageRefused

CHUNK_SAMPLES = 2 * RATE_HZ  # of a file, handed to the engine at once
SAMPLE = "sample.wav"
# Allocations between two garbage collections. MicroPython's 16 KiB would mean one for every few updates, each of which
# takes longer the more words there are.
GC_THRESHOLD_BYTES = 512 * 1024


class Page:
    """Does one thing at a time: load a model, listen to a voice, or transcribe a file. The rest waits its turn."""

    def __init__(self):
        self.page_url = window.URL.new(".", window.location.href).href
        self.query = window.URLSearchParams.new(window.location.search)
        self.trace = self.query.get("trace") or ""
        self.engine = Engine(on_message=self.receive)
        self.announcer, self.waiting, self.wake_lock = Announcer(), JobQueue(), WakeLock()
        self.view = View(
            self.announcer,
            on_listen=lambda: self.press(Microphone.open, "microphone_name"),
            on_tab=lambda: self.press(Microphone.open_tab, "tab_name"),
            on_sample=lambda: self.take(f"{self.page_url}{SAMPLE}", language.text("sample_name")),
            on_cancel=lambda: asyncio.create_task(self.engine.call("cancel")),
        )
        self.trouble = ErrorBanner(self.view, on_delete=self.press_delete)
        self.models = Models(
            on_choice=lambda model, agreed: asyncio.create_task(self.load(model, agreed)),
            on_delete=self.press_delete,
        )
        self.shown = RecordingView(
            self.announcer,
            on_copied=lambda is_copied: self.say("copied" if is_copied else "not_copied"),
            write_captions=lambda words, kind: self.engine.call("captions", words, kind),
        )
        self.sessions = Sessions(on_open=self.reopen, on_error=lambda: self.view.show_status("not_kept"))
        self.sources = Sources(
            on_file=lambda file: self.take(file, str(file.name)),
            on_address=lambda address: self.take(address, last_name(address)),
        )
        self.turn = asyncio.Lock()  # whoever holds it uses the engine
        self.stop = asyncio.Event()  # the button was pressed while something was going on
        self.has_model = asyncio.Event()
        self.is_asking = False  # a person is asked for a microphone or a tab
        self.model = {}  # what the engine tells of the one that is loaded

    async def open(self):
        """Start the engine and load the model that the address asks for."""
        self.view.show_state("idle", "starting_engine")
        asyncio.create_task(ask_for_newest())
        asyncio.create_task(self.models.show_catalogue(f"{self.page_url}models/catalogue.json"))
        asyncio.create_task(self.show_sessions())
        await self.engine.start()
        await self.load(self.query.get("model") or "")
        await keep_site()

    async def show_sessions(self):
        """List what was kept. Where nothing can be, say why nothing comes, to scripts too."""
        if not await self.sessions.load():  # PyScript will hardly start the engine: it waits for a database, too
            error = StorageRefused()
            self.trouble.show(error)
            window.tympan.open(failure(error), None, None, None)

    async def load(self, model, agreed=False):
        """Load a model in place of the one before. agreed: a person has read what would be downloaded."""
        async with self.turn:
            self.view.begin_loading()
            self.models.enable(False)
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
                self.take_model(loaded)
            self.models.show_stored(await used_bytes())

    def ask(self, model, offer):
        """Wait for a person's word before much is downloaded."""
        self.view.hide_progress()
        self.view.show_state("idle", "ask")
        self.models.enable(True)
        self.models.show_offer(offer, on_download=lambda: asyncio.create_task(self.load(model, agreed=True)))

    def take_model(self, model):
        """A model is there: whatever waits for one may begin."""
        self.model = model
        self.show_model()
        self.rest("ready")
        self.has_model.set()
        window.tympan.open(
            success(model),
            lambda source: self.transcribe(source, source_name(source)),
            lambda: self.ask_for_voice(Microphone.open, "microphone_name"),
            self.stop.set,
        )

    def show_model(self):
        self.models.show_loaded(self.model)
        self.shown.panel.show_model(self.model)

    def fail_to_load(self, model, agreed, error):
        """The model before, if any, is still there; whoever waits for the first one is told."""
        self.models.enable(True)
        self.trouble.show(error, on_retry=lambda: asyncio.create_task(self.load(model, agreed)))
        if not self.has_model.is_set():
            window.tympan.open(failure(error), None, None, None)

    def press_delete(self):
        asyncio.create_task(self.delete_models())

    async def delete_models(self):
        """Make room."""
        async with self.turn:
            await self.engine.call("delete_models")
            self.models.show_stored(await used_bytes())

    def take(self, source, name):
        """A person brings a File or an address."""
        asyncio.create_task(self.transcribe(source, name, is_kept=True))

    async def transcribe(self, source, name, is_kept=False):
        """Transcribe a File, a Blob or an address when its turn comes; answers with JSON, as the engine does."""
        number = self.waiting.join(name)
        await self.has_model.wait()
        async with self.turn:
            if not self.waiting.leave(number):
                return removed()
            self.begin("transcribing", "reading", name, is_kept)
            self.view.show_progress()
            sound = None
            try:
                sound = await read(source)
                samples = await decode(sound, name)
                self.shown.show_sound(samples, sound)
                await self.engine.call("begin", RATE_HZ, False, self.trace)
                for start in range(0, samples.length, CHUNK_SAMPLES):
                    if self.stop.is_set():
                        break
                    await self.engine.call("feed", samples.slice(start, start + CHUNK_SAMPLES))
                transcript = await self.engine.call("finish")
            except Exception as error:
                return await self.give_up(error, sound)
            return await self.end(transcript, sound)

    def press(self, open_voice, name):
        """A button of a voice: listen, or stop what is going on."""
        if self.view.is_busy:
            self.stop.set()
        elif not self.is_asking:
            asyncio.create_task(self.ask_for_voice(open_voice, name))

    async def ask_for_voice(self, open_voice, name):
        """Open a microphone or a tab at once; what it hears is kept until the engine is there.

        Answers as `transcribe` does, when listening is over.
        """
        self.is_asking = True
        self.view.hide_error()
        self.view.show_status("waiting_for_sound")
        try:
            voice = await open_voice()
        except Exception as error:
            self.fail(error)
            return failure(error)
        finally:
            self.is_asking = False
        name = language.text(name, date=language.date(window.Date.new().toISOString()))
        number = self.waiting.join(name, on_removed=lambda: asyncio.create_task(voice.close()))
        await self.has_model.wait()
        async with self.turn:
            return await self.listen(voice, name) if self.waiting.leave(number) else removed()

    async def listen(self, voice, name):
        """Transcribe a voice until the button is pressed again; answers as `transcribe` does."""
        self.begin("listening", "listening", name, is_kept=True)
        self.shown.begin_voice(voice)
        recorder = Recorder(voice.rate_hz)
        await self.wake_lock.hold()
        try:
            try:
                trouble = await self.pass_on(voice, recorder)
            finally:
                await voice.close()
                await self.wake_lock.release()
                self.shown.end_voice()
            self.view.show_state("transcribing", "finishing")
            transcript = await self.engine.call("finish")
        except Exception as error:
            return await self.give_up(error, recorder.wav())
        answer = await self.end(transcript, recorder.wav())
        if trouble:
            self.fail(trouble)
            return failure(trouble)
        return answer

    async def pass_on(self, voice, recorder):
        """Pass samples on until the button is pressed or the voice is gone; return the engine's error, if any."""
        await self.engine.call("begin", voice.rate_hz, True, self.trace)
        troubles = []

        def fail(error):
            troubles.append(error)
            self.stop.set()

        def hear(samples):
            self.shown.hear(samples)
            recorder.hear(samples)
            self.engine.send("hear", samples, on_error=fail)

        voice.start(hear, on_end=self.stop.set)
        await self.stop.wait()
        await voice.flush()
        return troubles[0] if troubles else None

    def receive(self, message):
        """A message of the engine: how far the download is, what was heard, or whose turn it is."""
        window.tympan.hear(message)
        if message.kind == "progress":
            self.view.show_loading(message.phase, message.done, message.total, message.rate, message.seconds_left)
        elif message.kind == "heard":
            words = [{"text": word.text, "start": word.start, "end": word.end} for word in message.words]
            self.shown.show_heard(words, message.partial, message.seconds)
            self.shown.panel.show(message)
            recording = self.shown.recording
            self.view.show_heard(recording.name, message.seconds, recording.total_s, message.backlog_s)
            self.sessions.note(recording)
        elif message.kind == "moved":
            self.model.update(json.loads(str(window.JSON.stringify(message))))
            self.show_model()
        elif message.kind == "turn" and message.turn == "mute":
            self.view.show_error(language.text("mute"))

    def begin(self, state, status, name, is_kept):
        """Another recording takes the page."""
        self.stop.clear()
        self.view.hide_error()
        self.shown.begin(Recording(name, self.model["languages"], is_kept))
        self.shown.panel.begin()
        self.view.show_state(state, status, name=name, seconds="")
        self.models.enable(False)
        self.sessions.enable(False)

    async def end(self, transcript, sound):
        """The end of a recording; answers as `transcribe` does."""
        self.shown.recording.finish(transcript)
        self.shown.end(sound)
        seconds = transcript["seconds"]
        self.rest("stopped" if self.stop.is_set() else "done", seconds=lambda: language.duration(seconds))
        await self.keep(sound)
        return success(transcript)

    async def give_up(self, error, sound):
        """The end of a recording that went wrong: what is known of it stays; answers as `transcribe` does."""
        await self.engine.call("abandon")
        if self.shown.recording.words:
            self.shown.end(sound)
            await self.keep(sound)
        self.fail(error)
        return failure(error)

    async def keep(self, sound):
        """Put the recording among the sessions, if it belongs there."""
        if self.shown.recording.is_kept:
            await self.sessions.keep(self.shown.recording, sound)

    def reopen(self, session, sound):
        """Show a session that was kept."""
        self.view.hide_error()
        self.shown.reopen(Recording.of(session), sound)

    def say(self, key):
        """Show a text and have it read aloud."""
        self.announcer.say(self.view.show_status(key))

    def rest(self, status, **values):
        """Ready for the next recording."""
        self.view.hide_progress()
        self.view.show_state("ready", status, **values)
        self.models.enable(True)
        self.sessions.enable(True)

    def fail(self, error):
        """The end of a recording that went wrong; the next one may go well."""
        if self.has_model.is_set():
            self.rest("ready")
        self.trouble.show(error)


async def start():
    gc.threshold(GC_THRESHOLD_BYTES)  # type: ignore[attr-defined]  # of MicroPython
    await language.recall()
    await Page().open()


asyncio.create_task(start())
