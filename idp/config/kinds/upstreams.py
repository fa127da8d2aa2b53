"""Upstream providers and directories."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from hmac import compare_digest
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from idp.config import references
from idp.config.errors import UnknownNameError
from idp.config.kinds.base import KindWithSecret, Reference, RoleName, defaults_of, without
from idp.config.kinds.lookups import group_names, organization_named, role_names, slugs
from idp.federation import providers, registry
from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import Rule, Upstream

_Entry: Any = without(
    Upstream, "UpstreamEntry", "organization_id",
    kind=(str, "oidc"), name=(str, ""), issuer=(str, ""), client_id=(str, ""),
    client_secret=(Reference | None, None), organization=(str | None, None),
)  # fmt: skip


class Upstreams(KindWithSecret):
    """Upstream providers and directories. Defaults depend on the kind.

    The order on the login page is no configuration.

    Rules name groups and roles. One whose group or role was deleted names the id, which gives nothing.
    """

    section = "upstreams"
    model: ClassVar[Any] = _Entry
    key = ("id",)
    secret = "client_secret"
    topics = (registry.TOPIC,)

    async def read(self) -> list[Any]:
        groups, roles, owners = await group_names(), await role_names(), await slugs()
        return [
            self._entry(
                msgspec.structs.replace(one, rules=tuple(_named(rule, groups, roles) for rule in one.rules)),
                owners[one.organization_id] if one.organization_id is not None else None,
            )
            for one in await registry.load_stored()
        ]

    def _entry(self, upstream: Upstream, organization: str | None) -> Any:
        values = msgspec.structs.asdict(upstream)
        del values["organization_id"]
        secret = Reference() if values["client_secret"] is not None else None
        return self.model(**values | {"organization": organization, "client_secret": secret})

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        values = {name: getattr(entry, name) for name in named if name not in ("client_secret", "organization")}
        # What needs an organization is checked when there is one.
        late = {name: values.pop(name) for name in ("adds_members",) if name in values}
        secret = _UNKNOWN if entry.client_secret is not None else None
        checked = registry.configure(**values, client_secret=secret, secret_is_known=False)
        found = self._entry(checked, entry.organization)
        return msgspec.structs.replace(found, client_secret=entry.client_secret, **late)

    def defaults(self, entry: Any) -> Mapping[str, Any]:
        return defaults_of(self.model) | providers.KINDS[entry.kind].DEFAULTS

    def needs_secret(self, entry: Any) -> bool:
        return False

    def check_secret(self, entry: Any, secret: str) -> None:
        values = msgspec.structs.asdict(entry) | {"client_secret": secret}
        for name in ("organization", "adds_members"):
            del values[name]
        registry.configure(**values)

    async def _configured(self, entry: Any, secret: str | None) -> Upstream:
        values = msgspec.structs.asdict(entry) | {"client_secret": secret}
        slug = values.pop("organization")
        values["organization_id"] = (await organization_named(slug)).id if slug is not None else None
        return registry.configure(**values)

    async def create(self, entry: Any, secret: str | None) -> None:
        upstream = await self._configured(entry, secret)
        if not await registry.add(upstream):
            raise InvalidUpstreamError("A setting configures an upstream with this id.")

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        values = {name: getattr(after, name) for name in changed if name not in ("disabled", "organization")}
        if "organization" in changed:
            slug = after.organization
            values["organization_id"] = (await organization_named(slug)).id if slug is not None else None
        # A change of the server needs the secret, which the file has.
        if values and after.client_secret is not None:
            with suppress(UnknownNameError):
                values["client_secret"] = references.resolve(after.client_secret)
        if values:
            await registry.update(after.id, **values)
        if "disabled" in changed:
            await (registry.disable if after.disabled else registry.enable)(after.id)

    async def delete(self, entry: Any) -> None:
        await registry.delete(entry.id)

    async def has_secret(self, entry: Any, secret: str) -> bool:
        stored = next((one.client_secret for one in await registry.load_stored() if one.id == entry.id), None)
        return stored is not None and compare_digest(stored.encode(), secret.encode())

    async def set_secret(self, entry: Any, secret: str) -> None:
        await registry.update(entry.id, client_secret=secret)

    async def losses(self, entry: Any) -> str:
        return "No one can sign in with the upstream. Linked identities stay."


#: Stands for a secret that is not read yet.
_UNKNOWN = "unknown"


def _named(rule: Rule, groups: Mapping[UUID, str], roles: Mapping[UUID, RoleName]) -> Rule:
    """Return a rule with the names of what its ids mean."""
    if rule.group is not None and (group := groups.get(UUID(rule.group))) is not None:
        return msgspec.structs.replace(rule, group=group)
    if rule.role is not None and (role := roles.get(UUID(rule.role))) is not None:
        return msgspec.structs.replace(rule, role=role.name, client_id=role.client_id)
    return rule
