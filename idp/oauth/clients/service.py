"""Changing and removing clients and resource servers, and refusing what was issued before a moment.

Each change is one transaction with its notice and its audit event, as in :mod:`idp.oauth.clients.registration`.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from idp import clock
from idp.audit.events import record
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetchrow
from idp.keys import lifecycle
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata, validate
from idp.oauth.clients.registration import UnknownClientError, change, check_resource_server, columns
from idp.oauth.clients.registry import Client, ResourceServer
from idp.oauth.clients.tables import ClientRow, ResourceServerRow
from idp.oauth.sign_out import revoke_tokens_of_client

#: Decides which redirect URIs are allowed at all. A client of another type is registered anew.
FIXED = "application_type"

_CLIENT = f"SELECT {all_columns(ClientRow)} FROM client WHERE client_id = $1 FOR UPDATE"  # noqa: S608
_RESOURCE_SERVER = f"SELECT {all_columns(ResourceServerRow)} FROM resource_server WHERE identifier = $1 FOR UPDATE"  # noqa: S608
_SET_ROLE = """
UPDATE client SET admin_role = $2, updated_at = now()
WHERE client_id = $1 AND ($3::timestamptz IS NULL OR updated_at = $3)
"""
_DELETE_CLIENT = "DELETE FROM client WHERE client_id = $1"
_DELETE_RESOURCE_SERVER = "DELETE FROM resource_server WHERE identifier = $1"
# Only ever forward: what was refused once must not come back to life.
_NOT_BEFORE = "UPDATE client SET not_before = greatest(not_before, $2), updated_at = now() WHERE client_id = $1"
_NOT_BEFORE_ALL = """
INSERT INTO not_before AS n (id, not_before) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET not_before = greatest(n.not_before, $1)
"""


class VersionConflictError(ConflictError):
    """Somebody else has changed it meanwhile."""

    code = "outdated"
    status = HTTPStatus.PRECONDITION_FAILED

    def __init__(self) -> None:
        super().__init__("It was changed by somebody else meanwhile. Look at it again.")


class NotBeforeInFutureError(ValidationError):
    """What will be issued cannot be refused: nothing could take that back."""

    code = "moment_to_come"

    def __init__(self) -> None:
        super().__init__("The moment must not be in the future.")


class UnknownResourceServerError(NotFoundError):
    """There is no such resource server."""

    def __init__(self) -> None:
        super().__init__("There is no resource server with this identifier.")


def _check_expected(row: asyncpg.Record, expected: datetime | None) -> None:
    if expected is not None and row["updated_at"] != expected:
        raise VersionConflictError


async def update_client(client_id: str, expected: datetime | None = None, **changes: Any) -> Client:
    """Change the metadata of a client. What it was issued stays valid, and sign-ins under way go by the new metadata.

    A client that becomes public loses its secret, and what was issued while a secret protected it is revoked. One that
    is public no more has no secret until :func:`~idp.oauth.clients.registration.rotate_secret` makes one.

    Args:
        expected: the ``updated_at`` that the caller has seen.
        changes: fields of :class:`ClientMetadata`, except :data:`FIXED`.

    Raises:
        UnknownClientError: there is none.
        VersionConflictError: it was changed since.
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata`` (RFC 7591 section 3.2.2).
    """
    async with change():
        row = await fetchrow(_CLIENT, client_id)
        if row is None:
            raise UnknownClientError("There is no client with this id.")
        _check_expected(row, expected)
        before = {name: row[name] for name in ClientMetadata.__struct_fields__}
        try:
            asked = msgspec.convert(before | changes, ClientMetadata)
        except msgspec.ValidationError as error:
            raise invalid_metadata("The metadata has an unknown member, or one of a wrong type.") from error
        if getattr(asked, FIXED) != row[FIXED]:
            raise invalid_metadata(f"{FIXED} cannot be changed. Register another client.")
        validate(asked)
        await lifecycle.ensure_signing_key(asked.id_token_signed_response_alg)
        values: dict[Any, Any] = {name: value for name, value in columns(asked).items() if value != before[name]}
        if asked.public and row["client_secret_hash"] is not None:
            values |= {"client_secret_hash": None}
            await revoke_tokens_of_client(client_id, "client_made_public")
        if values:
            values |= {"updated_at": clock.now()}
            await ClientRow.update(values, force=True).where(ClientRow.client_id == client_id)
            changed = sorted(values.keys() - {"updated_at", "client_secret_hash"})
            await record("client_updated", client_id=client_id, detail={"changed": changed})
        secret_hash = None if asked.public else row["client_secret_hash"]
        return msgspec.convert(dict(row) | columns(asked) | {"client_secret_hash": secret_hash}, Client)


async def set_admin_role(client_id: str, role: str | None, expected: datetime | None = None) -> None:
    """Say what a client may do at the admin API in its own name.

    Raises:
        UnknownClientError: there is none.
        VersionConflictError: it was changed since.
    """
    async with change():
        if not await execute(_SET_ROLE, client_id, role, expected):
            if expected is not None:
                raise VersionConflictError
            raise UnknownClientError("There is no client with this id.")
        await record("client_admin_role_set", client_id=client_id, detail={"role": role})


async def delete_client(client_id: str, expected: datetime | None = None) -> None:
    """Remove a client with all that was issued to it.

    Raises:
        UnknownClientError: there is none.
        VersionConflictError: it was changed since.
    """
    async with change():
        row = await fetchrow(_CLIENT, client_id)
        if row is None:
            raise UnknownClientError("There is no client with this id.")
        _check_expected(row, expected)
        await revoke_tokens_of_client(client_id, "client_deleted")
        await execute(_DELETE_CLIENT, client_id)
        await record("client_deleted", client_id=client_id)


async def set_not_before(client_id: str | None, moment: datetime) -> None:
    """Refuse whatever was issued before a moment: to one client, or to all (None). It is only ever moved forward.

    Every validator of ours goes by the later of the two; other workers do within about a second.

    Raises:
        UnknownClientError: there is none.
        NotBeforeInFutureError: it is later than now.
    """
    if moment > clock.now():
        raise NotBeforeInFutureError
    async with change():
        if client_id is None:
            await execute(_NOT_BEFORE_ALL, moment)
        elif not await execute(_NOT_BEFORE, client_id, moment):
            raise UnknownClientError("There is no client with this id.")
        await record("not_before_set", client_id=client_id, detail={"not_before": moment.isoformat()})


async def update_resource_server(identifier: str, expected: datetime | None = None, **changes: Any) -> ResourceServer:
    """Change what is known of a resource server, but for its identifier and its JWKS URL.

    Raises:
        UnknownResourceServerError: there is none.
        VersionConflictError: it was changed since.
        OAuthError: ``invalid_client_metadata``.
    """
    async with change():
        row = await fetchrow(_RESOURCE_SERVER, identifier)
        if row is None:
            raise UnknownResourceServerError
        _check_expected(row, expected)
        before = {name: row[name] for name in ResourceServer.__struct_fields__}
        try:
            server = msgspec.convert(before | changes, ResourceServer)
        except msgspec.ValidationError as error:
            raise invalid_metadata("The metadata has a member of a wrong type.") from error
        if (server.identifier, server.jwks_id) != (identifier, row["jwks_id"]):
            raise invalid_metadata("The identifier and the JWKS URL cannot be changed.")
        check_resource_server(server)
        await lifecycle.ensure_signing_key(server.access_token_signed_response_alg)
        values: dict[Any, Any] = {name: value for name, value in columns(server).items() if value != before[name]}
        if values:
            values |= {"updated_at": clock.now()}
            await ResourceServerRow.update(values, force=True).where(ResourceServerRow.identifier == identifier)
            detail = {"identifier": identifier, "changed": sorted(values.keys() - {"updated_at"})}
            await record("resource_server_updated", client_id=server.client_id, detail=detail)
        return server


async def delete_resource_server(identifier: str, expected: datetime | None = None) -> None:
    """Remove a resource server. Tokens for it are not issued any more; its JWKS URL is gone.

    Raises:
        UnknownResourceServerError: there is none.
        VersionConflictError: it was changed since.
    """
    async with change():
        row = await fetchrow(_RESOURCE_SERVER, identifier)
        if row is None:
            raise UnknownResourceServerError
        _check_expected(row, expected)
        await execute(_DELETE_RESOURCE_SERVER, identifier)
        await record("resource_server_deleted", client_id=row["client_id"], detail={"identifier": identifier})
