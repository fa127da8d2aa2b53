"""What belongs to the request being answered, for logs, audit events and error pages."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
#: Whether only the headers of the answer are sent (HEAD): whoever asked has not seen what it says.
head: ContextVar[bool] = ContextVar("head", default=False)
client_address: ContextVar[str] = ContextVar("client_address", default="")
#: Who does what is done, where that is not the user concerned: ``user:<id>`` of an admin, ``client:<client_id>``,
#: ``cli:<user of the system>``.
actor: ContextVar[str] = ContextVar("actor", default="")
