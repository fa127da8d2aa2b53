"""How often documents are fetched. All the numbers are here; they count for all replicas together.

Documents of clients that a user has allowed have budgets of their own, which requests with invented URLs cannot spend.
"""

from idp.infra.networks import subjects
from idp.infra.rate_limits import Event, Rate, spend
from idp.infra.request_context import client_address
from idp.oauth.clients.documents.identifiers import host_of
from idp.settings import HOUR, MINUTE, settings

#: Fetches of one document: each worker has a cache of its own.
OF_DOCUMENT = Rate("fetches of a document", burst=20, interval=15)
#: Fetches of documents of clients that users have allowed.
OF_CLIENTS = Rate("fetches of documents of clients", burst=600, interval=0.1)
#: Fetches of other documents: from one host, and in all.
FROM_HOST = Rate("fetches of new documents from a host", burst=30, interval=10)
OF_ALL = Rate("fetches of new documents", burst=120, interval=0.5)
#: Fetches of other documents that one host and one network cause.
BY_HOST = Rate("fetches of new documents by a host", burst=20, interval=10)
BY_NETWORK = Rate("fetches of new documents by a network", burst=60, interval=2)
#: New clients that one user allows. Each is a row.
CLIENTS_OF_USER = Rate("new clients by document of a user", burst=10, interval=HOUR)

#: Seconds after a failed fetch in which a document is not fetched again.
RETRY_AFTER = MINUTE


async def count_fetch(url: str, *, stored: bool) -> None:
    """Count a fetch that is about to be made.

    Args:
        stored: whether a user has allowed the client.

    Raises:
        TooManyRequestsError: there were too many.
    """
    if stored:
        await spend((OF_DOCUMENT, url), (OF_CLIENTS, ""))
        return
    events: list[Event] = [(OF_DOCUMENT, url), (FROM_HOST, host_of(url)), (OF_ALL, "")]
    if settings().address_limits:
        host, network = subjects(client_address.get())
        events += [(BY_HOST, host), (BY_NETWORK, network)]
    await spend(*events)
