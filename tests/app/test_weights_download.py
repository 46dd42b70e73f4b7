"""Downloads: chunks, resuming, verification and retries, with a fake browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.app.fake_browser import CONTENT, FILE, URL, Answer, MemoryStore, Server, fetch, no_report
from tests.awaiting import run
from tympan.errors import Cancelled, CorruptFile, DownloadFailed
from tympan.weights.manifest import ModelFile
from tympan.weights.progress import Progress


@pytest.mark.parametrize("hashes", [True, False], ids=["hash of the browser", "hash of Python"])
def test_file_is_downloaded_in_chunks_and_stored(
    server: Server, store: MemoryStore, downloader: Any, hashes: bool
) -> None:
    store.hashes = hashes
    server.answers[URL] = [Answer(pieces=(10, 700))]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert progress.done_bytes == len(CONTENT)
    assert FILE.sha256 in store.kept
    server.answers.clear()
    assert fetch(downloader) == CONTENT
    assert server.ranges == [None], "it is downloaded once"


@pytest.mark.parametrize("cut_at", [0, 1, 500, len(CONTENT) - 1])
def test_broken_connection_is_resumed(server: Server, downloader: Any, cut_at: int) -> None:
    server.answers[URL] = [Answer(cut_at=cut_at), Answer()]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert server.ranges == [None, f"bytes={cut_at}-" if cut_at else None]
    assert progress.done_bytes == len(CONTENT)


@pytest.mark.parametrize(
    ("rate", "n_packet_bytes", "most_bytes", "least_bytes"),
    [(10_000, 4096, 20_000, 1), (100_000_000, 65_536, 1 << 20, 1 << 20)],
    ids=["slow", "fast"],
)
def test_reads_wait_for_more_while_the_connection_is_fast(
    modules: Any, monkeypatch: pytest.MonkeyPatch, rate: int, n_packet_bytes: int, most_bytes: int, least_bytes: int
) -> None:
    now_s, wanted = 0.0, []

    async def read(view: Any, options: dict[str, int]) -> SimpleNamespace:
        nonlocal now_s
        wanted.append(options["min"])
        n_bytes = -(-options["min"] // n_packet_bytes) * n_packet_bytes
        now_s += n_bytes / rate
        return SimpleNamespace(done=False, value=SimpleNamespace(length=n_bytes, buffer=b""))

    monkeypatch.setattr(modules.body_reader, "perf_counter", lambda: now_s)
    reader = modules.body_reader.BodyReader(SimpleNamespace(getReader=lambda options: SimpleNamespace(read=read)))
    for _ in range(20):
        run(reader.read())
    assert wanted[0] == 1
    assert least_bytes <= wanted[-1] <= max(wanted) <= most_bytes


def test_stalled_connection_is_resumed(server: Server, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=300, stalls=True), Answer()]
    assert fetch(downloader) == CONTENT
    assert server.ranges[-1] == "bytes=300-"


@pytest.mark.parametrize("hashes", [True, False], ids=["hash of the browser", "hash of Python"])
def test_partial_file_of_an_earlier_visit_is_resumed(
    server: Server, store: MemoryStore, downloader: Any, hashes: bool
) -> None:
    store.hashes = hashes
    store.parts[FILE.sha256] = bytearray(CONTENT[:600])
    server.answers[URL] = [Answer()]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert server.ranges == ["bytes=600-"]
    assert progress.done_bytes == len(CONTENT)


def test_complete_partial_file_is_only_verified(server: Server, store: MemoryStore, downloader: Any) -> None:
    store.parts[FILE.sha256] = bytearray(CONTENT)
    assert fetch(downloader) == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("answer", [Answer(knows_ranges=False), Answer(status=416)], ids=["no ranges", "416"])
def test_download_restarts_if_the_server_cannot_resume(server: Server, downloader: Any, answer: Answer) -> None:
    server.answers[URL] = [Answer(cut_at=500), answer, Answer()]
    assert fetch(downloader) == CONTENT


@pytest.mark.parametrize("hashes", [True, False], ids=["hash of the browser", "hash of Python"])
def test_corrupt_download_is_repeated_once(server: Server, store: MemoryStore, downloader: Any, hashes: bool) -> None:
    store.hashes = hashes
    wrong = bytes(len(CONTENT))
    server.answers[URL] = [Answer(wrong), Answer()]
    assert fetch(downloader) == CONTENT
    server.answers[URL] = [Answer(wrong), Answer(wrong), Answer()]
    store.parts.clear()
    store.kept.clear()
    with pytest.raises(CorruptFile, match=r"lm-00001\.safetensors is damaged: its sha256"):
        fetch(downloader)
    assert store.parts[FILE.sha256] == b"", "no corrupt bytes are left"


@pytest.mark.parametrize("hashes", [True, False], ids=["hash of the browser", "hash of Python"])
def test_corrupt_partial_file_is_downloaded_again(
    server: Server, store: MemoryStore, downloader: Any, hashes: bool
) -> None:
    store.hashes = hashes
    store.parts[FILE.sha256] = bytearray(600)
    server.answers[URL] = [Answer()]
    assert fetch(downloader) == CONTENT
    assert server.ranges == ["bytes=600-", None]


def test_oversized_response_is_rejected(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(CONTENT * 100, pieces=tuple(range(0, 100 * len(CONTENT), 512)))]
    with pytest.raises(CorruptFile, match="more than the 1024 bytes"):
        fetch(downloader)


def test_download_fails_after_repeated_breaks(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=500), Answer(cut_at=500)]
    with pytest.raises(DownloadFailed, match=r"network error, after 500 of 1024 bytes"):
        fetch(downloader)
    assert store.parts[FILE.sha256] == CONTENT[:500], "the next visit resumes there"


def test_only_transient_errors_are_retried(server: Server, downloader: Any) -> None:
    server.answers[URL] = [Answer(status=503), Answer()]
    assert fetch(downloader) == CONTENT
    with pytest.raises(DownloadFailed, match="the server answered 404"):
        run(downloader.file(URL + "x", ModelFile("x", "lm", 5, "0a" * 32), no_report()))
    assert len(server.ranges) == 3


def test_no_network(downloader: Any) -> None:
    with pytest.raises(DownloadFailed, match="Failed to fetch"):
        run(downloader.file("https://unreachable.example.org/x", FILE, no_report()))
    with pytest.raises(DownloadFailed, match="Failed to fetch"):
        run(downloader.text("https://unreachable.example.org/x"))


def test_cancel(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=500), Answer()]
    progress = Progress("download", FILE.n_bytes, lambda progress: downloader.cancel(), clock=iter(range(99)).__next__)
    with pytest.raises(Cancelled):
        fetch(downloader, progress=progress)
    store.hashes = False
    store.parts[FILE.sha256] = bytearray(CONTENT[:600])
    with pytest.raises(Cancelled):
        fetch(downloader)


def test_file_without_published_hash_has_its_header_checked(server: Server, downloader: Any) -> None:
    header = b'{"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
    good = len(header).to_bytes(8, "little") + header + b"abcd"
    file = ModelFile("mimi.safetensors", "mimi", len(good), "")
    server.answers[URL] = [Answer(b"<" * len(good)), Answer(good)]
    assert fetch(downloader, file) == good
    server.answers[URL] = [Answer(b"<" * (len(good) + 1))]
    with pytest.raises(CorruptFile, match="does not fit into"):
        fetch(downloader, ModelFile("mimi.safetensors", "mimi", len(good) + 1, ""))
