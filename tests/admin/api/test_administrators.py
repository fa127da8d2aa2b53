"""What an owner's token may do to administrators: it needs the scope for them, whatever other scopes it has."""

import secrets

import httpx
import pytest

from idp.admin.roles import Permission, Role, grant
from idp.oauth.clients.service import set_admin_role
from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.admin.api.conftest import Caller, make_caller
from tests.admin.api.test_operations import problem
from tests.conftest import MakeUser
from tests.support.server import Server


def refused(answer: httpx.Response) -> None:
    problem(answer, 403, "forbidden")
    assert Permission.ADMINS_WRITE in answer.json()["detail"]


async def test_a_token_for_users_does_not_reach_administrators(
    server: Server, http: httpx.AsyncClient, make_user: MakeUser
) -> None:
    """An owner's token without the scope for administrators cannot take over one of them."""
    caller, administrator = await make_caller(server, http, Role.OWNER), await make_user()
    await grant(administrator.id, Role.AUDITOR)
    path, email = f"/users/{administrator.id}", f"{secrets.token_hex(6)}@example.com"
    await caller.authenticate(scope=f"{Permission.USERS_READ} {Permission.USERS_WRITE}")
    refused(await caller("POST", f"{path}/reset_factors"))
    refused(await caller.changed("PATCH", path, {"email": email}))
    await caller.authenticate()
    assert (await caller.changed("PATCH", path, {"email": email})).json()["email"] == email


CLIENT = {"client_name": "Orders", "grant_types": ["client_credentials", GRANT_TYPE], "scope": "orders"}


@pytest.fixture
async def for_clients(server: Server, http: httpx.AsyncClient) -> Caller:
    """An owner whose token has the scopes for clients only."""
    caller = await make_caller(server, http, Role.OWNER)
    await caller.authenticate(scope=f"{Permission.CLIENTS_READ} {Permission.CLIENTS_WRITE}")
    return caller


async def test_a_token_for_clients_does_not_reach_those_with_a_role(for_clients: Caller) -> None:
    client_id = (await for_clients("POST", "/clients", CLIENT)).json()["client_id"]
    path = f"/clients/{client_id}"
    await set_admin_role(client_id, Role.AUDITOR)
    refused(await for_clients("POST", f"{path}/rotate_secret"))
    refused(await for_clients("POST", f"{path}/rotate_registration_token"))
    refused(await for_clients("POST", f"{path}/contain", {"disable": True}))
    refused(await for_clients.changed("PATCH", path, {"client_name": "Others"}))
    refused(await for_clients.changed("DELETE", path))
    of_client = {"client_id": client_id, "claim": "x", "source": {"kind": "constant", "value": "x"}}
    refused(await for_clients("POST", "/claim_mappings", of_client | {"places": ["access_token"]}))
    await for_clients.authenticate()
    assert (await for_clients("POST", f"{path}/rotate_secret")).status_code == 200


async def test_a_token_for_clients_gives_no_authority_over_users(for_clients: Caller) -> None:
    """No scopes of the admin API, no claims of the clients of administrators, no impersonation."""
    refused(await for_clients("POST", "/clients", CLIENT | {"scope": Permission.USERS_WRITE}))
    client_id = (await for_clients("POST", "/clients", CLIENT)).json()["client_id"]
    refused(await for_clients.changed("PATCH", f"/clients/{client_id}", {"scope": Permission.USERS_WRITE}))
    of_all = {"claim": "x", "scope": "hr", "source": {"kind": "constant", "value": "x"}, "places": ["userinfo"]}
    refused(await for_clients("POST", "/claim_mappings", of_all))
    exchange = {"client_id": client_id, "resources": ["https://stock.example.com"], "mode": "impersonation"}
    refused(await for_clients("POST", "/token_exchange_policies", exchange))
    assert (await for_clients.changed("PATCH", f"/clients/{client_id}", {"scope": "stock"})).status_code == 200
