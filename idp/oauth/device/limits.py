"""Rate limits of the device grant. All the numbers are here."""

from uuid import UUID

from idp.infra.networks import subjects
from idp.infra.rate_limits import Event, Rate, spend
from idp.infra.request_context import client_address
from idp.oauth.clients.models import Client
from idp.settings import MINUTE, settings

#: Device authorizations that are started. Each is a row until it expires, so this bounds how many user codes are valid.
#: Those of public clients, as anybody can send their client_id: from one host and one network.
STARTS_OF_HOST = Rate("device authorizations of a host", burst=60, interval=5)
STARTS_OF_NETWORK = Rate("device authorizations of a network", burst=600, interval=0.5)
#: Those of a client that authenticates itself.
STARTS_OF_CLIENT = Rate("device authorizations of a client", burst=1000, interval=0.1)
#: User codes that are entered, right or wrong, so that nobody finds one by trying: by one user, from one host and one
#: network. Those of other users of the network count for the last two.
ENTRIES_OF_USER = Rate("user codes of a person", burst=10, interval=MINUTE)
ENTRIES_OF_HOST = Rate("user codes of a host", burst=60, interval=2)
ENTRIES_OF_NETWORK = Rate("user codes of a network", burst=600, interval=0.2)


async def count_start(client: Client) -> None:
    """Count a device authorization that is about to be stored.

    Raises:
        TooManyRequestsError: there were too many.
    """
    if not client.public:
        await spend((STARTS_OF_CLIENT, client.client_id))
    elif settings().address_limits:
        await spend(*_of_address(STARTS_OF_HOST, STARTS_OF_NETWORK))


async def count_entry(user_id: UUID) -> None:
    """Count a user code that a user enters, before it is looked up.

    Raises:
        TooManyRequestsError: there were too many.
    """
    by_address = _of_address(ENTRIES_OF_HOST, ENTRIES_OF_NETWORK) if settings().address_limits else []
    await spend((ENTRIES_OF_USER, str(user_id)), *by_address)


def _of_address(of_host: Rate, of_network: Rate) -> list[Event]:
    host, network = subjects(client_address.get())
    return [(of_host, host), (of_network, network)]
