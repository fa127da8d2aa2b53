"""Values of the current request, for logs, audit events and error pages."""

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Self

from idp.errors import OAuthError, PageError

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Refusal(NamedTuple):
    """Why a request was refused, for the log.

    Attributes:
        error: the protocol's error code.
        hint: one plain sentence without input.
        client_id: the client, if it is registered.
        reason: a member of :class:`idp.reasons.Reason`.
        user_id, family_id: the user and family of the refused token or code, if known.
    """

    error: str
    hint: str
    client_id: str | None = None
    reason: str | None = None
    user_id: str | None = None
    family_id: str | None = None

    @classmethod
    def of(cls, error: OAuthError | PageError, client_id: str | None) -> Self | None:
        """Return the name of a protocol error for the log, or None for an error that only a user sees."""
        if error.code is None or error.hint is None:
            return None
        if not isinstance(error, OAuthError) or error.refused is None:
            return cls(error.code, error.hint, client_id, error.reason)
        reason, user_id, family_id = error.refused
        return cls(
            error.code,
            error.hint,
            client_id,
            reason,
            str(user_id) if user_id else None,
            str(family_id) if family_id else None,
        )


class ForwardedCertificate(NamedTuple):
    """The client certificate of a request, as a trusted proxy passes it on.

    Attributes:
        form: the format of the header, as in IDP_CLIENT_CERTIFICATE_HEADER.
        value: the header.
        verified: whether the proxy has verified that it was issued by a trusted authority.
    """

    form: str
    value: str
    verified: bool


request_id: ContextVar[str] = ContextVar("request_id", default="")
#: The span in which the current code runs (:mod:`idp.infra.tracing`).
span: ContextVar["Span | None"] = ContextVar("span", default=None)
#: Whether only the headers of the response are sent (HEAD), so that the client does not see the body.
head: ContextVar[bool] = ContextVar("head", default=False)
refusal: ContextVar[Refusal | None] = ContextVar("refusal", default=None)
#: Headers that the response gets besides those of its handler, such as a new nonce.
response_headers: ContextVar[tuple[tuple[bytes, bytes], ...]] = ContextVar("response_headers", default=())
client_address: ContextVar[str] = ContextVar("client_address", default="")
client_certificate: ContextVar[ForwardedCertificate | None] = ContextVar("client_certificate", default=None)
#: The actor, if it is not the affected user: ``user:<id>`` of an admin, ``client:<client_id>``, ``cli:<system user>``,
#: ``upstream:<id>`` of a provider that ended sessions.
actor: ContextVar[str] = ContextVar("actor", default="")
