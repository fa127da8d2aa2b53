"""What claims are made of. A source is one class here, and a member of :data:`Source`."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from idp.oauth.claims.user import ClaimUser


class Found(NamedTuple):
    """What a source has for a user.

    ``filtered`` is whether there would be more without its filter.
    """

    value: Sequence[str]
    filtered: bool = False


class Groups(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="groups"):
    """The names of the groups of the user, with those above them."""

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        return Found((await user.memberships()).group_names)


class Roles(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="roles"):
    """The names of the roles of the user: those of the server, and those of the client that the claim is for."""

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        held = await user.memberships()
        there = held.client_roles.get(client_id, ()) if client_id is not None else ()
        return Found(sorted({*held.roles, *there}), len(held.client_roles) > bool(there))


Source = Groups | Roles
