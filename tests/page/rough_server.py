"""An HTTP server on another origin that injects faults into its responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep


@dataclass(frozen=True)
class Fault:
    """A fault in one response. cut_at: file offset where the connection closes. flip: offset of the wrong byte."""

    cut_at: int | None = None
    flip: int | None = None
    status: int = 200
    knows_ranges: bool = True
    pause_s: float = 0.0  # after every PIECE_BYTES


PIECE_BYTES = 1 << 16


@dataclass
class RoughServer:
    """files: content by path. faults: by path, one for each of the next responses; later responses have none."""

    files: Mapping[str, bytes]
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # path and Range header
    url: str = ""
    news: threading.Condition = field(default_factory=threading.Condition)  # notified after each request

    def wait_for(self, path: str, n_requests: int) -> None:
        """Wait until a file has been requested so often. Raises TimeoutError after two minutes."""
        with self.news:
            if not self.news.wait_for(lambda: len(self.asked_for(path)) >= n_requests, timeout=120):
                raise TimeoutError(path)

    def asked_for(self, path: str) -> list[str]:
        """The Range header of every request for a file; "" for requests of the whole file."""
        return [wanted for asked, wanted in self.requests if asked.endswith(path)]


@contextmanager
def rough_server(files: Mapping[str, bytes]) -> Iterator[RoughServer]:
    """Serve `files` to pages of every origin during the `with` block."""
    rough = RoughServer(files)

    class Handler(BaseHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "*")
            super().end_headers()

        def do_OPTIONS(self) -> None:
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            with rough.news:
                rough.requests.append((self.path, wanted))
                rough.news.notify_all()
            faults = rough.faults.get(self.path)
            fault = faults.pop(0) if faults else Fault()
            content = bytearray(rough.files.get(self.path, b""))
            if not content or fault.status != 200:
                self.send_response(404 if not content else fault.status)
                self.end_headers()
                return
            if fault.flip is not None:
                content[fault.flip] ^= 1
            start, end, is_part = 0, len(content), bool(wanted) and fault.knows_ranges
            if is_part:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last) + 1 if last else end
            self.send_response(206 if is_part else 200)
            if is_part:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            end = end if fault.cut_at is None else min(end, fault.cut_at)
            for offset in range(start, end, PIECE_BYTES):
                self.wfile.write(content[offset : min(end, offset + PIECE_BYTES)])
                sleep(fault.pause_s)

        def log_message(self, format: str, *args: object) -> None:
            """Print no access log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore connections that the page closes early."""

    with Server(("127.0.0.1", 0), Handler) as server:
        rough.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield rough
        server.shutdown()
        thread.join()
