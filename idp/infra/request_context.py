"""What belongs to the request being answered, for logs, audit events and error pages."""

from contextvars import ContextVar
from typing import NamedTuple


class Refusal(NamedTuple):
    """Why a request was refused, for the log.

    Attributes:
        error: the protocol's error code.
        reason: one plain sentence without input.
        client_id: the client, where it is known to be one of ours.
    """

    error: str
    reason: str
    client_id: str | None = None


request_id: ContextVar[str] = ContextVar("request_id", default="")
#: Whether only the headers of the answer are sent (HEAD): whoever asked has not seen what it says.
head: ContextVar[bool] = ContextVar("head", default=False)
refusal: ContextVar[Refusal | None] = ContextVar("refusal", default=None)
client_address: ContextVar[str] = ContextVar("client_address", default="")
#: Who does what is done, where that is not the user concerned: ``user:<id>`` of an admin, ``client:<client_id>``,
#: ``cli:<user of the system>``.
actor: ContextVar[str] = ContextVar("actor", default="")
