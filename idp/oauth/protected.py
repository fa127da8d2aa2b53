"""Access tokens at userinfo and the admin API: Bearer tokens (RFC 6750), or with a DPoP proof (RFC 9449 section 7)."""

from typing import Any, NamedTuple

from litestar import Request

from idp.errors import (
    BoundTokenError,
    InvalidDPoPProofError,
    InvalidTokenError,
    MissingTokenError,
    OAuthError,
    Refused,
    WrongAudienceError,
)
from idp.http.headers import request_header
from idp.oauth import access_tokens
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.binding import certificates
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.binding.proofs import dpop_key
from idp.oauth.clients.stored import stored_client
from idp.oauth.refusals import access_token_refused
from idp.reasons import Reason

AnyRequest = Request[Any, Any, Any]


class PresentedToken(NamedTuple):
    """An access token and the scheme in which it is presented: ``bearer`` or ``dpop``."""

    scheme: str
    token: str


def in_header(request: AnyRequest) -> PresentedToken | None:
    """Return the token in the Authorization header, if there is one."""
    scheme, _, token = (request_header(request.scope, b"authorization") or "").partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not token.strip():
        return None
    return PresentedToken(scheme.lower(), token.strip())


async def authenticate(
    request: AnyRequest, presented: PresentedToken | None, *, endpoint: str, with_user: bool = False
) -> LiveAccessToken:
    """Return the valid access token of a request. A token that is bound to a key needs a proof of that key.

    Args:
        presented: None if the request has no token.
        endpoint: for the audit trail.
        with_user: load the columns of the user too.

    Raises:
        BearerError: there is no token, it is not valid, or it is presented in the wrong scheme.
        InvalidDPoPProofError: the proof is missing or invalid.
    """
    if presented is None:
        raise MissingTokenError
    live = await access_tokens.validate(presented.token, with_user=with_user)
    if isinstance(live, Refused):
        # Only a token of this server can be known to have expired.
        state = "has expired" if live.reason is Reason.EXPIRED else "is not valid"
        raise refuse(InvalidTokenError(f"The access token {state}.", refused=live), None, endpoint)
    client_id, bound = live.claims["client_id"], Confirmation.of(live.claims)
    try:
        await _check_binding(request, presented, bound, live)
    except (InvalidTokenError, InvalidDPoPProofError) as error:
        raise refuse(error, client_id, endpoint) from error
    return live


def require_audience(live: LiveAccessToken, resource: str, endpoint: str) -> None:
    """Refuse a token that is not for a resource server.

    Raises:
        WrongAudienceError: it is for others.
    """
    if resource not in live.audience:
        raise refuse(WrongAudienceError(resource, live.user_id), live.claims["client_id"], endpoint)


def require_own(live: LiveAccessToken, endpoint: str) -> None:
    """Refuse a token of a user.

    Raises:
        InvalidTokenError: it is not a token of the client itself.
    """
    if live.user_id is not None:
        refused = Refused(Reason.WRONG_TYPE, live.user_id)
        error = InvalidTokenError("An access token of the client itself is needed.", refused=refused)
        raise refuse(error, live.claims["client_id"], endpoint)


def refuse(error: OAuthError, client_id: str | None, endpoint: str) -> OAuthError:
    """Record the refusal of a token in the audit trail, and return its error."""
    if error.refused is not None:
        access_token_refused(error.refused, client_id, endpoint=endpoint)
    return error


async def _check_binding(
    request: AnyRequest, presented: PresentedToken, bound: Confirmation | None, live: LiveAccessToken
) -> None:
    if bound is not None and bound.x5t_s256 is not None:
        _check_certificate(bound.x5t_s256, live)
    jkt = bound.jkt if bound is not None else None
    if presented.scheme == "bearer":
        if jkt is not None:
            raise BoundTokenError(
                "The access token is bound to a key, so it needs the DPoP scheme.",
                refused=Refused(Reason.PROOF_MISSING, live.user_id),
            )
        return
    if jkt is None:
        raise InvalidTokenError(
            "The access token is not bound to a key, so it needs the Bearer scheme.",
            refused=Refused(Reason.WRONG_TYPE, live.user_id),
        )
    proved = await dpop_key(request, await stored_client(live.claims["client_id"]), presented.token)
    if proved is None:
        raise InvalidDPoPProofError("The DPoP proof is missing.", Reason.PROOF_MISSING)
    if proved != jkt:
        raise InvalidTokenError(
            "The access token is bound to another key.", refused=Refused(Reason.WRONG_KEY, live.user_id)
        )


def _check_certificate(thumbprint: str, live: LiveAccessToken) -> None:
    """Refuse a token that is bound to a certificate which the caller does not present (RFC 8705 section 3)."""
    certificate = certificates.presented()
    if certificate is None or certificate.thumbprint != thumbprint:
        reason = Reason.PROOF_MISSING if certificate is None else Reason.WRONG_KEY
        raise InvalidTokenError(
            "The access token is bound to another TLS certificate.", refused=Refused(reason, live.user_id)
        )
