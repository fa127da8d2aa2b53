"""The declared attributes in memory.

Pages and tokens read them here. A change of values reads the declaration in its transaction, so that an outdated one
delays a decision and allows nothing.
"""

from collections.abc import Iterable

from idp.accounts.attributes import repository
from idp.accounts.attributes.models import Audience, StoredAttribute, in_order

#: The topic of changes of declared attributes.
TOPIC = "attributes"


class Attributes:
    """The declared attributes of one process.

    Attributes:
        generation: how often they were loaded. What is made from them may be kept under this number.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._by_name: dict[str, StoredAttribute] = {}
        self._by_scope: dict[str, list[StoredAttribute]] = {}

    async def load(self) -> None:
        """Reload all declarations. If that fails, the loaded ones stay."""
        self._by_name = {one.name: one for one in await repository.attributes()}
        self.generation += 1
        self._by_scope = {}
        for one in self._by_name.values():
            if one.scope is not None:
                self._by_scope.setdefault(one.scope, []).append(one)

    def get(self, name: str) -> StoredAttribute | None:
        return self._by_name.get(name)

    def all(self) -> list[StoredAttribute]:
        """Return all attributes in the order of pages."""
        return in_order(self._by_name.values())

    def visible(self, audience: Audience) -> list[StoredAttribute]:
        """Return the attributes that an audience sees, in the order of pages."""
        return [one for one in self.all() if one.is_visible(audience)]

    def editable(self, audience: Audience) -> list[StoredAttribute]:
        """Return the attributes that an audience edits, in the order of pages."""
        return [one for one in self.all() if one.is_editable(audience)]

    def required_for(self, client_id: str) -> list[str]:
        """Return the names of the attributes that the users of a client must have."""
        return [one.name for one in self._by_name.values() if not {client_id, "*"}.isdisjoint(one.required_for)]

    def asked_at_registration(self) -> list[StoredAttribute]:
        """Return the attributes that the registration page asks for, in the order of pages."""
        return [one for one in self.all() if one.registration != "no"]

    def released(self, scopes: Iterable[str]) -> list[StoredAttribute]:
        """Return the attributes that are released with one of the scopes, in the order of pages."""
        return in_order(one for scope in frozenset(scopes) for one in self._by_scope.get(scope, ()))


attributes = Attributes()
