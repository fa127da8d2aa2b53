"""The configuration endpoint of a client (RFC 7592)."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.admin.incidents import contain_client
from idp.infra.db.engine import execute
from idp.oauth.clients import service
from idp.oauth.clients.dynamic import endpoint
from idp.oauth.clients.dynamic.service import rotate_token
from idp.oauth.clients.registration import disable_client, enable_client
from idp.oauth.clients.tables import ClientRow
from tests.oauth.clients.dynamic.conftest import URI, MakeToken, Registrar
from tests.support.browser import Browser, Redirect, as_page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.request_objects import jwks


async def stored(client_id: str) -> dict[str, Any] | None:
    return await ClientRow.select().where(ClientRow.client_id == client_id).first()


async def test_read(registrar: Registrar, token: str) -> None:
    """RFC 7592 section 2.1. The secret is not stored, so it cannot be shown again."""
    registered = await registrar.register(token, client_name="Shop")
    response = await registrar.call("GET", registered)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    without = registered.keys() - {"client_secret", "client_secret_expires_at"}
    assert response.json() == {name: registered[name] for name in without}


async def test_update(registrar: Registrar, token: str) -> None:
    """RFC 7592 section 2.2: it replaces everything, and the client gets a new token."""
    registered = await registrar.register(token, client_name="Shop", contacts=["a@shop.example"])
    body = {
        "client_id": registered["client_id"], "client_secret": registered["client_secret"], "client_name": None,
        "redirect_uris": ["https://shop.example/cb"], "scope": "openid email", "unknown": 1,
    }  # fmt: skip
    response = await registrar.call("PUT", registered, json=body)
    assert response.status_code == 200, response.text
    updated = response.json()
    assert updated["redirect_uris"] == ["https://shop.example/cb"]
    assert updated["scope"] == "openid email"
    assert updated["client_name"] == registered["client_id"]
    assert updated["contacts"] == []
    assert "client_secret" not in updated
    assert updated["registration_access_token"] != registered["registration_access_token"]
    assert (await registrar.call("GET", registered)).status_code == 401
    assert (await registrar.call("GET", updated)).json() == updated
    row = await stored(registered["client_id"])
    assert row is not None
    assert row["client_secret_hash"] == ids.digest(registered["client_secret"])


async def test_a_token_by_the_operator(registrar: Registrar, token: str) -> None:
    """The old one ends."""
    registered = await registrar.register(token)
    new = await rotate_token(registered["client_id"])
    assert (await registrar.call("GET", registered)).status_code == 401
    response = await registrar.call("GET", registered, new)
    assert response.json() == {name: registered[name] for name in response.json()} | {"registration_access_token": new}


async def test_a_contained_client_cannot_change_itself(registrar: Registrar, token: str) -> None:
    """Not when it is enabled again either, until the operator gives it a new token."""
    registered = await registrar.register(token)
    client_id = registered["client_id"]
    assert (await contain_client(client_id)).ended["registration_access_tokens"] == 1
    await enable_client(client_id)
    body = {"client_id": client_id, "redirect_uris": ["https://thief.example/cb"]}
    assert (await registrar.call("PUT", registered, json=body)).status_code == 401
    assert (await registrar.call("GET", registered, await rotate_token(client_id))).status_code == 200


async def test_a_new_secret(registrar: Registrar, token: str) -> None:
    """A client gets one when it needs one, and loses it when it does not."""
    registered = await registrar.register(token, token_endpoint_auth_method="none")
    body = {"client_id": registered["client_id"], "redirect_uris": [URI]}
    updated = (await registrar.call("PUT", registered, json=body)).json()
    assert updated["token_endpoint_auth_method"] == "client_secret_basic"
    assert updated["client_secret_expires_at"] == 0
    row = await stored(registered["client_id"])
    assert row is not None
    assert row["client_secret_hash"] == ids.digest(updated["client_secret"])
    again = (await registrar.call("PUT", updated, json=body | {"token_endpoint_auth_method": "none"})).json()
    assert "client_secret" not in again
    row = await stored(registered["client_id"])
    assert row is not None
    assert row["client_secret_hash"] is None


async def test_a_secret_that_has_expired_is_renewed(registrar: Registrar, token: str) -> None:
    """By an update, as there is no other way for a client to get one (RFC 7592 section 2.2)."""
    registered = await registrar.register(token)
    expired = "UPDATE client SET client_secret_expires_at = now() - interval '1 minute' WHERE client_id = $1"
    await execute(expired, registered["client_id"])
    body = {"client_id": registered["client_id"], "redirect_uris": [URI]}
    updated = (await registrar.call("PUT", registered, json=body)).json()
    row = await stored(registered["client_id"])
    assert row is not None
    assert row["client_secret_hash"] == ids.digest(updated["client_secret"])
    assert row["client_secret_expires_at"] is None
    assert "client_secret" not in (await registrar.call("PUT", updated, json=body)).json()


def test_the_expiry_of_a_secret_is_in_seconds() -> None:
    """RFC 7591 section 3.2.1; 0: never."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert endpoint.secret_of("x", at) == {"client_secret": "x", "client_secret_expires_at": int(at.timestamp())}
    assert endpoint.secret_of("x", None)["client_secret_expires_at"] == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": "another"}, "client_id"),
        ({"client_id": 1}, "client_id"),
        ({"client_secret": "another"}, "client_secret"),
        ({"client_secret": 1}, "client_secret"),
        ({"registration_access_token": "x"}, "registration_access_token"),
        ({"registration_client_uri": "x"}, "registration_client_uri"),
        ({"client_secret_expires_at": 0}, "client_secret_expires_at"),
        ({"client_id_issued_at": 0}, "client_id_issued_at"),
        ({"application_type": "native"}, "application_type"),
        ({"grant_types": ["none-such"]}, "grant_types"),
        ({"client_name": 5}, "client_name"),
    ],
)
async def test_refused_changes(registrar: Registrar, token: str, changes: dict[str, Any], named: str) -> None:
    """Nothing changes, and the token stays."""
    registered = await registrar.register(token)
    body = {"client_id": registered["client_id"], "redirect_uris": ["https://b.example/cb"]} | changes
    response = await registrar.call("PUT", registered, json=body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert named in response.json()["error_description"]
    assert (await registrar.call("GET", registered)).json()["redirect_uris"] == [URI]


async def test_delete(registrar: Registrar, token: str) -> None:
    """RFC 7592 section 2.3."""
    registered = await registrar.register(token)
    response = await registrar.call("DELETE", registered)
    assert (response.status_code, response.content) == (204, b"")
    assert await stored(registered["client_id"]) is None
    assert (await registrar.call("DELETE", registered)).status_code == 401


async def test_a_race_of_changes(registrar: Registrar, token: str) -> None:
    """One of them gets the next token; the others are told that theirs has ended."""
    registered = await registrar.register(token)
    body = {"client_id": registered["client_id"], "redirect_uris": [URI]}
    calls = [registrar.call("PUT", registered, json=body | {"client_name": f"Shop {n}"}) for n in range(5)]
    responses = await asyncio.gather(*calls, registrar.call("DELETE", registered))
    assert sorted(response.status_code for response in responses)[1:] == [401] * 5
    assert sum(response.is_success for response in responses) == 1


async def test_a_change_that_loses_its_authority(registrar: Registrar, token: str) -> None:
    """An operator disables the client between the check and the change."""
    registered = await registrar.register(token)
    await disable_client(registered["client_id"])
    body = {"client_id": registered["client_id"], "redirect_uris": [URI], "client_name": "Changed"}
    for method, more in (("GET", {}), ("PUT", {"json": body}), ("DELETE", {})):
        assert (await registrar.call(method, registered, **more)).status_code == 401
    row = await stored(registered["client_id"])
    assert row is not None
    assert "Changed" not in row["metadata"]


async def test_a_client_with_a_role(registrar: Registrar, token: str) -> None:
    """Only an owner changes it."""
    registered = await registrar.register(token)
    await service.set_admin_role(registered["client_id"], "auditor")
    body = {"client_id": registered["client_id"], "redirect_uris": [URI]}
    for method, more in (("GET", {}), ("PUT", {"json": body}), ("DELETE", {})):
        assert (await registrar.call(method, registered, **more)).status_code == 401
    await service.set_admin_role(registered["client_id"], None)
    assert (await registrar.call("GET", registered)).status_code == 200


async def test_a_profile_of_the_operator(registrar: Registrar, token: str) -> None:
    """What it forbids is refused with the reason; what the client does not name is what it requires."""
    registered = await registrar.register(token, jwks=jwks("ES256"))
    await service.update_client(registered["client_id"], profile="fapi2")
    body = {"client_id": registered["client_id"], "redirect_uris": [URI], "jwks": jwks("ES256")}
    for member, value in {
        "token_endpoint_auth_method": "client_secret_basic",
        "dpop_bound_access_tokens": False,
        "require_pushed_authorization_requests": False,
        "id_token_signed_response_alg": "RS256",
        "redirect_uris": ["http://localhost/cb"],
    }.items():
        response = await registrar.call("PUT", registered, json=body | {member: value})
        assert response.status_code == 400, member
        assert f"The profile fapi2 requires {'https ' * (member == 'redirect_uris')}" in response.text
        assert member in response.text
    updated = (await registrar.call("PUT", registered, json=body)).json()
    assert updated["token_endpoint_auth_method"] == "private_key_jwt"
    assert "client_secret" not in updated


async def test_what_the_operator_set_stays(registrar: Registrar, token: str) -> None:
    registered = await registrar.register(token)
    await service.update_client(registered["client_id"], single_session=True, strict_auth_method=True)
    body = {"client_id": registered["client_id"], "redirect_uris": [URI], "single_session": False}
    assert (await registrar.call("PUT", registered, json=body)).status_code == 200
    client = await service.update_client(registered["client_id"])
    assert client.single_session
    assert client.strict_auth_method


async def test_the_ceiling_stays(registrar: Registrar, make_token: MakeToken) -> None:
    """A change cannot exceed the ceiling of the token that the client was registered with."""
    token = await make_token(scopes=("openid", "email"), redirect_hosts=("a.example",))
    registered = await registrar.register(token, redirect_uris=["https://a.example/cb"])
    body = {"client_id": registered["client_id"], "redirect_uris": ["https://b.example/cb"]}
    response = await registrar.call("PUT", registered, json=body)
    assert response.json()["error"] == "invalid_redirect_uri"
    body |= {"redirect_uris": ["https://a.example/cb"], "scope": "openid profile email"}
    assert (await registrar.call("PUT", registered, json=body)).json()["scope"] == "openid email"


async def test_a_change_asks_the_users_again(
    registrar: Registrar, token: str, http: httpx.AsyncClient, browser: Browser, alice: User
) -> None:
    """What they allowed was this name and these addresses. New keys of the client change nothing for them."""
    registered = await registrar.register(token, client_name="Notes", token_endpoint_auth_method="none")
    party = RelyingParty(registrar.issuer, http, registered["client_id"], redirect_uri=URI, scope="openid email")
    page = as_page(await browser.sign_in(as_page(await party.authorize(browser)), alice.email, PASSWORD))
    assert "consent-unchecked" in page.ids
    await browser.submit(page, "consent-allow")
    assert "code" in (await party.authorize(browser, prompt="none")).parameters  # type: ignore[union-attr]
    body = {"client_id": registered["client_id"], "redirect_uris": [URI], "token_endpoint_auth_method": "none"}
    for changes, asked in (
        ({"client_name": "Notes", "contacts": ["a@notes.example"]}, False),
        ({"client_name": "Bank"}, True),
        ({"client_name": "Notes", "redirect_uris": [URI, "https://other.example/cb"]}, True),
    ):
        response = await registrar.call("PUT", registered, json=body | changes)
        assert response.status_code == 200, response.text
        registered |= response.json()
        # The one worker of this server has loaded the change before its response.
        answer = await party.authorize(browser, prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters.get("error") == ("consent_required" if asked else None), changes
