"""The statements on the clients of sessions."""

from uuid import UUID

from idp.infra.db.engine import fetch

_CLIENTS_OF_SESSION = """
SELECT client_id FROM session_client WHERE user_id = $1 AND session_id = $2 ORDER BY created_at, client_id
"""


async def clients_of_session(user_id: UUID, session_id: UUID) -> list[str]:
    """Return the ids of the clients that took part in a session, the first one first, also of deleted ones."""
    return [row["client_id"] for row in await fetch(_CLIENTS_OF_SESSION, user_id, session_id)]
