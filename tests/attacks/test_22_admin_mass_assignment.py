"""Row 22: members that the caller must not set. Unknown ones are refused, and nothing changes."""

from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.api.openapi import document
from idp.admin.roles import Role
from idp.infra.db.engine import fetchrow
from tests.admin.api.conftest import Caller, make_caller
from tests.support.server import Server

PROTECTED: dict[str, Any] = {
    "email_verified": True,
    "phone_number_verified": True,
    "password_hash": "x",
    "password": "x",
    "roles": ["owner"],
    "role": "owner",
    "admin_role": "owner",
    "disabled_at": None,
    "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2020-01-01T00:00:00Z",
    "id": "00000000-0000-7000-8000-000000000000",
    "two_step": False,
    "client_secret_hash": "x",
    "not_before": None,
    "jwks_id": "x",
    "identifier": "https://other.example.com",
    "config": {},
    "__class__": "x",
}
BODIES = {
    (method.upper(), path): operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
}


@pytest.fixture
async def owner(server: Server, http: httpx.AsyncClient) -> Caller:
    return await make_caller(server, http, Role.OWNER)


def test_22_no_schema_accepts_unknown_members() -> None:
    schemas = document()["components"]["schemas"]
    for reference in BODIES.values():
        assert schemas[reference.rpartition("/")[2]]["additionalProperties"] is False, reference


@pytest.mark.parametrize("member", PROTECTED)
async def test_22_a_profile_has_no_other_members(member: str, owner: Caller, alice: User) -> None:
    before = await fetchrow("SELECT * FROM users WHERE id = $1", alice.id)
    answer = await owner.changed("PATCH", f"/users/{alice.id}", {"name": "Mallory", member: PROTECTED[member]})
    assert answer.status_code == 422
    assert await fetchrow("SELECT * FROM users WHERE id = $1", alice.id) == before


@pytest.mark.parametrize("member", PROTECTED)
async def test_22_clients_and_resource_servers(member: str, owner: Caller) -> None:
    client = (await owner("POST", "/clients", {"client_name": "X", "redirect_uris": ["https://x.example/cb"]})).json()
    answer = await owner.changed("PATCH", f"/clients/{client['client_id']}", {member: PROTECTED[member]})
    assert answer.status_code == 422
    identifier = f"https://{client['client_id']}.example.com"
    made = (await owner("POST", "/resource_servers", {"identifier": identifier, "name": "X"})).json()
    answer = await owner.changed("PATCH", f"/resource_servers/{made['jwks_id']}", {member: PROTECTED[member]})
    assert answer.status_code == 422
    row = await fetchrow("SELECT identifier, jwks_id FROM resource_server WHERE jwks_id = $1", made["jwks_id"])
    assert row is not None
    assert row["identifier"] == identifier
