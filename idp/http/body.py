"""The body of a request: read whole, in bounded size and time, before anything is decided about the request.

A client chooses when the last byte of its body arrives. Whatever a handler looked up before that, such as a session or
a role, may have ended since. So a guard of the application reads the body first (:func:`read_body`), and the short way
does too (:mod:`idp.http.fast_path`); no handler can do it in another order.
"""

import asyncio
import contextlib
from http import HTTPStatus
from typing import Any, Final, cast

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import Receive, Scope

from idp.settings import settings

#: The longest body, in bytes.
MAX_BODY_BYTES: Final = 64 * 1024
#: How much of a body that nobody wants is read, in bytes and seconds, so that a client that still sends sees the answer
#: before the connection ends.
MAX_UNWANTED, WAIT_FOR_UNWANTED = 256 * 1024, 2
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")
_KEY: Final = "idp.body"


class Body:
    """The body of a request, as the server gives it.

    Attributes:
        unread: whether something of it is left.
    """

    __slots__ = ("_given", "_receive", "_whole", "unread")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._whole: bytes | None = None
        self._given = False
        self.unread = scope.get("method") not in _WITHOUT_BODY
        cast(dict[str, Any], scope)[_KEY] = self

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            HTTPException: 413, it is longer than :data:`MAX_BODY_BYTES`; 408, it did not arrive in time; 400, the
                client left, or sent malformed chunks.
        """
        if self._whole is None:
            self._whole = await self._read()
        return self._whole

    async def _read(self) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(settings().body_timeout):
                while self.unread:
                    message = await self._next()
                    if message["type"] != "http.request":
                        raise HTTPException(status_code=HTTPStatus.BAD_REQUEST)
                    body += message.get("body", b"")
                    if len(body) > MAX_BODY_BYTES:
                        raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except TimeoutError:
            self.unread = False
            raise HTTPException(status_code=HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
        return bytes(body)

    async def _next(self) -> Any:
        message = await self._receive()
        self.unread = bool(message.get("more_body"))
        return message

    async def receive(self) -> Any:
        """What ASGI calls ``receive``: a body that was read comes again, in one piece."""
        if self._whole is not None and not self._given:
            self._given = True
            return {"type": "http.request", "body": self._whole, "more_body": False}
        return await self._next()

    async def read_out(self) -> None:
        """Read what is left, if something is, for nobody."""
        if not self.unread:
            return
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_FOR_UNWANTED):
                while self.unread and size < MAX_UNWANTED:
                    size += len((await self._next()).get("body", b""))


def body_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Body:
    """The body of a request."""
    found: Body | None = cast(dict[str, Any], connection.scope).get(_KEY)
    return found if found is not None else Body(connection.scope, connection.receive)


async def read_body(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: read the body before anything else is known of the request.

    Raises:
        HTTPException: as of :meth:`Body.read`.
    """
    await body_of(connection).read()
