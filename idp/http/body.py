"""The body of a request: read completely, with limits of size and time, before the handler is called.

A client chooses when the last byte of its body arrives, and a session or a role that a handler looked up before may
have ended since. Therefore the router reads the body first (:func:`idp.http.access.admit`), for every route.
"""

import asyncio
import contextlib
from http import HTTPStatus
from typing import Any, Final, cast

from litestar import Request
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope

from idp.settings import settings

#: Maximum size of a body, in bytes, of a route that declares no :class:`idp.http.access.LargeBody`.
MAX_BODY_BYTES: Final = 64 * 1024
#: How much of the rest of a refused request's body is read, in bytes and seconds. A client that is still sending when
#: the connection closes may lose the response.
MAX_UNWANTED, WAIT_FOR_UNWANTED = 256 * 1024, 2
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")
_KEY: Final = "idp.body"


class Body:
    """The body of a request.

    Attributes:
        unread: whether a part of it has not been read.
    """

    __slots__ = ("_receive", "_whole", "unread")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._whole: bytes | None = None
        self.unread = scope.get("method") not in _WITHOUT_BODY
        cast(dict[str, Any], scope)[_KEY] = self

    async def read(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """Return the whole body.

        Args:
            limit: its maximum size in bytes. Applies to the first call.

        Raises:
            HTTPException: 413, it is longer than the limit; 408, it did not arrive in time; 400, the
                client left, or sent malformed chunks.
        """
        if self._whole is None:
            self._whole = await self._read(limit) if self.unread else b""
        return self._whole

    async def _read(self, limit: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(settings().body_timeout):
                while self.unread:
                    message = await self._next()
                    if message["type"] != "http.request":
                        raise HTTPException(status_code=HTTPStatus.BAD_REQUEST)
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except TimeoutError:
            self.unread = False
            raise HTTPException(status_code=HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
        return bytes(body)

    async def _next(self) -> Any:
        message = await self._receive()
        self.unread = bool(message.get("more_body"))
        return message

    async def read_out(self) -> None:
        """Read and discard the rest, up to :data:`MAX_UNWANTED`."""
        if not self.unread:
            return
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_FOR_UNWANTED):
                while self.unread and size < MAX_UNWANTED:
                    size += len((await self._next()).get("body", b""))


def body_of(request: Request[Any, Any, Any]) -> Body:
    """Return the body of a request."""
    found: Body | None = cast(dict[str, Any], request.scope).get(_KEY)
    return found if found is not None else Body(request.scope, request.receive)
