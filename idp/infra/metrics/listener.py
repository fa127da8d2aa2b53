"""The process that serves the metrics of a server (:mod:`idp.infra.metrics.exporter` starts it, as a file).

A process of its own, so that neither reading the files of the workers nor any number of scrapes holds up a request. It
has no settings, secrets or connections, and imports nothing of idp. It ends when its standard input does, which is when
the worker that started it ends for whatever reason.

Arguments: host and port. It exits with the error number if it cannot listen there.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATH = "/metrics"
#: Seconds for which the text of one scrape answers the next ones too.
CACHED_SECONDS = 1.0
#: Seconds after which a connection that sends nothing is closed.
IDLE_SECONDS = 10
#: Maximum of open connections. Others wait until one is closed.
MAX_CONNECTIONS = 64
#: How much the workers go before it, when the cores are busy.
NICENESS = 5


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS
    _free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: the client has closed the connection."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes are frequent, and the messages quote what the client sent."""


class _Metrics:
    """The WSGI application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
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
        encode, content_type = choose_encoder("application/openmetrics-text" if openmetrics else "")
        # One thread reads the files, and the others wait for what it has read.
        with self._lock:
            made, text = self._texts.get(content_type, (0.0, b""))
            if not text or time.monotonic() - made > CACHED_SECONDS:
                text = encode(self._registry)
                self._texts[content_type] = time.monotonic(), text
        return content_type, text


def main(host: str, port: int) -> None:
    """Serve until the standard input ends.

    Raises:
        SystemExit: the address cannot be used.
    """
    # Ctrl-C reaches every process of the terminal, and the worker decides. A worker that starts blocks SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.nice(NICENESS)
    try:
        server = make_server(host, port, _Metrics(), _Server6 if ":" in host else _Server, _Handler)
    except OSError as error:
        sys.exit(error.errno if error.errno is not None and 0 < error.errno < 128 else 1)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
