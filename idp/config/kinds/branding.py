"""The branding of the server, of clients and of organizations."""

from collections.abc import Collection

import msgspec

from idp.branding import repository, service, validation
from idp.branding.models import Branding, Owner, Picture
from idp.branding.registry import TOPIC
from idp.config.kinds.base import Kind
from idp.config.kinds.lookups import organization_named
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.infra.db.listing import all_rows
from idp.oauth.clients.repository import clients


class BrandingEntry(Branding, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The look of pages and mails: of a client, of an organization, or of the server if it names neither.

    Attributes:
        client_id, organization: whose it is; the organization by its slug.
        logo, dark_logo, favicon, background: pictures as ``data:`` URLs.
    """

    client_id: str | None = None
    organization: str | None = None


class Brandings(Kind):
    """The look of pages and mails. That of clients that registered themselves is left out."""

    section = "branding"
    model = BrandingEntry
    key = ("client_id", "organization")
    topics = (TOPIC,)

    async def read(self) -> list[BrandingEntry]:
        slugs = {row["id"]: row["slug"] for row in await all_rows(ORGANIZATIONS)}
        named = {client.client_id for client in await clients() if client.origin == "admin"} | {None}
        return [
            BrandingEntry(
                client_id=owner.client_id,
                organization=slugs.get(owner.organization_id),
                **await service.with_content(branding),
            )
            for owner, branding in await repository.all_of_them()
            if owner.client_id in named
        ]

    def label(self, entry: BrandingEntry) -> str:
        return entry.client_id or entry.organization or "the server"

    def normal(self, entry: BrandingEntry, named: Collection[str]) -> BrandingEntry:
        if entry.client_id is not None and entry.organization is not None:
            raise validation.InvalidBrandingError("It is of a client or of an organisation, not of both.")
        values, uploaded = validation.without_content(_values(entry))
        stored = msgspec.structs.asdict(validation.checked(values))
        return msgspec.structs.replace(entry, **stored | _contents(stored, uploaded))

    async def create(self, entry: BrandingEntry, secret: str | None) -> None:
        await service.save(await _owner(entry), _values(entry))

    async def update(self, before: BrandingEntry, after: BrandingEntry, changed: Collection[str]) -> None:
        await service.save(await _owner(after), _values(after))

    async def delete(self, entry: BrandingEntry) -> None:
        await service.remove(await _owner(entry))


def _values(entry: BrandingEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in Branding.__struct_fields__}


def _contents(stored: dict[str, object], uploaded: dict[str, Picture]) -> dict[str, str]:
    """Return the pictures of an entry as ``data:`` URLs again, in the form of :func:`validation.data_url`."""
    urls = {sha256: validation.data_url(found) for sha256, found in uploaded.items()}
    return {name: urls[value] for name, value in stored.items() if isinstance(value, str) and value in urls}


async def _owner(entry: BrandingEntry) -> Owner:
    if entry.organization is not None:
        return Owner(organization_id=(await organization_named(entry.organization)).id)
    return Owner(client_id=entry.client_id)
