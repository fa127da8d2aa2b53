"""Attributes of users."""

from collections.abc import Collection
from typing import Any

import msgspec

from idp.accounts.attributes import declaration, registry, repository
from idp.accounts.attributes.models import Attribute
from idp.config.kinds.base import Kind


class Attributes(Kind):
    """Attributes of users. Values are no configuration."""

    section = "attributes"
    model = Attribute
    key = ("name",)
    topics = (registry.TOPIC,)

    async def read(self) -> list[Attribute]:
        fields = Attribute.__struct_fields__
        return [Attribute(**{name: getattr(one, name) for name in fields}) for one in await repository.attributes()]

    def normal(self, entry: Attribute, named: Collection[str]) -> Attribute:
        return declaration.check(msgspec.structs.asdict(entry))

    async def create(self, entry: Attribute, secret: str | None) -> None:
        await declaration.declare(**msgspec.structs.asdict(entry))

    async def update(self, before: Attribute, after: Attribute, changed: Collection[str]) -> None:
        changes: dict[str, Any] = {name: getattr(after, name) for name in changed}
        await declaration.update(after.name, **changes)

    async def delete(self, entry: Attribute) -> None:
        await declaration.delete(entry.name)

    async def losses(self, entry: Attribute) -> str:
        return f"{await repository.count_values(entry.name)} users have a value, and lose it."
