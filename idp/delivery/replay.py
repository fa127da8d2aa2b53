"""Sending dead and waiting deliveries again, by administrators."""

from uuid import UUID

from idp.audit.events import record
from idp.delivery import repository
from idp.errors import NotFoundError
from idp.infra.db.engine import transaction
from idp.settings import settings

#: Dead deliveries of a stream that are sent again at a time.
MAX_REPLAYED = 10_000


class NotReplayableError(NotFoundError):
    """The delivery is unknown, delivered, or its content is gone."""

    def __init__(self) -> None:
        super().__init__("There is no dead or deferred delivery with this id, or its content is gone.")


async def replay(id: UUID) -> None:
    """Send a dead or deferred delivery now, with its id, even if its receiver is paused.

    Raises:
        NotReplayableError: there is none.
    """
    async with transaction():
        if not await repository.replay(id, float(settings().delivery_retry_lifetime)):
            raise NotReplayableError
        await record("delivery_replayed", detail={"delivery_id": str(id)})


async def replay_stream(stream: str) -> int:
    """Send the dead deliveries of a receiver again, the oldest first, and return their number."""
    async with transaction():
        number = await repository.replay_stream(stream, float(settings().delivery_retry_lifetime), MAX_REPLAYED)
        if number:
            await record("delivery_replayed", detail={"stream": stream, "number": number})
    return number
