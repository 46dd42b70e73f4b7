"""From a model's name to its manifest or offer, with a fake browser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.app.fake_browser import SITE, Answer, MemoryStore, Server
from tests.app.golden import GOLDEN
from tests.awaiting import run
from tympan.errors import BadModel, DownloadFailed, NotEnoughMemory, UnknownModel
from tympan.weights.info import ModelInfo
from tympan.weights.progress import Progress
from tympan.weights.safetensors import SafetensorsFile

CATALOGUE: dict[str, list[dict[str, Any]]] = {
    "models": [
        {"id": "demo", "path": "demo"},
        {
            "id": "large", "title": "Large", "languages": ["en"], "licence": "CC-BY 4.0", "attribution": "Somebody",
            "notes": "Good.", "bytes": 900, "config": {}, "mimi_config": {},
            "files": [{"path": "a.gguf", "role": "lm"}],
            "hub": {"host": "https://hub.example", "repository": "owner/name", "revision": "main"},
        },
    ]
}  # fmt: skip


@pytest.fixture
def find(modules: SimpleNamespace, server: Server, downloader: Any) -> Callable[[str], Any]:
    server.answers[SITE + "catalogue.json"] = [Answer(json.dumps(CATALOGUE).encode())]

    def find(model: str) -> Any:
        page_url = "https://example.org/index.html"
        return run(modules.sources.resolve(model, page_url, SITE + "catalogue.json", downloader))

    return find


def test_ids_are_looked_up_and_urls_are_not(server: Server, find: Callable[[str], Any]) -> None:
    assert find("demo").url == find("").url == SITE + "demo/"
    with pytest.raises(UnknownModel, match="tiny"):
        find("tiny")
    server.answers.clear()
    assert find("./mine").url == "https://example.org/mine/"


def test_url_without_a_manifest_is_not_a_model(server: Server, find: Callable[[str], Any]) -> None:
    with pytest.raises(UnknownModel, match=r"example\.org/models/demo"):
        run(find("demo").manifest())
    server.answers[SITE + "demo/model.json"] = [Answer(status=500)]
    with pytest.raises(DownloadFailed, match="500"):
        run(find("demo").manifest())
    server.answers[SITE + "demo/model.json"] = [Answer(b"<html>")]
    with pytest.raises(BadModel):
        run(find("demo").manifest())


def test_hub_model_is_offered_without_a_request_to_the_hub(server: Server, find: Callable[[str], Any]) -> None:
    offer = run(find("large").offer())
    assert (offer.info.title, offer.info.licence, offer.info.source, offer.host) == (
        "Large",
        "CC-BY 4.0",
        "Somebody",
        "hub.example",
    )
    assert (offer.n_bytes, offer.missing_bytes) == (900, 900)
    assert offer.must_ask("https://example.org/")
    assert len(server.ranges) == 1, "only the catalogue was downloaded"


@pytest.mark.parametrize(
    ("missing_bytes", "host", "must_ask"),
    [
        (0, "elsewhere.example", False),
        (1, "elsewhere.example", True),
        (16_000_000, "example.org", False),
        (600_000_000, "example.org", True),
    ],
)
def test_when_consent_is_needed(modules: SimpleNamespace, missing_bytes: int, host: str, must_ask: bool) -> None:
    offer = modules.sources.Offer(ModelInfo(), 600_000_000, missing_bytes, host)
    assert offer.must_ask("https://example.org/tympan/") == must_ask


def test_models_that_do_not_fit_are_refused_before_their_download(
    server: Server, store: MemoryStore, find: Callable[[str], Any]
) -> None:
    large = find("large")
    store.device_bytes = 4 << 30
    large._model = replace(large._model, n_bytes=1_690_000_000)  # stt-2.6b-en in Q4
    refusal = r"it needs about 2\.1 GB of memory, and a page can use about 1\.7 GB here"
    with pytest.raises(NotEnoughMemory, match=refusal):
        run(large.offer())
    with pytest.raises(NotEnoughMemory, match=refusal):
        run(large.manifest())
    for device_bytes in (8 << 30, None):
        store.device_bytes = device_bytes
        assert run(large.offer()).n_bytes == 1_690_000_000
    assert len(server.ranges) == 1, "only the catalogue was downloaded"


def test_small_models_are_tried_everywhere(find: Callable[[str], Any], store: MemoryStore) -> None:
    store.device_bytes = 1 << 28
    assert run(find("large").offer()).n_bytes == 900


HEADS_URL = "https://hub.example/kyutai/stt/resolve/abc/model.safetensors"
HEADS = {f"extra_heads.{i}.weight": np.full((6, 8), i + 0.5, np.float32) for i in range(4)}


@pytest.fixture
def with_heads(server: Server, find: Callable[[str], Any]) -> Callable[[], Any]:
    """A function that finds a model whose pause heads are in another repository."""
    tensors = {"emb.0.weight": np.zeros((300, 300), np.float32), **HEADS, "out_norm.alpha": np.ones(8, np.float32)}
    content = save(tensors)
    location = {"repository": "kyutai/stt", "revision": "abc", "path": "model.safetensors", "bytes": len(content)}
    config, mimi_config = (
        json.loads((GOLDEN / name).read_text()) | {"dim": 8, "num_heads": 2, "extra_heads_num_heads": 0}
        for name in ("config.json", "mimi_config.json")
    )
    entry = CATALOGUE["models"][1] | {"pause_heads": location, "config": config, "mimi_config": mimi_config}
    entry["files"] = [{"path": role, "role": role} for role in ("lm", "mimi", "tokenizer")]
    server.answers[SITE + "catalogue.json"] = [Answer(json.dumps({"models": [entry]}).encode())]
    listing = [{"path": role, "size": 4} for role in ("lm", "mimi", "tokenizer")]
    server.answers["https://hub.example/api/models/owner/name/tree/main"] = [Answer(json.dumps(listing).encode())]
    server.answers[HEADS_URL] = [Answer(content)]
    return lambda: find("large")


def test_pause_heads_come_from_another_file_in_parts(with_heads: Callable[[], Any], server: Server) -> None:
    source = with_heads()
    manifest = run(source.manifest())
    assert (manifest.lm_config.n_extra_heads, manifest.lm_config.extra_head_width) == (4, 6)
    assert not source.lacks_heads
    [_, file] = manifest.files_of("lm")
    opened = run(source.open(file, Progress("download", file.n_bytes, lambda progress: None)))
    tensors = SafetensorsFile(opened, file.path)
    assert {name: tensors[name].tolist() for name in tensors} == {name: HEADS[name].tolist() for name in HEADS}
    assert all(wanted for wanted in server.ranges[2:]), "only parts are downloaded"
    n_requests = len(server.ranges)
    assert run(with_heads().manifest()) == manifest
    assert len(server.ranges) == n_requests + 1, "only the catalogue"


@pytest.mark.parametrize(
    "answer",
    [Answer(status=404), Answer(save({"a": np.zeros(9)})), Answer(save(HEADS), knows_ranges=False)],
    ids=["no file", "no heads", "no ranges"],
)
def test_model_loads_without_pause_heads_that_its_host_lacks(
    with_heads: Callable[[], Any], server: Server, answer: Answer
) -> None:
    server.answers[HEADS_URL] = [answer]
    source = with_heads()
    assert run(source.manifest()).lm_config.n_extra_heads == 0
    assert source.lacks_heads


def test_stored_model_asks_no_other_site_for_its_heads(
    with_heads: Callable[[], Any], server: Server, store: MemoryStore
) -> None:
    heads = server.answers.pop(HEADS_URL)
    source = with_heads()
    for file in run(source.manifest()).files:
        key = hashlib.sha256(f"{source.file_url(file)} {file.n_bytes}".encode()).hexdigest()
        store.parts[key] = bytearray(4)
        store.kept.add(key)
    server.answers[HEADS_URL] = heads
    n_requests = len(server.ranges)
    source = with_heads()
    assert run(source.manifest()).lm_config.n_extra_heads == 0
    assert source.lacks_heads
    assert len(server.ranges) == n_requests + 1, "only the catalogue: the user has not agreed to a download"
