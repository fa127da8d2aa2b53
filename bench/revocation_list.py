"""`python -m bench.revocation_list`: the time from a revocation to its refusal by a resource server with the list.

The resource server keeps the list for as long as the list says, and looks at every token all the time. The second part
is the size of the list, and the time to make it.
"""

import asyncio
import random
import statistics
import time
from base64 import urlsafe_b64decode

import httpx
import jwt

from bench import product
from bench.figures import Bench

MAX_AGES = (1, 5)
#: Revocations, at random moments within so many seconds.
REVOCATIONS, WITHIN_SECONDS = 200, 30
#: Sign-outs within the lifetime of an access token.
SIZES = (1_000, 10_000, 100_000)
POLL_SECONDS = 0.02


class ResourceServer:
    """A resource server that keeps the list of a server."""

    def __init__(self, http: httpx.AsyncClient, url: str, max_age: int) -> None:
        self._http, self._url, self._max_age = http, url, max_age
        self._fetched_at = float("-inf")
        self._digests = set[bytes]()
        self._fetching = asyncio.Lock()

    async def refuses(self, digest: bytes) -> bool:
        async with self._fetching:
            if time.monotonic() - self._fetched_at >= self._max_age:
                self._fetched_at = time.monotonic()
                response = await self._http.get(f"{self._url}/.well-known/revoked-access-tokens")
                claims = jwt.decode(response.raise_for_status().text, options={"verify_signature": False})
                listed = urlsafe_b64decode(claims["revoked"] + "==")
                self._digests = {listed[at : at + 8] for at in range(0, len(listed), 8)}
        return digest in self._digests


async def _refused_after(http: httpx.AsyncClient, bench: Bench, url: str, api: ResourceServer) -> float:
    """Return the seconds from the response to a revocation until the resource server refuses the token."""
    from idp.oauth.status.revocation_list import digest

    headers = bench.sample.authorization
    await asyncio.sleep(random.uniform(0, WITHIN_SECONDS))
    form = {"grant_type": "client_credentials", "resource": "https://rs256.example"}
    token = (await http.post(f"{url}/token", data=form, headers=headers)).raise_for_status().json()["access_token"]
    name = digest(jwt.decode(token, options={"verify_signature": False})["jti"])
    assert not await api.refuses(name)
    (await http.post(f"{url}/revoke", data={"token": token}, headers=headers)).raise_for_status()
    revoked_at = time.monotonic()
    while not await api.refuses(name):
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - revoked_at


async def _sizes(bench: Bench) -> None:
    from bench import sample
    from idp.infra.db.engine import execute
    from idp.oauth.status.revocation_list import RevocationList

    users = [user for user, _ in await sample.people(max(SIZES))]
    await sample.refresh_tokens(bench.sample, users)
    await execute("ANALYZE")
    print("| sign-outs | size (kB) | made in (ms) |\n| ---: | ---: | ---: |")
    for size in SIZES:
        await execute("UPDATE session SET ended_at = now() WHERE user_id = ANY($1)", users[:size])
        started = time.perf_counter()
        made = await RevocationList().current()
        print(f"| {size:,} | {len(made) / 1e3:,.0f} | {(time.perf_counter() - started) * 1e3:,.0f} |")


async def _measure(port: int) -> None:
    from bench.setting import prepared

    async with prepared(port, 1, 1) as bench:
        print(
            "| kept for (s) | revocations | median (s) | p99 (s) | longest (s) |\n| ---: | ---: | ---: | ---: | ---: |"
        )
        for max_age in MAX_AGES:
            with product.running(
                bench.folder, bench.dsn, port=bench.product.other_port, IDP_REVOCATION_LIST_MAX_AGE=str(max_age)
            ) as running:
                async with httpx.AsyncClient(timeout=30) as http:
                    api = ResourceServer(http, running.url, max_age)
                    took = await asyncio.gather(
                        *(_refused_after(http, bench, running.url, api) for _ in range(REVOCATIONS))
                    )
            p99 = statistics.quantiles(took, n=100)[98]
            print(f"| {max_age} | {statistics.median(took):.2f} | {p99:.2f} | {max(took):.2f} |")
        await _sizes(bench)


def main() -> None:
    product.run(_measure)


if __name__ == "__main__":
    main()
