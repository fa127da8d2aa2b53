"""Logout tokens of OpenID providers (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6)."""

from typing import Any

from idp import clock
from idp.federation import discovery
from idp.federation.errors import UntrustedResponseError
from idp.federation.models import LogoutToken
from idp.keys import jose

EVENT = "http://schemas.openid.net/event/backchannel-logout"
#: Seconds for which a token is accepted after its ``iat``, whatever its ``exp``, and those that it may be ahead.
MAX_AGE, LEEWAY = 600, 60
#: Maximum length of ``sub``, ``sid`` and ``jti``, in characters.
MAX_LENGTH = 255


def _text(claims: dict[str, Any], name: str) -> str | None:
    """Return a claim that is a text which can be stored, or None."""
    value = claims.get(name)
    usable = isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and value.isprintable()
    return value if usable else None


def sid_of(id_token: dict[str, Any]) -> str | None:
    """Return the session that an ID token names, or None."""
    return _text(id_token, "sid")


async def verify(text: str, jwks_uri: str, algorithms: tuple[str, ...]) -> dict[str, Any]:
    """Verify signature and times of a token, and return its claims.

    Raises:
        UpstreamError: they are wrong, or the keys cannot be fetched.
    """
    try:
        claims = await discovery.verify_jwt(text, jwks_uri, algorithms)
        # `exp` was optional until the final specification.
        jose.check_times(claims, LEEWAY, fractions=True, require_exp=False)
        issued_at = jose.foreign_time(claims, "iat")
    except (jose.InvalidJWTError, jose.UnsupportedAlgorithmError) as error:
        raise UntrustedResponseError(f"The logout token is not right: {error}") from error
    if issued_at is None or issued_at <= clock.now().timestamp() - MAX_AGE:
        raise UntrustedResponseError("The logout token is too old.")
    return claims


def read(claims: dict[str, Any], client_id: str) -> LogoutToken:
    """Return the session that the claims of a verified token name.

    Raises:
        UntrustedResponseError: it is no logout token, or one for another client.
    """
    events = claims.get("events")
    if client_id not in jose.audience(claims):
        raise UntrustedResponseError("The logout token is for another client.")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise UntrustedResponseError("The token reports no logout.")
    if "nonce" in claims:
        raise UntrustedResponseError("A logout token has no nonce; an ID token has one.")
    subject, sid, jti = (_text(claims, name) for name in ("sub", "sid", "jti"))
    if (subject is None) != ("sub" not in claims) or (sid is None) != ("sid" not in claims):
        raise UntrustedResponseError("The logout token names its session by something that is no text.")
    if subject is None and sid is None:
        raise UntrustedResponseError("The logout token names neither a user nor a session.")
    if jti is None:
        raise UntrustedResponseError("The logout token has no jti.")
    return LogoutToken(claims["iss"], subject, sid, jti, float(claims["iat"]))
