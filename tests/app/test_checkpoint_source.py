"""Checkpoints that the page converts: the same bytes as on the command line, tensor by tensor, with a fake browser."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.app.fake_browser import SITE, Answer, MemoryStore, Server
from tests.awaiting import run
from tympan.errors import BadModel, BadOption, Cancelled, DownloadFailed, NotEnoughMemory, StorageFull
from tympan.quantize.convert import quantize
from tympan.weights import progress as progress_module
from tympan.weights.model import read_model
from tympan.weights.progress import Progress

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
REVISION = "0123456789abcdef0123456789abcdef01234567"
ROOT = f"https://hub.example/owner/stt/resolve/{REVISION}"
NAMES = ("config.json", "mimi_config.json", "model.safetensors", "mimi.safetensors", "tokenizer.model")
ENTRY = {
    "id": "checkpoint", "title": "Checkpoint", "languages": ["en"], "licence": "CC-BY 4.0", "attribution": "Kyutai",
    "notes": "", "bytes": 2_000_000, "checkpoint": {"download_bytes": 5_000_000, "kept_bytes": {"q4": 2, "q8": 3}},
    "hub": {"host": "https://hub.example", "repository": "owner/stt", "revision": REVISION},
}  # fmt: skip


@pytest.fixture
def published(server: Server) -> Server:
    listing = [{"path": name, "size": (GOLDEN / name).stat().st_size} for name in NAMES]
    server.answers[f"https://hub.example/api/models/owner/stt/tree/{REVISION}"] = [Answer(json.dumps(listing).encode())]
    for name in NAMES:
        server.answers[f"{ROOT}/{name}"] = [Answer((GOLDEN / name).read_bytes())]
    server.answers[SITE + "catalogue.json"] = [Answer(json.dumps({"models": [ENTRY]}).encode())]
    return server


def source(modules: SimpleNamespace, downloader: Any, embeddings: str = "q4") -> Any:
    return run(modules.sources.resolve("checkpoint", SITE, SITE + "catalogue.json", downloader, embeddings))


def converted(source: Any) -> dict[str, bytes]:
    """The files of the model by their paths, as they are read for loading."""
    manifest = run(source.manifest())
    progress = Progress("download", manifest.n_bytes, lambda progress: None)
    opened = {file.path: run(source.open(file, progress)) for file in manifest.files}
    return {path: file.read(0, file.n_bytes).tobytes() for path, file in opened.items()}


def on_command_line(folder: Path, embeddings: Any = None) -> dict[str, bytes]:
    quantize(GOLDEN, folder, embeddings=embeddings)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("embeddings", ["q4", "q8"])
def test_files_equal_those_of_the_command_line(
    published: Server, modules: SimpleNamespace, downloader: Any, tmp_path: Path, embeddings: Any
) -> None:
    files = converted(source(modules, downloader, embeddings))
    expected = on_command_line(tmp_path / "model", embeddings)
    manifest = json.loads(expected.pop("model.json"))
    assert files == expected
    loaded = run(source(modules, downloader, embeddings).manifest())
    assert [(file.path, file.n_bytes, file.sha256) for file in loaded.files] == [
        (file["path"], file["bytes"], file["sha256"]) for file in manifest["files"]
    ]
    assert (loaded.config_json, loaded.title, loaded.source) == (manifest["config"], "Checkpoint", "Kyutai")


def test_pause_heads_are_included_as_float32(published: Server, modules: SimpleNamespace, downloader: Any) -> None:
    files = run(read_model(source(modules, downloader)))
    assert files.manifest.lm_config.n_extra_heads == 4
    assert files.lm["extra_heads.3.weight"].dtype == np.float32


def test_only_needed_tensors_are_downloaded_once(published: Server, modules: SimpleNamespace, downloader: Any) -> None:
    reports: list[tuple[str, int, int]] = []
    found = source(modules, downloader)
    run(found.manifest(lambda progress: reports.append((progress.phase, progress.done_bytes, progress.total_bytes))))
    assert reports[0][:2] == ("convert", 0)
    assert reports[-1][1] == reports[-1][2]
    sizes = [(GOLDEN / name).stat().st_size for name in NAMES]
    assert reports[-1][2] < sum(sizes), "Mimi's decoder is left out"
    n_requests = len(published.ranges)
    assert run(found.offer()).missing_bytes == 0
    converted(source(modules, downloader))
    assert len(published.ranges) == n_requests + 1, "only the catalogue"


@pytest.mark.parametrize("n_tensors", [1, 9])
def test_interrupted_conversion_continues_after_the_last_complete_tensor(
    published: Server, modules: SimpleNamespace, store: MemoryStore, downloader: Any, tmp_path: Path, n_tensors: int
) -> None:
    done: list[str] = []
    convert = modules.source.convert

    def interrupted(conversion: Any, tensors: Any) -> Any:
        if len(done) == n_tensors:
            raise KeyboardInterrupt  # the page is closed
        done.append(conversion.name)
        return convert(conversion, tensors)

    modules.source.convert = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(source(modules, downloader).manifest())
    [partial] = [content for content in store.parts.values() if len(content) > 1000]
    partial += b"half of a tensor"

    def continued(conversion: Any, tensors: Any) -> Any:
        assert conversion.name not in done
        return convert(conversion, tensors)

    modules.source.convert = continued
    files = converted(source(modules, downloader))
    expected = on_command_line(tmp_path / "model")
    del expected["model.json"]
    assert files == expected


def test_lost_file_is_converted_again(
    published: Server, modules: SimpleNamespace, store: MemoryStore, downloader: Any
) -> None:
    files = converted(source(modules, downloader))
    [lost] = [key for key in store.kept if bytes(store.parts[key]) == files["mimi-00001.safetensors"]]
    store.kept.discard(lost)
    del store.parts[lost]
    assert run(source(modules, downloader).offer()).missing_bytes == 5_000_000
    assert converted(source(modules, downloader)) == files


def test_offer_says_what_is_downloaded_and_what_is_kept(
    published: Server, modules: SimpleNamespace, store: MemoryStore, downloader: Any
) -> None:
    offer = run(source(modules, downloader, "q8").offer())
    assert (offer.missing_bytes, offer.n_bytes, offer.host, offer.converts) == (5_000_000, 3, "hub.example", True)
    assert offer.must_ask(SITE)
    assert len(published.ranges) == 1, "only the catalogue was downloaded"
    found = source(modules, downloader)
    found._model.n_kept_bytes["q4"] = 1_696_845_499
    store.device_bytes = 4 << 30
    with pytest.raises(NotEnoughMemory):
        run(found.offer())


def test_server_without_ranges_is_reported(published: Server, modules: SimpleNamespace, downloader: Any) -> None:
    url = f"{ROOT}/model.safetensors"
    published.answers[url] = [Answer(published.answers[url][0].content, knows_ranges=False)]
    with pytest.raises(DownloadFailed, match="does not send parts of the file"):
        run(source(modules, downloader).manifest())


def test_broken_connections_are_resumed_within_a_tensor(
    published: Server, modules: SimpleNamespace, downloader: Any, tmp_path: Path
) -> None:
    url = f"{ROOT}/model.safetensors"
    content = published.answers[url][0].content
    cut = Answer(content, cut_at=modules.remote.READ_AHEAD_BYTES + 40_000)
    published.answers[url] = [Answer(status=503), Answer(content), cut, Answer(content)]
    files = converted(source(modules, downloader))
    assert f"bytes={cut.cut_at}-" in "".join(f"{wanted}," for wanted in published.ranges)
    expected = on_command_line(tmp_path / "model")
    assert files["lm-00001.safetensors"] == expected["lm-00001.safetensors"]


def test_cancel_keeps_what_is_done(
    published: Server, modules: SimpleNamespace, downloader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "REPORT_EVERY_S", 0)  # the conversion can take less time

    def cancel(progress: Progress) -> None:
        if progress.done_bytes:
            downloader.cancel()

    with pytest.raises(Cancelled):
        run(source(modules, downloader).manifest(cancel))


def test_full_storage_is_reported(
    published: Server, modules: SimpleNamespace, store: MemoryStore, downloader: Any
) -> None:
    store.claimed_bytes = 1000
    with pytest.raises(StorageFull):
        run(source(modules, downloader).manifest())
    store.claimed_bytes, store.room_bytes = 1 << 30, 100_000
    with pytest.raises(StorageFull):
        run(source(modules, downloader).manifest())


def test_checkpoint_that_cannot_be_converted_is_named(
    published: Server, modules: SimpleNamespace, downloader: Any
) -> None:
    config = json.loads((GOLDEN / "config.json").read_text()) | {"num_layers": 2}
    published.answers[f"{ROOT}/config.json"] = [Answer(json.dumps(config).encode())]
    with pytest.raises(BadModel, match=r"no place for the tensor transformer\.layers\.2"):
        run(source(modules, downloader).manifest())
    published.answers[f"{ROOT}/config.json"] = [Answer(b"<html>")]
    with pytest.raises(BadModel, match=r"config\.json is not JSON"):
        run(source(modules, downloader).manifest())
    with pytest.raises(BadOption, match="embeddings cannot be “q5”; it is one of: q4, q8"):
        source(modules, downloader, "q5")
