"""Finding users by a value of a searchable attribute."""

from collections.abc import Mapping

import msgspec

from idp.accounts.attributes import repository
from idp.accounts.attributes.errors import NotSearchableYetError
from idp.accounts.attributes.models import Attribute, Audience, Type
from idp.accounts.attributes.values import parse_one, to_date
from idp.infra.db.listing import Filter

#: Prefix of the names of attributes, where they are beside other names.
PREFIX = "attributes."


async def filters(audience: Audience) -> Mapping[str, Filter]:
    """Return the filters for :data:`idp.accounts.repository.users.USERS`, by searchable attributes that an audience
    sees. Of others, a search would tell the values.

    One by an attribute that is not indexed yet raises NotSearchableYetError where it is used.
    """
    found = [one for one in await repository.attributes() if one.searchable and one.is_visible(audience)]
    return {f"{PREFIX}{one.name}": _not_yet(one) if one.indexing else repository.search(one) for one in found}


def _not_yet(attribute: Attribute) -> Filter:
    def refuse(_value: str) -> str:
        raise NotSearchableYetError(attribute.name)

    return msgspec.structs.replace(repository.search(attribute), prepare=refuse)


_KINDS: Mapping[Type, type] = {Type.INTEGER: int, Type.NUMBER: float, Type.BOOLEAN: bool}


def fits(attribute: Attribute, text: str) -> bool:
    """Return whether text can be compared with the values of an attribute."""
    if attribute.type is Type.DATE:
        return to_date(text) is not None
    return isinstance(parse_one(attribute.type, text.strip()), _KINDS.get(attribute.type, str))
