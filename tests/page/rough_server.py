"""A server of another origin that does what servers do on a bad day."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep


@dataclass(frozen=True)
class Fault:
    """What happens to one answer. cut_at: the byte of the file before which the connection ends."""

    cut_at: int | None = None
    flip: int | None = None  # the byte that is wrong
    status: int = 200
    knows_ranges: bool = True
    pause_s: float = 0.0  # between pieces of PIECE_BYTES


PIECE_BYTES = 1 << 16


@dataclass
class RoughServer:
    """files: content by path. faults: by path, for the next answers; without one an answer is right."""

    files: Mapping[str, bytes]
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # path and Range
    url: str = ""

    def asked_for(self, path: str) -> list[str]:
        """The Range of every request for a file, "" where it was asked for whole."""
        return [wanted for asked, wanted in self.requests if asked.endswith(path)]


@contextmanager
def rough_server(files: Mapping[str, bytes]) -> Iterator[RoughServer]:
    """Serve `files` at `url`, readable from every origin."""
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
            rough.requests.append((self.path, wanted))
            faults = rough.faults.get(self.path)
            fault = faults.pop(0) if faults else Fault()
            content = bytearray(rough.files.get(self.path, b""))
            if not content or fault.status != 200:
                self.send_response(404 if not content else fault.status)
                self.end_headers()
                return
            if fault.flip is not None:
                content[fault.flip] ^= 1
            start = int(wanted[len("bytes=") : -1]) if wanted and fault.knows_ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if fault.cut_at is None else fault.cut_at
            for offset in range(start, end, PIECE_BYTES):
                self.wfile.write(content[offset : min(end, offset + PIECE_BYTES)])
                sleep(fault.pause_s)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A page that closes a connection half-way is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        rough.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield rough
        server.shutdown()
        thread.join()
