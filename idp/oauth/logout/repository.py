"""The statements on the clients of sessions."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import fetch
from idp.infra.db.rows import many
from idp.signin.repository.sessions import SessionKey, columns

_CLIENTS_OF_SESSION = """
SELECT client_id FROM session_client WHERE user_id = $1 AND session_id = $2 ORDER BY created_at, client_id
"""
# $1 user_ids  $2 session_ids
_CLIENTS_TO_TELL = """
SELECT p.user_id, p.session_id, p.client_id
FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, session_id)
JOIN session_client AS p ON p.user_id = a.user_id AND p.session_id = a.session_id
JOIN client AS c ON c.client_id = p.client_id
WHERE c.metadata ->> 'backchannel_logout_uri' IS NOT NULL AND c.disabled_at IS NULL
"""
# $1 user_id  $2 session_ids
_PARTICIPANTS = """
SELECT p.session_id, p.client_id, c.metadata ->> 'client_name' AS client_name,
       c.metadata ->> 'backchannel_logout_uri' IS NOT NULL AND c.disabled_at IS NULL AS has_uri,
       c.metadata ->> 'frontchannel_logout_uri' IS NOT NULL AND c.disabled_at IS NULL AS has_frame,
       f.has_tokens, f.offline_access, f.revoked_at
FROM session_client AS p LEFT JOIN client AS c ON c.client_id = p.client_id,
LATERAL (
    SELECT count(*) > 0 AS has_tokens,
           coalesce(bool_or(offline_access AND revoked_at IS NULL AND expires_at > now()), false) AS offline_access,
           max(revoked_at) FILTER (WHERE offline_access) AS revoked_at
    FROM token_family WHERE user_id = $1 AND session_id = p.session_id AND client_id = p.client_id
) AS f
WHERE p.user_id = $1 AND p.session_id = ANY ($2) ORDER BY p.session_id, p.created_at, p.client_id
"""


class ClientOfSession(msgspec.Struct, frozen=True):
    """A client that is told of the end of a session."""

    user_id: UUID
    session_id: UUID
    client_id: str


class Participant(msgspec.Struct, frozen=True):
    """A client that took part in a session.

    Attributes:
        client_name: None: the client was deleted.
        has_uri: whether it can be told by the back channel.
        has_frame: whether the page after a sign-out can tell it.
        has_tokens: whether it got tokens.
        offline_access: whether it still gets tokens, by offline access that outlives the session.
        revoked_at: when such access was revoked.
    """

    session_id: UUID
    client_id: str
    client_name: str | None
    has_uri: bool
    has_frame: bool
    has_tokens: bool
    offline_access: bool
    revoked_at: datetime | None


async def clients_of_session(user_id: UUID, session_id: UUID) -> list[str]:
    """Return the ids of the clients that took part in a session, the first one first, also of deleted ones."""
    return [row["client_id"] for row in await fetch(_CLIENTS_OF_SESSION, user_id, session_id)]


async def clients_to_tell(sessions: Sequence[SessionKey]) -> list[ClientOfSession]:
    """Return the clients of sessions that have a ``backchannel_logout_uri``."""
    return many(ClientOfSession, await fetch(_CLIENTS_TO_TELL, *columns(sessions)))


async def participants(user_id: UUID, session_ids: Sequence[UUID]) -> list[Participant]:
    """Return the clients that took part in some sessions of a user."""
    return many(Participant, await fetch(_PARTICIPANTS, user_id, session_ids))
