"""What claims are made of. A source is one class here, and a member of :data:`Source`."""

from typing import Any, Literal, NamedTuple, get_args

import msgspec

from idp.accounts.claims import CLAIMS_BY_SCOPE, claims_of
from idp.oauth.claims.user import ClaimUser

#: Maximum number of names in a filter, and of characters of a value.
MAX_NAMES, MAX_LENGTH = 100, 500
#: The claims of the profile.
PROFILE = tuple(claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims)


class Found(NamedTuple):
    """What a source has for a user: a tuple of names, or one value of JSON; None: nothing.

    ``filtered`` is whether there would be more without its filter.
    """

    value: Any
    filtered: bool = False


class _Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A source. ``several`` is whether it has a list of texts.

    Its parameter ``client_id`` is the client whose roles a claim has; None: those of no client.
    """

    @property
    def kind(self) -> str:
        """Its name."""
        return str(self.__struct_config__.tag)

    @property
    def several(self) -> bool:
        return False

    def problem(self) -> str | None:
        """Return what is wrong with the values of the fields, as a sentence."""
        return None

    def client_of_roles(self, client_id: str | None) -> str | None:
        """Return the client whose roles this has."""
        return client_id

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        raise NotImplementedError


class Groups(_Source, frozen=True, kw_only=True, tag="groups"):
    """The names of the groups of the user, with those above them.

    Attributes:
        prefix: only groups whose name begins with it.
        strip_prefix: whether it is taken off the names.
        names: only these groups; empty: all.
    """

    prefix: str = ""
    strip_prefix: bool = False
    names: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        return True

    def problem(self) -> str | None:
        if self.prefix and self.names:
            return "prefix and names exclude each other."
        if self.strip_prefix and not self.prefix:
            return "strip_prefix needs a prefix."
        if len(self.names) > MAX_NAMES or not all(map(_is_line, self.names)):
            return f"names must be up to {MAX_NAMES} names of groups."
        return None if not self.prefix or _is_text(self.prefix) else "The prefix is too long, or not printable."

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        held = (await user.memberships()).group_names
        if not self.prefix and not self.names:
            return Found(held)
        kept = [name for name in held if name.startswith(self.prefix) and (not self.names or name in self.names)]
        shown = (name.removeprefix(self.prefix) for name in kept) if self.strip_prefix else kept
        return Found(tuple(filter(None, shown)), len(kept) < len(held))


class Roles(_Source, frozen=True, kw_only=True, tag="roles"):
    """The names of the roles of the user.

    Attributes:
        of: ``server``: those of the whole server; ``client``: those of a client; ``all``: both.
        client_id: the client; None: the one that the claim is for.
    """

    of: Literal["all", "server", "client"] = "all"
    client_id: str | None = None

    @property
    def several(self) -> bool:
        return True

    def problem(self) -> str | None:
        if self.client_id is not None and self.of == "server":
            return "Roles of the server are of no client."
        return None

    def client_of_roles(self, client_id: str | None) -> str | None:
        return None if self.of == "server" else self.client_id or client_id

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        held, client_id = await user.memberships(), self.client_of_roles(client_id)
        names = set(held.roles if self.of != "client" else ())
        if client_id is not None:
            names.update(held.client_roles.get(client_id, ()))
        return Found(tuple(sorted(names)), not names and bool(held.role_ids))


class Organization(_Source, frozen=True, kw_only=True, tag="organization"):
    """The organization that the user signed in for.

    Attributes:
        member: only this of it: the id, the slug, the name or the names of the roles there; None: an object of all.
    """

    member: Literal["id", "slug", "name", "roles"] | None = None

    @property
    def several(self) -> bool:
        return self.member == "roles"

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        found = await user.organization()
        if found is None:
            return Found(None)
        whole = {"id": str(found.id), "slug": found.slug, "name": found.name, "roles": list(found.roles)}
        if self.member is None:
            return Found(whole)
        return Found(found.roles if self.member == "roles" else whole[self.member])


class Attribute(_Source, frozen=True, kw_only=True, tag="attribute"):
    """A declared attribute of the user (:mod:`idp.accounts.attributes`)."""

    name: str

    @property
    def several(self) -> bool:
        return True

    def problem(self) -> str | None:
        return None if _is_line(self.name) else "The name of an attribute is needed."

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        value = (await user.attributes()).get(self.name)
        return Found(tuple(value) if isinstance(value, list) else value)


class Profile(_Source, frozen=True, kw_only=True, tag="profile"):
    """A claim of the profile of the user."""

    claim: str

    def problem(self) -> str | None:
        return None if self.claim in PROFILE else f"claim must be one of {', '.join(PROFILE)}."

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        row = await user.row()
        return Found(claims_of(row, [self.claim]).get(self.claim) if row is not None else None)


class Constant(_Source, frozen=True, kw_only=True, tag="constant"):
    """The same text for every user."""

    value: str

    def problem(self) -> str | None:
        return None if _is_text(self.value) else f"value must be a line of up to {MAX_LENGTH} characters."

    async def read(self, user: ClaimUser, client_id: str | None) -> Found:
        return Found(self.value)


Source = Groups | Roles | Organization | Attribute | Profile | Constant
#: Every source by its ``kind``.
SOURCES: dict[str, type[_Source]] = {str(source.__struct_config__.tag): source for source in get_args(Source)}


def _is_text(text: str) -> bool:
    return 1 <= len(text) <= MAX_LENGTH and text.isprintable()


def _is_line(text: str) -> bool:
    return _is_text(text) and text == text.strip()
