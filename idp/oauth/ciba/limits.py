"""Rate limits of backchannel authentication requests. All the numbers are here.

An unknown user is counted like a known one, so that a refusal tells nothing.
"""

from idp.infra.rate_limits import Rate, spend
from idp.settings import DAY, MINUTE, settings

#: Requests of one client: each is a row, and perhaps a mail.
OF_CLIENT = Rate("backchannel requests of a client", burst=600, interval=0.1)
#: Requests of one client to one user. Each is a mail.
OF_CLIENT_TO_USER = Rate("backchannel requests of a client to a user", burst=5, interval=20)
#: Requests of all clients to one user.
TO_USER = Rate("backchannel requests to a user", burst=10, interval=MINUTE / 6)
#: Requests that wait for one user at a time.
MAX_WAITING = 10


async def count(client_id: str, email: str) -> None:
    """Count a request, before it is stored.

    Args:
        email: of the user, known or not.

    Raises:
        TooManyRequestsError: there were too many.
    """
    daily = settings().ciba_daily_requests
    await spend(
        (OF_CLIENT, client_id),
        (OF_CLIENT_TO_USER, f"{client_id} {email}"),
        (TO_USER, email),
        (Rate("backchannel requests to a user a day", burst=daily, interval=DAY / daily), email),
    )
