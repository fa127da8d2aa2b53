"""The user that a backchannel authentication request names (CIBA Core section 7.1)."""

import hmac
from typing import NamedTuple
from uuid import UUID

from idp import clock
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import User
from idp.errors import InvalidRequestError, OAuthError
from idp.keys import vault
from idp.oauth import subjects
from idp.oauth.ciba import hint_tokens
from idp.oauth.clients.models import Client
from idp.oauth.id_token_hint import read_id_token_hint
from idp.oauth.parameters import Parameters
from idp.settings import DAY

HINTS = ("login_hint", "id_token_hint", "login_hint_token")
#: RFC 2606 section 2: a domain that does not exist.
NOBODYS_DOMAIN = "nobody.invalid"
#: Age up to which an ID token is accepted as a hint, also after it has expired.
MAX_HINT_AGE = 90 * DAY


class Person(NamedTuple):
    """Who is asked.

    Attributes:
        user_id: always the same for an address; of no user if nobody has the address.
        email: where the mail goes.
        user: None if nobody can be asked.
    """

    user_id: UUID
    email: str
    user: User | None


async def find(parameters: Parameters, client: Client) -> Person:
    """Return the user that the one hint of a request names.

    An unknown or disabled user is found like a known one, with the same work: a client must not learn who has an
    account (docs/decisions/0069-ciba.md). An ID token of the client is no secret to it, so there it is told.

    Raises:
        OAuthError: ``invalid_request``, ``unknown_user_id`` or ``expired_login_hint_token``.
    """
    hints = [name for name in HINTS if name in parameters]
    if len(hints) != 1:
        raise InvalidRequestError(f"The request needs exactly one of {', '.join(HINTS)}.")
    match hints[0]:
        case "login_hint":
            return await _by_email(parameters["login_hint"])
        case "id_token_hint":
            return await _by_id_token(parameters["id_token_hint"], client)
        case _:
            return await _by_hint_token(parameters["login_hint_token"], client)


async def _by_email(text: str) -> Person:
    try:
        email = normalise_email(text)
    except InvalidEmailError as error:
        raise _unknown("The hint must be the email address of a user.") from error
    return _person(await user_by_email(email), email)


def _person(user: User | None, email: str) -> Person:
    if user is None or user.disabled_at is not None:
        return Person(_of_nobody(email), email, None)
    return Person(user.id, email, user)


def _of_nobody(email: str) -> UUID:
    return UUID(bytes=hmac.digest(vault.derive("ciba-nobody"), email.encode(), "sha256")[:16])


async def _by_hint_token(token: str, client: Client) -> Person:
    hinted = await hint_tokens.read(token, client)
    if hinted.email is not None:
        return await _by_email(hinted.email)
    user = await user_by_id(hinted.user_id) if hinted.user_id is not None else None
    # No mail goes to this address: it is what the limits count by.
    return _person(user, user.email if user is not None else f"{_of_nobody(hinted.about).hex}@{NOBODYS_DOMAIN}")


async def _by_id_token(token: str, client: Client) -> Person:
    claims = read_id_token_hint(token)
    if claims.get("aud") != client.client_id:
        raise InvalidRequestError("id_token_hint was not issued to this client.")
    if clock.timestamp() - claims["iat"] > MAX_HINT_AGE:
        raise InvalidRequestError(f"id_token_hint is older than {MAX_HINT_AGE // DAY} days.")
    user_id = subjects.user_of(client.sector, claims["sub"])
    user = await user_by_id(user_id) if user_id is not None else None
    if user is None or user.disabled_at is not None:
        raise _unknown("id_token_hint names a user who cannot be asked.")
    return Person(user.id, user.email, user)


def _unknown(description: str) -> OAuthError:
    """CIBA Core section 13."""
    return OAuthError("unknown_user_id", description)
