"""The HTTP listener of metrics. Scrapes are answered in threads, from text that is at most a second old, so that no
number of them holds up requests.
"""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from idp.infra.metrics import processes

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATH = "/metrics"
#: Seconds for which the text of one scrape answers the next ones too.
CACHED_SECONDS = 1.0
#: Seconds after which a connection that sends nothing is closed.
IDLE_SECONDS = 10


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes are frequent, and the messages quote what the client sent."""


class _Metrics:
    """The WSGI application."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, str(processes.folder()))  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        #: The text of each format, and the time at which it was made.
        self._texts: dict[str, tuple[float, bytes]] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        content_type, text = self._text("openmetrics" in environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(text)))])
        return [text] if environ["REQUEST_METHOD"] == "GET" else []

    def _text(self, openmetrics: bool) -> tuple[str, bytes]:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder("application/openmetrics-text" if openmetrics else "")
        # One thread reads the files, and the others wait for what it has read.
        with self._lock:
            made, text = self._texts.get(content_type, (0.0, b""))
            if not text or time.monotonic() - made > CACHED_SECONDS:
                text = encode(self._registry)
                self._texts[content_type] = time.monotonic(), text
        return content_type, text


@asynccontextmanager
async def listening(address: tuple[str, int]) -> AsyncIterator[int]:
    """Serve the metrics for the duration of a block. Yields the port.

    Raises:
        OSError: the address cannot be used.
    """
    kind = _Server6 if ":" in address[0] else _Server
    # In a thread, because it looks up the name of the host.
    server = await asyncio.to_thread(lambda: make_server(*address, _Metrics(), kind, _Handler))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        # A task of its own, so that a second cancellation does not leave the listener open.
        await asyncio.shield(asyncio.to_thread(server.shutdown))
        server.server_close()
