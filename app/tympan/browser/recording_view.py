"""The recording that the page is about: its name, words, waveform, sound and figures, and what is made of it."""

import asyncio
import json

from tympan.browser.bridge import decode
from tympan.browser.elements import element
from tympan.browser.export import Export, copy, save
from tympan.browser.panel import Panel
from tympan.browser.player import Player
from tympan.browser.recording import Recording
from tympan.browser.transcript import Transcript
from tympan.browser.waveform import Waveform
from tympan.protocol import SAMPLE_RATE_HZ


class RecordingView:
    """Shows one recording at a time, while it is transcribed or after it was kept."""

    def __init__(self, announcer, on_copied, write_captions):
        """on_copied: called with whether the browser let the text be copied.

        write_captions: a coroutine function of words, as JSON, and a kind of file.
        """
        self._announcer, self._on_copied, self._write_captions = announcer, on_copied, write_captions
        self.recording = Recording()
        self.panel = Panel()
        self._player = Player(on_time=self._show_playing)
        self._transcript = Transcript(on_play=lambda seconds: self._player.play_from(seconds))
        self._waveform = Waveform(on_seek=lambda seconds: self._player.play_from(seconds))
        self._export = Export(
            on_copy=lambda: asyncio.create_task(self._copy()),
            on_save=lambda kind: asyncio.create_task(self._save(kind)),
        )
        self._voice = None  # that is being listened to

    def begin(self, recording):
        """Show a recording from its beginning; whatever was shown before is gone."""
        self.recording = recording
        element("recording-name").textContent = recording.name
        self._export.enable(False)
        self._player.close()
        self._waveform.clear()
        self._transcript.clear(recording.language)

    def show_sound(self, samples, sound):
        """The whole sound of it is there: a Float32Array at SAMPLE_RATE_HZ, and the Blob that it was decoded from."""
        self.recording.total_s = samples.length / SAMPLE_RATE_HZ
        self._waveform.show(samples, SAMPLE_RATE_HZ)
        self._player.open(sound, self.recording.language)

    def begin_voice(self, voice):
        """It is a voice, of which nothing has been heard yet."""
        self._voice = voice
        self._waveform.begin_live()

    def hear(self, samples):
        """A frame of the voice: a Float32Array."""
        self._waveform.hear(samples)

    def end_voice(self):
        """Nothing more will be heard of the voice; words may still come."""
        self._voice = None
        self._waveform.end_live()

    def show_heard(self, words, partial, seconds):
        """The text has come this far. words: that are new. partial: the one that is still being said."""
        self.recording.hear(words, seconds)
        self._show_words(words, partial)
        self._waveform.reach(seconds)

    def end(self, sound):
        """The recording is over: it can be read, copied, and played from a Blob."""
        recording = self.recording
        self._show_words(recording.words[len(self._transcript.words) :])
        self._transcript.finish(recording.words)
        self._announcer.flush()
        self.panel.flush()
        if not self._player.is_open:
            self._player.open(sound)
        self._transcript.make_playable()
        self._export.enable(bool(recording.words))

    def reopen(self, recording, sound):
        """Show a recording that was kept, with its sound where that was kept too."""
        self.begin(recording)
        self._transcript.show(recording.words)
        self._export.enable(bool(recording.words))
        if sound:
            self._player.open(sound, recording.language)
            self._player.add_captions(recording.words)
            self._transcript.make_playable()
            asyncio.create_task(self._show_waveform(sound))

    async def _show_waveform(self, sound):
        recording = self.recording
        samples = await decode(sound, recording.name)
        if self.recording is recording:
            self._waveform.show(samples, SAMPLE_RATE_HZ)
            self._waveform.reach_end()

    def _show_words(self, words, partial=""):
        self._transcript.add(words, partial)
        self._player.add_captions(words)
        self._announcer.hear([word["text"] for word in words])
        if self._voice:
            self.panel.show_delays([self._voice.delay_s(word["end"]) for word in words])

    def _show_playing(self, seconds):
        self._transcript.mark(seconds)
        self._waveform.play(seconds)

    async def _copy(self):
        self._on_copied(await copy(self._transcript.text))

    async def _save(self, kind):
        """Save the transcript as a file of one of the kinds of `export.FORMATS`."""
        words = json.dumps(self.recording.words)
        text = self._transcript.text + "\n" if kind == "txt" else await self._write_captions(words, kind)
        save(text, self.recording.name, kind)
