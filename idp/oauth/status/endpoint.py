"""Serves the revocation list."""

from functools import lru_cache
from typing import Any

from litestar import Request, get

from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.headers import Pairs, encode
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse
from idp.oauth.status.revocation_list import revocation_list
from idp.settings import settings

PATH = "/.well-known/revoked-access-tokens"


@lru_cache(maxsize=1)
def _headers(max_age: int) -> Pairs:
    return encode({"Content-Type": "application/jwt", "Cache-Control": f"public, max-age={max_age}"})


@get(PATH, opt={"access": Access.PUBLIC, "cors": Cors.DOCUMENT, "quiet": ON_SUCCESS})
async def revoked_access_tokens(request: Request[Any, Any, Any]) -> BytesResponse:
    """Return the access tokens that are refused although they have not expired."""
    return BytesResponse(await revocation_list.current(), _headers(settings().revocation_list_max_age))


ROUTES = [revoked_access_tokens]
