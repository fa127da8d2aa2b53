"""The user whom claims are about."""

from uuid import UUID

from idp.accounts.claims import UserRow
from idp.accounts.repository.users import user_by_id
from idp.directory import effective
from idp.directory.models import Memberships


class ClaimUser:
    """A user. What no claim needs is not read.

    Args:
        directory_version: the version of their groups and roles, if a statement of this request has returned it.
        row: their row, if it has been read.
    """

    def __init__(self, id: UUID, directory_version: int | None = None, row: UserRow | None = None) -> None:
        self.id = id
        self._directory_version = directory_version
        self._row = row
        self._memberships: Memberships | None = None

    async def row(self) -> UserRow | None:
        """Return the row; None if the user is gone."""
        if self._row is None:
            self._row = await user_by_id(self.id)
        return self._row

    async def memberships(self) -> Memberships:
        """Return the groups and roles, with those that follow from others."""
        if self._memberships is None:
            self._memberships = await effective.memberships(self.id, self._directory_version)
        return self._memberships
