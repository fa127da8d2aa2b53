"""Operations on clients and resource servers."""

from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from idp import clock
from idp.admin.access import check_client, check_scope
from idp.admin.api.models import applications as models
from idp.admin.api.models.incidents import Containment
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.incidents import Report, contain_client
from idp.admin.roles import Permission
from idp.oauth.clients import registration, resource_metadata, service
from idp.oauth.clients.dynamic import service as dynamic
from idp.oauth.clients.repository import CLIENTS, RESOURCE_SERVERS, flat, with_descriptions
from idp.settings import settings


def _read_client(row: asyncpg.Record) -> models.Client:
    return msgspec.convert(flat(row), models.Client)


def _read_server(row: asyncpg.Record) -> models.ResourceServer:
    values = with_descriptions(row) | {"jwks_uri": f"{settings().issuer}/jwks/{row['jwks_id']}"}
    return msgspec.convert(values, models.ResourceServer)


listed("/clients", Permission.CLIENTS_READ, "List clients", listing=CLIENTS, read=_read_client, item=models.Client)
listed(
    "/resource_servers", Permission.RESOURCE_SERVERS_READ, "List resource servers",
    listing=RESOURCE_SERVERS, read=_read_server, item=models.ResourceServer,
)  # fmt: skip


@operation("GET", "/clients/{client_id}", Permission.CLIENTS_READ, "Show a client", content=models.Client)
async def show_client(call: Call) -> models.Client:
    found: models.Client = await one(CLIENTS, _read_client, client_id=call.params["client_id"])
    return found


async def _client(call: Call) -> models.Client:
    """Return the client named in the path, after checking that the caller may act on it."""
    await check_client(call.caller, call.params["client_id"])
    return await show_client(call)


@operation(
    "POST", "/clients", Permission.CLIENTS_WRITE, "Register a client; the response contains its secret, once",
    body=models.NewClient, content=models.NewSecret, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_client(call: Call) -> Result:
    check_scope(call.caller, call.body.scope.split())
    # A member that was not sent gets what the profile requires.
    values = {name: value for name, value in msgspec.to_builtins(call.body).items() if name in call.sent}
    client, secret = await registration.register_client(values.pop("client_id", None), **values)
    content = models.NewSecret(client_id=client.client_id, client_secret=secret)
    return Result(content, HTTPStatus.CREATED, f"/clients/{client.client_id}")


@operation(
    "PATCH", "/clients/{client_id}", Permission.CLIENTS_WRITE, "Change a client",
    body=models.ClientChange, content=models.Client, current=show_client,
)  # fmt: skip
async def update_client(call: Call) -> models.Client:
    client = await _client(call)
    values: dict[str, Any] = msgspec.to_builtins(call.body)
    check_scope(call.caller, values.get("scope", "").split())
    await service.update_client(client.client_id, call.current.updated_at, **values)
    return await show_client(call)


@operation("DELETE", "/clients/{client_id}", Permission.CLIENTS_WRITE, "Delete a client", current=show_client)
async def delete_client(call: Call) -> None:
    client = await _client(call)
    await service.delete_client(client.client_id, call.current.updated_at)


@operation(
    "POST", "/clients/{client_id}/rotate_secret", Permission.CLIENTS_WRITE, "Rotate the secret of a client",
    content=models.NewSecret,
)  # fmt: skip
async def rotate_secret(call: Call) -> models.NewSecret:
    client = await _client(call)
    secret = await registration.rotate_secret(client.client_id)
    return models.NewSecret(client_id=client.client_id, client_secret=secret)


@operation(
    "POST", "/clients/{client_id}/rotate_registration_token", Permission.CLIENTS_WRITE,
    "Rotate the registration access token of a client", content=models.NewRegistrationToken,
)  # fmt: skip
async def rotate_registration_token(call: Call) -> models.NewRegistrationToken:
    client = await _client(call)
    token = await dynamic.rotate_token(client.client_id)
    return models.NewRegistrationToken(client_id=client.client_id, registration_access_token=token)


@operation(
    "POST", "/clients/{client_id}/end_previous_secret", Permission.CLIENTS_WRITE,
    "End the secret of a client that was replaced", content=models.Client,
)  # fmt: skip
async def end_previous_secret(call: Call) -> models.Client:
    await registration.end_previous_secret((await _client(call)).client_id)
    return await show_client(call)


@operation("POST", "/clients/{client_id}/disable", Permission.CLIENTS_WRITE, "Disable a client", content=models.Client)
async def disable_client(call: Call) -> models.Client:
    await registration.disable_client((await _client(call)).client_id)
    return await show_client(call)


@operation("POST", "/clients/{client_id}/enable", Permission.CLIENTS_WRITE, "Enable a client", content=models.Client)
async def enable_client(call: Call) -> models.Client:
    await registration.enable_client((await _client(call)).client_id)
    return await show_client(call)


@operation(
    "POST", "/clients/{client_id}/not_before", Permission.CLIENTS_WRITE, "Reject a client's tokens of before a time",
    body=models.NotBeforeChange, content=models.Client,
)  # fmt: skip
async def set_not_before(call: Call) -> models.Client:
    client = await _client(call)
    await service.set_not_before(client.client_id, call.body.not_before or clock.now())
    return await show_client(call)


@operation(
    "POST",
    "/not_before",
    Permission.ADMINS_WRITE,
    "Reject all tokens issued before a time",
    body=models.NotBeforeChange,
)
async def set_not_before_of_all(call: Call) -> None:
    await service.set_not_before(None, call.body.not_before or clock.now())


@operation(
    "PUT", "/clients/{client_id}/admin_role", Permission.ADMINS_WRITE, "Set the role of a client at the admin API",
    body=models.ClientRole, content=models.Client, current=show_client,
)  # fmt: skip
async def set_admin_role(call: Call) -> models.Client:
    await service.set_admin_role(call.params["client_id"], call.body.role, call.current.updated_at)
    return await show_client(call)


@operation(
    "POST", "/clients/{client_id}/contain", Permission.CLIENTS_WRITE, "Contain a client",
    body=Containment, content=Report,
)  # fmt: skip
async def end_all_of_client(call: Call) -> Report:
    client = await _client(call)
    return await contain_client(client.client_id, disable=call.body.disable)


@operation(
    "GET", "/resource_servers/{jwks_id}", Permission.RESOURCE_SERVERS_READ, "Show a resource server",
    content=models.ResourceServer,
)  # fmt: skip
async def show_resource_server(call: Call) -> models.ResourceServer:
    found: models.ResourceServer = await one(RESOURCE_SERVERS, _read_server, jwks_id=call.params["jwks_id"])
    return found


@operation(
    "POST", "/resource_servers", Permission.RESOURCE_SERVERS_WRITE, "Register a resource server",
    body=models.NewResourceServer, content=models.ResourceServer, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_resource_server(call: Call) -> Result:
    values = msgspec.to_builtins(call.body)
    server = await registration.register_resource_server(values.pop("identifier"), values.pop("name"), **values)
    content = await one(RESOURCE_SERVERS, _read_server, jwks_id=server.jwks_id)
    return Result(content, HTTPStatus.CREATED, f"/resource_servers/{server.jwks_id}")


@operation(
    "POST", "/resource_servers/from_metadata", Permission.RESOURCE_SERVERS_WRITE,
    "Register a resource server by its own metadata",
    body=models.PublishedResourceServer, content=models.ResourceServer, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_published_resource_server(call: Call) -> Result:
    values = msgspec.to_builtins(call.body)
    published = await resource_metadata.fetch(values.pop("url"))
    server = await registration.register_resource_server(
        published.identifier, **{"name": published.name, "scope": published.scope} | values
    )
    content = await one(RESOURCE_SERVERS, _read_server, jwks_id=server.jwks_id)
    return Result(content, HTTPStatus.CREATED, f"/resource_servers/{server.jwks_id}")


@operation(
    "PATCH", "/resource_servers/{jwks_id}", Permission.RESOURCE_SERVERS_WRITE, "Change a resource server",
    body=models.ResourceServerChange, content=models.ResourceServer, current=show_resource_server,
)  # fmt: skip
async def update_resource_server(call: Call) -> models.ResourceServer:
    server: models.ResourceServer = call.current
    await service.update_resource_server(server.identifier, server.updated_at, **msgspec.to_builtins(call.body))
    return await show_resource_server(call)


@operation(
    "DELETE", "/resource_servers/{jwks_id}", Permission.RESOURCE_SERVERS_WRITE, "Delete a resource server",
    current=show_resource_server,
)  # fmt: skip
async def delete_resource_server(call: Call) -> None:
    server: models.ResourceServer = call.current
    await service.delete_resource_server(server.identifier, server.updated_at)
