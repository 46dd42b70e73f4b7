"""From a model's name to its manifest or offer, with a fake browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.app.fake_browser import SITE, Answer, MemoryStore, Server
from tests.awaiting import run
from tympan.errors import BadModel, DownloadFailed, NotEnoughMemory, UnknownModel
from tympan.weights.info import ModelInfo

CATALOGUE = {
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
