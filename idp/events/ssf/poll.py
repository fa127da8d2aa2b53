"""Poll-based delivery of security event tokens (RFC 8936)."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from idp.delivery import repository as deliveries
from idp.delivery.handlers import POLLED, DeliveryRejectedError, DueDelivery
from idp.delivery.repository import StoredDelivery
from idp.delivery.stream import content_context
from idp.errors import InvalidRequestError
from idp.events.models import Stream
from idp.events.ssf import tokens
from idp.ids import uuid_or_none
from idp.keys import vault
from idp.settings import settings

#: Tokens in a response, at most and by default.
MAX_EVENTS: Final = 100
#: How long a poll waits for a token, and how often it looks.
WAIT_SECONDS, LOOK_SECONDS = 20.0, 1.0
#: Maximum number of polls that wait in one process, in all and of one client.
MAX_WAITING, MAX_WAITING_OF_CLIENT = 50, 5
#: Acknowledgements in a request.
MAX_ACKNOWLEDGED: Final = 1000
MAX_ERROR_LENGTH: Final = 300

#: The polls that wait, by client.
_waiting: Counter[str] = Counter()


class Asked(msgspec.Struct, frozen=True):
    """A request (section 2.2)."""

    maxEvents: int = MAX_EVENTS  # noqa: N815
    returnImmediately: bool = False  # noqa: N815
    ack: list[str] = []
    setErrs: dict[str, dict[str, Any]] = {}  # noqa: N815


def read(body: Mapping[str, Any]) -> Asked:
    """Read a request.

    Raises:
        InvalidRequestError: a member has a wrong type, or there are too many acknowledgements.
    """
    try:
        asked = msgspec.convert(dict(body), Asked)
    except msgspec.ValidationError as error:
        raise InvalidRequestError("A member of the poll request has a wrong type.") from error
    if asked.maxEvents < 0 or len(asked.ack) + len(asked.setErrs) > MAX_ACKNOWLEDGED:
        raise InvalidRequestError(
            f"maxEvents must not be negative, and at most {MAX_ACKNOWLEDGED} tokens acknowledged."
        )
    return asked


async def poll(stream: Stream, asked: Asked) -> dict[str, Any]:
    """Record what was acknowledged and refused, and return the next tokens, waiting for one if there are none.

    Only tokens of this stream are acknowledged; other ids have no effect.
    """
    kept = float(settings().delivery_kept)
    errors = {jti: _text(error) for jti, error in asked.setErrs.items()}
    results = [
        (known, text) for jti, text in (dict.fromkeys(asked.ack, "") | errors).items() if (known := uuid_or_none(jti))
    ]
    if results:
        await deliveries.acknowledge(stream.stream, results, kept)
    if asked.maxEvents == 0:
        return {"sets": {}}
    limit = min(asked.maxEvents, MAX_EVENTS)
    found = await _waiting_tokens(stream, limit, wait=not asked.returnImmediately)
    sets = {}
    for delivery in found[:limit]:
        with suppress(DeliveryRejectedError):
            sets[str(delivery.id)] = await _token(delivery, stream)
    # What can never be delivered would be found again.
    gone = [(delivery.id, "It can never be delivered.") for delivery in found[:limit] if str(delivery.id) not in sets]
    if gone:
        await deliveries.acknowledge(stream.stream, gone, kept)
    return {"sets": sets} | ({"moreAvailable": True} if len(found) > limit else {})


async def _waiting_tokens(stream: Stream, limit: int, *, wait: bool) -> list[StoredDelivery]:
    found = await deliveries.due(stream.stream, [POLLED], limit + 1)
    if found or not wait or _waiting[stream.client_id] >= MAX_WAITING_OF_CLIENT or _waiting.total() >= MAX_WAITING:
        return found
    _waiting[stream.client_id] += 1
    try:
        for _ in range(int(WAIT_SECONDS / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            if found := await deliveries.due(stream.stream, [POLLED], limit + 1):
                break
    finally:
        _waiting.subtract([stream.client_id])
        if not _waiting[stream.client_id]:
            del _waiting[stream.client_id]
    return found


async def _token(stored: StoredDelivery, stream: Stream) -> str:
    if stored.content is None:
        raise DeliveryRejectedError("Its content is missing.")
    content = msgspec.json.decode(vault.decrypt(stored.content, content_context(stored.id)))
    delivery = DueDelivery(
        stored.id, stored.kind, stored.stream, content, stored.user_id, stored.session_id, stored.attempts + 1
    )
    return await tokens.token(delivery, stream)


def _text(error: Mapping[str, Any]) -> str:
    text = f"{error.get('err', '')} {error.get('description', '')}".strip() or "refused"
    return "".join(character for character in text if character.isprintable())[:MAX_ERROR_LENGTH]
