"""Speech-to-text that runs entirely inside a web page. The public names below are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tympan.embed.transcriber import EmbeddedTranscriber as Transcriber
    from tympan.endpointing import Turn, TurnKind
    from tympan.errors import TympanError
    from tympan.text.words import Word
    from tympan.transcript import Trace, Transcript

__all__ = ["Trace", "Transcriber", "Transcript", "Turn", "TurnKind", "TympanError", "Word"]

_SOURCES = {  # module and name there
    "Trace": ("tympan.transcript", "Trace"),
    "Transcriber": ("tympan.embed.transcriber", "EmbeddedTranscriber"),
    "Transcript": ("tympan.transcript", "Transcript"),
    "Turn": ("tympan.endpointing", "Turn"),
    "TurnKind": ("tympan.endpointing", "TurnKind"),
    "TympanError": ("tympan.errors", "TympanError"),
    "Word": ("tympan.text.words", "Word"),
}


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, source = _SOURCES[name]
    return getattr(import_module(module), source)
