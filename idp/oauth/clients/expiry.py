"""Deletes clients that registered themselves and were not used in time.

Unlike other rows that expire, every worker has them in memory: each round is a change of the clients.
"""

from idp.audit.events import record
from idp.directory.repository import deletions
from idp.oauth.clients import repository
from idp.oauth.clients.registration import change

#: Maximum number of clients of one round, in one transaction. Other changes of clients wait for it. Each deletion reads
#: the authorization codes of a day, which have no index by client.
ROUND = 10


async def delete_expired_clients() -> bool:
    """Delete expired clients, except disabled ones, which stay denied, and clients by document with an access policy or
    a token hook of their own, which stay under them. Returns whether there may be more.
    """
    if not await repository.expired_client_ids(ROUND):
        return False
    async with change():
        deleted = await repository.expired_client_ids(ROUND)
        for client_id in deleted:
            await deletions.note_roles_of_client(client_id)
            await repository.delete_client(client_id)
            await record("client_expired", client_id=client_id)
    return len(deleted) == ROUND
