"""Plays the sound of a recording, shows its picture, and puts the words on it as captions."""

from pyscript import window

from tympan.browser.elements import element, made
from tympan.browser.language import language
from tympan.text.cues import Cues, markup

TICK_MS = 60  # between two looks at which word is heard; `timeupdate` comes four times a second


class Player:
    """One <audio> or <video> with the browser's own controls."""

    def __init__(self, on_time):
        """on_time: called with seconds while it plays, and with None when it is closed."""
        self._on_time = on_time
        self._media = self._track = self._cue = self._ticking = None
        self._cues = Cues()
        self._urls = []

    @property
    def is_open(self):
        return self._media is not None

    def open(self, sound, spoken_language=""):
        """Show a Blob. One that has a picture shows it, with captions as words come."""
        self.close()
        is_video = str(sound.type).startswith("video/")
        media = made("video" if is_video else "audio", controls=True, preload="metadata", id="player")
        media.setAttribute("aria-label", language.text("playback"))
        if is_video:
            media.setAttribute("playsinline", "")
            media.append(self._new_track(spoken_language))
        media.addEventListener("loadedmetadata", lambda event: _fit(media))
        media.addEventListener("play", lambda event: self._tick(True))
        media.addEventListener("pause", lambda event: self._tick(False))
        media.addEventListener("seeked", lambda event: self._on_time(media.currentTime))
        media.src = self._url(sound)
        self._media = media
        element("playback").replaceChildren(media)
        element("playback").hidden = False

    def close(self):
        """Take it off the page."""
        if self._media:
            self._tick(False)
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
        if self._media:
            self._media.currentTime = seconds
            window.Promise.allSettled(window.Array.of(self._media.play()))

    def add_captions(self, words):
        """Put new words on the picture."""
        if not self._track:
            return
        for word in words:
            cue, text = self._cue, markup(word["text"])
            if self._cues.begins(word["text"], word["start"], word["end"]) or not cue:
                self._cue = window.VTTCue.new(word["start"], word["end"], text)
                self._track.track.addCue(self._cue)
            else:
                cue.text = f"{cue.text} {text}"
                cue.endTime = word["end"]

    def _new_track(self, spoken_language):
        """A <track> that begins empty and is filled while it is shown."""
        self._cues = Cues()
        empty = window.Blob.new(window.Array.of("WEBVTT\n"), window.JSON.parse('{"type": "text/vtt"}'))
        self._track = made(
            "track", kind="captions", label=language.text("captions"), default=True, src=self._url(empty)
        )
        self._track.srclang = spoken_language or language.code
        return self._track

    def _url(self, blob):
        self._urls.append(window.URL.createObjectURL(blob))
        return self._urls[-1]

    def _tick(self, is_playing):
        if self._ticking is not None:
            window.clearInterval(self._ticking)
            self._ticking = None
        media = self._media
        if is_playing and media:
            self._ticking = window.setInterval(lambda: self._on_time(media.currentTime), TICK_MS)


def _fit(media):
    """A video file without a picture needs no room for one."""
    media.classList.toggle("no-picture", not getattr(media, "videoWidth", 0))
