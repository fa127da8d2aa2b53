"""Initial access tokens: who has one may register clients, within its ceiling (RFC 7591 section 3)."""

from typing import Final
from uuid import UUID

from idp import ids
from idp.audit.events import record
from idp.errors import InvalidTokenError, NotFoundError, Refused, ValidationError
from idp.infra.db.engine import transaction
from idp.oauth.clients.dynamic import repository
from idp.oauth.clients.dynamic.ceiling import Ceiling, check
from idp.oauth.clients.dynamic.repository import NewToken, UsableToken
from idp.oauth.clients.metadata import is_name
from idp.oauth.refusals import access_token_refused
from idp.reasons import Reason
from idp.settings import DAY

MAX_USES: Final = 10_000
MAX_LIFETIME: Final = 366 * DAY
DEFAULT_LIFETIME: Final = 7 * DAY


class UnknownTokenError(NotFoundError):
    """There is no such initial access token."""

    def __init__(self) -> None:
        super().__init__("There is no initial access token with this id.")


async def create(name: str, ceiling: Ceiling, *, uses: int = 1, lifetime: int = DEFAULT_LIFETIME) -> tuple[UUID, str]:
    """Create an initial access token and return its id and value. Only a hash is stored.

    Args:
        name: for administrators: who gets it.
        uses: the number of registrations.
        lifetime: in seconds.

    Raises:
        ValidationError: the name, the number or the lifetime is not allowed.
        OAuthError: ``invalid_client_metadata``, the ceiling is not valid.
    """
    if not is_name(name):
        raise ValidationError("The name must be one line of text.")
    if not 1 <= uses <= MAX_USES or not 1 <= lifetime <= MAX_LIFETIME:
        raise ValidationError(f"There must be 1 to {MAX_USES} uses, within {MAX_LIFETIME // DAY} days.")
    await check(ceiling)
    id_, token = ids.uuid7(), ids.random_token()
    async with transaction():
        await repository.insert_token(NewToken(id_, ids.digest(token), name, ceiling, uses, lifetime))
        await record("initial_access_token_created", detail={"id": str(id_), "uses": uses})
    return id_, token


async def delete(id_: UUID) -> None:
    """Delete an initial access token. Clients that were registered with it stay.

    Raises:
        UnknownTokenError: there is none with this id.
    """
    async with transaction():
        if not await repository.delete_token(id_):
            raise UnknownTokenError
        await record("initial_access_token_deleted", detail={"id": str(id_)})


async def find(token: str) -> UsableToken:
    """Return an initial access token that can be used now.

    Raises:
        InvalidTokenError: it is unknown, expired or used up.
    """
    found = await repository.find_token(ids.digest(token))
    if found is None:
        raise _refused()
    return found


async def use(token: UsableToken) -> None:
    """Take one use, in the transaction of the registration.

    Raises:
        InvalidTokenError: another registration took the last one, or it was deleted.
    """
    if not await repository.use_token(token.id):
        raise _refused()


def _refused() -> InvalidTokenError:
    found = Refused(Reason.UNKNOWN)
    access_token_refused(found, None, endpoint="registration")
    return InvalidTokenError(refused=found)
