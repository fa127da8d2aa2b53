"""Row 22: a client that registers itself sets nothing that only an operator decides, and nothing of another client."""

import asyncio
import json
from typing import Any

import pytest

from idp.admin.roles import Permission
from idp.oauth.ciba import GRANT_TYPE as CIBA_GRANT
from idp.oauth.clients.dynamic import service
from idp.oauth.clients.dynamic.endpoint import ROUTES
from idp.oauth.clients.metadata import OPERATOR_MEMBERS, ClientMetadata
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import update_client
from idp.oauth.clients.tables import ClientRow
from idp.oauth.device.codes import GRANT_TYPE as DEVICE_GRANT
from tests.oauth.clients.dynamic.conftest import URI, MakeToken, Registrar, make_token, registrar, token
from tests.support.elsewhere import answer, serving

__all__ = ["make_token", "registrar", "token"]

#: Values that differ from the defaults, for the members of operators and the columns of the record.
GREEDY: dict[str, Any] = {
    "profile": "x", "strict_auth_method": True, "upstreams": [], "authorization_challenge": True, "require_pkce": False,
    "skip_consent": True, "single_session": True, "refresh_token_cookie": True, "scope_claims_in_id_token": True,
    "hidden_from_users": True, "access_token_lifetime": 60, "refresh_token_lifetime": 60,
    "refresh_token_family_lifetime": 60,
    "admin_role": "owner", "origin": "admin", "client_id": "chosen", "client_secret": "chosen", "expires_at": None,
    "client_secret_hash": "x", "client_secret_encrypted": "x", "registration_token_hash": "x",
    "registration_access_token": "chosen", "not_before": None, "created_at": "2020-01-01T00:00:00Z",
    "disabled_at": None, "updated_at": "2020-01-01T00:00:00Z", "initial_access_token": None, "ceiling": {},
    "first_party": True,
}  # fmt: skip

#: What a client must not send in a change.
OF_RESPONSE = ("client_secret", "registration_access_token")


async def metadata_of(client_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    row = await ClientRow.select().where(ClientRow.client_id == client_id).first()
    assert row is not None
    return row, json.loads(row["metadata"])


async def test_22_members_of_operators(registrar: Registrar, token: str) -> None:
    """They are ignored like unknown ones (RFC 7591 section 2), at registration and at a change."""
    assert GREEDY.keys() >= OPERATOR_MEMBERS
    registered = await registrar.register(token, **GREEDY)
    defaults = ClientMetadata(client_name="")
    for _ in range(2):
        row, metadata = await metadata_of(registered["client_id"])
        assert {name: metadata[name] for name in OPERATOR_MEMBERS} == {
            name: getattr(defaults, name) for name in OPERATOR_MEMBERS
        }
        assert (row["origin"], row["admin_role"], row["disabled_at"]) == ("dynamic", None, None)
        assert row["client_id"] != "chosen"
        body = {name: value for name, value in GREEDY.items() if name not in OF_RESPONSE}
        body |= {"client_id": registered["client_id"], "redirect_uris": [URI]}
        response = await registrar.call("PUT", registered, json=body)
        assert response.status_code == 200, response.text
        registered = registered | response.json()


async def test_22_scopes_of_the_admin_api(registrar: Registrar, make_token: MakeToken) -> None:
    token = await make_token(uses=10)
    for scope in Permission:
        response = await registrar.post(token, redirect_uris=[URI], scope=scope)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    registered = await registrar.register(token, scope=f"openid {Permission.USERS_WRITE} none-such")
    assert registered["scope"] == "openid"
    # Nor by the ceiling.
    with pytest.raises(Exception, match="scopes"):
        await make_token(scopes=("openid", Permission.USERS_WRITE))


async def test_22_another_client(registrar: Registrar, token: str) -> None:
    """The token of one client opens no other, whether the other exists or not, and says nothing about it."""
    own, other = await registrar.register(token), await registrar.register(token)
    by_admin, _ = await register_client(client_name="Shop", redirect_uris=[URI])
    responses = []
    for client_id in (other["client_id"], by_admin.client_id, "unknown", "\u00e9", "x" * 500, "%00"):
        uri = f"{registrar.issuer}/register/{client_id}"
        body = {"client_id": client_id, "redirect_uris": ["https://evil.example/cb"]}
        for method, more in (("GET", {}), ("PUT", {"json": body}), ("DELETE", {})):
            called = own | {"registration_client_uri": uri}
            for value in (None, "x", other["client_secret"], token):
                responses.append(await registrar.call(method, called, value, **more))
    seen = {(response.status_code, response.text, response.headers["www-authenticate"]) for response in responses}
    assert len(seen) == 1, seen
    assert responses[0].status_code == 401
    assert (await registrar.call("GET", other)).json()["redirect_uris"] == [URI]
    assert len(ROUTES) == 4


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/cb", "https://a.example.evil.example/cb", "https://evil-a.example/cb",
        "https://a.example@evil/",
        "https://sub.a.example/cb", "https://b.example/cb", "https://a.exampleevil/cb", "https://evil/a.example",
        "app.a:/cb",
        "http://localhost/cb", "https://a.example:x/", "https://evil.sub.b.example.evil/cb", "https://xb.example/",
    ],
)  # fmt: skip
async def test_22_hosts_beyond_the_ceiling(registrar: Registrar, make_token: MakeToken, uri: str) -> None:
    token = await make_token(uses=5, redirect_hosts=("a.example", ".b.example"))
    for kind in ("native", "web"):
        response = await registrar.post(token, application_type=kind, redirect_uris=["https://a.example/cb", uri])
        assert (response.status_code, response.json()["error"]) == (400, "invalid_redirect_uri"), response.text
    response = await registrar.post(token, redirect_uris=["https://a.example/cb"], post_logout_redirect_uris=[uri])
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata"), response.text
    await registrar.register(token, redirect_uris=["https://a.example/cb", "https://x.b.example:8443/cb"])


@pytest.mark.parametrize("grant", [DEVICE_GRANT, CIBA_GRANT])
async def test_22_the_subjects_of_another_sector(registrar: Registrar, make_token: MakeToken, grant: str) -> None:
    """Tokens of these grants go to whoever asks for them, not to the redirect URIs that prove a sector."""
    token = await make_token(grant_types=("authorization_code", grant))
    for proof in (
        {"grant_types": ["authorization_code", grant], "redirect_uris": ["https://bank.example/cb"]},
        {"grant_types": [grant], "sector_identifier_uri": "https://bank.example/sector"},
    ):
        response = await registrar.post(token, subject_type="pairwise", **proof)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata"), response.text
        assert "pairwise" in response.json()["error_description"]


async def test_22_a_change_undoes_nothing_of_the_operator(token: str) -> None:
    """Not even while the client keeps its change waiting for a server of its own, here the one of its sector."""
    registered = await service.register(json.dumps({"redirect_uris": [URI]}).encode(), token)
    client_id = registered.client.client_id

    async def handle(head: bytes, writer: asyncio.StreamWriter) -> None:
        await update_client(client_id, single_session=True, strict_auth_method=True, upstreams=())
        await answer(json.dumps([URI]).encode())(head, writer)

    async with serving() as serve:
        sector = f"http://127.0.0.1:{await serve(handle)}/sector"
        body = {"client_id": client_id, "redirect_uris": [URI], "sector_identifier_uri": sector}
        await service.update(client_id, registered.registration_token, json.dumps(body).encode())
    _, metadata = await metadata_of(client_id)
    assert metadata["sector_identifier_uri"] == sector
    assert (metadata["single_session"], metadata["strict_auth_method"], metadata["upstreams"]) == (True, True, [])


@pytest.mark.parametrize("sent", [{}, {"default_acr_values": []}, {"default_acr_values": ["1"]}])
async def test_22_a_level_of_the_operator_stays(token: str, sent: dict[str, Any]) -> None:
    """An operator requires two factors of the users of a client that registered itself. It cannot undo that."""
    registered = await service.register(json.dumps({"redirect_uris": [URI]}).encode(), token)
    client_id = registered.client.client_id
    await update_client(client_id, default_acr_values=("2",))
    body = {"client_id": client_id, "redirect_uris": [URI]} | sent
    await service.update(client_id, registered.registration_token, json.dumps(body).encode())
    _, metadata = await metadata_of(client_id)
    assert metadata["default_acr_values"] == ["2"]
