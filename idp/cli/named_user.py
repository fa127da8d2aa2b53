"""The users whom arguments of a command name, and the names of those in its output."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from idp.errors import NotFoundError

if TYPE_CHECKING:
    from idp.accounts.tables import User

#: How the actor of an event or a change begins if it is a user.
_ACTOR = "user:"


class UnknownUserError(NotFoundError):
    """There is no such user."""

    def __init__(self) -> None:
        super().__init__("There is no user with this email address or id.")


async def find_user(user: str) -> "User":
    """Return the user with an email address or an id.

    Raises:
        UnknownUserError: there is no such user.
    """
    from idp.accounts.users import named_user

    found = await named_user(user)
    if found is None:
        raise UnknownUserError
    return found


async def find_user_id(user: str) -> UUID:
    """Return the id of a user, who may be deleted if the argument is an id.

    Raises:
        UnknownUserError: there is no user with this email address.
    """
    return _id_in(user) or (await find_user(user)).id


async def address_book(references: Iterable[UUID | str | None]) -> Callable[[UUID | str | None], str]:
    """Return a function that writes a user id, or an actor who is a user, as the email address.

    What is no user, or one that is deleted, stays as it is.
    """
    from idp.accounts.repository.users import emails_by_id

    ids = {each: found for each in references if each is not None and (found := _id_in(each))}
    emails = await emails_by_id(set(ids.values())) if ids else {}
    return lambda each: emails.get(ids[each], str(each)) if each in ids else str(each or "")


def _id_in(reference: UUID | str) -> UUID | None:
    """Return the id in `ID` or `user:ID`."""
    if isinstance(reference, UUID):
        return reference
    try:
        return UUID(reference.removeprefix(_ACTOR))
    except ValueError:
        return None
