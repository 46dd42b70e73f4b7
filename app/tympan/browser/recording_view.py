"""The recording on the page: its name, words, waveform, player and performance figures, and their export."""

import asyncio
import json

from tympan.browser.bridge import decode
from tympan.browser.doubts import Doubts
from tympan.browser.elements import element
from tympan.browser.export import Export, copy, save
from tympan.browser.panel import Panel
from tympan.browser.player import Player
from tympan.browser.recording import Recording
from tympan.browser.transcript import Transcript
from tympan.browser.waveform import Waveform
from tympan.protocol import SAMPLE_RATE_HZ


class RecordingView:
    """Shows one recording at a time, while it is transcribed or when a session is opened."""

    def __init__(self, announcer, on_copied, write_captions):
        """on_copied: called with whether the text was copied.

        write_captions: a coroutine function of words, as JSON, and a file format; returns the text of the file.
        """
        self._announcer, self._on_copied, self._write_captions = announcer, on_copied, write_captions
        self.recording = Recording()
        self.panel = Panel()
        self._player = Player(on_time=self._show_playing)
        self._transcript = Transcript(on_play=lambda seconds: self._player.play_from(seconds))
        self.doubts = Doubts(on_change=self._transcript.dim)
        self._transcript.dim(self.doubts.threshold)
        self._waveform = Waveform(on_seek=lambda seconds: self._player.play_from(seconds))
        self._export = Export(
            on_copy=lambda: asyncio.create_task(self._copy()),
            on_save=lambda kind: asyncio.create_task(self._save(kind)),
        )
        self._source = None  # the audio source while listening

    def begin(self, recording):
        """Show an empty recording in place of the one before."""
        self.recording = recording
        element("recording-name").textContent = recording.name
        self.show_text(True)
        self._export.enable(False)
        self._player.close()
        self._waveform.clear()
        self._transcript.clear(recording.language)

    def show_audio(self, samples, audio):
        """Show the audio of a file: a Float32Array at SAMPLE_RATE_HZ, and the Blob that it was decoded from."""
        self.recording.total_s = samples.length / SAMPLE_RATE_HZ
        self._waveform.show(samples, SAMPLE_RATE_HZ)
        self._player.open(audio, self.recording.language)

    def begin_live(self, source):
        """Show that live audio begins. source: its AudioSource, which measures the delay of words."""
        self._source = source
        self._waveform.begin_live()

    def add_samples(self, samples):
        """Show a frame of live audio: a Float32Array."""
        self._waveform.add(samples)

    def end_live(self):
        """Show that live audio has ended; its last words may still come."""
        self._source = None
        self._waveform.end_live()

    def show_update(self, words, partial, seconds):
        """Show an update of the transcript.

        words: new ones. partial: text of the word in progress. seconds: of audio transcribed so far.
        """
        self.recording.add(words, seconds)
        self._show_words(words, partial)
        self._waveform.show_transcribed(seconds)

    def end(self, audio):
        """Show that the recording is complete: it can be exported, and played from `audio`, a Blob."""
        recording = self.recording
        self._show_words(recording.words[len(self._transcript.words) :])
        self._transcript.finish(recording.words)
        self._announcer.flush()
        self.panel.flush()
        if not self._player.is_open:
            self._player.open(audio)
        self._transcript.make_playable()
        self._export.enable(bool(recording.words))

    def reopen(self, recording, audio):
        """Show a stored recording. audio: a Blob, or None if it was not stored."""
        self.begin(recording)
        self._transcript.show(recording.words)
        self._export.enable(bool(recording.words))
        if audio:
            self._player.open(audio, recording.language)
            self._player.add_captions(recording.words)
            self._transcript.make_playable()
            asyncio.create_task(self._show_waveform(audio))

    @property
    def is_doubtful(self):
        """Whether there are words, all of them doubtful."""
        words, threshold = self.recording.words, self.doubts.threshold
        return bool(words) and all(word.get("confidence", 1.0) < threshold for word in words)

    def show_text(self, is_shown):
        """Show or hide the text of the recording."""
        element("transcript").hidden = not is_shown

    async def _show_waveform(self, audio):
        recording = self.recording
        samples = await decode(audio, recording.name)
        if self.recording is recording:
            self._waveform.show(samples, SAMPLE_RATE_HZ)
            self._waveform.show_all_transcribed()

    def _show_words(self, words, partial=""):
        self._transcript.add(words, partial)
        self._player.add_captions(words)
        self._announcer.add([word["text"] for word in words])
        if self._source and words:
            self.panel.add_delays([self._source.delay_s(word["end"]) for word in words])

    def _show_playing(self, seconds):
        self._transcript.mark(seconds)
        self._waveform.show_playing(seconds)

    async def _copy(self):
        self._on_copied(await copy(self._transcript.text))

    async def _save(self, kind):
        """Save the transcript as a file. kind: one of `export.FORMATS`."""
        words = json.dumps(self.recording.words)
        text = self._transcript.text + "\n" if kind == "txt" else await self._write_captions(words, kind)
        save(text, self.recording.name, kind)
