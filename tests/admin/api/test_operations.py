"""The admin API: the operations on each kind of record, and the rules that all share."""

import asyncio
import secrets
from base64 import b64encode
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import jwt
import pytest
from litestar import Request

from idp import ids
from idp.accounts.tables import User
from idp.admin.api import problems
from idp.admin.roles import Permission, Role, grant
from idp.delivery import outbox as deliveries
from idp.delivery import repository as deliveries_
from idp.directory import organizations
from idp.events.ssf import repository as ssf
from idp.events.ssf.types import ACCOUNT_DISABLED
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.keys import jose
from idp.mail import outbox
from idp.oauth import subjects
from idp.oauth.clients.metadata import FIXED, ClientMetadata
from idp.oauth.clients.registration import register_client, rotate_secret
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.signin.transitions import Step
from tests.admin.api.conftest import API, Caller, make_caller
from tests.branding.test_validation import PNG
from tests.conftest import MakeClient, MakeUser
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser, Page, Redirect
from tests.support.directory import a_group, an_organization
from tests.support.nameserver import Nameserver
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server
from tests.support.streams import make_stream

URI = "https://pairwise.example/cb"
CLIENT = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"]}


def problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:idp:problem:{name}"
    assert found["status"] == status
    assert found["instance"] == f"urn:idp:request:{answer.headers['x-request-id']}"
    return found


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_unknown_paths_and_methods(owner: Caller, accept: str) -> None:
    for path in ("/nope", "/nope/", "/clients/a/b/c/d", ""):
        found = problem(await owner("GET", path, Accept=accept), 404, "not-found")
        assert found["detail"] == "There is no such path, or an identifier in it is malformed."
    answer = await owner("PUT", "/clients", CLIENT, Accept=accept)
    found = problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["allow"]
    assert found["detail"] == f"The path does not have this method. It has {answer.headers['allow']}."
    nearby = await owner.http.get(f"{owner.issuer}/admin/api/v1nope")
    assert nearby.headers["content-type"] == "application/json"


async def test_a_client_from_its_creation_to_its_end(owner: Caller) -> None:
    created = await owner("POST", "/clients", CLIENT)
    assert created.status_code == 201
    client_id, secret = created.json()["client_id"], created.json()["client_secret"]
    assert created.headers["location"] == f"{owner.issuer}{API}/clients/{client_id}"
    path = f"/clients/{client_id}"
    shown = await owner("GET", path)
    assert shown.json()["redirect_uris"] == CLIENT["redirect_uris"]
    assert secret not in shown.text
    problem(await owner("PATCH", path, {"client_name": "X"}), 428, "if-match-required")
    problem(await owner("PATCH", path, {"client_name": "X"}, If_Match='"old"'), 412, "outdated")
    changed = await owner.changed("PATCH", path, {"client_name": "Shop 2", "logo_uri": None})
    assert changed.json()["client_name"] == "Shop 2"
    assert changed.headers["etag"] != shown.headers["etag"]
    problem(await owner("PATCH", path, {"client_name": "X"}, If_Match=shown.headers["etag"]), 412, "outdated")
    problem(await owner.changed("PATCH", path, {"redirect_uris": ["http://x.example/#f"]}), 422, "invalid_redirect_uri")
    problem(await owner.changed("PATCH", path, {"client_secret_hash": "x"}), 422, "invalid-body")
    assert (await owner("POST", f"{path}/rotate_secret")).json()["client_secret"] not in (None, secret)
    strict = {"token_endpoint_auth_method": "client_secret_post", "strict_auth_method": True}
    assert (await owner.changed("PATCH", path, strict)).json().items() >= strict.items()
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"]
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    assert (await owner("POST", f"{path}/not_before", {})).json()["not_before"]
    report = (await owner("POST", f"{path}/contain", {})).json()
    assert report["kind"] == "client"
    assert (await owner.changed("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")


async def test_a_user_from_its_creation_to_its_end(owner: Caller) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    created = await owner("POST", "/users", {"email": email.upper(), "name": "Zora"})
    assert created.json()["email"] == email
    path = f"/users/{created.json()['id']}"
    assert await fetchrow("SELECT 1 FROM mail WHERE recipient = $1", email)
    problem(await owner("POST", "/users", {"email": email}), 409, "email-taken")
    problem(await owner("POST", "/users", {"email": "nobody"}), 422, "invalid-email")
    changed = await owner.changed("PATCH", path, {"given_name": "Zora", "birthdate": "1990-10-31"})
    assert changed.json()["given_name"] == "Zora"
    refused = problem(await owner.changed("PATCH", path, {"birthdate": "yesterday"}), 422, "invalid-profile")
    assert "birthdate" in refused["errors"]
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"]
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    for act in ("sign_out", "reset_factors", "send_password_reset"):
        assert (await owner("POST", f"{path}/{act}")).status_code == 204
    assert (await owner("POST", f"{path}/contain", {"disable": False})).json()["kind"] == "user"
    events = (await owner("GET", f"/audit?user_id={created.json()['id']}&event=user_disabled")).json()["items"]
    assert events[0]["actor"] == f"client:{owner.client_id}"
    assert (await owner.changed("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")


async def test_a_user_is_named_by_the_id_alone(owner: Caller, make_user: MakeUser, alice: User) -> None:
    """An address that begins like an id is no key."""
    await make_user(email=f"{alice.id}@example.com")
    assert (await owner("GET", f"/users/{alice.id}")).json()["email"] == alice.email


async def test_a_subject_leads_to_its_user(owner: Caller, alice: User) -> None:
    client, _ = await register_client(**CLIENT | {"redirect_uris": [URI], "subject_type": "pairwise"})
    subject = subjects.subject(client, alice.id)
    found = await owner("POST", "/users/identify", {"subject": subject})
    assert (found.status_code, found.json()["id"]) == (200, str(alice.id))
    (event,) = (await owner("GET", f"/audit?user_id={alice.id}&event=subject_identified")).json()["items"]
    assert event["detail"] == {"sector": "pairwise.example"}
    assert event["actor"] == f"client:{owner.client_id}"
    # A public subject is the id.
    assert (await owner("POST", "/users/identify", {"subject": str(alice.id)})).json()["email"] == alice.email
    with_sector = await owner("POST", "/users/identify", {"subject": subject, "sector": "pairwise.example"})
    assert with_sector.json()["id"] == str(alice.id)
    for body in (
        {"subject": subject, "sector": "other.example"},
        {"subject": subject[:-1]},
        {"subject": "x" * 1000},
        {"subject": client.client_id},
    ):
        problem(await owner("POST", "/users/identify", body), 404, "not-found")
    problem(await owner("POST", "/users/identify", {"subject": 1}), 422, "invalid-body")
    problem(await owner("POST", "/users/identify", {"subject": "\0"}), 400, "malformed-json")


async def test_a_resource_server(owner: Caller) -> None:
    identifier = f"https://{secrets.token_hex(6)}.example.com"
    created = await owner("POST", "/resource_servers", {"identifier": identifier, "name": "Orders"})
    found = created.json()
    assert found["jwks_uri"] == f"{owner.issuer}/jwks/{found['jwks_id']}"
    path = f"/resource_servers/{found['jwks_id']}"
    problem(await owner.changed("PATCH", path, {"networks": ["everywhere"]}), 422, "invalid_client_metadata")
    changed = await owner.changed("PATCH", path, {"networks": ["10.0.0.0/8"], "witnessed": False})
    assert changed.json()["networks"] == ["10.0.0.0/8"]
    described = {"scope": "read", "scope_descriptions": {"read": "Read your orders"}}
    assert (await owner.changed("PATCH", path, described)).json()["scope_descriptions"] == {"read": "Read your orders"}
    problem(await owner.changed("PATCH", path, {"scope": ""}), 422, "invalid_client_metadata")
    assert (await owner("GET", path)).json()["scope_descriptions"] == {"read": "Read your orders"}
    problem(await owner.changed("PATCH", path, {"access_token_type": "none"}), 422, "invalid-body")
    assert (await owner.changed("PATCH", path, {"access_token_type": "JWT"})).json()["access_token_type"] == "JWT"
    ours = {"identifier": f"{owner.issuer}/admin/api", "name": "Mine"}
    problem(await owner("POST", "/resource_servers", ours), 422, "invalid_target")
    assert (await owner.changed("DELETE", path)).status_code == 204


async def test_a_type_of_authorization_details(owner: Caller) -> None:
    name = secrets.token_hex(6)
    identifier = f"https://{name}.example.com"
    server = (await owner("POST", "/resource_servers", {"identifier": identifier, "name": "Bank"})).json()
    schema = {"type": "object", "properties": {"type": {}, "amount": {}}, "additionalProperties": False}
    values = {"type": name, "resource": identifier, "title": "Make a payment", "schema": schema}
    created = await owner("POST", "/authorization_details_types", values)
    assert created.status_code == 201
    found = created.json()
    assert {member: found[member] for member in values} == values
    assert (found["summary"], found["ask_always"]) == ("", False)
    path = f"/authorization_details_types/{found['id']}"
    assert created.headers["location"].endswith(path)
    listed = (await owner("GET", f"/authorization_details_types?resource={identifier}")).json()["items"]
    assert listed == [found]
    for wrong in (
        {"type": "a b"}, {"type": ""}, {"type": "x" * 201}, {"title": ""}, {"title": "a\nb"}, {"summary": "x" * 501},
        {"resource": "https://unknown.example"}, {"resource": f"{owner.issuer}/admin/api"}, {"type": name},
    ):  # fmt: skip
        answer = await owner("POST", "/authorization_details_types", values | {"type": f"{name}2"} | wrong)
        problem(answer, 422, "invalid-value")
    for bad in (
        {}, {"type": "object"}, {"type": "object", "properties": {"type": {}}}, schema | {"properties": {}},
        schema | {"type": "objec"}, schema | {"$ref": "https://evil.example/schema"}, schema | {"$ref": "file:///etc/x"},
        schema | {"pattern": "("}, schema | {"properties": {"type": {"pattern": "(?=a)"}}},
        schema | {"title": "x" * 17_000},
    ):  # fmt: skip
        problem(await owner.changed("PATCH", path, {"schema": bad}), 422, "invalid-schema")
    stricter = schema | {"required": ["amount"]}
    changed = (await owner.changed("PATCH", path, {"schema": stricter, "ask_always": True})).json()
    assert (changed["schema"], changed["ask_always"]) == (stricter, True)
    # What stays the same is no change.
    again = (await owner.changed("PATCH", path, {"schema": stricter})).json()
    assert again["updated_at"] == changed["updated_at"]
    problem(await owner.changed("PATCH", path, {"type": "another"}), 422, "invalid-body")
    assert (await owner.changed("DELETE", path)).status_code == 204
    assert (await owner("GET", path)).status_code == 404
    # Those of a resource server go with it.
    path = f"/authorization_details_types/{(await owner('POST', '/authorization_details_types', values)).json()['id']}"
    assert (await owner.changed("DELETE", f"/resource_servers/{server['jwks_id']}")).status_code == 204
    assert (await owner("GET", path)).status_code == 404


async def test_an_organization(owner: Caller, alice: User, make_user: MakeUser) -> None:
    slug, bob = f"acme-{secrets.token_hex(6)}", await make_user()
    made = await owner("POST", "/organizations", {"slug": slug, "name": "Acme"})
    assert made.status_code == 201, made.text
    path = f"/organizations/{made.json()['id']}"
    assert made.headers["location"].endswith(path)
    problem(await owner("POST", "/organizations", {"slug": slug, "name": "Acme"}), 409, "wrong-state")
    for wrong in (
        {"slug": "Acme"},
        {"slug": str(alice.id)},
        {"name": ""},
        {"name": "Acme\u202e"},
        {"name": "\u0410cme"},
    ):
        problem(await owner("POST", "/organizations", {"slug": f"{slug}-2", "name": "X"} | wrong), 422, "invalid-value")
    (found,) = (await owner("GET", f"/organizations?q={slug.upper()}")).json()["items"]
    assert found == made.json()
    assert (await owner.changed("PATCH", path, {"name": "Acme 2"})).json()["name"] == "Acme 2"
    problem(await owner("PATCH", path, {"name": "Acme 3"}, If_Match=made.headers.get("etag", '"old"')), 412, "outdated")
    members = f"{path}/members"
    assert (await owner("POST", members, {"user_ids": [str(alice.id), str(bob.id)]})).json() == {"added": 2}
    problem(await owner("POST", members, {"user_ids": [str(ids.uuid7())]}), 404, "not-found")
    problem(await owner("POST", members, {"user_ids": []}), 422, "invalid-body")
    problem(await owner("GET", f"{members}?organization_id={made.json()['id']}"), 400, "invalid-query")
    assert len((await owner("GET", members)).json()["items"]) == 2
    assert (await owner.changed("PATCH", f"{members}/{alice.id}", {"admin": True})).json()["admin"] is True
    (admin,) = (await owner("GET", f"{members}?admin=true")).json()["items"]
    assert admin["email"] == alice.email
    role = await owner("POST", f"{path}/roles", {"name": "Editor"})
    role_path = f"{path}/roles/{role.json()['id']}"
    assert role.headers["location"].endswith(role_path)
    problem(await owner("POST", f"{path}/roles", {"name": "EDITOR"}), 409, "wrong-state")
    assert (await owner.changed("PATCH", role_path, {"description": "Edits"})).json()["description"] == "Edits"
    assert (await owner("POST", f"{role_path}/holders", {"user_ids": [str(bob.id)]})).json() == {"added": 1}
    outsider = await make_user()
    problem(await owner("POST", f"{role_path}/holders", {"user_ids": [str(outsider.id)]}), 409, "wrong-state")
    (holder,) = (await owner("GET", f"{role_path}/holders")).json()["items"]
    assert holder["email"] == bob.email
    assert (await owner("DELETE", f"{role_path}/holders/{bob.id}")).status_code == 204
    problem(await owner("DELETE", f"{role_path}/holders/{bob.id}"), 404, "not-found")
    assert (await owner("DELETE", f"{members}/{bob.id}")).status_code == 204
    problem(await owner("DELETE", f"{members}/{bob.id}"), 404, "not-found")
    other = (await owner("POST", "/organizations", {"slug": f"{slug}-2", "name": "Other"})).json()
    for of_other in (f"roles/{role.json()['id']}", f"members/{alice.id}", f"roles/{role.json()['id']}/holders"):
        inside = await owner("GET", f"/organizations/{other['id']}/{of_other}")
        assert inside.status_code == 404 or inside.json()["items"] == []
    problem(await owner("DELETE", f"/organizations/{other['id']}/members/{alice.id}"), 404, "not-found")
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"]
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    assert (await owner.changed("DELETE", role_path)).status_code == 204
    assert (await owner.changed("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")
    problem(await owner("POST", f"{members}", {"user_ids": [str(alice.id)]}), 404, "not-found")


async def test_a_domain_of_an_organization(owner: Caller, nameserver: Nameserver) -> None:
    slug, name = f"acme-{secrets.token_hex(6)}", f"{secrets.token_hex(6)}.example"
    made = (await owner("POST", "/organizations", {"slug": slug, "name": "Acme"})).json()
    other = (await owner("POST", "/organizations", {"slug": f"{slug}-2", "name": "Other"})).json()
    path = f"/organizations/{made['id']}/domains"
    claimed = await owner("POST", path, {"domain": name.upper()})
    assert claimed.status_code == 201, claimed.text
    domain = claimed.json()
    one = f"{path}/{domain['id']}"
    assert claimed.headers["location"].endswith(one)
    problem(await owner("POST", path, {"domain": name}), 409, "wrong-state")
    problem(await owner("POST", path, {"domain": "192.0.2.1"}), 422, "invalid-email")
    problem(await owner("POST", f"{one}/verify"), 409, "domain-not-verified")
    problem(await owner("POST", f"{one}/enforce"), 409, "domain-not-verified")
    nameserver.records[domain["record_name"]] = [domain["record_value"]]
    assert (await owner("POST", f"{one}/verify")).json()["verified_at"]
    theirs = (await owner("POST", f"/organizations/{other['id']}/domains", {"domain": name})).json()
    nameserver.records[domain["record_name"]].append(theirs["record_value"])
    refused = await owner("POST", f"/organizations/{other['id']}/domains/{theirs['id']}/verify")
    problem(refused, 409, "domain-taken")
    problem(await owner("POST", f"{one}/enforce"), 409, "no-upstream")
    upstream = {
        "id": f"u{secrets.token_hex(4)}", "name": "Acme", "issuer": "https://login.acme.example", "client_id": "x",
        "client_secret": "hush", "organization_id": made["id"], "adds_members": True,
    }  # fmt: skip
    problem(await owner("POST", "/upstreams", upstream | {"organization_id": str(uuid4())}), 404, "not-found")
    added = await owner("POST", "/upstreams", upstream)
    assert (added.json()["organization_id"], added.json()["config"]["adds_members"]) == (made["id"], True), added.text
    assert len((await owner("GET", f"/upstreams?organization_id={made['id']}")).json()["items"]) == 1
    assert (await owner("POST", f"{one}/enforce")).json()["enforced"]
    assert not (await owner("POST", f"{one}/release")).json()["enforced"]
    assert (await owner.changed("DELETE", f"/upstreams/{upstream['id']}")).status_code == 204
    (found,) = (await owner("GET", f"{path}?verified=true")).json()["items"]
    assert found["domain"] == name
    for inside in (f"/organizations/{other['id']}/domains/{domain['id']}", f"{path}/x", f"{path}/{theirs['id']}"):
        problem(await owner("GET", inside), 404, "not-found")
        problem(await owner("DELETE", inside), 404, "not-found")
    nameserver.failing.add(domain["record_name"])
    refused = await owner("POST", f"{one}/verify")
    assert "do not answer" in problem(refused, 409, "domain-not-verified")["detail"]
    nameserver.failing.clear()
    assert (await owner("DELETE", one)).status_code == 204
    for each in (made, other):
        assert (await owner.changed("DELETE", f"/organizations/{each['id']}")).status_code == 204


async def test_the_sign_in_policy_of_an_organization(owner: Caller, http: httpx.AsyncClient, server: Server) -> None:
    made = (await owner("POST", "/organizations", {"slug": f"acme-{secrets.token_hex(6)}", "name": "Acme"})).json()
    path = f"/organizations/{made['id']}/sign_in_policy"
    shown = await owner("GET", path)
    nothing = {"second_factor": False, "session_max_age": None, "session_idle": None, "ways": []}
    assert shown.json() == nothing | {"updated_at": made["updated_at"]}
    wanted = {"second_factor": True, "session_max_age": 28800, "session_idle": 1800, "ways": ["password", "passkey"]}
    problem(await owner("PUT", path, wanted), 428, "if-match-required")
    answer = await owner.changed("PUT", path, wanted)
    assert answer.json() | {"updated_at": None} == wanted | {"updated_at": None}
    problem(await owner("PUT", path, {}, If_Match=shown.headers["etag"]), 412, "outdated")
    problem(await owner.changed("PUT", path, {"session_max_age": 60}), 422, "invalid-value")
    for body in ({"ways": ["totp"]}, {"session_idle": "1h"}, {"unknown": 1}):
        assert (await owner.changed("PUT", path, body)).status_code in (400, 422)
    auditor = await make_caller(server, http, Role.AUDITOR)
    assert (await auditor("PUT", path, {}, If_Match="*")).status_code == 403
    assert (await owner.changed("PUT", path, {})).json() | {"updated_at": None} == nothing | {"updated_at": None}
    problem(await owner("GET", f"/organizations/{uuid4()}/sign_in_policy"), 404, "not-found")
    assert (await owner.changed("DELETE", f"/organizations/{made['id']}")).status_code == 204


async def test_the_branding_of_an_organization(owner: Caller) -> None:
    made = (await owner("POST", "/organizations", {"slug": f"acme-{secrets.token_hex(6)}", "name": "Acme"})).json()
    await _branding(owner, f"/organizations/{made['id']}/branding")
    problem(await owner("GET", f"/organizations/{uuid4()}/branding"), 404, "not-found")
    assert (await owner.changed("DELETE", f"/organizations/{made['id']}")).status_code == 204


async def test_the_branding_of_a_client(owner: Caller, server: Server, http: httpx.AsyncClient) -> None:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    path = f"/clients/{client.client_id}/branding"
    await _branding(owner, path)
    admin = await make_caller(server, http, Role.CLIENT_ADMIN)
    assert (await admin.changed("PUT", path, {"corners": "small"})).json()["corners"] == "small"
    # It changes neither the server nor an organization.
    for other in ("/branding", f"/organizations/{uuid4()}/branding"):
        assert (await admin("PUT", other, {}, If_Match="*")).status_code == 403
    problem(await owner("GET", "/clients/none/branding"), 404, "not-found")


async def _branding(owner: Caller, path: str) -> None:
    shown = await owner("GET", path)
    assert {name: value for name, value in shown.json().items() if value} == {}
    picture = f"data:image/png;base64,{b64encode(PNG).decode()}"
    wanted = {"display_name": "Acme Ltd", "color": "#8a1c4a", "ways": ["passkey"]}
    problem(await owner("PUT", path, wanted), 428, "if-match-required")
    answer = await owner.changed("PUT", path, wanted | {"logo": picture})
    assert wanted.items() <= answer.json().items()
    # What was read can be sent again.
    again = {name: value for name, value in answer.json().items() if name != "updated_at"}
    assert (await owner.changed("PUT", path, again)).json() == answer.json()
    problem(await owner("PUT", path, {}, If_Match=shown.headers["etag"]), 412, "outdated")
    refused = await owner.changed("PUT", path, {"color": "#ffee00"})
    assert "hard to read" in problem(refused, 422, "invalid-value")["detail"]
    for body in ({"color": 1}, {"unknown": "x"}, {"help_uri": "javascript:x"}, {"logo": "a" * 64}, {"font": "x"}):
        assert (await owner.changed("PUT", path, body)).status_code in (400, 422)
    assert (await owner.changed("DELETE", path)).status_code == 204
    problem(await owner.changed("DELETE", path), 404, "not-found")
    removed, saved = (await owner("GET", f"{path}/versions")).json()["items"]
    assert (removed["branding"], saved["branding"]["display_name"]) == (None, "Acme Ltd")
    restored = (await owner("POST", f"{path}/versions/{saved['id']}/restore")).json()
    assert restored | {"updated_at": None} == answer.json() | {"updated_at": None}
    for version in (str(uuid4()), "x"):
        problem(await owner("POST", f"{path}/versions/{version}/restore"), 404, "not-found")


async def test_keys(owner: Caller) -> None:
    problem(await owner("POST", "/keys", {"alg": "none"}), 409, "wrong-state")
    from idp.keys import lifecycle

    await lifecycle.ensure_signing_key("Ed25519")
    rotated = await owner("POST", "/keys", {"alg": "Ed25519", "deadline": None})
    assert rotated.status_code == 201
    kid = rotated.json()["key"]["kid"]
    assert rotated.json()["key"]["state"] == "pending"
    problem(await owner("POST", "/keys", {"alg": "Ed25519"}), 409, "rotation-pending")
    assert (await owner("POST", f"/keys/{kid}/activate")).json()["key"]["state"] == "active"
    problem(await owner("POST", f"/keys/{kid}/activate"), 409, "wrong-state")
    problem(await owner("POST", f"/keys/{kid}/destroy"), 409, "wrong-state")
    states = {key["kid"]: key["state"] for key in (await owner("GET", "/keys?alg=Ed25519")).json()["items"]}
    (old,) = states.keys() - {kid}
    assert states == {kid: "active", old: "retiring"}
    assert (await owner("POST", f"/keys/{old}/revoke")).json()["was"] == "retiring"
    assert (await owner("POST", f"/keys/{old}/destroy")).json()["key"]["state"] == "destroyed"


async def test_an_upstream(owner: Caller) -> None:
    name = f"u{secrets.token_hex(4)}"
    asked = {
        "id": name,
        "name": "Acme",
        "issuer": "https://login.acme.example",
        "client_id": "x",
        "client_secret": "hush",
    }
    created = await owner("POST", "/upstreams", asked)
    assert created.status_code == 201, created.text
    assert "hush" not in created.text
    assert created.json()["has_client_secret"]
    path = f"/upstreams/{name}"
    moved: dict[str, Any] = {"options": {"metadata_url": "https://thief.example/metadata"}}
    refused = await owner.changed("PATCH", path, moved)
    assert refused.status_code == 422
    assert "another server" in refused.json()["detail"]
    assert (await owner.changed("PATCH", path, moved | {"client_secret": "hush"})).status_code == 200
    assert (await owner.changed("PATCH", path, {"name": "Acme 2"})).json()["config"]["name"] == "Acme 2"
    rules = [{"claim": "groups", "equals": "x", "group": (group := await a_group()).name}]
    changed = await owner.changed("PATCH", path, {"rules": rules})
    assert changed.json()["config"]["rules"] == [{"claim": "groups", "equals": "x", "group": str(group.id)}]
    refused = await owner.changed("PATCH", path, {"rules": [rules[0] | {"group": "nobody"}]})
    assert refused.status_code == 422
    stored = await fetchrow("SELECT client_secret FROM upstream WHERE id = $1", name)
    assert stored is not None
    assert stored["client_secret"]
    problem(await owner("POST", "/upstreams", asked), 409, "id-taken")
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"]
    assert (await owner("POST", f"{path}/contain")).json()["kind"] == "upstream"
    assert (await owner.changed("DELETE", path)).status_code == 204


async def test_sessions_consents_and_mail(
    owner: Caller, browser: Browser, make_client: MakeClient, alice: User
) -> None:
    party = await make_client()
    tokens = await party.tokens(browser, alice.email)
    (session,) = (await owner("GET", f"/sessions?user_id={alice.id}&live=true")).json()["items"]
    assert session["amr"] == ["pwd"]
    (consent,) = (await owner("GET", f"/consents?user_id={alice.id}")).json()["items"]
    assert consent["client_id"] == party.client_id
    assert [grant["scope"] for grant in consent["grants"]] == ["email", "openid", "profile"]
    assert {grant["resource"] for grant in consent["grants"]} == {None}
    assert consent["claims"] == []
    assert (await owner("DELETE", f"/consents/{consent['id']}")).status_code == 204
    assert (await party.refresh(tokens["refresh_token"])).status_code == 400
    problem(await owner("GET", f"/sessions/{session['sid']}/reach"), 404, "not-found")
    assert (await owner("DELETE", f"/sessions/{session['sid']}")).status_code == 204
    reach = (await owner("GET", f"/sessions/{session['sid']}/reach")).json()
    assert (reach["sid"], reach["reached"]) == (session["sid"], False)
    (application,) = reach["applications"]
    assert (application["client_id"], application["state"]) == (party.client_id, "cannot_be_told")
    assert application["tokens_until"] > reach["ended_at"]
    assert (await owner("GET", f"/users/{alice.id}/reach")).json() == [reach]
    page = await browser.get("/account")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids
    await outbox.queue(alice.email, "welcome", name="Alice")
    mails = (await owner("GET", f"/outbox?recipient={alice.email}")).json()["items"]
    assert {"template", "state", "response"} <= mails[0].keys()
    assert "content" not in mails[0]
    await execute("UPDATE mail SET state = 'dead', next_attempt_at = NULL WHERE recipient = $1", alice.email)
    problem(await owner("POST", f"/outbox/{mails[0]['id']}/retry"), 409, "wrong-state")


async def test_a_token_hook(owner: Caller) -> None:
    client, _ = await register_client(client_name="Hooked", redirect_uris=["https://hooked.example/cb"])
    url = f"https://{ids.uuid7()}.example/hook"
    created = await owner("POST", "/token_hooks", {"url": url, "client_id": client.client_id})
    assert created.status_code == 201
    path, secret = f"/token_hooks/{created.json()['id']}", created.json()["secret"]
    shown = (await owner("GET", path)).json()
    assert (shown["url"], shown["places"], shown["fail_open"]) == (url, ["access_token", "id_token"], False)
    assert secret not in (await owner("GET", f"/token_hooks?client_id={client.client_id}")).text
    problem(await owner("POST", "/token_hooks", {"url": url, "client_id": client.client_id}), 409, "wrong-state")
    problem(await owner("PATCH", path, {"fail_open": True}), 428, "if-match-required")
    changed = await owner.changed("PATCH", path, {"places": ["userinfo"], "fail_open": True})
    assert (changed.json()["places"], changed.json()["fail_open"]) == (["userinfo"], True)
    for wrong in ({"places": ["x"]}, {"places": []}, {"url": "ftp://a.example"}, {"secret": "x"}, {"client_id": "x"}):
        assert (await owner.changed("PATCH", path, wrong)).status_code == 422, wrong
    assert (await owner("POST", f"{path}/rotate_secret")).json()["secret"] != secret
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"] is not None
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    assert (await owner("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")


async def test_a_webhook(owner: Caller) -> None:
    url = f"https://{ids.uuid7()}.example/events"
    created = await owner("POST", "/webhooks", {"url": url, "kinds": ["database_restored"], "description": "Mine"})
    assert created.status_code == 201
    path, secret = f"/webhooks/{created.json()['id']}", created.json()["secret"]
    assert secret.startswith("whsec_")
    shown = await owner("GET", path)
    assert (shown.json()["url"], shown.json()["kinds"], shown.json()["whole"]) == (url, ["database_restored"], False)
    assert secret not in (await owner("GET", "/webhooks")).text
    problem(await owner("PATCH", path, {"whole": True}), 428, "if-match-required")
    changed = await owner.changed("PATCH", path, {"kinds": ["key_revoked", "database_restored"]})
    assert changed.json()["kinds"] == ["database_restored", "key_revoked"]
    assert changed.json()["description"] == "Mine"
    for wrong in ({"kinds": ["nothing"]}, {"url": "ftp://a.example"}, {"secret": "x"}, {"disabled_at": None}):
        assert (await owner.changed("PATCH", path, wrong)).status_code == 422, wrong
        assert (await owner("POST", "/webhooks", {"url": url, "kinds": ["key_revoked"]} | wrong)).status_code == 422
    rotated = await owner("POST", f"{path}/rotate_secret")
    assert rotated.json()["secret"] != secret
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"] is not None
    problem(await owner("POST", f"{path}/test"), 404, "not-found")
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    delivery = (await owner("POST", f"{path}/test")).json()["delivery_id"]
    assert (await owner("GET", f"/deliveries/{delivery}")).json()["stream"] == f"webhook:{created.json()['id']}"
    assert (await owner("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")


async def test_a_stream_of_shared_signals(owner: Caller) -> None:
    stream = await make_stream(events_requested=[ACCOUNT_DISABLED], description="Mine")
    path, user_id = f"/shared_signals/{stream.id}", ids.uuid7()
    await ssf.add_subject(stream.id, user_id)
    shown = (await owner("GET", path)).json()
    assert shown.items() >= {
        "client_id": stream.client_id, "endpoint_url": None, "events_requested": [ACCOUNT_DISABLED],
        "status": "enabled", "description": "Mine", "format": "iss_sub", "subjects": 1, "waiting": 0, "dead": 0,
        "delivered_at": None, "failures": 0, "paused_until": None,
    }.items()  # fmt: skip
    assert (await owner("GET", f"/shared_signals?client_id={stream.client_id}")).json()["items"] == [shown]
    paused = (await owner("POST", f"{path}/pause", {"reason": "Maintenance"})).json()
    assert (paused["status"], paused["status_reason"], paused["waiting"]) == ("paused", "Maintenance", 1)
    # Nothing changes, so the receiver is told nothing.
    assert (await owner("POST", f"{path}/pause", {"reason": "Maintenance"})).json() == paused
    resumed = (await owner("POST", f"{path}/resume", {})).json()
    assert (resumed["status"], resumed["status_reason"], resumed["waiting"]) == ("enabled", "", 2)
    (first, second) = await fetch("SELECT id FROM delivery WHERE stream = $1 ORDER BY id", stream.stream)
    await deliveries_.acknowledge(stream.stream, [(first["id"], ""), (second["id"], "invalid_key")], 60)
    shown = (await owner("GET", path)).json()
    assert (shown["waiting"], shown["dead"], shown["delivered_at"] is None) == (0, 1, False)
    disabled = await owner("POST", f"{path}/disable", {})
    assert disabled.json()["status"] == "disabled"
    problem(await owner("POST", f"{path}/pause", {"reason": "two\nlines"}), 422, "invalid-value")
    problem(await owner("POST", f"{path}/pause", {"status": "paused"}), 422, "invalid-body")
    assert [item["id"] for item in (await owner("GET", "/shared_signals?status=disabled")).json()["items"]] == [
        str(stream.id)
    ]
    assert (await owner("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")
    problem(await owner("POST", f"{path}/resume", {}), 404, "not-found")
    assert await fetch("SELECT FROM delivery WHERE stream = $1 AND next_attempt_at IS NOT NULL", stream.stream) == []
    events = await fetch(
        "SELECT event, actor, detail ->> 'status' AS status FROM audit_event WHERE client_id = $1"
        " AND event LIKE 'event_stream%' AND actor <> '' ORDER BY at, id",
        stream.client_id,
    )
    assert [(row["event"], row["status"]) for row in events] == [
        ("event_stream_status_set", "paused"), ("event_stream_status_set", "enabled"),
        ("event_stream_status_set", "disabled"), ("event_stream_deleted", None),
    ]  # fmt: skip
    assert len({row["actor"] for row in events}) == 1


async def test_deliveries(owner: Caller) -> None:
    """A kind without a handler, so that the server does not send them."""
    stream = f"client:{ids.uuid7()}"
    async with transaction():
        delivery = await deliveries.queue("none", stream, {"secret": "s"})
    (item,) = (await owner("GET", f"/deliveries?stream={stream}")).json()["items"]
    assert (item["id"], item["state"], item["kind"]) == (str(delivery), "queued", "none")
    assert "content" not in item
    path = f"/deliveries/{delivery}"
    assert (await owner("GET", path)).json() == item
    problem(await owner("POST", f"{path}/replay"), 409, "wrong-state")
    await execute(
        "UPDATE delivery SET state = 'dead', next_attempt_at = NULL, finished_at = now() WHERE id = $1", delivery
    )
    replayed = await owner("POST", f"{path}/replay")
    assert (replayed.json()["state"], replayed.json()["finished_at"]) == ("queued", None)
    recorded = await fetch(
        "SELECT FROM audit_event WHERE event = 'delivery_replayed' AND detail ->> 'delivery_id' = $1", str(delivery)
    )
    assert len(recorded) == 1
    for unknown in (f"/deliveries/{ids.uuid7()}", "/deliveries/x"):
        problem(await owner("GET", unknown), 404, "not-found")
        problem(await owner("POST", f"{unknown}/replay"), 404, "not-found")
    await execute("DELETE FROM delivery WHERE id = $1", delivery)


async def test_roles(owner: Caller, alice: User) -> None:
    given = await owner("POST", "/admins", {"user_id": str(alice.id), "role": "support"})
    assert given.json()["granted_by"] == f"client:{owner.client_id}"
    assert (await owner("GET", f"/users/{alice.id}")).json()["roles"] == ["support"]
    assert (await owner("DELETE", f"/admins/{given.json()['id']}")).status_code == 204
    problem(await owner("POST", "/admins", {"user_id": str(alice.id), "role": "king"}), 422, "invalid-body")


async def test_the_settings(owner: Caller) -> None:
    values = {row["name"]: row["value"] for row in (await owner("GET", "/settings")).json()}
    assert values["IDP_MASTER_KEY"] == "***"
    assert values["IDP_ISSUER"] == owner.issuer


async def test_one_of_two_concurrent_changes_succeeds(owner: Caller, alice: User) -> None:
    """Both callers have read the same version, so the second change fails."""
    made = (await owner("POST", "/clients", CLIENT)).json()
    server = {"identifier": f"https://{made['client_id']}.example", "name": "X"}
    jwks_id = (await owner("POST", "/resource_servers", server)).json()["jwks_id"]
    for path, member in (
        (f"/clients/{made['client_id']}", "client_name"),
        (f"/resource_servers/{jwks_id}", "name"),
        (f"/users/{alice.id}", "nickname"),
    ):
        tag = (await owner("GET", path)).headers["etag"]
        answers = await asyncio.gather(
            *(owner("PATCH", path, {member: f"Number {number}"}, If_Match=tag) for number in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7, path


# Lists


async def test_a_list_is_walked_without_doubles_while_it_grows(owner: Caller, make_user: MakeUser) -> None:
    tag = secrets.token_hex(6)
    made = [(await make_user(email=f"{tag}{number}@example.com")).email for number in range(7)]
    seen: list[str] = []
    answer = await owner("GET", f"/users?q={tag}&sort=email&limit=3")
    while True:
        seen += [item["email"] for item in answer.json()["items"]]
        if answer.json()["next_cursor"] is None:
            break
        assert "link" in answer.headers
        await make_user(email=f"{tag}0{len(seen)}@example.com")  # sorts before the rows already shown
        url = answer.headers["link"].partition("<")[2].partition(">")[0]
        answer = await owner("GET", url)
    assert [email for email in seen if email in made] == made
    assert len(seen) == len(set(seen))
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "sort=password_hash", "colour=red", "cursor=x", "disabled=maybe"],
)
async def test_invalid_list_queries(owner: Caller, query: str) -> None:
    found = problem(await owner("GET", f"/users?{query}"), 400, "invalid-query")
    assert found["errors"]


# Tokens


async def test_missing_or_invalid_token(server: Server, http: httpx.AsyncClient, owner: Caller) -> None:
    answer = await http.get(f"{server.issuer}{API}/users")
    problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="idp", DPoP algs="ES256 ')
    for token in ("x", owner.token[:-3] + "xxx", await owner.authenticate(resource="")):
        answer = await http.get(f"{server.issuer}{API}/users", headers={"Authorization": f"Bearer {token}"})
        problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="idp", error="invalid_token"')


async def test_a_narrower_scope_counts(owner: Caller) -> None:
    await owner.authenticate(scope=Permission.USERS_READ)
    assert (await owner("GET", "/users")).status_code == 200
    answer = await owner("GET", "/keys")
    problem(answer, 403, "insufficient_scope")
    assert answer.json()["detail"].startswith("The access token lacks the scope admin:")
    assert 'scope="admin:keys:read"' in answer.headers["www-authenticate"]
    assert (await owner("GET", "/me")).json()["permissions"] == ["admin:users:read"]


async def test_a_person_needs_two_factors_and_a_role(
    server: Server, browser: Browser, make_client: MakeClient, alice: User, http: httpx.AsyncClient
) -> None:
    resource = f"{server.issuer}/admin/api"
    party = await make_client(scope=f"openid {Permission.USERS_READ}", skip_consent=True)
    wanted = {"resource": resource, "scope": f"openid {Permission.USERS_READ}"}
    token = (await party.tokens(browser, alice.email, **wanted))["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["acr"] == "1"
    bearer = {"Authorization": f"Bearer {token}"}
    answer = await http.get(f"{server.issuer}{API}/users", headers=bearer)
    problem(answer, 401, "insufficient_user_authentication")
    assert 'acr_values="2"' in answer.headers["www-authenticate"]

    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    page = await party.authorize(browser, acr_values="2", **wanted)
    assert isinstance(page, Page)
    back = await browser.submit(page, "totp-submit", code=await person.otp())
    assert isinstance(back, Redirect)
    token = (await party.redeem(back.parameters["code"])).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    refused = problem(await http.get(f"{server.issuer}{API}/users", headers=bearer), 403, "forbidden")
    assert refused["detail"] == f"No role of your account gives the permission {Permission.USERS_READ}."
    await grant(alice.id, Role.AUDITOR)
    assert (await http.get(f"{server.issuer}{API}/users", headers=bearer)).status_code == 200
    assert (await http.get(f"{server.issuer}{API}/me", headers=bearer)).json()["actor"] == f"user:{alice.id}"
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", alice.id)
    problem(await http.get(f"{server.issuer}{API}/users", headers=bearer), 401, "invalid_token")
    assert PASSWORD not in answer.text


# Sent again


async def test_many_equal_requests_make_one_client(owner: Caller) -> None:
    name = secrets.token_hex(6)
    asked = CLIENT | {"client_name": name}
    answers = await asyncio.gather(*(owner("POST", "/clients", asked, Idempotency_Key=name) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(await fetch("SELECT 1 FROM client WHERE metadata ->> 'client_name' = $1", name)) == 1
    (stored,) = await fetch("SELECT body FROM idempotent_answer WHERE status = 201 ORDER BY created_at DESC LIMIT 1")
    assert answers[0].json()["client_secret"].encode() not in bytes(stored["body"])
    other = await owner("POST", "/clients", asked | {"scope": "openid email"}, Idempotency_Key=name)
    problem(other, 422, "key-used")


async def test_a_refused_request_can_be_repeated_with_its_key(owner: Caller) -> None:
    key = secrets.token_hex(6)
    problem(await owner("POST", "/clients", {"client_name": ""}, Idempotency_Key=key), 422, "invalid_client_metadata")
    assert (await owner("POST", "/clients", CLIENT, Idempotency_Key=key)).status_code == 201


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"client_name": "\\u0000"}', b"[" * 100_000, b"\xff"])
async def test_bodies_that_are_none(owner: Caller, body: bytes) -> None:
    answer = await owner.http.post(
        f"{owner.issuer}{API}/clients",
        content=body,
        headers={"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.headers["content-type"].startswith("application/")


@pytest.mark.fault(41)
@pytest.mark.parametrize("error", [asyncpg.ReadOnlySQLTransactionError("no"), asyncpg.DiskFullError("no")])
def test_a_database_that_takes_no_writes_is_a_problem_that_passes(error: Exception) -> None:
    request = Request[Any, Any, Any]({"type": "http", "headers": []})  # type: ignore[typeddict-item]
    answer = problems.of(error, request)
    assert answer is not None
    status, headers, body = answer
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert headers["Content-Type"] == "application/problem+json"
    assert b"urn:idp:problem:try-later" in body
    assert problems.of(asyncpg.PostgresSyntaxError("ours"), request) is None


async def test_a_profile(owner: Caller) -> None:
    """A member that is not sent gets what the profile requires; one that is sent is refused with the reason."""
    keys = {"keys": [jose.generate("ES256").public_jwk]}
    new = {"client_name": "Bank", "redirect_uris": ["https://bank.example/cb"], "jwks": keys, "profile": "fapi2"}
    # Also if it is sent with the default of the specification.
    refused = await owner("POST", "/clients", new | {"token_endpoint_auth_method": "client_secret_basic"})
    assert refused.status_code == 422, refused.text
    assert "The profile fapi2 requires token_endpoint_auth_method to be one of" in refused.json()["detail"]
    created = await owner("POST", "/clients", new)
    assert (created.status_code, created.json()["client_secret"]) == (201, None), created.text
    path = f"/clients/{created.json()['client_id']}"
    shown = (await owner("GET", path)).json()
    assert (shown["token_endpoint_auth_method"], shown["dpop_bound_access_tokens"]) == ("private_key_jwt", True)
    refused = await owner.changed("PATCH", path, {"require_pushed_authorization_requests": False})
    assert refused.status_code == 422
    assert "requires require_pushed_authorization_requests" in refused.json()["detail"]
    await owner("DELETE", path)


async def test_members_of_client_metadata(owner: Caller) -> None:
    """Every member can be set at creation, changed, read, and is described with its allowed values."""
    document = (await owner("GET", "/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for name in ("NewClient", "Client"):
        assert set(ClientMetadata.__struct_fields__) <= schemas[name]["properties"].keys()
    assert set(schemas["ClientChange"]["properties"]) == set(ClientMetadata.__struct_fields__) - set(FIXED)
    assert schemas["NewClient"]["properties"]["subject_type"]["enum"] == ["public", "pairwise"]
    assert None in schemas["ClientChange"]["properties"]["userinfo_signed_response_alg"]["enum"]
    given = {"contacts": ["ops@shop.example"], "default_max_age": 60, "jwks_uri": "https://shop.example/jwks"}
    new = {"client_name": "Whole", "redirect_uris": ["https://shop.example/cb"], "request_object_signing_alg": "ES256"}
    created = await owner("POST", "/clients", new | given)
    assert created.status_code == 201, created.text
    path = f"/clients/{created.json()['client_id']}"
    shown = (await owner("GET", path)).json()
    assert shown | new | given == shown
    assert (shown["origin"], shown["response_types"], shown["subject_type"]) == ("admin", ["code"], "public")
    changed = await owner.changed("PATCH", path, {"jwks_uri": None, "request_object_signing_alg": None})
    assert (changed.json()["jwks_uri"], changed.json()["default_max_age"]) == (None, 60)
    refused = await owner.changed("PATCH", path, {"subject_type": "secret"})
    problem(refused, 422, "invalid_client_metadata")
    assert "subject_type" in refused.json()["detail"]
    problem(await owner.changed("PATCH", path, {"application_type": "native"}), 422, "invalid-body")


async def test_an_initial_access_token(owner: Caller) -> None:
    values = {"name": "Apps", "uses": 3, "lifetime": 3600, "scopes": ["openid"], "redirect_hosts": [".example.com"]}
    created = await owner("POST", "/initial_access_tokens", values)
    assert created.status_code == 201
    token, id_ = created.json()["initial_access_token"], created.json()["id"]
    path = f"/initial_access_tokens/{id_}"
    assert created.headers["location"].endswith(path)
    shown = (await owner("GET", path)).json()
    assert {name: shown[name] for name in ("name", "scopes", "redirect_hosts", "require_pkce", "uses_left")} == {
        "name": "Apps", "scopes": ["openid"], "redirect_hosts": [".example.com"], "require_pkce": True, "uses_left": 3,
    }  # fmt: skip
    listed = await owner("GET", "/initial_access_tokens")
    assert shown in listed.json()["items"]
    assert token not in listed.text
    row = await fetchrow("SELECT name FROM initial_access_token WHERE token_hash = $1", ids.digest(token))
    assert row is not None
    for wrong in (
        {"uses": 0}, {"uses": 10_001}, {"lifetime": 0}, {"lifetime": 10**9}, {"name": ""},
        {"scopes": ["admin:users:read"]}, {"scopes": ["none-such"]}, {"grant_types": []}, {"grant_types": ["password"]},
        {"redirect_hosts": ["https://a"]},
    ):  # fmt: skip
        assert (await owner("POST", "/initial_access_tokens", values | wrong)).status_code == 422, wrong
    assert (await owner("POST", "/initial_access_tokens", values | {"token_hash": "x"})).status_code == 422
    assert (await owner("DELETE", path)).status_code == 204
    assert (await owner("GET", path)).status_code == 404
    assert (await owner("DELETE", path)).status_code == 404


async def test_a_provisioning_target(owner: Caller) -> None:
    name = f"Wiki {ids.uuid7()}"
    new = {"name": name, "base_url": "https://app.example/scim/v2", "token": "the-token"}
    created = await owner("POST", "/provisioning_targets", new)
    assert created.status_code == 201
    assert "the-token" not in created.text
    path = f"/provisioning_targets/{created.json()['id']}"
    assert created.headers["location"].endswith(path)
    assert (await owner("POST", "/provisioning_targets", new)).status_code == 409
    for wrong in (
        {"name": ""}, {"token": "with space"}, {"base_url": "https://a.example/?x"}, {"users": "client"},
        {"mapping": {"userName": "secret"}}, {"mapping": {"emails": "email"}}, {"match": "id"}, {"removal": "keep"},
        {"groups": ["01a22d87-f22d-75de-9d97-6e0c2f6bcdbe"], "users": "groups"}, {"id": "x"},
        {"mapping": {"userName": "email", "urn:ietf:params:scim:schemas:core:2.0:User:title": "email"}},
    ):  # fmt: skip
        answer = await owner("POST", "/provisioning_targets", new | {"name": f"{ids.uuid7()}"} | wrong)
        assert answer.status_code == 422, wrong
    shown = await owner("GET", path)
    assert shown.json() == shown.json() | {"name": name, "users": "all", "match": "userName", "removal": "deactivate"}
    change = {"removal": "delete", "mapping": {"userName": "email"}}
    changed = await owner("PATCH", path, change, If_Match=shown.headers["etag"])
    assert changed.json() == changed.json() | change
    assert (await owner("PATCH", path, change, If_Match=shown.headers["etag"])).status_code == 412
    assert (await owner("PUT", f"{path}/token", {"token": "another"})).status_code == 204
    moved = {"base_url": "https://thief.example/scim/v2"}
    tag = (await owner("GET", path)).headers["etag"]
    assert "Enter the token too" in (await owner("PATCH", path, moved, If_Match=tag)).json()["detail"]
    assert (await owner("GET", path)).json()["base_url"] == new["base_url"]
    answer = await owner("PATCH", path, moved | {"token": "its-own"}, If_Match=tag)
    assert (answer.json()["base_url"], "its-own" in answer.text) == (moved["base_url"], False)
    for when in ("push/stop", "push/resume", "push"):
        assert (await owner("POST", f"{path}/{when}")).status_code == 404
    assert (await owner("POST", f"{path}/enable")).json()["disabled_at"] is None
    assert (await owner("POST", f"{path}/push")).json()["kind"] == "push"
    assert (await owner("GET", f"{path}/push")).json()["state"] in ("running", "done")
    assert (await owner("GET", f"{path}/check")).status_code == 404
    assert (await owner("POST", f"{path}/check", {"mend": True})).json()["kind"] == "check"
    assert (await owner("POST", f"{path}/check/stop")).json()["state"] == "stopped"
    assert (await owner("POST", f"{path}/check/resume")).json()["state"] == "running"
    status = (await owner("GET", f"{path}/status")).json()
    assert status == status | {"refused": 0, "dead": 0}
    assert status["check"]["error"] in ("", "The server's name cannot be resolved.")
    assert (await owner("GET", f"{path}/drift?kind=missing")).json()["items"] == []
    assert (await owner("GET", f"{path}/users?state=active")).json()["items"] == []
    assert (await owner("POST", f"{path}/disable")).json()["disabled_at"] is not None
    assert (await owner("DELETE", path)).status_code == 204
    for method, where in (("GET", path), ("GET", f"{path}/status"), ("GET", f"{path}/users"), ("DELETE", path)):
        assert (await owner(method, where)).status_code == 404


async def test_a_scim_token(owner: Caller) -> None:
    created = await owner("POST", "/scim_tokens", {"name": "Entra", "lifetime": 3600})
    assert created.status_code == 201
    token, id_ = created.json()["token"], created.json()["id"]
    path = f"/scim_tokens/{id_}"
    assert created.headers["location"].endswith(path)
    shown = (await owner("GET", path)).json()
    assert shown == shown | {"name": "Entra", "writes": True, "last_used_at": None, "old_expires_at": None}
    listed = await owner("GET", "/scim_tokens")
    assert shown in listed.json()["items"]
    assert token not in listed.text
    rotated = await owner("POST", f"{path}/rotate", {"overlap": 60})
    assert rotated.status_code == 200
    row = await fetchrow("SELECT token_hash, old_token_hash FROM scim_token WHERE id::text = $1", id_)
    assert row is not None
    assert tuple(row) == (ids.digest(rotated.json()["token"]), ids.digest(token))
    for wrong in ({"name": ""}, {"name": "x", "lifetime": 0}, {"name": "x", "writes": "yes"}, {"name": "x", "id": id_}):
        assert (await owner("POST", "/scim_tokens", wrong)).status_code == 422, wrong
    organization = await an_organization()
    of = {"name": "Acme", "organization_id": str(organization.id)}
    acme = f"/scim_tokens/{(await owner('POST', '/scim_tokens', of)).json()['id']}"
    assert (await owner("GET", acme)).json()["organization"] == organization.slug
    found = (await owner("GET", f"/scim_tokens?organization_id={organization.id}")).json()["items"]
    assert [each["name"] for each in found] == ["Acme"]
    problem(await owner("POST", "/scim_tokens", of | {"organization_id": str(ids.uuid7())}), 404, "not-found")
    await organizations.delete(organization.id)
    problem(await owner("GET", acme), 404, "not-found")
    assert (await owner("POST", f"{path}/rotate", {"overlap": -1})).status_code == 422
    assert (await owner("DELETE", path)).status_code == 204
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/rotate")):
        assert (await owner(method, where, {} if method == "POST" else None)).status_code == 404


async def test_a_policy_of_token_exchange(owner: Caller) -> None:
    new = {"client_name": "Orders", "grant_types": [GRANT_TYPE], "scope": "stock:read"}
    client_id = (await owner("POST", "/clients", new)).json()["client_id"]
    identifier = f"https://{client_id}.example.com"
    await owner("POST", "/resource_servers", {"identifier": identifier, "name": "Stock"})
    values = {"client_id": client_id, "resources": [identifier], "scope": "stock:read", "max_lifetime": 60}
    created = await owner("POST", "/token_exchange_policies", values)
    assert created.status_code == 201, created.text
    path = f"/token_exchange_policies/{created.json()['id']}"
    assert created.headers["location"].endswith(path)
    shown = (await owner("GET", path)).json()
    assert shown == created.json()
    assert shown | values | {"mode": "delegation", "subject_token_types": ["access_token"], "user_ids": []} == shown
    assert (await owner("GET", f"/token_exchange_policies?client_id={client_id}")).json()["items"] == [shown]
    for wrong in (
        {"resources": []}, {"resources": ["https://unknown.example"]}, {"resources": [identifier, identifier]},
        {"scope": "a  b"}, {"added_scope": "email"}, {"scope": "offline_access"}, {"max_lifetime": 0},
        {"subject_token_types": []}, {"subject_clients": ["x" * 501]},
    ):  # fmt: skip
        problem(await owner("POST", "/token_exchange_policies", values | wrong), 422, "invalid-value")
    for wrong in ({"mode": "both"}, {"subject_token_types": ["refresh_token"]}, {"user_ids": ["x"]}, {"id": "x"}):
        problem(await owner("POST", "/token_exchange_policies", values | wrong), 422, "invalid-body")
    without = (await owner("POST", "/clients", new | {"grant_types": ["client_credentials"]})).json()["client_id"]
    problem(await owner("POST", "/token_exchange_policies", values | {"client_id": without}), 409, "wrong-state")
    problem(await owner("POST", "/token_exchange_policies", values | {"client_id": "nobody"}), 404, "not-found")
    assert (await owner("DELETE", path)).status_code == 204
    assert (await owner("DELETE", path)).status_code == 404


async def test_only_an_owner_allows_impersonation(owner: Caller, server: Server, http: httpx.AsyncClient) -> None:
    new = {"client_name": "Support", "grant_types": [GRANT_TYPE], "scope": ""}
    client_id = (await owner("POST", "/clients", new)).json()["client_id"]
    identifier = f"https://{client_id}.example.com"
    await owner("POST", "/resource_servers", {"identifier": identifier, "name": "Stock"})
    values = {"client_id": client_id, "resources": [identifier], "mode": "impersonation"}
    manager = await make_caller(server, http, Role.CLIENT_ADMIN)
    problem(await manager("POST", "/token_exchange_policies", values), 403, "forbidden")
    assert (await manager("POST", "/token_exchange_policies", values | {"mode": "delegation"})).status_code == 201
    assert (await owner("POST", "/token_exchange_policies", values)).status_code == 201


async def test_who_maps_which_claims(owner: Caller, server: Server, http: httpx.AsyncClient) -> None:
    """Claims of all clients go to those of the owners too, and an attribute may be for owners only."""
    client_id = (await owner("POST", "/clients", CLIENT)).json()["client_id"]
    name = f"a_{secrets.token_hex(6)}"
    hidden = {"name": name, "type": "string", "label": {"default": "x"}, "visible_to": [], "editable_by": []}
    assert (await owner("POST", "/attributes", hidden)).status_code == 201
    attribute = {"kind": "attribute", "name": name}
    of_client = {"client_id": client_id, "claim": "x", "source": attribute, "places": ["userinfo"]}
    of_all = of_client | {"client_id": None, "scope": "hr", "source": {"kind": "constant", "value": "x"}}
    manager = await make_caller(server, http, Role.CLIENT_ADMIN)
    problem(await manager("POST", "/claim_mappings", of_client), 422, "invalid-value")
    problem(await manager("POST", "/claim_mappings", of_all), 403, "forbidden")
    for values in (of_client, of_all):
        created = await owner("POST", "/claim_mappings", values)
        assert created.status_code == 201, created.text
        if values is of_all:
            problem(await manager("DELETE", f"/claim_mappings/{created.json()['id']}"), 403, "forbidden")
        await owner("DELETE", f"/claim_mappings/{created.json()['id']}")
    await owner("DELETE", f"/attributes/{name}", If_Match="*")


async def test_a_workload_identity(owner: Caller) -> None:
    new = {
        "client_name": "Orders", "grant_types": ["client_credentials"], "scope": "",
        "token_endpoint_auth_method": "workload_identity",
    }  # fmt: skip
    client_id = (await owner("POST", "/clients", new)).json()["client_id"]
    values = {"client_id": client_id, "issuer": "https://issuer.example", "subject": "a:*", "single_use": False}
    created = await owner("POST", "/workload_identities", values)
    assert created.status_code == 201, created.text
    path = f"/workload_identities/{created.json()['id']}"
    assert created.headers["location"].endswith(path)
    shown = (await owner("GET", path)).json()
    assert shown == created.json()
    assert shown | values | {"audience": owner.issuer, "jwks": None, "jwks_uri": None} == shown
    listed = (await owner("GET", f"/workload_identities?client_id={client_id}")).json()["items"]
    assert listed == [shown]
    problem(await owner("POST", "/workload_identities", values), 409, "wrong-state")
    problem(await owner("POST", "/workload_identities", values | {"subject": "*"}), 422, "invalid-value")
    problem(await owner("POST", "/workload_identities", values | {"subject": 1}), 422, "invalid-body")
    assert (await owner("DELETE", path)).status_code == 204
    assert (await owner("DELETE", path)).status_code == 404
    assert (await owner.changed("DELETE", f"/clients/{client_id}")).status_code == 204


async def test_a_claim_mapping(owner: Caller) -> None:
    client_id = (
        await owner("POST", "/clients", {"client_name": "Grafana", "redirect_uris": ["https://g.example/"]})
    ).json()["client_id"]
    values = {
        "client_id": client_id, "claim": "teams", "places": ["id_token"],
        "source": {"kind": "groups", "prefix": "grafana-"},
    }  # fmt: skip
    created = await owner("POST", "/claim_mappings", values)
    assert created.status_code == 201, created.text
    path = f"/claim_mappings/{created.json()['id']}"
    assert created.headers["location"].endswith(path)
    shown = (await owner("GET", path)).json()
    source = {"kind": "groups", "prefix": "grafana-", "strip_prefix": False, "names": []}
    assert shown == created.json() == shown | values | {"source": source, "scope": None, "shape": "value"}
    listed = (await owner("GET", f"/claim_mappings?client_id={client_id}")).json()["items"]
    assert listed == [shown]
    problem(await owner("POST", "/claim_mappings", values), 409, "wrong-state")
    problem(await owner("POST", "/claim_mappings", values | {"claim": "sub"}), 422, "invalid-value")
    problem(await owner("POST", "/claim_mappings", values | {"source": {"kind": "weather"}}), 422, "invalid-body")
    problem(await owner("POST", "/claim_mappings", values | {"client_id": None}), 422, "invalid-value")
    for_all = {"claim": "tenant", "places": ["id_token"], "scope": "wiki", "source": {"kind": "constant", "value": "a"}}
    other = (await owner("POST", "/claim_mappings", for_all)).json()
    assert (other["client_id"], other["scope"]) == (None, "wiki")
    for each in (path, f"/claim_mappings/{other['id']}"):
        assert (await owner("DELETE", each)).status_code == 204
        assert (await owner("DELETE", each)).status_code == 404
    assert (await owner.changed("DELETE", f"/clients/{client_id}")).status_code == 204


async def test_what_tokens_would_say(owner: Caller, alice: User) -> None:
    new = {"client_name": "Wiki", "redirect_uris": ["https://w.example/"], "scope": "openid groups"}
    client_id = (await owner("POST", "/clients", new)).json()["client_id"]
    path = f"/clients/{client_id}/claims"
    found = (await owner("GET", f"{path}?user_id={alice.id}&scope=openid+groups+roles&claim=shoe_size")).json()
    assert found["content"]["id_token"] == {"groups": []}
    assert found["notes"] == ["The client is not registered for: roles."]
    why = {each["claim"]: each["why"] for each in found["explained"] if each["place"] == "id_token"}
    assert why.items() >= {"groups": "user_has_none", "roles": "scope_not_allowed", "shoe_size": "no_mapping"}.items()
    problem(await owner("GET", path), 400, "invalid-query")
    problem(await owner("GET", f"{path}?user_id=00000000-0000-0000-0000-000000000001"), 404, "not-found")
    problem(await owner("GET", f"/clients/nobody/claims?user_id={alice.id}"), 404, "not-found")
    assert (await owner.changed("DELETE", f"/clients/{client_id}")).status_code == 204


async def test_a_trusted_issuer(owner: Caller) -> None:
    client_id = (
        await owner("POST", "/clients", {"client_name": "Wiki", "grant_types": ["client_credentials"]})
    ).json()["client_id"]
    values = {"issuer": f"https://{secrets.token_hex(6)}.example", "purposes": ["jwt_bearer"], "clients": [client_id]}
    created = await owner("POST", "/trusted_issuers", values)
    assert created.status_code == 201, created.text
    path = f"/trusted_issuers/{created.json()['id']}"
    shown = (await owner("GET", path)).json()
    assert shown == created.json()
    assert shown | values | {"subject": "identity", "jwks": None, "max_lifetime": 300, "enabled": True} == shown
    assert (await owner("GET", f"/trusted_issuers?client_id={client_id}")).json()["items"] == [shown]
    problem(await owner("POST", "/trusted_issuers", values), 409, "wrong-state")
    for wrong, status, kind in (
        ({"issuer": "x"}, 422, "invalid-value"),
        ({"clients": ["none-such"]}, 422, "invalid-value"),
        ({"purposes": ["saml"]}, 422, "invalid-body"),
        ({"purposes": []}, 422, "invalid-value"),
    ):
        answer = await owner("POST", "/trusted_issuers", values | {"issuer": "https://other.example"} | wrong)
        problem(answer, status, kind)
    keys = ClientKeys().jwks()
    changed = await owner.changed("PATCH", path, {"jwks": keys, "enabled": False})
    assert (changed.json()["jwks"], changed.json()["enabled"], changed.json()["clients"]) == (keys, False, [client_id])
    assert (await owner.changed("PATCH", path, {"jwks": None})).json()["jwks"] is None
    assert (await owner.changed("DELETE", path)).status_code == 204
    assert (await owner("GET", path)).status_code == 404
    assert (await owner.changed("DELETE", f"/clients/{client_id}")).status_code == 204


async def test_a_policy_of_identity_assertions(owner: Caller) -> None:
    new = {"client_name": "Agent", "grant_types": ["client_credentials"], "scope": ""}
    client_id = (await owner("POST", "/clients", new)).json()["client_id"]
    values = {
        "client_id": client_id, "audience": "https://login.example", "audience_client_id": "agent", "scope": "a:read",
        "resources": ["https://api.example"], "email_domains": ["corp.example"], "acr": "2", "email": True,
    }  # fmt: skip
    created = await owner("POST", "/id_jag_policies", values)
    assert created.status_code == 201, created.text
    path = f"/id_jag_policies/{created.json()['id']}"
    shown = (await owner("GET", path)).json()
    assert shown == created.json()
    assert shown | values | {"relying_party": None, "user_ids": []} == shown
    assert (await owner("GET", f"/id_jag_policies?client_id={client_id}")).json()["items"] == [shown]
    problem(await owner("POST", "/id_jag_policies", values | {"audience": "x"}), 422, "invalid-value")
    problem(await owner("POST", "/id_jag_policies", values | {"user_ids": ["x"]}), 422, "invalid-body")
    problem(await owner("POST", "/id_jag_policies", values | {"client_id": "none"}), 404, "not-found")
    assert (await owner("DELETE", path)).status_code == 204
    assert (await owner("DELETE", path)).status_code == 404
    assert (await owner.changed("DELETE", f"/clients/{client_id}")).status_code == 204


async def test_clients_by_origin(owner: Caller) -> None:
    for origin in ("admin", "dynamic", "document"):
        found = (await owner("GET", f"/clients?origin={origin}&limit=5")).json()["items"]
        assert {client["origin"] for client in found} <= {origin}
    problem(await owner("GET", "/clients?origin=other"), 400, "invalid-query")


async def test_the_old_secret_of_a_client(owner: Caller) -> None:
    client, _ = await register_client(client_name="Two secrets", redirect_uris=["https://shop.example/cb"])
    await rotate_secret(client.client_id, 3600)
    path = f"/clients/{client.client_id}"
    shown = (await owner("GET", path)).json()
    assert (shown["client_secret_live"], shown["previous_secret_live"]) == (True, True)
    ended = (await owner("POST", f"{path}/end_previous_secret")).json()
    assert (ended["client_secret_live"], ended["previous_secret_live"]) == (True, False)
    assert ended["previous_secret_expires_at"] is None
    problem(await owner("POST", "/clients/nobody/end_previous_secret"), 404, "not-found")


async def test_a_new_registration_access_token(owner: Caller) -> None:
    """Only for a client that registered itself."""
    by_itself, other = secrets.token_hex(8), secrets.token_hex(8)
    for client_id, origin in ((by_itself, "dynamic"), (other, "admin")):
        await register_client(client_id, origin=origin, client_name="A", redirect_uris=["https://shop.example/cb"])
    answer = await owner("POST", f"/clients/{by_itself}/rotate_registration_token")
    assert answer.json()["client_id"] == by_itself
    row = await fetchrow("SELECT registration_token_hash FROM client WHERE client_id = $1", by_itself)
    assert row is not None
    assert row["registration_token_hash"] == ids.digest(answer.json()["registration_access_token"])
    problem(await owner("POST", f"/clients/{other}/rotate_registration_token"), 404, "not-found")


async def test_the_api_changes_an_address(owner: Caller, make_user: MakeUser) -> None:
    user, taken = await make_user(email_verified=True), await make_user(email_verified=True)
    email, path = f"{secrets.token_hex(4)}@example.com", f"/users/{user.id}"
    assert (await owner.changed("PATCH", path, {"email": taken.email})).status_code == 409
    changed = (await owner.changed("PATCH", path, {"email": email, "name": "Renamed"})).json()
    assert (changed["email"], changed["email_verified"], changed["name"]) == (email, False, "Renamed")
    assert (await owner.changed("PATCH", path, {"nickname": "x"})).json()["email"] == email
