"""``python -m bench.hops``: the number of calls, functions and files that one request runs.

The numbers are the same on every machine. They show how much code a reader has to follow, not its speed.
"""

import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import httpx

from bench import product, sample
from bench.load import Request

#: Requests of each kind. The first ones warm up caches, and the smallest count includes no background task.
ROUNDS = 8


class _Calls:
    """Counts the calls of the product's functions."""

    def __init__(self) -> None:
        import idp

        self._root = f"{Path(idp.__file__).parent}/"
        self.functions: Counter[tuple[str, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        # A generator or coroutine that resumes is a call too, with the position where it stopped.
        if event == "call" and frame.f_lasti <= 0 and frame.f_code.co_filename.startswith(self._root):
            self.functions[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Return the numbers of calls, functions and files."""
        return self.functions.total(), len(self.functions), len({file for file, _ in self.functions})


async def _count(client: httpx.AsyncClient, requests: Sequence[Request]) -> tuple[int, int, int]:
    found = []
    for request in requests:
        calls = _Calls()
        sys.setprofile(calls)
        try:
            response = await client.request(request.method, request.path, headers=request.headers, content=request.body)
        finally:
            sys.setprofile(None)
        assert response.status_code in (200, 303), response.text
        found.append(calls.numbers)
    return min(found)


async def _measure() -> None:
    from bench.setting import _set_up
    from idp.app import create_app, lifespan
    from idp.infra.db import engine
    from idp.infra.db.embedded import EmbeddedPostgres
    from idp.infra.logs import configure_logs
    from idp.settings import settings

    with tempfile.TemporaryDirectory(prefix="idp-bench-") as name, EmbeddedPostgres.start(Path(name)) as postgres:
        os.environ["IDP_DATABASE_URL"] = postgres.dsn
        settings.cache_clear()
        engine.configure(postgres.dsn)
        configure_logs(settings())
        async with engine.connected(2):
            people = await _set_up()
            users = await sample.people(2 * ROUNDS)
            ids = [user for user, _ in users[:ROUNDS]]
            requests = {
                "POST /token, refresh_token": await sample.refresh_tokens(people, ids),
                "POST /token, authorization_code": await sample.codes(people, ids),
                "POST /token, client_credentials": [people.token_request(grant_type="client_credentials")] * ROUNDS,
                "POST /login/{id}/password": await sample.sign_ins(settings().issuer, [e for _, e in users[ROUNDS:]]),
                "GET /.well-known/jwks.json": [Request("GET", "/.well-known/jwks.json")] * ROUNDS,
            }
        transport = httpx.ASGITransport(cast(Any, create_app()))
        async with lifespan(), httpx.AsyncClient(transport=transport, base_url=settings().issuer) as client:
            print(f"{'request':34}{'calls':>8}{'functions':>12}{'files':>8}")
            for name, asked in requests.items():
                calls, functions, files = await _count(client, asked)
                print(f"{name:34}{calls:8}{functions:12}{files:8}")


def main() -> None:
    product.set_up_environment(product.free_port())
    os.environ["IDP_LOG_LEVEL"] = "error"
    asyncio.run(_measure())


if __name__ == "__main__":
    main()
