"""A limit on audit events of unauthenticated requests, so that they cannot fill the audit trail.

Each worker writes at most ``IDP_AUDIT_FAILURE_LIMIT`` events of one kind a minute, and a tenth of that for one key. The
rest is counted and reported in one event. The limits of :mod:`idp.infra.rate_limits` apply before this one.
"""

from idp.infra.event_limits import EventLimit
from idp.infra.request_context import client_address, request_id
from idp.settings import settings

_limit = EventLimit()


def limit_key(known: object = None) -> str:
    """Return the key of an event: the user or client if known, else the client address if address limits are on."""
    if known is not None:
        return str(known)
    return client_address.get() if settings().address_limits else request_id.get()


def admitted(event: str, key: str) -> bool:
    """Return whether one more event of this key is written. If not, it is counted as left out."""
    return _limit.admitted(event, key, settings().audit_failure_limit)


def left_out() -> dict[str, int]:
    """Return how many events of each kind were left out since the last call."""
    return _limit.left_out()
