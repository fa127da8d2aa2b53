"""Requests that may be sent again: ``Idempotency-Key``, after draft-ietf-httpapi-idempotency-key-header.

The key is taken in the transaction of the change, so that of many equal requests one does it, and the others wait for
that one and get its answer.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus

import msgspec

from idp.admin.api.problems import Answer, ProblemError
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.keys import vault

#: Seconds for which an answer is kept.
KEPT = 86400

_TAKE = """
INSERT INTO idempotent_answer (id, request_hash, headers, created_at, expires_at)
VALUES ($1, $2, '{}', now(), now() + make_interval(secs => $3))
ON CONFLICT (id) DO UPDATE SET request_hash = excluded.request_hash, status = NULL, body = NULL,
    expires_at = excluded.expires_at WHERE idempotent_answer.expires_at <= now()
RETURNING id
"""
_KEEP = "UPDATE idempotent_answer SET status = $2, headers = $3, body = $4 WHERE id = $1"
_FIND = "SELECT request_hash, status, headers, body FROM idempotent_answer WHERE id = $1"


async def repeatable(name: str, body: bytes, perform: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do something once, however often it is asked for under one name.

    Args:
        name: of caller, operation and key.

    Raises:
        ProblemError: 422, the key was used for another request.
    """
    key, request_hash = sha256(name.encode()).digest(), sha256(body).digest()
    place = f"idempotent_answer.body:{key.hex()}"
    async with transaction():
        if await fetchrow(_TAKE, key, request_hash, KEPT) is not None:
            status, headers, content = await perform()
            sealed = vault.seal(content, place)  # it may hold a new secret
            await execute(_KEEP, key, int(status), msgspec.json.encode(headers).decode(), sealed)
            return status, headers, content
    row = await fetchrow(_FIND, key)
    if row is None or not compare_digest(bytes(row["request_hash"]), request_hash):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "key-used", "This Idempotency-Key was used for another request."
        )
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    return HTTPStatus(row["status"]), headers, vault.open(bytes(row["body"]), place)
