"""Why the authentication of a client failed, for the flow recorder (:mod:`idp.trace`). It decides nothing."""

from contextlib import suppress
from typing import Any

from idp import clock
from idp.errors import InvalidClientError
from idp.keys import jose
from idp.oauth.clients.authentication import assertions
from idp.oauth.clients.authentication.credentials import Failure, Sent
from idp.oauth.clients.models import Client
from idp.settings import settings
from idp.trace import recorder


@recorder.explanation
def failed(sent: Sent, client: Client | None, method: str, failure: Failure) -> None:
    """Record a failed authentication: the method that was used and those that are registered, and of an assertion its
    key, audience and times.
    """
    if not recorder.is_on():
        return
    ends = [secret.expires_at for secret in client.secrets if secret.expires_at] if client is not None else []
    recorder.step(
        "client_not_authenticated",
        used=method,
        registered=client.auth_methods if client is not None else None,
        reason=failure.reason,
        client_known=client is not None,
        secret_expires_at=max(ends, default=None),
        **_of_assertion(sent, client),
    )


def _of_assertion(sent: Sent, client: Client | None) -> dict[str, Any]:
    """Return the readable parts of an assertion, which was not verified."""
    with suppress(InvalidClientError, jose.InvalidJWTError):
        assertion = assertions.read(sent)
        if assertion is None:
            return {}
        claims = jose.unverified(assertion.token).claims
        return {
            "alg": assertion.alg,
            "kid": assertion.kid if isinstance(assertion.kid, str) else None,
            "known_kids": _kids(client),
            "aud": _texts(assertion.audience),
            "expected_aud": settings().issuer,
            "clock_skew_seconds": skew(claims),
        }
    return {}


def _kids(client: Client | None) -> list[str]:
    keys = (client.jwks or {}).get("keys", []) if client is not None else []
    return [str(key["kid"]) for key in keys if isinstance(key, dict) and "kid" in key]


def _texts(audience: object) -> list[str]:
    return [str(each) for each in (audience if isinstance(audience, list) else [audience])]


def skew(claims: jose.Claims) -> int | None:
    """Return by how many seconds a JWT is outside of its times: positive, if it is from the future; negative, if it has
    expired; None if its times are right or unreadable.
    """
    left = {name: clock.seconds_until(claims.get(name)) for name in ("iat", "nbf", "exp")}
    ahead = max(left["iat"] or 0, left["nbf"] or 0)
    if ahead > 0:
        return ahead
    return left["exp"] if left["exp"] is not None and left["exp"] <= 0 else None
