"""Idempotent requests: ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header).

The key is inserted in the transaction of the change. Of concurrent equal requests one makes the change; the others
wait for it and get the same response.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus

import msgspec

from idp.admin import repository
from idp.admin.api.problems import Answer, ProblemError
from idp.infra.db.engine import transaction
from idp.keys import vault

#: Seconds for which a response is kept.
KEPT = 86400


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
        if await repository.claim_key(key, request_hash, KEPT):
            status, headers, content = await perform()
            sealed = vault.encrypt(content, place)  # It may contain a new secret.
            await repository.store_response(key, int(status), msgspec.json.encode(headers).decode(), sealed)
            return status, headers, content
    stored = await repository.find_response(key)
    if stored is None or not compare_digest(stored.request_hash, request_hash):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "key-used", "This Idempotency-Key was used for another request."
        )
    headers = msgspec.json.decode(stored.headers, type=dict[str, str])
    return HTTPStatus(stored.status), headers, vault.decrypt(stored.body, place)
