"""Descriptive metadata of a model, for display. The fields are defined only here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelInfo:
    """Descriptive metadata of a model, without its sizes and files."""

    title: str = ""
    languages: tuple[str, ...] = ()  # as in HTML's lang: "en", "fr"
    licence: str = "not stated"
    source: str = ""  # where the weights come from; the attribution that the licence requires
    notes: str = ""  # capabilities and limitations; may be empty

    def to_json(self) -> dict[str, Any]:
        """The fields of ModelInfo under the keys used by `model.json`, the catalogue and the page."""
        return {
            "title": self.title,
            "languages": list(self.languages),
            "licence": self.licence,
            "source": self.source,
            "notes": self.notes,
        }
