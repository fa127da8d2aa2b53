"""Finding users by a value of a searchable attribute."""

from collections.abc import Collection, Mapping

from idp.accounts.attributes import repository
from idp.accounts.attributes.errors import NotSearchableYetError
from idp.accounts.attributes.models import Attribute, Audience, Type
from idp.accounts.attributes.values import parse_one, to_date
from idp.infra.db.listing import Filter

#: Prefix of the names of attributes, where they are beside other names.
PREFIX = "attributes."


async def filters(audience: Audience, asked: Collection[str] = ()) -> Mapping[str, Filter]:
    """Return the filters for :data:`idp.accounts.repository.users.USERS`, by searchable attributes that an audience
    sees. Of others, a search would tell the values.

    Args:
        asked: the names of the filters that are used.

    Raises:
        NotSearchableYetError: the values of one of them are being made searchable.
    """
    found = [one for one in await repository.attributes() if one.searchable and one.is_visible(audience)]
    for one in found:
        if one.indexing and f"{PREFIX}{one.name}" in asked:
            raise NotSearchableYetError(one.name)
    return {f"{PREFIX}{one.name}": repository.search(one) for one in found}


_KINDS: Mapping[Type, type] = {Type.INTEGER: int, Type.NUMBER: float, Type.BOOLEAN: bool}


def fits(attribute: Attribute, text: str) -> bool:
    """Return whether text can be compared with the values of an attribute."""
    if attribute.type is Type.DATE:
        return to_date(text) is not None
    return isinstance(parse_one(attribute.type, text.strip()), _KINDS.get(attribute.type, str))
