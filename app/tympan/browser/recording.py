"""One recording: what is known of it while it runs, and what is kept of it."""

from pyscript import window


class Recording:
    """Its name, its length, and its words as far as they are known."""

    def __init__(self, name="", languages=(), is_kept=False):
        """languages: that may be spoken in it. is_kept: among the sessions."""
        self.name, self.languages, self.is_kept = name, languages, is_kept
        self.date = str(window.Date.new().toISOString())
        self.number = None  # among the sessions, once it is there
        self.has_sound = False  # there
        self.total_s = 0  # of a file, known before it is transcribed; a voice has none
        self.seconds, self.words = 0, []

    @classmethod
    def of(cls, session):
        """What was kept."""
        recording = cls(session["name"], session["languages"])
        for key in ("date", "seconds", "words"):
            setattr(recording, key, session[key])
        return recording

    @property
    def language(self):
        """The code of the one that is spoken, "" where it may be one of several."""
        return self.languages[0] if len(self.languages) == 1 else ""

    def hear(self, words, seconds):
        """The text has come this far. words: that are new."""
        self.words += words
        self.seconds = seconds

    def finish(self, transcript):
        """It is over. transcript: the engine's."""
        self.seconds, self.words = transcript["seconds"], transcript["words"]

    def to_json(self):
        return {
            "name": self.name,
            "date": self.date,
            "seconds": self.seconds,
            "words": self.words,
            "languages": self.languages,
            "has_sound": self.has_sound,
        }
