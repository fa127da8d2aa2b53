"""The tokens with which SCIM clients authenticate. Only their hashes are stored."""

from typing import Final
from uuid import UUID

from idp import ids
from idp.audit.events import record
from idp.directory import names
from idp.directory.repository import organizations
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.infra.db.engine import transaction
from idp.scim.repository import tokens as repository
from idp.scim.repository.tokens import TokenName
from idp.settings import DAY

MAX_LIFETIME: Final = 3 * 366 * DAY
DEFAULT_LIFETIME: Final = 366 * DAY
MAX_OVERLAP: Final = 90 * DAY
#: Time in which the value of a token can be changed at the client.
DEFAULT_OVERLAP: Final = 7 * DAY
#: Tokens of one organization.
MAX_OF_ORGANIZATION: Final = 20


class UnknownTokenError(NotFoundError):
    """There is no such token."""

    def __init__(self) -> None:
        super().__init__("There is no SCIM token with this id.")


class TooManyTokensError(ConflictError):
    """An organization has too many tokens."""

    def __init__(self) -> None:
        super().__init__(f"The organisation has {MAX_OF_ORGANIZATION} SCIM tokens. Delete one first.")


#: The beginning of the origins of all SCIM clients.
ORIGINS: Final = "scim:"


def origin_of(id: UUID) -> str:
    """Return what marks the external ids and the members that a token added."""
    return f"{ORIGINS}{id}"


async def create(
    name: str, *, writes: bool = True, lifetime: int = DEFAULT_LIFETIME, organization_id: UUID | None = None
) -> tuple[UUID, str]:
    """Create a token and return its id and value.

    Args:
        name: for administrators: which system has it.
        writes: whether it may change users and groups, or only read them.
        lifetime: in seconds.
        organization_id: it manages the members and roles of this organization only. It ends with the organization, and
            cannot be used while that is disabled.

    Raises:
        ValidationError: the name or the lifetime is not allowed.
        UnknownOrganizationError: there is no such organization.
        TooManyTokensError: the organization has too many.
    """
    name = names.checked(name)
    _check_lifetime(lifetime)
    token_id, token = ids.uuid7(), ids.random_token()
    async with transaction():
        if organization_id is not None:
            # Tokens that are created at the same moment would not count each other.
            await organizations.lock_organization_without_key(organization_id)
        inserted = await repository.insert_token(
            token_id, name, ids.digest(token), writes=writes, lifetime=lifetime, organization_id=organization_id,
            maximum=MAX_OF_ORGANIZATION,
        )  # fmt: skip
        if not inserted:
            raise TooManyTokensError
        detail = _detail(token_id, TokenName(name, organization_id)) | {"writes": writes}
        await record("scim_token_created", detail=detail)
    return token_id, token


async def rotate(
    id: UUID,
    *,
    lifetime: int = DEFAULT_LIFETIME,
    overlap: int = DEFAULT_OVERLAP,
    organization_id: UUID | None = None,
) -> str:
    """Replace the value of a token and return the new one. At most two values are valid at once.

    Args:
        lifetime: of the new value, in seconds.
        overlap: seconds for which the value before stays valid, if it does not expire before.
        organization_id: only a token of this organization; None: any token.

    Raises:
        ValidationError: the lifetime or the overlap is not allowed.
        UnknownTokenError: there is no such token.
    """
    _check_lifetime(lifetime)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise ValidationError(f"The overlap must be within {MAX_OVERLAP // DAY} days.")
    token = ids.random_token()
    async with transaction():
        named = await repository.rotate_token(id, ids.digest(token), lifetime, overlap, organization_id)
        if named is None:
            raise UnknownTokenError
        await record("scim_token_rotated", detail=_detail(id, named))
    return token


async def delete(id: UUID, *, organization_id: UUID | None = None) -> None:
    """Delete a token. The users, groups and members that it added stay; the ``externalId``s that it gave do not.

    Args:
        organization_id: as of :func:`rotate`.

    Raises:
        UnknownTokenError: there is no such token.
    """
    async with transaction():
        named = await repository.delete_token(id, origin_of(id), organization_id)
        if named is None:
            raise UnknownTokenError
        await record("scim_token_deleted", detail=_detail(id, named))


def _detail(id: UUID, named: TokenName) -> dict[str, object]:
    owner = {"organization_id": str(named.organization_id)} if named.organization_id is not None else {}
    return {"id": str(id), "name": named.name, **owner}


def _check_lifetime(lifetime: int) -> None:
    if not 1 <= lifetime <= MAX_LIFETIME:
        raise ValidationError(f"The token must expire within {MAX_LIFETIME // DAY} days.")
