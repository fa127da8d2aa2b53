"""The parts of a request that a method reads, and the credentials that it returns."""

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
    """The client that a request names, and the verification of its proof.

    Attributes:
        implicit: the request has no parameter for the method, so that other methods may apply too.
    """

    client_id: str
    verify: Verify
    implicit: bool = False


#: Parameters of the methods that prove something by a parameter.
_PROOFS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


def only_client_id(sent: Sent) -> str | None:
    """Return the ``client_id`` of a request without any other credential."""
    if sent.basic is not None or not _PROOFS.isdisjoint(sent.form):
        return None
    return sent.form.get("client_id")


#: Reads the credentials of one method; None if the request does not use it.
Method = Callable[[Sent], Credentials | None]
