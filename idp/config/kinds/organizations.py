"""Organizations, with their sign-in policy and the domains that they claim."""

from collections.abc import Collection, Iterable
from uuid import UUID

import msgspec

from idp.accounts.addresses import normalise_domain
from idp.config.kinds.base import Kind
from idp.config.kinds.lookups import organization_named
from idp.directory import domains, names, organizations, sign_in_policy_changes
from idp.directory.effective import DOMAINS_TOPIC, TOPIC
from idp.directory.models import Organization
from idp.directory.repository.domains import DOMAINS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.directory.sign_in_policy import SignInPolicy
from idp.infra.db.listing import all_rows


class SignInPolicyEntry(SignInPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a sign-in for the organization."""


class OrganizationEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organization: a customer, a department or a tenant.

    Attributes:
        domains: those that it claims. A TXT record proves them, and no file.
    """

    slug: str
    name: str
    disabled: bool = False
    domains: tuple[str, ...] = ()
    sign_in_policy: SignInPolicyEntry = SignInPolicyEntry()


class Organizations(Kind):
    """Organizations. Their members are no configuration."""

    section = "organizations"
    model = OrganizationEntry
    key = ("slug",)
    topics = (TOPIC, DOMAINS_TOPIC)

    async def read(self) -> list[OrganizationEntry]:
        return [await self._entry(await organizations.found(row["id"])) for row in await all_rows(ORGANIZATIONS)]

    async def _entry(self, found: Organization) -> OrganizationEntry:
        policy = await sign_in_policy_changes.policy_of(found.id)
        return OrganizationEntry(
            slug=found.slug,
            name=found.name,
            disabled=found.disabled_at is not None,
            domains=tuple(await self._domains(found.id)),
            sign_in_policy=SignInPolicyEntry(**msgspec.structs.asdict(policy)),
        )

    async def _domains(self, id: UUID) -> dict[str, UUID]:
        rows = await all_rows(DOMAINS, {"organization_id": str(id)})
        return {row["domain"]: row["id"] for row in rows}

    def normal(self, entry: OrganizationEntry, named: Collection[str]) -> OrganizationEntry:
        policy = sign_in_policy_changes.checked(msgspec.structs.asdict(entry.sign_in_policy))
        return msgspec.structs.replace(
            entry,
            slug=names.checked_slug(entry.slug),
            name=names.checked(entry.name),
            domains=tuple(sorted({normalise_domain(domain) for domain in entry.domains})),
            sign_in_policy=SignInPolicyEntry(**msgspec.structs.asdict(policy)),
        )

    def claims(self, entry: OrganizationEntry) -> Iterable[str]:
        return (f"The domain {domain}" for domain in entry.domains)

    async def create(self, entry: OrganizationEntry, secret: str | None) -> None:
        created = await organizations.create(entry.slug, entry.name)
        empty = OrganizationEntry(slug=entry.slug, name=entry.name)
        await self._set(created.id, empty, entry)

    async def update(self, before: OrganizationEntry, after: OrganizationEntry, changed: Collection[str]) -> None:
        await self._set((await organization_named(after.slug)).id, before, after)

    async def _set(self, id: UUID, before: OrganizationEntry, after: OrganizationEntry) -> None:
        if after.name != before.name:
            await organizations.rename(id, after.name)
        known = await self._domains(id)
        for domain in sorted(set(before.domains) - set(after.domains)):
            await domains.remove(known[domain])
        for domain in sorted(set(after.domains) - set(before.domains)):
            await domains.claim(id, domain)
        if after.sign_in_policy != before.sign_in_policy:
            await sign_in_policy_changes.set_policy(id, **msgspec.structs.asdict(after.sign_in_policy))
        if after.disabled != before.disabled:
            await (organizations.disable if after.disabled else organizations.enable)(id)

    async def delete(self, entry: OrganizationEntry) -> None:
        await organizations.delete((await organization_named(entry.slug)).id)

    async def losses(self, entry: OrganizationEntry) -> str:
        return "Memberships, roles, domains and upstreams are deleted. The users stay."
