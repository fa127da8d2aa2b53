"""Announces ended sessions: records ``session_ended``, and queues a logout token for each client that took part and has
a ``backchannel_logout_uri``.

Whatever ends a session sets its ``ended_at``, and nothing else. A session that has ended and was not announced is found
by an index, by every server process: at once in the process that ended it, by polling in the others. Marking it,
recording it and queueing the deliveries is one transaction, so none is forgotten and none is announced twice, whichever
process is killed (docs/decisions/0064-ended-sessions-announce-themselves.md).

The event becomes webhooks and security events (:mod:`idp.events`). A sign-out of all sessions of a user is one event,
without a session (docs/decisions/0071-one-event-for-the-end-of-a-session.md).

A session that runs out (``session_lifetime``, ``session_idle_lifetime``) has no ``ended_at``, and is not announced.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from idp.audit.events import About, record, record_many
from idp.delivery import outbox
from idp.delivery.outbox import Queued
from idp.infra.db.engine import transaction
from idp.infra.logs import exception_fields
from idp.oauth.logout import repository
from idp.oauth.logout.backchannel import KIND, stream
from idp.signin.repository import sessions
from idp.signin.repository.sessions import ClaimedSession

log = structlog.get_logger()

#: The audit event of the end of a session, or of all sessions of a user.
EVENT = "session_ended"
#: Interval of polling, in seconds.
POLL_SECONDS = 1.0
#: Sessions of one transaction.
BATCH = 500


async def run() -> None:
    """Announce ended sessions until cancelled."""
    while True:
        try:
            while await announce() == BATCH:
                pass
        except Exception as error:
            # An unexpected error must not stop the announcements of this process.
            log.warning("announcement_failed", **exception_fields(error))
            await asyncio.sleep(POLL_SECONDS)
        await _pause()


async def _pause() -> None:
    """Wait until this process ends a session, or for the polling interval."""
    with suppress(TimeoutError):
        async with asyncio.timeout(POLL_SECONDS):
            await sessions.ended.wait()
            sessions.ended.clear()
            # The transaction that ended the session is not committed yet.
            await asyncio.sleep(0.02)


async def announce(limit: int = BATCH) -> int:
    """Announce sessions that have ended, the first ones first. Returns their number."""
    async with transaction():
        claimed = await sessions.claim_ended(limit)
        await record_many(EVENT, [_event(session) for session in claimed])
        await _queue(claimed)
    return len(claimed)


def _event(session: ClaimedSession) -> tuple[str, About]:
    return session.by, {
        "user_id": session.user_id,
        "session_id": session.id,
        "detail": {"reason": session.reason},
    }


async def announce_user(user_id: UUID, reason: str) -> None:
    """Announce the end of all sessions of a user, in the transaction that ends them: by one event, also if none was
    live, because applications may have sessions of their own that are older than ours.
    """
    ended = await sessions.claim_ended_of_user(user_id)
    await record(EVENT, user_id=user_id, detail={"reason": reason, "sessions": len(ended)})
    await _queue(ended)


async def _queue(ended: Sequence[ClaimedSession]) -> None:
    told = await repository.clients_to_tell(ended) if ended else []
    await outbox.queue_many(
        [
            Queued(
                kind=KIND,
                stream=stream(each.client_id),
                content={"client_id": each.client_id},
                user_id=each.user_id,
                session_id=each.session_id,
            )
            for each in told
        ]
    )
