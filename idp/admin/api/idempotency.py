"""Idempotent requests: ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header).

The key is inserted in the transaction of the change. Of concurrent equal requests one makes the change; the others
wait for it and get the same response.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus

import msgspec

from idp.admin.api.problems import Answer, ProblemError
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.keys import vault

#: Seconds for which a response is kept.
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
    """Run an operation once per name and return the stored response for repetitions.

    Args:
        name: identifies caller, operation and key.

    Raises:
        ProblemError: 422, the key was used with another request.
    """
    key, request_hash = sha256(name.encode()).digest(), sha256(body).digest()
    place = f"idempotent_answer.body:{key.hex()}"
    async with transaction():
        if await fetchrow(_TAKE, key, request_hash, KEPT) is not None:
            status, headers, content = await perform()
            sealed = vault.seal(content, place)  # It may contain a new secret.
            await execute(_KEEP, key, int(status), msgspec.json.encode(headers).decode(), sealed)
            return status, headers, content
    row = await fetchrow(_FIND, key)
    if row is None or not compare_digest(bytes(row["request_hash"]), request_hash):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "key-used", "This Idempotency-Key was used for another request."
        )
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    return HTTPStatus(row["status"]), headers, vault.open(bytes(row["body"]), place)
