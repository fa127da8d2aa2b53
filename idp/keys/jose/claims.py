"""Claims: times and audience (RFC 7519 section 4.1), and hashes (OpenID Connect Core section 3.1.3.6)."""

from collections.abc import Mapping
from typing import Any

from joserfc.util import urlsafe_b64encode

from idp import clock
from idp.keys.algorithms import ALGORITHMS
from idp.keys.jose.errors import InvalidJWTError, UnsupportedAlgorithmError
from idp.reasons import Reason

#: Maximum accepted time, in seconds: the end of the year 9999, the last that a datetime can hold.
MAX_TIMESTAMP = 253_402_300_799
#: Seconds by which the clocks of our replicas may differ.
LEEWAY = 10
#: Seconds that the clock of a client may be ahead of ours (FAPI 2.0 Security Profile section 5.3.2.1).
MAX_AHEAD = 60


def _timestamp(claims: Mapping[str, Any], name: str, *, fractions: bool) -> float | None:
    """Return a NumericDate claim (RFC 7519 section 2), or None if it is absent. Ours have no fractions."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in ((int, float) if fractions else (int,)) or not 0 <= value <= MAX_TIMESTAMP:
        raise InvalidJWTError(f"The claim {name} is not a time in seconds.")
    return float(value)


def foreign_time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time in a token of another issuer, perhaps with a fraction, or None if it is absent.

    Raises:
        InvalidJWTError: it is not a time.
    """
    return _timestamp(claims, name, fractions=True)


def check_times(
    claims: Mapping[str, Any], leeway: int = LEEWAY, *, fractions: bool = False, require_exp: bool = True
) -> None:
    """Refuse a token outside its times (RFC 7519 sections 4.1.4 to 4.1.6).

    Args:
        leeway: seconds that ``nbf`` and ``iat`` may be ahead of our clock. It does not apply to ``exp``.
        fractions: accept fractions of seconds, which other issuers may write.
        require_exp: refuse a token without ``exp``.

    Raises:
        InvalidJWTError: it has expired, is not valid yet, or one of the claims is not a time.
    """
    now = clock.now().timestamp()
    expires, not_before, issued = (_timestamp(claims, name, fractions=fractions) for name in ("exp", "nbf", "iat"))
    if expires is None and require_exp:
        raise InvalidJWTError("The token has no expiry time.")
    if expires is not None and expires <= now:
        raise InvalidJWTError("The token has expired.", Reason.EXPIRED)
    if max(not_before or 0, issued or 0) > now + leeway:
        raise InvalidJWTError("The token is not valid yet.", Reason.NOT_YET_VALID)


def lives_longer(claims: Mapping[str, Any], seconds: float) -> bool:
    """Return whether a token that passed :func:`check_times` is valid for longer than this, from now or from `iat`."""
    expires = claims["exp"]
    return bool(max(expires - clock.now().timestamp(), expires - claims.get("iat", expires)) > seconds)


def audience(claims: Mapping[str, Any], absent: str | None = None) -> list[Any]:
    """Return the ``aud`` as a list, which may also be a single value (RFC 7519 section 4.1.3).

    Args:
        absent: the audience of a token that names none.
    """
    found = claims.get("aud", absent)
    return found if isinstance(found, list) else [] if found is None else [found]


def left_half_hash(value: str, alg: str) -> str:
    """Return the ``at_hash``, ``c_hash`` or ``s_hash`` of a value in an ID token (OpenID Connect Core section 3.1.3.6).

    Args:
        alg: the algorithm of the ID token.

    Raises:
        UnsupportedAlgorithmError: its hash is unknown. The claim must not be left out instead.
    """
    if alg not in ALGORITHMS:
        raise UnsupportedAlgorithmError(f"The algorithm must be one of {', '.join(ALGORITHMS)}.")
    digest = ALGORITHMS[alg].digest(value.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode("ascii")
