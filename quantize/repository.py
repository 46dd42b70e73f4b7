"""Downloads an official checkpoint from the Hugging Face Hub to the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tympan.checkpoint.official import CONFIG_NAME, FileNames
from tympan.errors import BadModel, CorruptFile, DownloadFailed
from tympan.quantize.checkpoint import index_of, read_json, shards_of
from tympan.weights.hub import HOST, HubRepository

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tympan" / "checkpoints"

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_TIMEOUT_S = 60
_PIECE_BYTES = 1 << 20


def is_repository(source: str) -> bool:
    """Whether `source` is the name of a repository, "owner/name", and not an existing folder."""
    return bool(_NAME.fullmatch(source)) and not Path(source).exists()


def fetch(name: str, cache: Path = CACHE, host: str = HOST) -> Path:
    """Download the files that the repository's `config.json` names and verify their published sha256.

    Files in the cache are not downloaded again. Returns the checkpoint directory.
    Raises DownloadFailed without network or if the repository does not exist, BadModel if it is not a checkpoint,
    CorruptFile if a hash differs.
    """
    repository = HubRepository(host, name)
    folder = cache / name.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    listing = _listing(repository)

    def fetch_file(path: str) -> None:
        if path not in listing:
            raise BadModel(f"{repository.page_url} contains no {path}")
        _fetch(repository.file_url(path), folder / path, listing[path])

    fetch_file(CONFIG_NAME)
    names = FileNames.of(read_json(folder, CONFIG_NAME))
    if names.lm not in listing and index_of(names.lm) in listing:
        fetch_file(index_of(names.lm))
        lm_files = shards_of(folder, index_of(names.lm))
    else:
        lm_files = [names.lm]
    for path in (*lm_files, names.mimi, names.tokenizer, names.mimi_config):
        if path:
            fetch_file(path)
    return folder


def _listing(repository: HubRepository) -> dict[str, dict[str, Any]]:
    """The repository's listing by path. Raises DownloadFailed, or BadModel if the response is not a listing."""
    url = repository.listing_url
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            return {entry["path"]: dict(entry) for entry in json.loads(response.read())}
    except (OSError, HTTPException) as error:  # urllib's errors are OSErrors
        raise DownloadFailed(url, str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadModel(f"the listing of {repository.page_url} cannot be read") from error


def _fetch(url: str, dest: Path, entry: dict[str, Any]) -> None:
    """Download one file. Raises DownloadFailed, or CorruptFile if length or sha256 differs from the published one."""
    if dest.exists() and dest.stat().st_size == entry["size"]:
        return
    dest.parent.mkdir(parents=True, exist_ok=True)
    part, digest = dest.with_name(f"{dest.name}.part"), hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, part.open("wb") as file:
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
    except (OSError, HTTPException) as error:
        raise DownloadFailed(url, str(error)) from error
    lfs = entry.get("lfs")
    if part.stat().st_size != entry["size"] or (isinstance(lfs, dict) and digest.hexdigest() != lfs["oid"]):
        part.unlink()
        raise CorruptFile(dest.name, "its length or its sha256 differs from the published one")
    part.replace(dest)
