"""Finding the client that a screen is about."""

from typing import Any

from idp.admin.access import check_client
from idp.admin.console.components import one
from idp.admin.console.screen import HOME, AdminRequest
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import CLIENTS, flat


def path_of(client_id: str) -> str:
    """Return the path of a client's page below that of the console."""
    return f"/clients/{path_id(client_id)}"


def url_of(client_id: str) -> str:
    """Return the path of a client's page."""
    return f"{HOME}{path_of(client_id)}"


async def read_client(client_id: str) -> dict[str, Any]:
    """Return the row of a client with the members of its metadata.

    Raises:
        PageError: there is no such client.
    """
    return flat(await one(CLIENTS, client_id=client_id))


async def named_client(client_id: str) -> dict[str, Any]:
    """Return the facts that name a client."""
    row = await read_client(client_id)
    return {"Name": row["client_name"], "Client id": row["client_id"]}


async def allowed_client(request: AdminRequest, client_id: str) -> str:
    """Return the id of a client that the caller may change.

    Raises:
        PageError: there is no such client.
        PermissionDeniedError: only an owner may change it.
    """
    await one(CLIENTS, client_id=client_id)
    await check_client(request.caller, client_id)
    return client_id
