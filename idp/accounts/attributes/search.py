"""Finding users by a value of a searchable attribute."""

from collections.abc import Mapping

from idp.accounts.attributes import repository
from idp.accounts.attributes.models import Audience
from idp.infra.db.listing import Filter

#: Prefix of the names of attributes, where they are beside other names.
PREFIX = "attributes."


async def filters(audience: Audience) -> Mapping[str, Filter]:
    """Return the filters for :data:`idp.accounts.repository.users.USERS`, by searchable attributes that an audience
    sees. Of others, a search would tell the values.
    """
    found = [one for one in await repository.attributes() if one.searchable and one.is_visible(audience)]
    return {f"{PREFIX}{one.name}": repository.search(one) for one in found}
