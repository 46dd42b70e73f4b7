"""Repositories of the Hugging Face Hub. They have no `model.json`; their listing has the lengths and hashes.

    HOST/api/models/REPOSITORY/tree/REVISION     [{"type": "file", "path", "size", "lfs": {"oid": sha256}}, ...]
    HOST/REPOSITORY/resolve/REVISION/PATH        a file

Source: huggingface/huggingface.js packages/hub/src/lib/list-files.ts. Only files in LFS have a sha256 there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from tympan.errors import BadModel
from tympan.weights.file import BytesLike
from tympan.weights.manifest import ModelFile, Role

HOST = "https://huggingface.co"


@dataclass(frozen=True)
class HubRepository:
    """A repository of the Hub. host: the Hub's URL without a trailing slash. name: "owner/name"."""

    host: str
    name: str
    revision: str = "main"

    @property
    def listing_url(self) -> str:
        return f"{self.host}/api/models/{quote(self.name)}/tree/{quote(self.revision, safe='')}"

    @property
    def page_url(self) -> str:
        """URL of the repository's web page."""
        return f"{self.host}/{quote(self.name)}"

    def file_url(self, path: str) -> str:
        return f"{self.page_url}/resolve/{quote(self.revision, safe='')}/{quote(path)}"


def describe_files(listing: BytesLike, wanted: Iterable[tuple[str, Role]]) -> tuple[ModelFile, ...]:
    """Looks up files in the listing of a repository.

    listing: the JSON response of its `listing_url`. wanted: path and role of each file.
    Raises BadModel if it is not a listing or lacks one of the files.
    """
    try:
        entries = {entry["path"]: entry for entry in json.loads(str(listing, "utf-8"))}
        return tuple(
            ModelFile(path, role, int(entries[path]["size"]), str((entries[path].get("lfs") or {}).get("oid", "")))
            for path, role in wanted
        )
    except KeyError as error:
        raise BadModel(f"the repository does not list {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadModel("the repository's listing cannot be read") from error
