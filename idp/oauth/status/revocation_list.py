"""The revocation list: which access tokens are refused although they have not expired, as a signed JWT.

A resource server that validates access tokens offline reads it every few seconds (docs/revocation-list.md). It contains
only what happened within the lifetime of an access token, so its size depends on the revocations of some minutes, not
on the number of tokens. docs/decisions/0070-revocation-list.md says why it is not a Token Status List.
"""

import asyncio
import math
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from uuid import UUID

from idp import clock
from idp.infra.db import outages
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.oauth.clients.repository import not_before_of_all
from idp.oauth.status import repository
from idp.settings import settings

TYPE = "revoked-access-tokens+jwt"
#: Length of a digest in bytes.
DIGEST_LENGTH = 8
#: Seconds for which a list is served before it is made again.
FRESH_SECONDS = 0.5
#: Seconds by which the clock of a resource server may be behind.
LEEWAY = 60


def digest(id: str) -> bytes:
    """Return how the list names a ``jti``, the first part of one, or a ``client_id``."""
    return sha256(id.encode()).digest()[:DIGEST_LENGTH]


def text(value: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


class RevocationList:
    """The list of this process, made when it is asked for, at most twice a second."""

    def __init__(self) -> None:
        self._jwt = b""
        self._made_at = -math.inf
        self._valid_until = 0
        self._making: asyncio.Task[None] | None = None

    async def current(self) -> bytes:
        """Return the list as a JWT. If the database cannot be reached, the last one is returned until it expires.

        Raises:
            DatabaseUnavailableError: the database cannot be reached, and there is no list that has not expired.
        """
        if time.monotonic() - self._made_at >= FRESH_SECONDS:
            if self._making is None:
                # A separate task, so that cancelling the first caller does not cancel the others. All get its error.
                self._making = asyncio.create_task(self._make())
                self._making.add_done_callback(self._made)
            await asyncio.shield(self._making)
        return self._jwt

    def _made(self, making: asyncio.Task[None]) -> None:
        self._making = None
        # If every caller was cancelled, nobody else reads the error.
        if not making.cancelled():
            making.exception()

    async def _make(self) -> None:
        begun_at, now = time.monotonic(), clock.timestamp()
        try:
            claims = await _claims(now)
        except outages.ERRORS:
            if now >= self._valid_until:
                raise
            return
        self._jwt = key_set.sign(DEFAULT_ALGORITHM, TYPE, claims).encode("ascii")
        self._made_at, self._valid_until = begun_at, now + settings().access_token_lifetime


async def _claims(now: int) -> dict[str, object]:
    lifetime = settings().access_token_lifetime + LEEWAY
    not_before = await not_before_of_all()
    clients = await repository.clients_with_not_before(lifetime)
    # ``iat`` is in whole seconds: all tokens of the second of not-before are refused.
    return {
        "iss": settings().issuer,
        "iat": now,
        "exp": now + settings().access_token_lifetime,
        "ttl": settings().revocation_list_max_age,
        "not_before": math.ceil(not_before.timestamp()) if not_before else 0,
        "not_before_of_clients": {
            text(digest(client.client_id)): math.ceil(client.not_before.timestamp()) for client in clients
        },
        "revoked": text(await repository.revoked(lifetime, not_before)),
    }


async def bury_client(client_id: str) -> None:
    """Keep a client that is deleted in the list, in the transaction of the deletion."""
    await repository.bury_client(client_id, settings().access_token_lifetime + LEEWAY)


async def bury_user(user_id: UUID) -> None:
    """Keep the tokens of a user who is deleted in the list, in the transaction of the deletion."""
    await repository.bury_families_of_user(user_id, settings().access_token_lifetime + LEEWAY)


revocation_list = RevocationList()
