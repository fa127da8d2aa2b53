"""The one HTTP client with which the server calls others."""

import httpx

TIMEOUT_SECONDS = 10.0

#: What a call raises that got no answer, or one of failure.
CallFailed = httpx.HTTPError


def transport() -> httpx.AsyncHTTPTransport:
    """The transport for libraries that bring an httpx client of their own."""
    return httpx.AsyncHTTPTransport(retries=0, trust_env=False)


def client() -> httpx.AsyncClient:
    """A client that follows no redirects and takes nothing from proxy variables."""
    return httpx.AsyncClient(transport=transport(), timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)
