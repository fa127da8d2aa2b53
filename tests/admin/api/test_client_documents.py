"""Clients by document at the admin API, and resource servers by their own metadata."""

import json
import secrets

from idp.oauth.clients.path_ids import path_id
from tests.admin.api.conftest import API, Caller
from tests.support.documents import store_document
from tests.support.elsewhere import answer, serving


async def test_a_client_by_document(owner: Caller) -> None:
    url = f"https://{secrets.token_hex(4)}.example.com/client.json"
    await store_document(url)
    path = f"/clients/{path_id(url)}"
    found = (await owner("GET", f"/clients?origin=document&client_id={url}")).json()["items"]
    assert [(item["client_id"], item["origin"]) for item in found] == [(url, "document")]
    shown = (await owner("GET", path)).json()
    assert shown["client_id"] == url
    assert shown["document_fetched_at"]
    refused = await owner.changed("PATCH", path, {"client_name": "X"})
    assert refused.status_code == 422
    assert (await owner.changed("PATCH", path, {"default_acr_values": ["2"]})).status_code == 200
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"]
    assert (await owner.changed("DELETE", path)).status_code == 204


async def test_a_resource_server_by_its_own_metadata(owner: Caller) -> None:
    async with serving() as serve:
        body = bytearray()
        port = await serve(lambda head, writer: answer(bytes(body))(head, writer))
        identifier = f"http://127.0.0.1:{port}/mcp"
        body += json.dumps({"resource": identifier, "authorization_servers": [owner.issuer]}).encode()
        created = await owner("POST", "/resource_servers/from_metadata", {"url": identifier, "name": "Notes"})
        assert created.status_code == 201
        server = created.json()
        assert (server["identifier"], server["name"], server["scope"]) == (identifier, "Notes", "")
        assert created.headers["location"] == f"{owner.issuer}{API}/resource_servers/{server['jwks_id']}"
        body[:] = b"{}"
        refused = await owner("POST", "/resource_servers/from_metadata", {"url": identifier})
        assert refused.json()["type"] == "urn:idp:problem:invalid_target"
    assert (await owner.changed("DELETE", f"/resource_servers/{server['jwks_id']}")).status_code == 204
