"""How often clients register and change themselves. All the numbers are here; they count for all replicas together."""

from uuid import UUID

from idp.infra.networks import subjects
from idp.infra.rate_limits import Event, Rate, spend
from idp.infra.request_context import client_address
from idp.settings import HOUR, MINUTE, settings

#: Registrations without an initial access token: from one host, from one network, and in all.
BY_HOST = Rate("registrations of clients by a host", burst=10, interval=MINUTE)
BY_NETWORK = Rate("registrations of clients by a network", burst=60, interval=10)
#: With the default settings, clients that nobody uses expire before there are as many as there may be.
OF_ALL = Rate("registrations of clients", burst=300, interval=10)
#: Changes of one client by itself. Every worker loads each.
CHANGES = Rate("changes of a client by itself", burst=20, interval=30)
#: Clients without an initial access token that one user is the first to use. They stay from then on.
FIRST_USES = Rate("first uses of clients by a user", burst=20, interval=HOUR)


async def count_registration() -> None:
    """Count a registration without an initial access token.

    Raises:
        TooManyRequestsError: there were too many.
    """
    events: list[Event] = [(OF_ALL, "")]
    if settings().address_limits:
        host, network = subjects(client_address.get())
        events += [(BY_HOST, host), (BY_NETWORK, network)]
    await spend(*events)


async def count_change(client_id: str) -> None:
    """Count a change of a client by itself.

    Raises:
        TooManyRequestsError: there were too many.
    """
    await spend((CHANGES, client_id))


async def count_first_use(user_id: UUID) -> None:
    """Count a client that nobody has used before.

    Raises:
        TooManyRequestsError: there were too many.
    """
    await spend((FIRST_USES, str(user_id)))
