"""Downloading a checkpoint from the Hub, with a fake server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.page.rough_server import Fault, rough_server
from tympan.errors import BadModel, CorruptFile, DownloadFailed
from tympan.quantize.checkpoint import Checkpoint
from tympan.quantize.repository import fetch, is_repository

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
NAMES = ("config.json", "mimi_config.json", "model.safetensors", "mimi.safetensors", "tokenizer.model")
NAME = "somebody/a"
BASE = f"/{NAME}/resolve/main"


def published() -> dict[str, bytes]:
    return as_published({name: (GOLDEN / name).read_bytes() for name in NAMES})


def as_published(files: dict[str, bytes]) -> dict[str, bytes]:
    """The Hub's responses for these files; config.json must be the first."""
    listing = [
        {"path": name, "size": len(content), "lfs": {"oid": hashlib.sha256(content).hexdigest()}}
        for name, content in files.items()
    ]
    del listing[0]["lfs"]
    answers = {f"{BASE}/{name}": content for name, content in files.items()}
    return answers | {f"/api/models/{NAME}/tree/main": json.dumps(listing).encode()}


def test_repository_names(tmp_path: Path) -> None:
    assert is_repository("kyutai/stt-1b-en_fr")
    assert not any(map(is_repository, ("checkpoint", "/a/b", "../a", "a/b/c", "https://a/b", str(tmp_path))))
    assert not is_repository("quantize/../tests")


def test_files_of_the_config_are_downloaded_once(tmp_path: Path) -> None:
    with rough_server(published()) as hub:
        folder = fetch(NAME, tmp_path, hub.url)
        assert all((folder / name).read_bytes() == (GOLDEN / name).read_bytes() for name in NAMES)
        fetch(NAME, tmp_path, hub.url)
        assert hub.asked_for("/model.safetensors") == [""]


def test_sharded_transformer_is_downloaded(tmp_path: Path) -> None:
    files = {name: (GOLDEN / name).read_bytes() for name in NAMES}
    shards = {"lm-1.safetensors": files.pop("model.safetensors"), "lm-2.safetensors": save({"b": np.ones(1)})}
    index = {"weight_map": {"a": "lm-1.safetensors", "b": "lm-2.safetensors"}}
    files |= shards | {"model.safetensors.index.json": json.dumps(index).encode()}
    with rough_server(as_published(files)) as hub:
        folder = fetch(NAME, tmp_path, hub.url)
    assert all((folder / name).read_bytes() == content for name, content in files.items())
    assert "b" in Checkpoint.open(folder).lm


def test_corrupt_file_is_rejected_and_deleted(tmp_path: Path) -> None:
    with rough_server(published()) as hub:
        hub.faults[f"{BASE}/mimi.safetensors"] = [Fault(flip=9), Fault(cut_at=1000)]
        for error in (CorruptFile, (CorruptFile, DownloadFailed)):
            with pytest.raises(error, match=r"mimi\.safetensors"):
                fetch(NAME, tmp_path, hub.url)
        assert (fetch(NAME, tmp_path, hub.url) / "mimi.safetensors").exists()


def test_no_repository_and_no_network(tmp_path: Path) -> None:
    with rough_server({}) as hub:
        with pytest.raises(DownloadFailed, match="404"):
            fetch(NAME, tmp_path, hub.url)
        url = hub.url
    with pytest.raises(DownloadFailed):
        fetch(NAME, tmp_path, url)


def test_repository_without_a_checkpoint(tmp_path: Path) -> None:
    files = published()
    with rough_server(files | {f"/api/models/{NAME}/tree/main": b"[]"}) as hub, pytest.raises(BadModel, match="config"):
        fetch(NAME, tmp_path, hub.url)


@pytest.mark.parametrize("listing", [b"<html>", b"7", b"[7]", b"[{}]"])
def test_invalid_listing(tmp_path: Path, listing: bytes) -> None:
    files = published() | {f"/api/models/{NAME}/tree/main": listing}
    with rough_server(files) as hub, pytest.raises(BadModel, match="listing"):
        fetch(NAME, tmp_path, hub.url)


def test_invalid_config(tmp_path: Path) -> None:
    files = published() | {f"{BASE}/config.json": b"[" + bytes(len(published()[f"{BASE}/config.json"]) - 1)}
    with rough_server(files) as hub, pytest.raises(BadModel, match=r"config\.json is not JSON"):
        fetch(NAME, tmp_path, hub.url)
