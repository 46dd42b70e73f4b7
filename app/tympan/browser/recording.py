"""One recording: what is known of it while it runs, and what is kept of it."""

from pyscript import window


class Recording:
    """Its name, its length and, when it is over, its words."""

    def __init__(self, name=""):
        self.name = name
        self.date = str(window.Date.new().toISOString())
        self.total_s = 0  # of a file, known before it is transcribed; a voice has none
        self.seconds, self.words, self.text, self.languages = 0, [], "", []

    @classmethod
    def of(cls, session):
        """What was kept."""
        recording = cls(session["name"])
        for key in ("date", "seconds", "words", "text", "languages"):
            setattr(recording, key, session[key])
        return recording

    def finish(self, transcript, languages):
        """It is over. transcript: the engine's. languages: that may be spoken in it."""
        self.seconds, self.words, self.text = transcript["seconds"], transcript["words"], transcript["text"]
        self.languages = languages

    def to_json(self):
        return {
            "name": self.name,
            "date": self.date,
            "seconds": self.seconds,
            "words": self.words,
            "text": self.text,
            "languages": self.languages,
        }
