"""The static file server: MIME types, byte ranges, mounts, POST requests and errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from cli.errors import CommandError
from cli.server import MIME_TYPES, serving

CONTENT = bytes(range(100))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "index.html").write_text("the page")
    (tmp_path / "data.bin").write_bytes(CONTENT)
    for suffix in MIME_TYPES:
        (tmp_path / f"file{suffix}").write_text("x")
    (tmp_path / "folder").mkdir()
    with serving(tmp_path) as url:
        yield url


def status(url: str, **headers: str) -> int:
    try:
        with urlopen(Request(url, headers=headers)) as reply:
            return int(reply.status)
    except HTTPError as error:
        with error:
            return error.code


def test_the_root_serves_the_index(site: str) -> None:
    assert site.startswith("http://localhost:")
    with urlopen(f"{site}/?model=demo") as reply:
        assert reply.read() == b"the page"


@pytest.mark.parametrize(("suffix", "mime"), MIME_TYPES.items())
def test_files_have_their_mime_type(site: str, suffix: str, mime: str) -> None:
    with urlopen(f"{site}/file{suffix}") as reply:
        assert reply.headers["Content-Type"] == mime


@pytest.mark.parametrize(
    ("range_header", "first", "last"),
    [("bytes=10-19", 10, 19), ("bytes=90-", 90, 99), ("bytes=-5", 95, 99), ("bytes=50-5000", 50, 99)],
)
def test_a_byte_range_is_served(site: str, range_header: str, first: int, last: int) -> None:
    with urlopen(Request(f"{site}/data.bin", headers={"Range": range_header})) as reply:
        assert reply.status == 206
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/100"
        assert reply.read() == CONTENT[first : last + 1]


def test_a_range_beyond_the_end_gets_status_416(site: str) -> None:
    assert status(f"{site}/data.bin", Range="bytes=100-") == 416


def test_an_invalid_range_gets_the_whole_file(site: str) -> None:
    assert status(f"{site}/data.bin", Range="bytes=a-b") == 200
    assert status(f"{site}/data.bin", Range="bytes=-") == 200


def test_other_origins_may_read_the_files(site: str) -> None:
    with urlopen(f"{site}/data.bin") as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_missing_files_get_status_404(site: str) -> None:
    assert status(f"{site}/nothing") == 404
    assert status(f"{site}/folder/") == 404
    assert status(f"{site}/../../etc/passwd") == 404
    assert status(f"{site}/data%00.bin") == 404


def test_a_mounted_folder_is_served(tmp_path: Path) -> None:
    for name in ("site", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
    with serving(tmp_path / "site", mounts={"/model/": tmp_path / "model"}) as url:
        for path, content in (("/name.txt", b"site"), ("/model/name.txt", b"model")):
            with urlopen(url + path) as reply:
                assert reply.read() == content
        assert status(f"{url}/model/../../secret") == 404


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(CommandError, match=f"^Port {port} is in use; choose another with --port.$"),
            serving(tmp_path, port),
        ):
            pass


def test_an_invalid_port_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^Port 70000 cannot be used"), serving(tmp_path, 70_000):
        pass


def test_posts_are_passed_to_the_callback(tmp_path: Path) -> None:
    posts: list[tuple[str, bytes]] = []
    with (
        serving(tmp_path, on_post=lambda path, body: posts.append((path, body))) as url,
        urlopen(Request(f"{url}/result", b"42")) as reply,
    ):
        assert reply.status == 204
    assert posts == [("/result", b"42")]


def test_posts_are_rejected_without_a_callback(site: str) -> None:
    with pytest.raises(HTTPError, match="501"):
        urlopen(Request(site, b"42"))
