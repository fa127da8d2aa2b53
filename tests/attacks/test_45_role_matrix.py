"""Row 45: privilege escalation by a delegated admin. Every role calls every operation of the document."""

import re
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.api.openapi import document
from idp.admin.roles import PERMISSIONS, Permission, Role, grant
from idp.oauth.clients.registration import register_client
from tests.admin.api.conftest import API, make_caller
from tests.support.server import Server

OPERATIONS = [
    (method.upper(), path, next(iter(operation["security"][0]["oauth2"]), None))
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
]
NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("role", [None, *Role])
async def test_45_every_role_at_every_operation(role: Role | None, server: Server, http: httpx.AsyncClient) -> None:
    """Operations that the table of roles does not name are denied. No existing record is changed."""
    caller = await make_caller(server, http, role)
    allowed = PERMISSIONS[role] if role is not None else frozenset()
    for method, path, permission in OPERATIONS:
        if (method, path) in {("POST", "/not_before"), ("POST", "/keys")}:
            continue  # these would succeed with an empty body; see below
        url = re.sub(r"{\w+}", NOWHERE, path)
        answer = await caller(method, url, {} if method != "GET" else None)
        if permission is None or permission in allowed:
            assert answer.status_code not in (401, 403), f"{role} {method} {path}: {answer.text}"
            assert answer.status_code < 500
        else:
            assert answer.status_code == 403, f"{role} {method} {path}: {answer.text}"


@pytest.mark.parametrize("path", ["/not_before", "/keys"])
async def test_45_those_that_need_no_record(path: str, server: Server, http: httpx.AsyncClient) -> None:
    for role in (None, Role.SUPPORT, Role.CLIENT_ADMIN, Role.AUDITOR):
        caller = await make_caller(server, http, role)
        assert (await caller("POST", path, {})).status_code == 403
    for _, each, permission in OPERATIONS:
        if each == "/not_before":
            assert permission == Permission.ADMINS_WRITE


@pytest.mark.parametrize(("method", "path", "permission"), OPERATIONS)
async def test_45_without_a_token_or_its_scope(
    method: str, path: str, permission: str | None, server: Server, http: httpx.AsyncClient
) -> None:
    filled = re.sub(r"{\w+}", NOWHERE, path)
    assert (await http.request(method, f"{server.issuer}{API}{filled}", json={})).status_code == 401


async def test_45_with_a_token_for_something_else(server: Server, http: httpx.AsyncClient) -> None:
    """An owner's token, but for another audience, or without the scope of the operation."""
    caller = await make_caller(server, http, Role.OWNER)
    tokens = {each: await caller.authenticate(scope=" ".join(set(Permission) - {each})) for each in Permission}
    for method, path, permission in OPERATIONS:
        if permission is not None:
            caller.token = tokens[Permission(permission)]
            answer = await caller(method, re.sub(r"{\w+}", NOWHERE, path), {})
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:idp:problem:insufficient_scope"), path
    await caller.authenticate(resource="")
    for method, path, _ in OPERATIONS:
        assert (await caller(method, re.sub(r"{\w+}", NOWHERE, path), {})).status_code == 401, path


async def test_45_support_does_not_get_at_admins(server: Server, http: httpx.AsyncClient, alice: User) -> None:
    await grant(alice.id, Role.AUDITOR)
    caller = await make_caller(server, http, Role.SUPPORT)
    calls: list[tuple[str, str, Any]] = [
        ("POST", act, body)
        for act, body in (
            *(("disable", None), ("enable", None), ("sign_out", None), ("reset_factors", None)),
            *(("send_password_reset", None), ("contain", {})),
        )
    ]
    for method, act, body in calls:
        assert (await caller(method, f"/users/{alice.id}/{act}", body)).status_code == 403, act
    assert (await caller.changed("PATCH", f"/users/{alice.id}", {"name": "X"})).status_code == 403
    assert (await caller.changed("DELETE", f"/users/{alice.id}")).status_code == 403
    assert (await caller("POST", "/admins", {"user_id": str(alice.id), "role": "owner"})).status_code == 403


async def test_45_a_client_admin_does_not_become_owner(server: Server, http: httpx.AsyncClient) -> None:
    caller = await make_caller(server, http, Role.CLIENT_ADMIN)
    scope = str(Permission.ADMINS_WRITE)
    asked = {"client_name": "X", "grant_types": ["client_credentials"], "scope": scope}
    assert (await caller("POST", "/clients", asked)).status_code == 403
    mine = await caller("POST", "/clients", asked | {"scope": ""})
    path = f"/clients/{mine.json()['client_id']}"
    assert (await caller.changed("PATCH", path, {"scope": scope})).status_code == 403
    assert (await caller("PUT", f"{path}/admin_role", {"role": "owner"}, If_Match="*")).status_code == 403
    theirs, _ = await register_client(client_name="Terraform", grant_types=["client_credentials"], scope=scope)
    for act in ("rotate_secret", "disable", "enable", "contain", "not_before"):
        answer = await caller("POST", f"/clients/{theirs.client_id}/{act}", {})
        assert answer.status_code == 403, act
    assert (await caller.changed("DELETE", f"/clients/{theirs.client_id}")).status_code == 403
    server_of_ours = {"identifier": f"{server.issuer}/admin/api", "name": "X", "client_id": mine.json()["client_id"]}
    assert (await caller("POST", "/resource_servers", server_of_ours)).status_code == 422
