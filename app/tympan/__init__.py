"""Speech-to-text that runs whole inside a web page. These are its public names, imported when they are asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tympan.embed.transcriber import Transcriber
    from tympan.endpointing import Turn, TurnKind
    from tympan.errors import TympanError
    from tympan.text.words import Word
    from tympan.transcript import Trace, Transcript

__all__ = ["Trace", "Transcriber", "Transcript", "Turn", "TurnKind", "TympanError", "Word"]

_MODULES = {
    "Trace": "tympan.transcript",
    "Transcriber": "tympan.embed.transcriber",
    "Transcript": "tympan.transcript",
    "Turn": "tympan.endpointing",
    "TurnKind": "tympan.endpointing",
    "TympanError": "tympan.errors",
    "Word": "tympan.text.words",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
