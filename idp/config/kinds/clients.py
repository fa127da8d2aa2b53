"""Clients, resource servers and types of authorization details."""

import json
from collections.abc import Collection
from hmac import compare_digest
from typing import Any, ClassVar

import msgspec

from idp import ids
from idp.admin.roles import Role
from idp.config.kinds.base import Kind, KindWithSecret, Reference, without
from idp.oauth.clients import profiles, registration, repository, service
from idp.oauth.clients.metadata import ClientMetadata, metadata_of
from idp.oauth.clients.models import ResourceServer
from idp.oauth.clients.validation import completed, validate
from idp.oauth.details import registration as details
from idp.oauth.details import repository as details_repository
from idp.oauth.details import schemas
from idp.oauth.details.models import DetailsType


class ClientEntry(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client that an administrator registered, with the names of RFC 7591.

    Attributes:
        client_secret: where its secret is; of 32 to 200 visible ASCII characters.
        admin_role: its role at the admin API when it acts in its own name.
    """

    client_id: str
    client_secret: Reference | None = None
    admin_role: Role | None = None
    disabled: bool = False


class Clients(KindWithSecret):
    """Clients that an administrator registered. Those that registered themselves, or by a document, are left out."""

    section = "clients"
    model = ClientEntry
    key = ("client_id",)
    secret = "client_secret"
    topics = (registration.TOPIC,)

    async def read(self) -> list[ClientEntry]:
        return [
            ClientEntry(
                client_id=client.client_id,
                client_secret=Reference() if client.client_secret_hash is not None else None,
                admin_role=Role(client.admin_role) if client.admin_role is not None else None,
                disabled=client.disabled_at is not None,
                **msgspec.structs.asdict(metadata_of(client)),
            )
            for client in await repository.clients()
            if client.origin == "admin"
        ]

    def normal(self, entry: ClientEntry, named: Collection[str]) -> ClientEntry:
        registration.check_client_id(entry.client_id)
        whole = completed(profiles.completed(metadata_of(entry), set(named)))
        return msgspec.structs.replace(entry, **msgspec.structs.asdict(whole))

    def check(self, entry: ClientEntry) -> None:
        validate(metadata_of(entry))

    def needs_secret(self, entry: ClientEntry) -> bool:
        return entry.has_secret

    def accepts_secret(self, entry: ClientEntry) -> bool:
        return entry.has_secret

    async def create(self, entry: ClientEntry, secret: str | None) -> None:
        members = msgspec.structs.asdict(metadata_of(entry))
        await registration.register_client(entry.client_id, secret=secret, **members)
        if entry.admin_role is not None:
            await service.set_admin_role(entry.client_id, entry.admin_role)
        if entry.disabled:
            await registration.disable_client(entry.client_id)

    async def update(self, before: ClientEntry, after: ClientEntry, changed: Collection[str]) -> None:
        members = {name: getattr(after, name) for name in changed if name in ClientMetadata.__struct_fields__}
        if members:
            await service.update_client(after.client_id, **members)
        if "admin_role" in changed:
            await service.set_admin_role(after.client_id, after.admin_role)
        if "disabled" in changed:
            await (registration.disable_client if after.disabled else registration.enable_client)(after.client_id)

    async def delete(self, entry: ClientEntry) -> None:
        await service.delete_client(entry.client_id)

    def check_secret(self, entry: ClientEntry, secret: str) -> None:
        registration.check_secret(secret)

    async def has_secret(self, entry: ClientEntry, secret: str) -> bool:
        client = await repository.find_client(entry.client_id)
        stored = client.client_secret_hash if client is not None else None
        encrypted = client is not None and client.client_secret_encrypted is not None
        return compare_digest(ids.digest(secret), stored or b"") and (encrypted or not entry.signs_with_secret)

    async def set_secret(self, entry: ClientEntry, secret: str) -> None:
        await registration.rotate_secret(entry.client_id, secret=secret)

    async def losses(self, entry: ClientEntry) -> str:
        return "Roles, policies, consents and tokens of the client end."


class ResourceServers(Kind):
    """Services that accept access tokens."""

    section = "resource_servers"
    model: ClassVar[Any] = without(ResourceServer, "ResourceServerEntry", "jwks_id")
    key = ("identifier",)
    topics = (registration.TOPIC,)

    async def read(self) -> list[Any]:
        fields = self.model.__struct_fields__
        return [
            self.model(**{name: getattr(server, name) for name in fields})
            for server in await repository.stored_resource_servers()
        ]

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        registration.check_resource_server(ResourceServer(**msgspec.structs.asdict(entry)))
        return entry

    async def create(self, entry: Any, secret: str | None) -> None:
        await registration.register_resource_server(**msgspec.structs.asdict(entry))

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        await service.update_resource_server(after.identifier, **{name: getattr(after, name) for name in changed})

    async def delete(self, entry: Any) -> None:
        await service.delete_resource_server(entry.identifier)

    async def losses(self, entry: Any) -> str:
        return "No more tokens are issued for the resource server, and its JWKS URL is gone."


class DetailsTypes(Kind):
    """Types of authorization details. The JSON Schema is an object in files."""

    section = "authorization_details_types"
    model: ClassVar[Any] = without(DetailsType, "DetailsTypeEntry", "id", schema=dict[str, Any])
    key = ("type",)
    topics = (registration.TOPIC,)

    async def read(self) -> list[Any]:
        fields = [name for name in self.model.__struct_fields__ if name != "schema"]
        return [
            self.model(schema=json.loads(each.schema), **{name: getattr(each, name) for name in fields})
            for each in await details_repository.types()
        ]

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        # Equal for equal schemas.
        return msgspec.structs.replace(entry, schema=json.loads(schemas.normal(entry.schema)))

    async def create(self, entry: Any, secret: str | None) -> None:
        await details.register_type(**self._values(entry, entry.__struct_fields__))

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        stored = next(each for each in await details_repository.types() if each.type == after.type)
        await details.update_type(stored.id, **self._values(after, changed))

    async def delete(self, entry: Any) -> None:
        stored = next(each for each in await details_repository.types() if each.type == entry.type)
        await details.delete_type(stored.id)

    async def losses(self, entry: Any) -> str:
        return "Tokens are issued without details of this type."

    def _values(self, entry: Any, names: Collection[str]) -> dict[str, Any]:
        values = {name: getattr(entry, name) for name in names}
        return values | ({"schema": schemas.normal(values["schema"])} if "schema" in values else {})
