"""The ``login_hint_token`` of a backchannel authentication request (CIBA Core section 7.1).

The specification leaves its content to deployments. Here it is a JWT of the type ``login-hint+jwt``, for this server
alone, which expires. A trusted issuer signs it, and its ``sub`` means whom the rule of the issuer says; or the client
signs it with its own keys, and it has the ``sub`` that the client knows, or an ``email``.
"""

from typing import Final, NamedTuple
from uuid import UUID

from idp.errors import InvalidRequestError, OAuthError, ProofError, Refused
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth import subjects
from idp.oauth.clients import client_keys, profiles
from idp.oauth.clients.client_keys import KeysUnavailableError
from idp.oauth.clients.models import Client
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.verification import MAX_SUBJECT_LENGTH, TYPES, UntrustedTokenError, verify_hint
from idp.reasons import Reason
from idp.settings import settings

#: The longest lifetime of a token that the client signs, in seconds.
MAX_LIFETIME: Final = 600


class Hinted(NamedTuple):
    """Whom a valid token names.

    Attributes:
        about: the text that names them, always the same for one person.
        user_id: perhaps of no user any more; None: nobody who is known here.
        email: instead of these, an address.
    """

    about: str
    user_id: UUID | None = None
    email: str | None = None


async def read(token: str, client: Client) -> Hinted:
    """Return whom a token names.

    Raises:
        OAuthError: ``invalid_request``, or ``expired_login_hint_token`` (CIBA Core section 13).
    """
    try:
        if jose.unverified(token).claims.get("iss") == client.client_id:
            return await _by_client(token, client)
        hint = await verify_hint(token, client)
    except (ProofError, KeysUnavailableError) as error:
        raise _refusal(error.reason or Reason.KEYS_UNAVAILABLE, error.description) from error
    return Hinted(hint.about, hint.user_id)


async def _by_client(token: str, client: Client) -> Hinted:
    if not jose.unverified(token).header.get("typ"):
        raise UntrustedTokenError(Reason.WRONG_TYPE, f"The typ of the token must be {TYPES[Purpose.LOGIN_HINT][0]}.")
    algorithms = profiles.algorithms(client, VERIFICATION_ALGORITHMS)
    claims = await client_keys.verify(client, token, algorithms, TYPES[Purpose.LOGIN_HINT])
    jose.check_times(claims, jose.MAX_AHEAD, fractions=True)
    if claims.get("aud") not in (settings().issuer, [settings().issuer]):
        raise UntrustedTokenError(Reason.WRONG_AUDIENCE, "The aud of the token is not this server alone.")
    if jose.lives_longer(claims, MAX_LIFETIME + jose.MAX_AHEAD):
        raise UntrustedTokenError(Reason.MALFORMED, "The token is valid for too long.")
    match claims.get("sub"), claims.get("email"):
        case str(sub), None if 1 <= len(sub) <= MAX_SUBJECT_LENGTH and sub.isprintable():
            return Hinted(sub, user_id=subjects.user_of(client.sector, sub))
        case None, str(email):
            return Hinted(email, email=email)
    raise UntrustedTokenError(Reason.MALFORMED, "The token needs a sub or an email, and not both.")


def _refusal(reason: Reason, hint: str) -> OAuthError:
    if reason is Reason.EXPIRED:
        description = "login_hint_token has expired."
        return OAuthError("expired_login_hint_token", description, hint=hint, refused=Refused(reason))
    description = "login_hint_token is not valid, or this client may not present it."
    return InvalidRequestError(description, hint=f"login_hint_token: {hint}", refused=Refused(reason))
