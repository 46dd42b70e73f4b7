"""The data of one recording, while it is transcribed and as it is stored."""

import json

from pyscript import window


class Recording:
    """Name, date, length and words of a recording."""

    def __init__(self, name="", languages=(), is_kept=False):
        """languages: codes of those that may be spoken. is_kept: whether it is stored among the sessions."""
        self.name, self.languages, self.is_kept = name, languages, is_kept
        self.date = str(window.Date.new().toISOString())
        self.number = None  # key in the session store, once it is stored
        self.has_sound = False  # whether its audio is stored too
        self.total_s = 0  # length of a file, known from the start; 0 for live audio
        self.seconds, self.words = 0, []  # transcribed so far
        self._words_json, self._n_in_json = "", 0  # the first words as JSON

    @classmethod
    def of(cls, session):
        """The recording of a stored session."""
        recording = cls(session["name"], session["languages"])
        for key in ("date", "seconds", "words"):
            setattr(recording, key, session[key])
        return recording

    @property
    def language(self):
        """Code of the language that is spoken, "" if there may be several."""
        return self.languages[0] if len(self.languages) == 1 else ""

    def add(self, words, seconds):
        """Add new words. seconds: of audio transcribed so far."""
        self.words += words
        self.seconds = seconds

    def finish(self, transcript):
        """Take the final words and length. transcript: the result of the engine."""
        self.seconds, self.words = transcript["seconds"], transcript["words"]
        self._words_json, self._n_in_json = "", 0  # the times of words may have changed

    def to_json(self):
        """The session as JSON text. Only words that are new since the last call are serialized."""
        new = json.dumps(self.words[self._n_in_json :])[1:-1]
        self._words_json = ", ".join([part for part in (self._words_json, new) if part])
        self._n_in_json = len(self.words)
        rest = {
            "name": self.name,
            "date": self.date,
            "seconds": self.seconds,
            "languages": self.languages,
            "has_sound": self.has_sound,
        }
        return f'{json.dumps(rest)[:-1]}, "words": [{self._words_json}]}}'
