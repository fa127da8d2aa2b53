"""Ids in paths."""

from uuid import UUID

from idp.admin.api.operation import not_found


def uuid_of(text: str) -> UUID:
    """Return an id of a path.

    Raises:
        ProblemError: 404, it is malformed.
    """
    try:
        return UUID(text)
    except ValueError:
        raise not_found() from None
