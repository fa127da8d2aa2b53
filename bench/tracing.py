"""`python -m bench.tracing`: what traces cost: requests per second, and the CPU time of the workers for each of them.

The same load in turn on servers without traces, and with each rate of sampling. A collector on the same machine takes
the spans and throws them away. The threads that send them are part of the CPU time.
"""

import argparse
import os
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench import product

#: What is measured: without traces, and by the share of traces that are recorded.
RATES = ("off", "0", "0.01", "1.0")


class _Discard(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


@contextmanager
def _collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Discard)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def _settings(rate: str, collector: str) -> dict[str, str]:
    if rate == "off":
        return {}
    return {
        "IDP_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": rate,
    }


def _cpu(pids: list[int]) -> float:
    """Return the CPU seconds of processes."""
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tracing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="duration of one load")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, of which the median counts")
    return parser.parse_args()


async def _measure(port: int, seconds: float, rounds: int) -> None:
    from bench import sample
    from bench.load import Request, load
    from bench.setting import prepared

    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    async with prepared(port, seconds, rounds) as bench:
        users = [user for user, _ in await sample.people(bench.enough)]
        with _collector() as collector:
            for _ in range(rounds):
                for rate in RATES:
                    settings = _settings(rate, collector) | {"IDP_ISSUER": bench.product.issuer}
                    with product.running(bench.folder, bench.dsn, port=product.free_port(), **settings) as server:
                        loads: dict[str, tuple[list[Request], bool]] = {
                            "client_credentials": ([bench.sample.token_request(
                                grant_type="client_credentials", resource="https://rs256.example")], False),
                            "refresh_token": (await sample.refresh_tokens(bench.sample, users), True),
                        }  # fmt: skip
                        for name, (requests, once) in loads.items():
                            before = _cpu(server.workers)
                            result = load(server.url, requests, seconds=seconds, once=once)
                            spent = (_cpu(server.workers) - before) / result.requests * 1e6
                            found[name, rate].append((result.rate, spent))
    print("| load | traces recorded | requests/s | CPU time of a request, µs |\n| --- | --- | ---: | ---: |")
    for (name, rate), values in sorted(found.items(), key=lambda item: (item[0][0], RATES.index(item[0][1]))):
        per_second, micros = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {name} | {rate} | {per_second:,.0f} | {micros:,.0f} |")


def main() -> None:
    arguments = _arguments()
    product.run(lambda port: _measure(port, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
