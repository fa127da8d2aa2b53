"""The one HTTP client with which the server calls others."""

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache

import httpx

TIMEOUT_SECONDS = 10.0

#: What a call raises that got no answer, or one of failure.
CallFailed = httpx.HTTPError


def transport() -> httpx.AsyncHTTPTransport:
    """The transport for libraries that bring an httpx client of their own."""
    return httpx.AsyncHTTPTransport(verify=_tls(), retries=0, trust_env=False)


def client() -> httpx.AsyncClient:
    """A client that follows no redirects and takes nothing from proxy variables."""
    return httpx.AsyncClient(transport=transport(), timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)


async def get(
    url: str, headers: Mapping[str, str], *, timeout_seconds: float = TIMEOUT_SECONDS, max_bytes: int
) -> bytes:
    """The body of an answer.

    Args:
        timeout_seconds: for the whole call, from looking up the name to the last byte.
        max_bytes: the longest body that is read.

    Raises:
        CallFailed: no answer in time, one of failure, or too long a one.
    """
    # Without compression, so that a short answer cannot become a long one.
    headers = {**headers, "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client() as http,
            http.stream("GET", url, headers=headers) as response,
        ):
            response.raise_for_status()
            return await _read(response, max_bytes)
    except TimeoutError as error:
        raise httpx.ReadTimeout("There was no answer in time.") from error
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is no URL.") from error


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise httpx.RemoteProtocolError("The answer is too long.")
    return bytes(body)


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates of the authorities takes long: once is enough."""
    return httpx.create_ssl_context(trust_env=False)
