"""Access policies, and what a client has several of: claim mappings, policies of token exchange, and so on."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, ClassVar

import msgspec

from idp.config.kinds.base import Kind, RoleName, plain, without
from idp.config.kinds.lookups import (
    group_named,
    group_names,
    organization_named,
    registered_clients,
    role_named,
    role_names,
    slugs,
    sorted_roles,
)
from idp.oauth.access_policies import registration as access
from idp.oauth.access_policies.models import AccessPolicy
from idp.oauth.access_policies.repository import policies as access_policies
from idp.oauth.claims import registration as claims
from idp.oauth.claims.models import ClaimMapping
from idp.oauth.claims.repository import mappings
from idp.oauth.clients.registration import TOPIC
from idp.oauth.clients.workloads import registration as workloads
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.clients.workloads.repository import identities
from idp.oauth.exchange import registration as exchange
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.repository import policies as exchange_policies
from idp.oauth.id_jag import registration as id_jag
from idp.oauth.id_jag.models import IdJagPolicy
from idp.oauth.id_jag.repository import policies as id_jag_policies
from idp.settings import settings


class AccessPolicies(Kind):
    """Access policies: which users may use a client."""

    section = "access_policies"
    model: ClassVar[Any] = without(
        AccessPolicy, "AccessPolicyEntry", "updated_at",
        groups=(tuple[str, ...], ()), organizations=(tuple[str, ...], ()), roles=(tuple[RoleName, ...], ()),
    )  # fmt: skip
    key = ("client_id",)
    topics = (TOPIC,)

    async def read(self) -> list[Any]:
        groups, owners, roles, known = (
            await group_names(),
            await slugs(),
            await role_names(),
            await registered_clients(),
        )
        return [
            self.model(
                **{name: getattr(policy, name) for name in self._kept()},
                groups=tuple(sorted(groups[key] for key in policy.groups)),
                organizations=tuple(sorted(owners[key] for key in policy.organizations)),
                roles=sorted_roles(roles[key] for key in policy.roles if key in roles),
            )
            for policy in await access_policies()
            if policy.client_id in known
        ]

    def _kept(self) -> Iterable[str]:
        return (name for name in self.model.__struct_fields__ if name not in ("groups", "organizations", "roles"))

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        return msgspec.structs.replace(
            entry,
            groups=tuple(sorted(set(entry.groups))),
            organizations=tuple(sorted(set(entry.organizations))),
            roles=sorted_roles(entry.roles),
        )

    async def create(self, entry: Any, secret: str | None) -> None:
        values = {name: plain(getattr(entry, name)) for name in self._kept() if name != "client_id"}
        values["groups"] = [(await group_named(name)).id for name in entry.groups]
        values["organizations"] = [(await organization_named(slug)).id for slug in entry.organizations]
        values["roles"] = [(await role_named(role)).id for role in entry.roles]
        await access.set_policy(entry.client_id, **values)

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        await self.create(after, None)

    async def delete(self, entry: Any) -> None:
        await access.remove_policy(entry.client_id)

    async def losses(self, entry: Any) -> str:
        return "Everyone may then use the client."


class SetOfClient(Kind):
    """Records that a client has several of. Each is never changed, but replaced.

    An entry has all that the client has. A class per kind says what one is, and how it is read, added and removed.
    """

    member: ClassVar[str]
    key = ("client_id",)
    topics = (TOPIC,)
    all: ClassVar[Callable[[], Awaitable[Iterable[Any]]]]
    add: ClassVar[Callable[..., Awaitable[Any]]]
    remove: ClassVar[Callable[..., Awaitable[None]]]
    item: ClassVar[Any]

    async def read(self) -> list[Any]:
        known = {*await registered_clients(), None}
        found: dict[str | None, list[Any]] = {}
        for one in await type(self).all():
            if one.client_id in known:
                found.setdefault(one.client_id, []).append(self._item(one))
        return [self._entry(client_id, items) for client_id, items in found.items()]

    def _item(self, one: Any) -> Any:
        return self.item(**{name: getattr(one, name) for name in self.item.__struct_fields__})

    def _entry(self, client_id: str | None, items: Iterable[Any]) -> Any:
        unique = {_text(item): item for item in items}
        return self.model(**{"client_id": client_id, self.member: tuple(unique[text] for text in sorted(unique))})

    def items(self, entry: Any) -> Iterable[Any]:
        found: Iterable[Any] = getattr(entry, self.member)
        return found

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        return self._entry(entry.client_id, self.items(entry))

    def label(self, entry: Any) -> str:
        return entry.client_id or "(every client)"

    async def create(self, entry: Any, secret: str | None) -> None:
        for item in self.items(entry):
            await self._add(entry.client_id, item)

    async def _add(self, client_id: str | None, item: Any) -> None:
        await type(self).add(client_id, **{name: plain(getattr(item, name)) for name in item.__struct_fields__})

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        wanted = {_text(item): item for item in self.items(after)}
        for one in await type(self).all():
            if one.client_id == after.client_id and wanted.pop(_text(self._item(one)), None) is None:
                await type(self).remove(one.id)
        for item in wanted.values():
            await self._add(after.client_id, item)

    async def delete(self, entry: Any) -> None:
        for one in await type(self).all():
            if one.client_id == entry.client_id:
                await type(self).remove(one.id)


def _text(item: Any) -> str:
    """Return an item as text, equal for equal items, to sort and compare."""
    return msgspec.json.encode(item, order="deterministic").decode()


def _set_model(name: str, member: str, item: Any, *, every: bool = False) -> Any:
    owner = ("client_id", str | None, None) if every else ("client_id", str)
    made = msgspec.defstruct(
        name, [owner, (member, tuple[item, ...])], frozen=True, kw_only=True, forbid_unknown_fields=True,
        module=__name__,
    )  # fmt: skip
    made.__doc__ = f"All {member} of a client."
    return made


class ClaimMappings(SetOfClient):
    """All claim mappings of a client. Without a client, those for every client."""

    section = "claim_mappings"
    member = "mappings"
    item: ClassVar[Any] = without(
        ClaimMapping, "ClaimMappingEntry", "id", "client_id", "created_at", "when_asked", "beside_profile"
    )
    model: ClassVar[Any] = _set_model("ClaimMappingsEntry", "mappings", item, every=True)
    all, add, remove = staticmethod(mappings), staticmethod(claims.add), staticmethod(claims.remove)


class ExchangePolicies(SetOfClient):
    """All policies of token exchange of a client."""

    section = "token_exchange_policies"
    member = "policies"
    item: ClassVar[Any] = without(ExchangePolicy, "ExchangePolicyEntry", "id", "client_id", "created_at")
    model: ClassVar[Any] = _set_model("ExchangePoliciesEntry", "policies", item)
    all, add, remove = staticmethod(exchange_policies), staticmethod(exchange.add), staticmethod(exchange.remove)


class IdJagPolicies(SetOfClient):
    """All policies of identity assertions of a client."""

    section = "id_jag_policies"
    member = "policies"
    item: ClassVar[Any] = without(IdJagPolicy, "IdJagPolicyEntry", "id", "client_id", "created_at")
    model: ClassVar[Any] = _set_model("IdJagPoliciesEntry", "policies", item)
    all, add, remove = staticmethod(id_jag_policies), staticmethod(id_jag.add), staticmethod(id_jag.remove)


class WorkloadIdentities(SetOfClient):
    """All workload identities of a client. The default audience is the issuer of this server."""

    section = "workload_identities"
    member = "identities"
    item: ClassVar[Any] = without(
        WorkloadIdentity, "WorkloadIdentityEntry", "id", "client_id", "created_at", audience=(str | None, None)
    )
    model: ClassVar[Any] = _set_model("WorkloadIdentitiesEntry", "identities", item)
    all, add, remove = staticmethod(identities), staticmethod(workloads.add), staticmethod(workloads.remove)

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        own = settings().issuer
        items = [msgspec.structs.replace(one, audience=one.audience or own) for one in self.items(entry)]
        return self._entry(entry.client_id, items)
