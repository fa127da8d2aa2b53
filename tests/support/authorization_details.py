"""Types of authorization details for tests, which are deleted afterwards."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_resource_server
from idp.oauth.details.models import DetailsType
from idp.oauth.details.registration import register_type
from tests.support.server import Server

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "actions": {"type": "array", "items": {"enum": ["initiate", "status", "cancel"]}},
        "locations": {"type": "array", "items": {"type": "string"}},
        "creditor": {"type": "string", "maxLength": 200},
        "amount": {
            "type": "object",
            "properties": {"currency": {"pattern": "^[A-Z]{3}$"}, "value": {"type": "string"}},
            "required": ["currency", "value"],
            "additionalProperties": False,
        },
        "reference": {"type": "integer"},
    },
    "required": ["type", "amount"],
    "additionalProperties": False,
}
AMOUNT = {"currency": "EUR", "value": "123.50"}
#: Registers a type with a resource server of its own. Returns once the server knows it.
Register = Callable[..., Awaitable[DetailsType]]


def detail(kind: DetailsType, **changes: Any) -> dict[str, Any]:
    """Return an object of the type. A change to None leaves a member out."""
    values = {"type": kind.type, "actions": ["initiate", "status"], "amount": AMOUNT, "creditor": "Dr Müller"}
    return {name: value for name, value in (values | changes).items() if value is not None}


@asynccontextmanager
async def registering(server: Server, http: httpx.AsyncClient) -> AsyncIterator[Register]:
    resources: list[str] = []

    async def register(client_id: str | None = None, **values: Any) -> DetailsType:
        name = secrets.token_hex(6)
        resources.append(f"https://{name}.example.com")
        await register_resource_server(resources[-1], f"Bank {name}", witnessed=False, client_id=client_id)
        defaults = {
            "type": f"payment_{name}", "resource": resources[-1], "title": "Make a payment",
            "summary": "{amount.value} {amount.currency} to {creditor}", "schema": json.dumps(SCHEMA),
        }  # fmt: skip
        kind = await register_type(**defaults | values)
        await registry.load()
        await _until_known(server, http, kind.type)
        return kind

    yield register
    for resource in resources:
        await delete_resource_server(resource)
    await registry.load()


async def _until_known(server: Server, http: httpx.AsyncClient, name: str) -> None:
    async with asyncio.timeout(30):
        while True:
            found = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
            if name in found.get("authorization_details_types_supported", ()):
                return
            await asyncio.sleep(0.02)
