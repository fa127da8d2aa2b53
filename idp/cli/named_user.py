"""The user whom an argument of a command names."""

from typing import TYPE_CHECKING

from idp.errors import NotFoundError

if TYPE_CHECKING:
    from idp.accounts.tables import User


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
