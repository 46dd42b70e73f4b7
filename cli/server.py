"""A static file server for this machine, with MIME types, byte ranges and CORS headers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from errno import EADDRINUSE
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from tympan.cli.errors import CommandError

OnPost: TypeAlias = Callable[[str, bytes], None]

HOST = "127.0.0.1"
DEFAULT_PORT = 8000

MIME_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".py": "text/plain",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".wgsl": "text/plain",
    ".whl": "application/zip",
    ".zip": "application/zip",
}

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@contextmanager
def serving(
    folder: Path, port: int = 0, mounts: Mapping[str, Path] | None = None, on_post: OnPost | None = None
) -> Iterator[str]:
    """Serve `folder` in a background thread during the `with` block, and yield the URL "http://localhost:PORT".

    port: 0 picks a free port. mounts: further folders by URL path, such as {"/model/": folder}.
    on_post: called with the path and the body of every POST request, in the thread of the request. Without it, POST
    requests get status 501.
    Raises CommandError when the port is in use or not allowed.
    """
    server = _listen(folder, port, mounts or {}, on_post)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_forever(folder: Path, port: int = DEFAULT_PORT) -> None:
    """Print the URL and serve `folder` until interrupted. Raises CommandError as `serving` does."""
    with _listen(folder, port, {}, None) as server:
        print(f"http://localhost:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _listen(folder: Path, port: int, mounts: Mapping[str, Path], on_post: OnPost | None) -> ThreadingHTTPServer:
    handler = partial(_Handler, directory=str(folder), mounts=mounts, on_post=on_post)
    try:
        return _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == EADDRINUSE:
            raise CommandError(f"Port {port} is in use; choose another with --port.") from error
        raise CommandError(f"Port {port} cannot be used: {error}.") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # do not wait for idle keep-alive connections of browsers

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that the browser closes early."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = MIME_TYPES

    def __init__(self, *args: Any, directory: str, mounts: Mapping[str, Path], on_post: OnPost | None) -> None:
        self.mounts, self.on_post = mounts, on_post
        super().__init__(*args, directory=directory)

    def do_POST(self) -> None:
        if self.on_post is None:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return
        self.on_post(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def translate_path(self, path: str) -> str:
        site = self.directory
        for prefix, folder in self.mounts.items():
            if path.startswith(prefix):
                self.directory, path = str(folder), path[len(prefix) - 1 :]
                break
        try:
            return super().translate_path(path)
        finally:
            self.directory = site

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")  # pages of other origins may embed the site
        self.send_header("Cache-Control", "no-cache")  # cached but revalidated, so that an edit shows at once
        super().end_headers()

    def send_head(self) -> BytesIO | BinaryIO | None:
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if "\0" in str(path):  # which the file system refuses with ValueError
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        if wanted is None or not any(wanted.groups()) or not path.is_file():
            return super().send_head()
        return self._send_range(path, *wanted.groups())

    def _send_range(self, path: Path, first: str, last: str) -> BytesIO | None:
        """Send bytes `first` to `last` (inclusive), or the final `last` bytes when `first` is empty."""
        size = path.stat().st_size
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= stop:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        with path.open("rb") as file:
            file.seek(start)
            part = file.read(stop - start)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return BytesIO(part)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Let the operating system copy the file to the connection, without passing through Python's memory."""
        self.connection.sendfile(source)

    def list_directory(self, path: Any) -> None:
        """Answer 404 for a folder without an index, as static hosts do."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Print no access log."""
