"""The user whom claims are about."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from idp.accounts.attributes import service as attributes
from idp.accounts.claims import UserRow
from idp.accounts.repository.users import user_by_id
from idp.directory import effective
from idp.directory.models import Memberships, OrganizationMembership


class ClaimUser:
    """A user. What no claim needs is not read.

    Args:
        directory_version: the version of their groups and roles, if a statement of this request has returned it.
        row: their row, if it has been read.
        organization_id: the organization that they signed in for.
        added: claims that a token hook adds, by place.
    """

    def __init__(
        self,
        id: UUID,
        directory_version: int | None = None,
        row: UserRow | None = None,
        organization_id: UUID | None = None,
        added: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.id = id
        self.added = added
        self.organization_id = organization_id
        self._directory_version = directory_version
        self._row = row
        self._memberships: Memberships | None = None
        self._attributes: Mapping[str, Any] | None = None

    async def row(self) -> UserRow | None:
        """Return the row; None if the user is gone."""
        if self._row is None:
            self._row = await user_by_id(self.id)
        return self._row

    async def organization(self) -> OrganizationMembership | None:
        """Return the organization that they signed in for; None if there is none, or they are no member any more."""
        if self.organization_id is None:
            return None
        return (await self.memberships()).organizations.get(self.organization_id)

    async def memberships(self) -> Memberships:
        """Return the groups and roles, with those that follow from others."""
        if self._memberships is None:
            self._memberships = await effective.memberships(self.id, self._directory_version)
        return self._memberships

    async def attributes(self) -> Mapping[str, Any]:
        """Return the values of the declared attributes, by name."""
        if self._attributes is None:
            self._attributes = await attributes.values(self.id)
        return self._attributes
