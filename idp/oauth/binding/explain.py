"""Why a DPoP proof was refused, for the flow recorder (:mod:`idp.trace`). Nothing here decides anything."""

from collections.abc import Sequence

from idp import clock
from idp.errors import InvalidDPoPProofError, UseDPoPNonceError
from idp.keys import jose
from idp.trace import recorder


@recorder.explanation
def refused(headers: Sequence[str], method: str, urls: Sequence[str], error: InvalidDPoPProofError) -> None:
    """Record the readable parts of a refused proof beside what was expected."""
    if not recorder.is_on():
        return
    try:
        claims = jose.unverified(headers[0]).claims if len(headers) == 1 else {}
    except jose.InvalidJWTError:
        claims = {}
    htu = claims.get("htu")
    nonce = ("is not current" if "nonce" in claims else "missing") if isinstance(error, UseDPoPNonceError) else None
    # The error of a first request without a nonce is ordinary.
    recorder.aside(
        "proof_refused",
        problem=error.description,
        sent=str(htu).partition("?")[0] if isinstance(htu, str) else None,
        expected=urls,
        method=f"{claims.get('htm')}, expected {method}" if claims.get("htm") not in (None, method) else None,
        clock_skew_seconds=clock.seconds_until(claims.get("iat")),
        nonce=nonce,
    )
