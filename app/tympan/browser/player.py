"""Plays the audio or video of a recording, with its words as captions."""

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.elements import element, made
from tympan.browser.language import language
from tympan.text.cues import Cues, markup

REPORT_MS = 60  # between two reports of the position; `timeupdate` fires only four times a second


class Player:
    """One <audio> or <video> element with the browser's controls."""

    def __init__(self, on_time):
        """on_time: called with the position in seconds while it plays, and with None when it is closed."""
        self._on_time = on_time
        self._media = self._track = self._cue = self._timer = None
        self._cues = Cues()
        self._urls = []

    @property
    def is_open(self):
        return self._media is not None

    def open(self, audio, spoken_language=""):
        """Show a player for a Blob; for video, with captions as words are added."""
        self.close()
        is_video = str(audio.type).startswith("video/")
        media = made("video" if is_video else "audio", controls=True, preload="metadata", id="player")
        media.setAttribute("aria-label", language.text("playback"))
        if is_video:
            media.setAttribute("playsinline", "")
            media.append(self._new_track(spoken_language))
        media.addEventListener("loadedmetadata", lambda event: _fit(media))
        media.addEventListener("play", lambda event: self._report(True))
        media.addEventListener("pause", lambda event: self._report(False))
        media.addEventListener("seeked", lambda event: self._on_time(media.currentTime))
        media.src = self._url(audio)
        self._media = media
        element("playback").replaceChildren(media)
        element("playback").hidden = False

    def close(self):
        """Remove the player and release its Blob."""
        if self._media:
            self._report(False)
            self._media.pause()
            self._media.removeAttribute("src")
            element("playback").replaceChildren()
        element("playback").hidden = True
        for url in self._urls:
            window.URL.revokeObjectURL(url)
        self._urls = []
        self._media = self._track = self._cue = None
        self._on_time(None)

    def play_from(self, seconds):
        """Play from a position in seconds, if a player is open."""
        if self._media:
            self._media.currentTime = seconds
            window.Promise.allSettled(window.Array.of(self._media.play()))

    def add_captions(self, words):
        """Add words to the captions of a video."""
        if not self._track:
            return
        for word in words:
            cue, shown = self._cues.add(word["text"], word["start"], word["end"]), self._cue
            if cue.n_words == 1 or not shown:
                shown = self._cue = window.VTTCue.new(cue.start, cue.end, "")
                self._track.track.addCue(shown)
            shown.text, shown.endTime = markup(cue.text), cue.end

    def _new_track(self, spoken_language):
        """A <track> without cues; they are added while it is shown."""
        self._cues = Cues()
        empty = window.Blob.new(window.Array.of("WEBVTT\n"), to_js({"type": "text/vtt"}))
        self._track = made(
            "track", kind="captions", label=language.text("captions"), default=True, src=self._url(empty)
        )
        self._track.srclang = spoken_language or language.code
        return self._track

    def _url(self, blob):
        self._urls.append(window.URL.createObjectURL(blob))
        return self._urls[-1]

    def _report(self, is_playing):
        if self._timer is not None:
            window.clearInterval(self._timer)
            self._timer = None
        media = self._media
        if is_playing and media:
            self._timer = window.setInterval(lambda: self._on_time(media.currentTime), REPORT_MS)


def _fit(media):
    """Reduce the height of a video file that holds audio only."""
    media.classList.toggle("no-picture", not getattr(media, "videoWidth", 0))
