"""What a method reads from a request, and what it returns."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from idp.oauth.clients.authentication.basic import BasicCredentials
from idp.oauth.clients.models import Client
from idp.reasons import Reason


class Sent(NamedTuple):
    """The parts of a request that can authenticate a client.

    Attributes:
        basic: the credentials in the Authorization header, if there is one.
        form: the parameters of the body.
        endpoint: the path of the endpoint below the issuer.
    """

    basic: BasicCredentials | None
    form: Mapping[str, str]
    endpoint: str


class Failure(NamedTuple):
    """Why credentials are wrong, for the operator; ``hint`` is a part of a sentence without input."""

    reason: Reason
    hint: str


#: Verifies the credentials of a client that may use the method. None is an unknown client, or one that may not: the
#: same work is done.
Verify = Callable[[Client | None], Awaitable[Failure | None]]


class Credentials(NamedTuple):
    """The client that a request names, and the verification of its proof."""

    client_id: str
    verify: Verify


#: Reads the credentials of one method; None if the request does not use it.
Method = Callable[[Sent], Credentials | None]
