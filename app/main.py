"""The page thread (MicroPython): connects the controls, the engine and the views."""

import asyncio
import gc

from pyscript import window

from tympan.browser import bridge
from tympan.browser.announcer import Announcer
from tympan.browser.bridge import AudioSource, decode, error_of, failure, name_of, removed, result, to_python
from tympan.browser.error_banner import ErrorBanner
from tympan.browser.job_queue import JobQueue
from tympan.browser.language import language
from tympan.browser.model_loader import ModelLoader
from tympan.browser.offline import ask_for_newest, keep_site
from tympan.browser.recording import Recording
from tympan.browser.recording_view import RecordingView
from tympan.browser.sessions import Sessions
from tympan.browser.settings import Settings
from tympan.browser.sources import Sources
from tympan.browser.transcript import clock
from tympan.browser.view import View
from tympan.browser.wake_lock import WakeLock
from tympan.errors import StorageRefused

SAMPLE = "sample.wav"
# Bytes allocated between two garbage collections. With MicroPython's default of 16 KiB there would be one every few
# updates, and each takes longer the more words there are.
GC_THRESHOLD_BYTES = 512 * 1024


class App:
    """Runs one job at a time: loads a model, transcribes a live source, or transcribes a file. Other jobs wait."""

    def __init__(self):
        self.page_url = window.URL.new(".", window.location.href).href
        self.query = window.URLSearchParams.new(window.location.search)
        self.trace = self.query.get("trace") or ""
        self.settings = Settings(bridge.engine)
        self.announcer, self.queue, self.wake_lock = Announcer(), JobQueue(), WakeLock()
        self.view = View(
            self.announcer,
            on_listen=lambda: self.press(bridge.open_microphone, "microphone_name"),
            on_tab=lambda: self.press(bridge.open_tab, "tab_name"),
            on_sample=lambda: self.add(f"{self.page_url}{SAMPLE}", language.text("sample_name")),
            on_cancel=lambda: bridge.engine.request("cancel"),
        )
        self.lock = asyncio.Lock()  # held while a job uses the engine
        self.models = ModelLoader(self.lock, self.view, on_loaded=self.show_loaded, on_error=self.fail_to_load)
        self.error_banner = ErrorBanner(self.view, on_delete=self.models.press_delete)
        self.shown = RecordingView(
            self.announcer,
            on_copied=lambda is_copied: self.say("copied" if is_copied else "not_copied"),
            write_captions=lambda words, kind: result(bridge.captions(words, kind)),
        )
        self.sessions = Sessions(on_open=self.reopen, on_error=lambda: self.view.show_status("not_kept"))
        self.sources = Sources(
            on_file=lambda file: self.add(file, str(file.name)),
            on_address=lambda address: self.add(address, name_of(address)),
        )
        self.is_stopped = False  # the user has stopped the recording
        self.is_asking = False  # the browser is asking the user for a microphone or a tab
        for event, show in (
            ("progress", self.show_progress),
            ("update", self.show_update),
            ("backend", self.show_backend),
            ("turn", self.show_turn),
        ):
            bridge.engine.addEventListener(event, lambda event, show=show: show(event.detail))
        window.tympan.connect(
            bridge.engine,
            bridge.promising(self.transcribe_for_script),
            bridge.promising(self.listen_for_script),
            self.stop,
        )

    def transcribe_for_script(self, resolve, source, options):
        resolve_with(resolve, self.transcribe(source, name_of(source), options))

    def listen_for_script(self, resolve, options):
        resolve_with(resolve, self.ask_for_audio(bridge.open_microphone(), "microphone_name", options))

    async def open(self):
        """Load the model that the address asks for."""
        self.view.show_state("idle", "starting_engine")
        asyncio.create_task(ask_for_newest())
        asyncio.create_task(self.models.show_catalogue(f"{self.page_url}models/catalogue.json"))
        asyncio.create_task(self.show_sessions())
        await self.models.load(self.query.get("model") or "")
        await keep_site()

    async def show_sessions(self):
        """List the sessions. If the browser refuses storage, show that and reject `tympan.ready`."""
        if not await self.sessions.load():
            error = StorageRefused()
            self.error_banner.show(error)
            window.tympan.open(failure(error))

    def show_loaded(self):
        """A model is loaded: the jobs that wait for one can start."""
        self.shown.panel.show_model(self.models.model)
        self.rest("ready")

    def fail_to_load(self, error, retry):
        self.error_banner.show(error, on_retry=retry)

    def add(self, source, name):
        """Queue a File or an address that the user provided."""
        asyncio.create_task(self.transcribe(source, name, is_kept=True))

    async def transcribe(self, source, name, options=None, is_kept=False):
        """Transcribe a File, a Blob or an address after the jobs before it.

        options: of `window.tympan.transcribe`.
        Returns the transcript as a JavaScript object, or a JavaScript Error.
        """
        number = self.queue.join(name)
        await self.models.has_model.wait()
        async with self.lock:
            if not self.queue.leave(number):
                return removed()
            self.begin("transcribing", "reading", name, is_kept)
            self.view.show_progress()
            audio = None
            try:
                audio = await result(bridge.read(source))
                samples = await decode(audio, name)
                self.shown.show_audio(samples, audio)
                transcript = await self.recorded(bridge.transcribe(samples, self.trace, options))
            except Exception as error:
                return await self.give_up(error, audio)
            return await self.end(transcript, audio)

    def press(self, open_source, name):
        """Handle the button of a live source: start listening, or stop the recording in progress.

        The source is opened first, because browsers share a tab only while the click is handled.
        """
        if self.view.is_busy:
            self.stop()
        elif not self.is_asking:
            asyncio.create_task(self.ask_for_audio(open_source(), name))

    def stop(self):
        self.is_stopped = True
        bridge.stop()

    async def ask_for_audio(self, opened, name, options=None):
        """Wait for a microphone or a tab, and queue it. The source keeps its samples until the engine is ready.

        opened: a promise of the source. options: of `window.tympan.listen`.
        Returns the same as `transcribe`, when listening ends.
        """
        self.is_asking = True
        self.view.hide_error()
        self.view.show_status("waiting_for_permission")
        try:
            source = AudioSource(await result(opened))
        except Exception as error:
            self.fail(error)
            return failure(error)
        finally:
            self.is_asking = False
        name = language.text(name, date=language.date(window.Date.new().toISOString()))
        number = self.queue.join(name, on_removed=source.close)
        await self.models.has_model.wait()
        async with self.lock:
            return await self.listen(source, name, options) if self.queue.leave(number) else removed()

    async def listen(self, source, name, options):
        """Transcribe a live source until the button is pressed again. Returns the same as `transcribe`."""
        self.begin("listening", "listening", name, is_kept=True)
        self.shown.begin_live(source)
        await self.wake_lock.hold()
        recorded = bridge.listen(source.source, self.trace, options, self.shown.add_samples, self.show_finishing)
        outcome = await self.recorded(recorded)
        await self.wake_lock.release()
        self.shown.end_live()
        error = error_of(outcome.error) if outcome.error else None
        if not outcome.transcript:
            return await self.give_up(error, outcome.audio)
        transcript = await self.end(outcome.transcript, outcome.audio)
        if not error:
            return transcript
        self.fail(error)
        failed = failure(error)
        failed.transcript = transcript  # of the audio before the error
        return failed

    async def recorded(self, promise):
        """Await a recording of the bridge. The user may have stopped it before it started."""
        if self.is_stopped:
            bridge.stop()
        return await result(promise)

    def show_finishing(self):
        """The source is closed; the last words are still to come."""
        self.shown.end_live()
        self.view.show_state("transcribing", "finishing")

    def show_progress(self, event):
        seconds_left = getattr(event, "seconds_left", None)
        self.view.show_loading(event.phase, event.done, event.total, event.rate, seconds_left)

    def show_update(self, event):
        self.shown.show_update(to_python(event.words), event.partial, event.seconds)
        self.shown.panel.show(event)
        recording = self.shown.recording
        self.view.show_transcribed(recording.name, event.seconds, recording.total_s, event.backlog_s)
        self.sessions.note(recording)

    def show_backend(self, event):
        """Show another backend: the transformer has moved to it after the GPU was lost."""
        self.models.update(event)
        self.shown.panel.show_model(self.models.model)

    def show_turn(self, event):
        if event.turn == "mute":
            self.view.show_error(language.text("mute"))
        elif event.turn == "stuck":
            self.view.show_error(language.text("stuck", time=clock(event.seconds)))

    def begin(self, state, status, name, is_kept):
        """Show a new recording."""
        self.is_stopped = False
        self.view.hide_error()
        self.shown.begin(Recording(name, self.models.model["languages"], is_kept))
        self.shown.panel.begin()
        self.view.show_state(state, status, name=name, seconds="")
        self.models.enable(False)
        self.sessions.enable(False)

    async def end(self, transcript, audio):
        """Show and store a finished recording. Returns its transcript."""
        seconds = transcript.seconds
        self.shown.recording.finish({"seconds": seconds, "words": to_python(transcript.words)})
        self.shown.end(audio)
        self.rest("stopped" if self.is_stopped else "done", seconds=lambda: language.duration(seconds))
        self.check_doubts()
        await self.keep(audio)
        return transcript

    def check_doubts(self):
        """Say that nothing was understood, instead of showing the text, if every word is doubtful."""
        if self.shown.is_doubtful:
            self.shown.show_text(False)
            text = language.text("show_anyway")
            self.view.show_error(language.text("nothing_understood"), text, on_press=self.show_anyway)

    def show_anyway(self):
        self.view.hide_error()
        self.shown.show_text(True)

    async def give_up(self, error, audio):
        """End a recording after an error and store its words so far. Returns the error for scripts."""
        if self.shown.recording.words:
            self.shown.end(audio)
            await self.keep(audio)
        self.fail(error)
        return failure(error)

    async def keep(self, audio):
        """Store the recording among the sessions, if it belongs there."""
        if self.shown.recording.is_kept:
            await self.sessions.keep(self.shown.recording, audio)

    def reopen(self, session, audio):
        """Show a stored session."""
        self.view.hide_error()
        self.shown.reopen(Recording.of(session), audio)

    def say(self, key):
        """Show a text in the status line and announce it to screen readers."""
        self.announcer.say(self.view.show_status(key))

    def rest(self, status, **values):
        """Return to the ready state, for the next recording."""
        self.view.hide_progress()
        self.view.show_state("ready", status, **values)
        self.models.enable(True)
        self.sessions.enable(True)

    def fail(self, error):
        """Show the error of a recording; the next one may succeed."""
        if self.models.has_model.is_set():
            self.rest("ready")
        self.error_banner.show(error)


def resolve_with(resolve, coroutine):
    """Call a function with the result of a coroutine, which runs as a task: only tasks can wait for a lock."""

    async def run():
        resolve(await coroutine)

    asyncio.create_task(run())


async def start():
    gc.threshold(GC_THRESHOLD_BYTES)  # type: ignore[attr-defined]  # of MicroPython
    await language.recall()
    app = App()
    await app.shown.doubts.recall()
    await app.settings.recall()
    await app.open()


asyncio.create_task(start())
