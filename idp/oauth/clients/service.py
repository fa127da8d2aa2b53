"""Changing and deleting clients and resource servers, and refusing tokens issued before a moment.

Each change is one transaction with its cache invalidation and audit event, as in
:mod:`idp.oauth.clients.registration`.
"""

from datetime import datetime
from typing import Any

import msgspec

from idp import clock
from idp.audit.events import record
from idp.directory.repository import deletions
from idp.errors import NotFoundError, ValidationError, VersionConflictError
from idp.keys import lifecycle
from idp.oauth.clients import profiles, repository, sectors
from idp.oauth.clients.documents import document
from idp.oauth.clients.metadata import FIXED, ClientMetadata, ends_tokens, invalid_metadata, read_metadata
from idp.oauth.clients.models import Client, ResourceServer, StoredClient, StoredResourceServer
from idp.oauth.clients.registration import (
    Also,
    UnknownClientError,
    change,
    check_resource_server,
    ensure_signing_keys,
    nothing,
)
from idp.oauth.clients.repository import columns
from idp.oauth.clients.validation import validate
from idp.oauth.repository.families import revoke_families_of_client_before
from idp.oauth.sign_out import revoke_tokens_of_client
from idp.oauth.status.revocation_list import bury_client

#: After a change of these the document of the client's sector is read again.
SECTOR_MEMBERS = frozenset({"sector_identifier_uri", "redirect_uris"})


class NotBeforeInFutureError(ValidationError):
    """A not-before moment in the future is refused, since it cannot be moved back."""

    code = "moment_to_come"

    def __init__(self) -> None:
        super().__init__("The moment must not be in the future.")


class UnknownResourceServerError(NotFoundError):
    """There is no such resource server."""

    def __init__(self) -> None:
        super().__init__("There is no resource server with this identifier.")


async def _lock_client(client_id: str, expected: datetime | None) -> StoredClient:
    """Return the client, locked.

    Raises:
        UnknownClientError: there is no such client.
        VersionConflictError: it was changed since.
    """
    client = await repository.lock_client(client_id)
    if client is None:
        raise UnknownClientError("There is no client with this id.")
    if expected is not None and client.updated_at != expected:
        raise VersionConflictError
    return client


async def _lock_resource_server(identifier: str, expected: datetime | None) -> StoredResourceServer:
    """Return the resource server, locked.

    Raises:
        UnknownResourceServerError: there is no such resource server.
        VersionConflictError: it was changed since.
    """
    server = await repository.lock_resource_server(identifier)
    if server is None:
        raise UnknownResourceServerError
    if expected is not None and server.updated_at != expected:
        raise VersionConflictError
    return server


async def update_client(
    client_id: str, expected: datetime | None = None, *, also: Also = nothing, **changes: Any
) -> Client:
    """Change the metadata of a client. Its tokens stay valid, and sign-ins under way use the new metadata.

    A client whose method needs no secret any more loses it. If it becomes public, or its pairwise subjects are for
    another sector, the codes and tokens that were issued to it are revoked. One whose method needs a secret, or signs
    with it, has none until :func:`~idp.oauth.clients.registration.rotate_secret` makes one. Members that the changes do
    not name get a value that its profile allows.

    Args:
        expected: the ``updated_at`` that the caller has read.
        also: what else the transaction does, last.
        changes: fields of :class:`ClientMetadata`, except :data:`~idp.oauth.clients.metadata.FIXED`.

    Raises:
        UnknownClientError: there is no such client.
        VersionConflictError: it was changed since.
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata`` (RFC 7591 section 3.2.2).
    """
    # Outside of the transaction, which must not wait for another server.
    sector = await _fetch_sector(client_id, changes) if changes.keys() & SECTOR_MEMBERS else None
    async with change():
        client = await _lock_client(client_id, expected)
        asked = _changed(client, changes)
        values = {name: value for name, value in _members(asked).items() if value != getattr(client, name)}
        if values.keys() & SECTOR_MEMBERS:
            sectors.check(asked, sector)
        await ensure_signing_keys(asked)
        if not asked.has_secret and client.secrets:
            await repository.drop_secrets(client_id)
        elif not asked.signs_with_secret and any(secret.encrypted for secret in client.secrets):
            await repository.drop_encrypted_secrets(client_id)
        if reason := ends_tokens(client, asked):
            await revoke_tokens_of_client(client_id, reason)
        if values:
            await repository.update_metadata(client_id, values)
            if client.origin == "document":
                # It would come back without these values.
                await repository.never_expires(client_id)
            await record("client_updated", client_id=client_id, detail={"changed": sorted(values)})
        changed = await _lock_client(client_id, None)
        await also(changed)
        return changed


def _changed(client: Client, changes: dict[str, Any]) -> ClientMetadata:
    """Return the metadata of a client after a change.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    asked = read_metadata(_members(client) | changes)
    for name in FIXED:
        if getattr(asked, name) != getattr(client, name):
            raise invalid_metadata(f"{name} cannot be changed. Register another client.")
    if client.origin == "document":
        _check_change_of_document(client, asked)
        return validate(asked)
    return validate(profiles.completed(asked, changes.keys()))


def _check_change_of_document(client: Client, asked: ClientMetadata) -> None:
    """Check a change of a client by document. The document decides about its members, and users are always asked.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    for name in sorted(document.MEMBERS):
        if getattr(asked, name) != getattr(client, name):
            raise invalid_metadata(f"{name} is what the document of the client says.")
    if asked.skip_consent:
        raise invalid_metadata("skip_consent is not possible for a client by document.")


def _members(metadata: ClientMetadata) -> dict[str, Any]:
    return {name: getattr(metadata, name) for name in ClientMetadata.__struct_fields__}


async def _fetch_sector(client_id: str, changes: dict[str, Any]) -> sectors.Sector | None:
    """Return the document of the client's sector after a change, if it has one."""
    client = await repository.find_client(client_id)
    uri = _changed(client, changes).sector_identifier_uri if client is not None else None
    return await sectors.fetch(uri) if uri is not None else None


async def set_admin_role(client_id: str, role: str | None, expected: datetime | None = None) -> None:
    """Set the role of a client at the admin API when it acts in its own name.

    Raises:
        UnknownClientError: there is no such client.
        VersionConflictError: it was changed since.
    """
    async with change():
        if not await repository.set_admin_role(client_id, role, expected):
            if expected is not None:
                raise VersionConflictError
            raise UnknownClientError("There is no client with this id.")
        await record("client_admin_role_set", client_id=client_id, detail={"role": role})


async def delete_client(client_id: str, expected: datetime | None = None) -> None:
    """Delete a client and everything that was issued to it.

    Raises:
        UnknownClientError: there is no such client.
        VersionConflictError: it was changed since.
    """
    async with change():
        await _lock_client(client_id, expected)
        await revoke_tokens_of_client(client_id, "client_deleted")
        await bury_client(client_id)
        await deletions.note_roles_of_client(client_id)
        await repository.delete_client(client_id)
        await record("client_deleted", client_id=client_id)


async def set_not_before(client_id: str | None, moment: datetime) -> None:
    """Refuse tokens issued before a moment: those of one client, or of all (None). It only moves forward.

    The later of the two moments counts. Other workers apply a change within about a second.

    Raises:
        UnknownClientError: there is no such client.
        NotBeforeInFutureError: the moment is later than now.
    """
    async with change():
        await advance_not_before(client_id, moment)
        if client_id is not None:
            # What other clients got in exchange for its tokens ends with their families.
            await revoke_families_of_client_before(client_id, moment, "not_before")


async def advance_not_before(client_id: str | None, moment: datetime) -> None:
    """Like :func:`set_not_before`, for a caller that revokes the token families of the client itself."""
    if moment > clock.now():
        raise NotBeforeInFutureError
    async with change():
        if client_id is None:
            await repository.advance_not_before_of_all(moment)
        elif not await repository.advance_not_before(client_id, moment):
            raise UnknownClientError("There is no client with this id.")
        await record("not_before_set", client_id=client_id, detail={"not_before": moment.isoformat()})


async def update_resource_server(identifier: str, expected: datetime | None = None, **changes: Any) -> ResourceServer:
    """Change a resource server, except its identifier and its JWKS URL.

    Raises:
        UnknownResourceServerError: there is no such resource server.
        VersionConflictError: it was changed since.
        OAuthError: ``invalid_client_metadata``.
    """
    async with change():
        stored = await _lock_resource_server(identifier, expected)
        before = {name: columns(stored)[name] for name in ResourceServer.__struct_fields__}
        try:
            server = msgspec.convert(before | changes, ResourceServer)
        except msgspec.ValidationError as error:
            raise invalid_metadata("The metadata has a member of a wrong type.") from error
        if (server.identifier, server.jwks_id) != (identifier, stored.jwks_id):
            raise invalid_metadata("The identifier and the JWKS URL cannot be changed.")
        check_resource_server(server)
        await lifecycle.ensure_signing_key(server.access_token_signed_response_alg)
        values = {name: value for name, value in columns(server).items() if value != before[name]}
        if values:
            await repository.update_resource_server(identifier, values)
            detail = {"identifier": identifier, "changed": sorted(values)}
            await record("resource_server_updated", client_id=server.client_id, detail=detail)
        return server


async def delete_resource_server(identifier: str, expected: datetime | None = None) -> None:
    """Delete a resource server. No more tokens are issued for it, and its JWKS URL is gone.

    Raises:
        UnknownResourceServerError: there is no such resource server.
        VersionConflictError: it was changed since.
    """
    async with change():
        server = await _lock_resource_server(identifier, expected)
        await repository.delete_resource_server(identifier)
        await record("resource_server_deleted", client_id=server.client_id, detail={"identifier": identifier})
