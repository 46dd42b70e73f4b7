"""What the official implementation computed for one recording: published files, fetched when needed, pinned by hash."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.cli.errors import CommandError

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tympan" / "reference"
ROLES = ("audio", "codes", "tokens", "transcript")

_TIMEOUT_S = 60
_SEED = "https://raw.githubusercontent.com/idle-intelligence/stt-web/7187f130e2d9fa9a460938d81f234e01f3dcdccb"
_KYUTAI = (
    "https://raw.githubusercontent.com/kyutai-labs/delayed-streams-modeling/f6074cb684fcf3c46161f1c3abda3c0805e10d18"
)


@dataclass(frozen=True)
class PinnedFile:
    """A file at a URL, with the SHA-256 that it must have."""

    url: str
    sha256: str

    def fetch(self, cache: Path) -> Path:
        """Return the file from the cache, downloading it first if needed.

        Raises CommandError if it cannot be downloaded or is not the pinned file.
        """
        path = cache / f"{self.sha256[:16]}-{Path(self.url).name}"
        if not path.exists():
            try:
                with urllib.request.urlopen(self.url, timeout=_TIMEOUT_S) as response:
                    content = response.read()
            except (OSError, HTTPException, ValueError) as error:  # urllib's errors are OSErrors
                raise CommandError(f"{self.url} cannot be downloaded: {error}") from error
            self._check(content)
            cache.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._check(path.read_bytes())
        return path

    def _check(self, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self.sha256:
            raise CommandError(f"{self.url} is not the pinned file: its SHA-256 is {sha256}, not {self.sha256}.")


@dataclass(frozen=True)
class Reference:
    """A recording and what the official implementation made of it, with a frame of codes for each step.

    The transformer's steps have the convention of Kyutai's script stt_from_file_pytorch.py: step 0 reads the initial
    tokens, step s reads frame s. (Tympan and Kyutai's server let step s read frame s - 1.)
    """

    source: str  # for the report
    audio: PinnedFile
    codes: PinnedFile  # JSON: {"tokens": [[code of each codebook] of each frame]}
    tokens: PinnedFile  # JSON: {"tokens": [text token of each step]}
    transcript: PinnedFile

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read a description: {"source": ..., "audio": {"url": ..., "sha256": ...}, "codes": ...}.

        Raises CommandError.
        """
        try:
            value = json.loads(path.read_text("utf-8"))
            files = {role: PinnedFile(str(value[role]["url"]), str(value[role]["sha256"])) for role in ROLES}
            return cls(str(value["source"]), **files)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{path} does not describe a reference: {error!r}.") from error

    def fetch(self, cache: Path = CACHE) -> Expected:
        """Download the files that are not in the cache. Raises CommandError."""
        codes, tokens = (_json(file.fetch(cache))["tokens"] for file in (self.codes, self.tokens))
        return Expected(
            audio=self.audio.fetch(cache),
            codes=np.array(codes, np.int32),
            tokens=np.array(tokens, np.int32),
            transcript=self.transcript.fetch(cache).read_text("utf-8"),
        )


@dataclass(frozen=True)
class Expected:
    """The fetched files of a reference. codes: int32 (T, K). tokens: int32 (T,)."""

    audio: Path
    codes: NDArray[np.int32]
    tokens: NDArray[np.int32]
    transcript: str


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


# Made by the official implementation with the weights of kyutai/stt-1b-en_fr; MIT.
KYUTAI_1B = Reference(
    source="idle-intelligence/stt-web@7187f13 tests/reference, kyutai-labs/delayed-streams-modeling@f6074cb bria.mp3",
    audio=PinnedFile(f"{_KYUTAI}/audio/bria.mp3", "f3fa2f70249b671746ad032a1ca701c8c91c22dfeda45b9c5ecb6d453275a85c"),
    codes=PinnedFile(
        f"{_SEED}/tests/reference/mimi_tokens.json", "91a810b7548a55f97b7781846e636bd2e87265fc80beba6b2f1150c2f71e61e5"
    ),
    tokens=PinnedFile(
        f"{_SEED}/tests/reference/text_tokens.json", "1561048043d7d4d3613ec72fff06e29d75fa70abc5b35d0ce612505d19050c2d"
    ),
    transcript=PinnedFile(
        f"{_SEED}/tests/reference/transcript.txt", "4766cb13943b99c576ffa1b4a4719184de4e3dc72d71ae57a7dd125e394f2a42"
    ),
)
