"""Actions of the console, from the form to the database."""

import asyncio
import html
import json
import re
import secrets
import shlex
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from idp import ids
from idp.accounts.tables import User
from idp.admin.console import audit, jobs, snippets
from idp.admin.roles import Role
from idp.directory import groups, organizations
from idp.errors import PermissionDeniedError
from idp.federation import registry
from idp.infra.db.engine import authority, fetch, fetchrow
from idp.keys import jose, lifecycle
from idp.keys.lifecycle import State
from idp.oauth import subjects
from idp.oauth.claims import registration as claim_mappings
from idp.oauth.clients.members import MEMBERS, Kind, default_of, kind_of
from idp.oauth.clients.metadata import FIXED, metadata_of
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.registration import register_client, register_resource_server, rotate_secret
from idp.oauth.clients.repository import find_client, flat, update_metadata
from idp.oauth.device.codes import GRANT_TYPE as DEVICE_GRANT
from idp.oauth.repository.consents import StoredConsent, save_consent
from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.admin.console.conftest import Admin
from tests.conftest import MASTER_KEY, MakeUser
from tests.support.browser import Browser, Form, Page
from tests.support.directory import a_group, an_organization
from tests.support.oauth import PASSWORD
from tests.support.slapd import certificates


def _kept(form: Form) -> dict[str, str]:
    """Return the hidden fields of a form."""
    return {name: form.fields[name] for name in ("csrf_token", "version")}


async def events(admin: Admin) -> list[str]:
    rows = await fetch("SELECT event FROM audit_event WHERE actor = $1 ORDER BY at", f"user:{admin.user.id}")
    return [row["event"] for row in rows]


async def test_a_user_is_found_disabled_and_enabled(owner: Admin, browser: Browser, make_user: MakeUser) -> None:
    user = await make_user(name="Zora Zebra")
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, user.email, PASSWORD)
    for query in (user.email[:9], "zora z", str(user.id)):
        assert user.email in (await owner.get(f"/admin/users?q={query}")).text
    shown = await owner.get(f"/admin/users/{user.id}")
    assert all(text in shown.text for text in (user.email, "Zora Zebra", "pwd", "127.0.0.1"))
    answer = await owner.confirm(f"/admin/users/{user.id}/disable")
    assert "All its sessions and tokens have ended." in answer.text
    assert not await fetch("SELECT FROM session WHERE user_id = $1 AND ended_at IS NULL", user.id)
    answer = await owner.confirm(f"/admin/users/{user.id}/enable")
    assert "Enabled again." in answer.text
    assert {"user_disabled", "user_enabled"} <= set(await events(owner))


async def test_one_session_is_ended(owner: Admin, browser: Browser, alice: User) -> None:
    """Attack row 15 (tests/attacks/README.md): the next use of its cookie is a stranger's."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, alice.email, PASSWORD)
    row = await fetchrow("SELECT id FROM session WHERE user_id = $1", alice.id)
    assert row is not None
    answer = await owner.confirm(f"/admin/users/{alice.id}/sessions/{row['id']}/end")
    assert "The session has ended." in answer.text
    page = await browser.get("/account")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids


async def test_a_user_is_contained(owner: Admin, alice: User) -> None:
    answer = await owner.confirm(f"/admin/users/{alice.id}/contain")
    assert "What ended" in answer.text
    # It follows a redirect, so a reload contains nobody again, and it stays where the audit trail finds it.
    report = answer.path.partition("?")[0]
    assert report.startswith(f"/admin/users/{alice.id}/contained/")
    event = await owner.get(f"/admin/audit/{report.rpartition('/')[2]}")
    assert f'href="{report}"' in event.text
    assert "ID tokens, at applications that received them" in (await owner.get(report)).text
    assert (await owner.get(report.replace(str(alice.id), str(owner.user.id)))).status == 404
    assert (await owner.get(report.replace("users", "keys"))).status == 404
    assert await fetchrow("SELECT FROM users WHERE id = $1 AND disabled_at IS NOT NULL", alice.id) is not None


async def test_a_user_is_invited(owner: Admin) -> None:
    email = f"{secrets.token_hex(4)}@example.com"
    answer = await owner.confirm("/admin/users/invite", email=email)
    assert "The invitation was sent." in answer.text
    assert await fetchrow("SELECT FROM invitation WHERE email = $1", email) is not None
    answer = await owner.confirm("/admin/users/invite", email="nobody")
    assert answer.status == 400
    assert "nobody" in answer.text


async def test_a_subject_leads_to_its_user(owner: Admin, alice: User) -> None:
    client, _ = await register_client(
        client_name="Pairwise", redirect_uris=["https://pairwise.example/cb"], subject_type="pairwise"
    )
    subject = subjects.subject(client, alice.id)
    answer = await owner.confirm("/admin/users/subject", subject=f" {subject} ")
    assert answer.path == f"/admin/users/{alice.id}"
    assert alice.email in answer.text
    assert "The question is in the audit trail." in answer.text
    answer = await owner.confirm("/admin/users/subject", subject="<x>")
    assert answer.status == 404
    assert "No user has this subject" in answer.text
    assert "<x>" not in answer.text


@pytest.mark.fault(36)
async def test_a_new_client_is_asked_for_pkce(owner: Admin) -> None:
    """PKCE is on by default, with an explanation; it can be switched off for confidential clients only."""
    page = await owner.get("/admin/clients/new/web")
    assert "oauth2-proxy" in page.text
    field = page.text.partition('id="f-require_pkce"')[2].partition(">")[0]
    assert "checked" in field
    claims = page.text.partition('id="f-scope_claims_in_id_token"')[2].partition(">")[0]
    assert "checked" not in claims
    for kind in ("spa", "native", "service"):
        assert "f-require_pkce" not in (await owner.get(f"/admin/clients/new/{kind}")).text
    (form,) = (form for form in page.forms if form.action == "/admin/clients/new/web")
    entered = form.fields | {"redirect_uris": "https://shop.example/cb"}
    assert "scope_claims_in_id_token" not in entered
    for name, pkce in (("With PKCE", True), ("Without PKCE", False)):
        if not pkce:
            del entered["require_pkce"]
        await owner.browser.post(form.action, entered | {"client_name": name})
        (row,) = map(flat, await fetch("SELECT * FROM client WHERE metadata ->> 'client_name' = $1", name))
        assert (row["require_pkce"], row["scope_claims_in_id_token"]) == (pkce, False)


async def test_a_new_device(owner: Admin) -> None:
    """It has no redirect URIs, and its page shows how it gets its codes."""
    page = await owner.get("/admin/clients/new/device")
    assert "f-redirect_uris" not in page.text
    page = await owner.confirm("/admin/clients/new/device", client_name="Projector", scope="openid")
    assert "initiateDeviceAuthorization" in page.text
    (row,) = map(flat, await fetch("SELECT * FROM client WHERE metadata ->> 'client_name' = 'Projector'"))
    assert row["grant_types"] == [DEVICE_GRANT, "refresh_token"]
    assert row["token_endpoint_auth_method"] == "none"


async def test_a_client_from_its_creation_to_its_end(owner: Admin) -> None:
    answer = await owner.confirm(
        "/admin/clients/new/web", client_name="Shop", redirect_uris="http://app.example/cb#x", scope="openid"
    )
    assert answer.status == 400
    assert "Shop" in answer.text
    answer = await owner.confirm(
        "/admin/clients/new/web", client_name="Shop", redirect_uris="https://shop.example/cb", scope="openid email"
    )
    assert "client-secret" in answer.ids
    secret = answer.text.partition('id="client-secret"')[2].partition(">")[2].partition("<")[0]
    named = """ WHERE metadata @> '{"client_name": "Shop", "scope": "openid email"}'"""
    (row,) = await fetch("SELECT * FROM client" + named)
    path = f"/admin/clients/{row['client_id']}"
    assert secret not in (await owner.get(path)).text
    assert "server_metadata_url" in answer.text
    form = next(form for form in (await owner.get(f"{path}/change")).forms if form.action == f"{path}/change")
    entered = {"client_name": "Shop 2", "scope": "openid", "grant_types:authorization_code": "on", "require_pkce": "on"}
    uris = {"redirect_uris": "https://shop.example/cb\nhttps://shop.example/b", "id_token_signed_response_alg": "RS256"}
    changed = await owner.browser.post(form.action, _kept(form) | entered | uris)
    assert isinstance(changed, Page)
    assert "Saved." in changed.text
    assert "https://shop.example/b" in changed.text
    answer = await owner.confirm(f"{path}/rotate_secret")
    assert secret not in answer.text
    form = next(form for form in (await owner.get(f"{path}/change")).forms if form.action == f"{path}/change")
    method = {"token_endpoint_auth_method": "client_secret_post", "strict_auth_method": "on"}
    changed = await owner.browser.post(form.action, _kept(form) | entered | uris | method)
    assert isinstance(changed, Page)
    assert "client_secret_post" in changed.text
    client = await find_client(row["client_id"])
    assert client is not None
    assert client.strict_auth_method
    await update_metadata(client.client_id, {"logo_uri": "https://shop.example/logo.png"})
    answer = await owner.confirm(f"{path}/remove_logo")
    assert "logo.png" not in answer.text
    assert (await owner.confirm(f"{path}/delete", typed="Shop")).status == 400
    assert (await owner.get(path)).status == 200
    await owner.confirm(f"{path}/delete", typed="Shop 2")
    assert (await owner.get(path)).status == 404


async def test_a_new_registration_access_token(owner: Admin) -> None:
    """Only for a client that registered itself."""
    client_id, other_id = str(ids.uuid7()), str(ids.uuid7())
    for id_, origin in ((client_id, "dynamic"), (other_id, "admin")):
        await register_client(id_, origin=origin, client_name="Shop", redirect_uris=["https://shop.example/cb"])
    action = "{}/rotate_registration_token".format
    assert action(client_id) in (await owner.get(f"/admin/clients/{client_id}")).text
    assert action(other_id) not in (await owner.get(f"/admin/clients/{other_id}")).text
    answer = await owner.confirm(f"/admin/clients/{action(client_id)}")
    row = await find_client(client_id)
    assert row is not None
    assert row.registration_token_hash in [ids.digest(word) for word in re.findall(r"[\w-]{20,}", answer.text)]


async def test_the_old_secret_is_shown_and_ended(owner: Admin) -> None:
    client, _ = await register_client(client_name=secrets.token_hex(4), redirect_uris=["https://shop.example/cb"])
    path = f"/admin/clients/{client.client_id}"
    assert "Old secret" not in (await owner.get(path)).text
    await rotate_secret(client.client_id, 3600)
    page = await owner.get(path)
    assert "Secret is valid until" in page.text
    assert "Old secret is valid until" in page.text
    answer = await owner.confirm(f"{path}/end_previous_secret")
    assert "The old secret is no longer accepted." in answer.text
    assert "Old secret" not in answer.text


async def test_a_client_is_created_with_its_keys(owner: Admin) -> None:
    """A service with ``private_key_jwt`` gets no secret."""
    name, jwks = secrets.token_hex(4), {"keys": [jose.generate("ES256").public_jwk]}
    entered = {"client_name": name, "scope": "read", "token_endpoint_auth_method": "private_key_jwt"}
    refused = await owner.confirm("/admin/clients/new/service", **entered)
    assert refused.status == 400
    assert "private_key_jwt needs jwks or jwks_uri." in refused.text
    page = await owner.confirm("/admin/clients/new/service", **entered, jwks=json.dumps(jwks))
    assert "client-secret" not in page.ids
    (row,) = await fetch("SELECT * FROM client WHERE metadata ->> 'client_name' = $1", name)
    assert (flat(row)["jwks"], row["client_secret_hash"]) == (jwks, None)


async def test_a_profile(owner: Admin) -> None:
    """Choosing one sets what it requires. What it forbids cannot be chosen, and the reason stands beside it."""
    keys = {"keys": [jose.generate("ES256").public_jwk]}
    uris = ["https://bank.example/cb"]
    client, _ = await register_client(client_name=secrets.token_hex(4), redirect_uris=uris, jwks=keys)
    path = f"/admin/clients/{client.client_id}"
    page = await owner.get(f"{path}/change")
    assert "disabled" not in page.text.partition('id="f-token_endpoint_auth_method"')[2].partition("</select>")[0]
    form = next(form for form in page.forms if form.action == f"{path}/change")
    clear = {name for name in MEMBERS if kind_of(name) is Kind.FLAG and not getattr(client, name)}
    entered = {name: value for name, value in form.fields.items() if name not in clear} | {
        "redirect_uris": uris[0], "scope": "openid",
        "jwks": json.dumps(keys), "profile": "fapi2", "application_type": "web", "require_pkce": "on",
        **{name: value for name in MEMBERS if name.endswith("signed_response_alg") and (value := default_of(name))},
        "token_endpoint_auth_method": "client_secret_basic", "subject_type": "public",
    }  # fmt: skip
    changed = await owner.browser.post(form.action, entered)
    assert isinstance(changed, Page)
    assert "Saved." in changed.text, changed.text
    found = await find_client(client.client_id)
    assert found is not None
    assert (found.profile, found.token_endpoint_auth_method) == ("fapi2", "private_key_jwt")
    page = await owner.get(f"{path}/change")
    methods = page.text.partition('id="f-token_endpoint_auth_method"')[2].partition("</div>")[0]
    assert '<option value="client_secret_basic" disabled>Secret in the header (client_secret_basic) (not' in methods
    assert '<option value="tls_client_auth">TLS certificate of an authority' in methods
    assert "The profile fapi2 requires token_endpoint_auth_method to be one of private_key_jwt" in methods
    assert "The profile fapi2 requires require_pkce." in page.text
    refused = await owner.browser.post(form.action, entered | {"id_token_signed_response_alg": "RS256"} | {
        "version": next(form for form in page.forms if form.action == f"{path}/change").fields["version"],
    })  # fmt: skip
    assert isinstance(refused, Page)
    assert refused.status == 400
    assert "The profile fapi2 requires" in refused.text


async def test_a_new_client_with_a_profile(owner: Admin) -> None:
    """What the form was not changed in, the profile decides."""
    page = await owner.get("/admin/clients/new/web")
    form = next(form for form in page.forms if form.action == "/admin/clients/new/web")
    name = secrets.token_hex(4)
    entered = form.fields | {
        "client_name": name, "redirect_uris": "https://bank.example/cb", "profile": "fapi2",
        "token_endpoint_auth_method": "client_secret_basic", "jwks_uri": "https://bank.example/jwks",
    }  # fmt: skip
    made = await owner.browser.post(form.action, entered)
    assert isinstance(made, Page)
    assert made.status == 200, made.text
    row = await fetchrow("SELECT metadata::text FROM client WHERE metadata ->> 'client_name' = $1", name)
    assert row is not None
    metadata = json.loads(row["metadata"])
    assert (metadata["profile"], metadata["token_endpoint_auth_method"]) == ("fapi2", "private_key_jwt")
    assert metadata["require_pushed_authorization_requests"]


async def test_every_member_has_a_field(owner: Admin) -> None:
    """Of each kind: lines, a number, a choice, a checkbox, JSON. What is not possible has its reason."""
    client, _ = await register_client(client_name=secrets.token_hex(4), redirect_uris=["https://shop.example/cb"])
    path = f"/admin/clients/{client.client_id}"
    page = await owner.get(f"{path}/change")
    assert all(f'id="f-{name}"' in page.text for name in MEMBERS if name not in (*FIXED, "logo_uri"))
    assert 'id="f-logo_uri"' in (await owner.get(f"{path}/logo")).text
    assert "require_signed_request_object needs jwks or jwks_uri." in page.text
    form = next(form for form in page.forms if form.action == f"{path}/change")
    jwks = {"keys": [jose.generate("ES256").public_jwk]}
    # As a browser does: without the boxes that are not checked.
    clear = {name for name in MEMBERS if kind_of(name) is Kind.FLAG and not getattr(client, name)}
    entered = {name: value for name, value in form.fields.items() if name not in clear} | {
        "redirect_uris": "https://shop.example/cb",
        "jwks": json.dumps(jwks),
        "contacts": "ops@shop.example\nsecurity@shop.example",
        "default_max_age": "3600",
        "request_object_signing_alg": "ES256",
        "require_auth_time": "on",
        "subject_type": "pairwise",
    }
    for bad in ({"jwks": "{"}, {"jwks": '{"keys": []}'}, {"default_max_age": "1h"}, {"jwks_uri": "http://x.example"}):
        answer = await owner.browser.post(form.action, entered | bad)
        assert isinstance(answer, Page)
        assert answer.status == 400
        assert next(iter(bad)) in answer.text
        assert "security@shop.example" in answer.text, "what was entered is kept"
    answer = await owner.browser.post(form.action, entered)
    assert isinstance(answer, Page)
    assert "Saved." in answer.text
    stored = await find_client(client.client_id)
    assert stored is not None
    assert (stored.jwks, stored.default_max_age, stored.require_auth_time) == (jwks, 3600, True)
    assert stored.contacts == ("ops@shop.example", "security@shop.example")
    assert (stored.request_object_signing_alg, stored.subject_type) == ("ES256", "pairwise")
    changed = ("jwks", "default_max_age", "require_auth_time", "contacts", "request_object_signing_alg", "subject_type")
    asked = {name: getattr(stored, name) for name in changed}
    assert metadata_of(stored) == msgspec.structs.replace(metadata_of(client), **asked), (
        "the other members are unchanged"
    )


@pytest.mark.fault(46)
async def test_a_single_page_app_gets_its_cookie_at_its_creation(owner: Admin) -> None:
    """As the README says, the registration offers the option that protects the refresh token."""
    name = secrets.token_hex(4)
    entered = {"client_name": name, "redirect_uris": "https://spa.example/cb", "scope": "openid offline_access"}
    page = await owner.get("/admin/clients/new/spa")
    form = next(form for form in page.forms if form.action == "/admin/clients/new/spa")
    for chosen in ({}, {"refresh_token_cookie": "on"}):
        await owner.browser.post(form.action, {"csrf_token": form.fields["csrf_token"]} | entered | chosen)
    rows = await fetch("SELECT * FROM client WHERE metadata ->> 'client_name' = $1 ORDER BY created_at", name)
    assert [flat(row)["refresh_token_cookie"] for row in rows] == [False, True]


async def test_a_resource_server_and_its_configuration(owner: Admin) -> None:
    identifier = f"https://{secrets.token_hex(4)}.example"
    answer = await owner.confirm(
        "/admin/resource_servers/new", identifier=identifier, name="Orders", networks="10.0.0.0/8\nnonsense"
    )
    assert answer.status == 400
    answer = await owner.confirm("/admin/resource_servers/new", identifier=identifier, name="Orders", networks="")
    assert identifier in answer.text
    assert "PyJWKClient" in answer.text
    (row,) = await fetch("SELECT * FROM resource_server WHERE identifier = $1", identifier)
    assert row["jwks_id"] in answer.text
    assert row["witnessed"]


async def test_a_type_of_authorization_details(owner: Admin) -> None:
    name = f"d{secrets.token_hex(4)}"
    server = await register_resource_server(f"https://{name}.example", "Bank")
    form = {"type": name, "resource": server.identifier, "title": "Make a <b>payment</b>", "summary": "{amount}"}
    assert (await owner.get("/admin/authorization_details/new")).status == 200
    answer = await owner.confirm("/admin/authorization_details/new", **form, schema="{}")
    assert answer.status == 400
    assert "type among its properties" in answer.text
    schema = '{"type": "object", "properties": {"type": {}}, "additionalProperties": false}'
    answer = await owner.confirm("/admin/authorization_details/new", **form, schema=schema)
    assert "Make a &lt;b&gt;payment&lt;/b&gt;" in answer.text
    assert "additionalProperties" in answer.text
    assert name in (await owner.get("/admin/authorization_details")).text
    (row,) = await fetch("SELECT * FROM authorization_details_type WHERE type = $1", name)
    path = f"/admin/authorization_details/{row['id']}"
    answer = await owner.confirm(f"{path}/change", **form, schema=schema, ask_always="on")
    assert "each time" in answer.text
    answer = await owner.confirm(f"{path}/delete")
    assert "Deleted." in answer.text
    assert not await fetch("SELECT FROM authorization_details_type WHERE type = $1", name)


async def test_an_initial_access_token(owner: Admin) -> None:
    name = f"Apps {secrets.token_hex(4)}"
    page = await owner.get("/admin/initial_access_tokens/new")
    assert "authorization_code" in page.text
    form = {"name": name, "scopes": "openid email", "grant_types": "authorization_code", "require_pkce": "on"}
    for wrong in (
        {"uses": "0"},
        {"uses": "x"},
        {"days": "9999999"},
        {"days": "-1"},
        {"redirect_hosts": "https://a.example"},
    ):
        answer = await owner.confirm("/admin/initial_access_tokens/new", **({**form, "uses": "2", "days": "3"} | wrong))
        assert answer.status == 400, wrong
        assert name in answer.text
    answer = await owner.confirm(
        "/admin/initial_access_tokens/new", **form, uses="2", days="3", redirect_hosts=".a.example"
    )
    (token,) = re.findall(r'id="client-secret" dir="ltr">([\w-]{43})<', answer.text)
    (row,) = await fetch("SELECT * FROM initial_access_token WHERE name = $1", name)
    assert row["token_hash"] == ids.digest(token)
    assert row["uses_left"] == 2
    path = f"/admin/initial_access_tokens/{row['id']}"
    shown = await owner.get(path)
    assert ".a.example" in shown.text
    assert token not in shown.text
    assert name in (await owner.get("/admin/initial_access_tokens")).text
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert not await fetch("SELECT FROM initial_access_token WHERE name = $1", name)


async def test_a_scim_token(owner: Admin) -> None:
    name = f"Directory {secrets.token_hex(4)}"
    for wrong in ({"name": ""}, {"days": "x"}, {"days": "0"}, {"days": "9999"}):
        answer = await owner.confirm("/admin/scim_tokens/new", **({"name": name, "days": "30"} | wrong))
        assert answer.status == 400, wrong
    organization = await an_organization()
    of = {"name": f"{name} of Acme", "days": "30"}
    answer = await owner.confirm("/admin/scim_tokens/new", **of, organization="nothing-like-it")
    assert answer.status == 400
    answer = await owner.confirm("/admin/scim_tokens/new", **of, organization=organization.slug)
    assert f"organisation {organization.slug}" in answer.text
    await organizations.delete(organization.id)
    answer = await owner.confirm("/admin/scim_tokens/new", name=name, days="30")
    (token,) = re.findall(r'id="client-secret" dir="ltr">([\w-]{43})<', answer.text)
    (row,) = await fetch("SELECT * FROM scim_token WHERE name = $1", name)
    assert (row["token_hash"], row["writes"]) == (ids.digest(token), True)
    path = f"/admin/scim_tokens/{row['id']}"
    shown = await owner.get(path)
    assert "read and change users and groups" in shown.text
    assert token not in shown.text
    assert "IDP_SCIM is off" in (await owner.get("/admin/scim_tokens")).text
    answer = await owner.confirm(f"{path}/rotate")
    (new,) = re.findall(r'id="client-secret" dir="ltr">([\w-]{43})<', answer.text)
    (row,) = await fetch("SELECT * FROM scim_token WHERE name = $1", name)
    assert (row["token_hash"], row["old_token_hash"]) == (ids.digest(new), ids.digest(token))
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert not await fetch("SELECT FROM scim_token WHERE name = $1", name)


async def test_a_provisioning_target(owner: Admin) -> None:
    name = f"Wiki {secrets.token_hex(4)}"
    good = {
        "name": name, "base_url": "https://app.example/scim/v2/", "token": "the-token", "users": "all",
        "match": "userName", "removal": "deactivate", "mapping": "userName=email\ntitle = nickname",
    }  # fmt: skip
    wrongs = (
        {"name": ""}, {"base_url": "ftp://app.example"}, {"token": ""}, {"users": "groups"}, {"users": "some"},
        {"mapping": "title=email"}, {"mapping": "userName"}, {"mapping": "userName=password_hash"},
        {"pushed_groups": "no such group"}, {"organization": "nowhere", "users": "organization"},
    )  # fmt: skip
    for wrong in wrongs:
        answer = await owner.confirm("/admin/provisioning/new", **(good | wrong))
        assert answer.status == 400, wrong
        assert "the-token" not in answer.text
    await owner.confirm("/admin/provisioning/new", **good)
    (row,) = await fetch("SELECT * FROM provisioning_target WHERE name = $1", name)
    assert (row["base_url"], row["disabled_at"] is None) == ("https://app.example/scim/v2", False)
    path = f"/admin/provisioning/{row['id']}"
    shown = await owner.get(path)
    assert "title=nickname" in shown.text
    assert "the-token" not in shown.text
    kept = good | {"token": ""}
    assert "Saved." in (await owner.confirm(f"{path}/change", **(kept | {"removal": "delete"}))).text
    moved = {"base_url": "https://other.example/scim/v2"}
    refused = await owner.confirm(f"{path}/change", **(kept | moved))
    assert (refused.status, "Enter the token too" in refused.text) == (400, True)
    assert "Saved." in (await owner.confirm(f"{path}/change", **(good | moved))).text
    assert "Saved." in (await owner.confirm(f"{path}/token", token="another")).text
    assert "Saved." in (await owner.confirm(f"{path}/enable")).text
    (job,) = await fetch("SELECT state FROM provisioning_job WHERE target_id = $1", row["id"])
    assert job["state"] in ("running", "done")
    for action in ("push", "check", "mend", "stop", "resume"):
        assert "Saved." in (await owner.confirm(f"{path}/{action}")).text
    jobs = await fetch("SELECT kind, mend FROM provisioning_job WHERE target_id = $1 ORDER BY kind", row["id"])
    assert [tuple(each) for each in jobs] == [("check", True), ("push", False)]
    assert "Saved." in (await owner.confirm(f"{path}/disable")).text
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert not await fetch("SELECT FROM provisioning_target WHERE name = $1", name)


async def test_the_details_that_a_user_allowed(owner: Admin, alice: User) -> None:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    details = '[{"type": "payment<1>", "amount": 1}, {"type": "payment<1>", "amount": 2}]'
    await save_consent(alice.id, client.client_id, StoredConsent(["openid"], [], details), b"", None)
    assert "openid, payment&lt;1&gt;<" in re.sub(r"\s*<", "<", (await owner.get(f"/admin/users/{alice.id}")).text)


async def test_a_workload_identity(owner: Admin) -> None:
    client, _ = await register_client(
        client_name="Orders",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="workload_identity",
    )
    assert "single_use" in (await owner.get("/admin/workload_identities/new")).text
    form = {"client_id": client.client_id, "issuer": "https://issuer.example", "subject": "a:*", "audience": "idp"}
    for wrong in ({"subject": "*"}, {"jwks": "{"}, {"jwks": "[]"}, {"client_id": "no-such-client"}, {"issuer": ""}):
        answer = await owner.confirm("/admin/workload_identities/new", **(form | wrong))
        assert answer.status == 400, wrong
    answer = await owner.confirm("/admin/workload_identities/new", **form)
    assert "by its discovery document" in answer.text
    (row,) = await fetch("SELECT * FROM workload_identity WHERE client_id = $1", client.client_id)
    assert (row["audience"], row["single_use"], row["jwks"]) == ("idp", True, None)
    assert "a:*" in (await owner.get("/admin/workload_identities")).text
    path = f"/admin/workload_identities/{row['id']}"
    assert client.client_id in (await owner.get(path)).text
    assert "Deleted." in (await owner.confirm(f"{path}/remove")).text
    assert not await fetch("SELECT FROM workload_identity WHERE client_id = $1", client.client_id)


async def test_a_claim_mapping(owner: Admin) -> None:
    client, _ = await register_client(client_name="Grafana", redirect_uris=["https://grafana.example/"], scope="openid")
    assert "strip_prefix" in (await owner.get("/admin/claim_mappings/new")).text
    form = {"client_id": client.client_id, "claim": "teams", "source": "groups", "shape": "value", "roles_of": "all"}
    for wrong in (
        {"claim": "sub"},
        {"client_id": "no-such-client"},
        {"client_id": ""},
        {"source": "x"},
        {"shape": "x"},
    ):
        answer = await owner.confirm("/admin/claim_mappings/new", **(form | wrong))
        assert answer.status == 400, wrong
    more = {"prefix": "", "groups": "Grafana admins\r\n\r\nStaff\r\n", "value": "of another source"}
    answer = await owner.confirm("/admin/claim_mappings/new", **(form | more))
    assert "groups, groups=Grafana admins Staff" in answer.text
    (row,) = await fetch("SELECT * FROM claim_mapping WHERE client_id = $1", client.client_id)
    source = {"kind": "groups", "prefix": "", "strip_prefix": False, "names": ["Grafana admins", "Staff"]}
    assert json.loads(row["config"])["source"] == source
    assert "teams" in (await owner.get(f"/admin/claim_mappings?client_id={client.client_id}")).text
    path = f"/admin/claim_mappings/{row['id']}"
    assert client.client_id in (await owner.get(path)).text
    assert "Deleted." in (await owner.confirm(f"{path}/remove")).text
    assert not await fetch("SELECT FROM claim_mapping WHERE client_id = $1", client.client_id)


async def test_what_tokens_would_say(owner: Admin, alice: User) -> None:
    client, _ = await register_client(
        client_name="Wiki", redirect_uris=["https://wiki.example/"], scope="openid groups"
    )
    tenant = {"kind": "constant", "value": "<b>"}
    mapping = await claim_mappings.add(client.client_id, claim="tenant", source=tenant, places=["id_token"])
    path = f"/admin/clients/{client.client_id}"
    assert f"{path}/claims" in (await owner.get(path)).text
    assert "Enter a user." in (await owner.get(f"{path}/claims")).text
    # The server has the mapping after its next load.
    async with asyncio.timeout(30):
        while "tenant" not in (
            text := (await owner.get(f"{path}/claims?user={alice.email}&scope=openid+groups+roles")).text
        ):
            await asyncio.sleep(0.02)
    for shown in ("the user has none", "not registered for its scope", "&lt;b&gt;", f"/claim_mappings/{mapping.id}"):
        assert shown in text
    assert "There is no user" in (await owner.get(f"{path}/claims?user=nobody")).text
    assert "before the @-sign" in (await owner.get(f"{path}/claims?user=@")).text


async def test_a_trusted_issuer(owner: Admin) -> None:
    client, _ = await register_client(client_name="Wiki", grant_types=["client_credentials"], scope="")
    assert "email_domains" in (await owner.get("/admin/trusted_issuers/new")).text
    issuer = f"https://{secrets.token_hex(6)}.example"
    purposes = ("jwt_bearer", "id_jag", "token_exchange", "login_hint")
    boxes = dict.fromkeys((*(f"purpose_{name}" for name in purposes), "create_users", "enabled"), "on")
    form = boxes | {"issuer": issuer, "clients": client.client_id, "max_lifetime": "60", "subject": "identity",
            "email_domains": "a.example"}  # fmt: skip
    for wrong in (
        {"jwks": "{"},
        {"max_lifetime": "x"},
        {"clients": "none-such"},
        {"issuer": ""},
        {"subject": "client"},
    ):
        answer = await owner.confirm("/admin/trusted_issuers/new", **(form | wrong))
        assert answer.status == 400, wrong
    answer = await owner.confirm("/admin/trusted_issuers/new", **form)
    assert "by its discovery document" in answer.text
    (row,) = await fetch("SELECT id, config FROM trusted_issuer WHERE issuer = $1", issuer)
    path = f"/admin/trusted_issuers/{row['id']}"
    assert issuer in (await owner.get("/admin/trusted_issuers")).text
    del form["issuer"]
    changes = {"subject": "email", "email_domains": "a.example\nb.example", "algorithms": "ES256"}
    answer = await owner.confirm(f"{path}/change", **(form | changes | {"scope": "offline_access"}))
    assert answer.status == 400
    answer = await owner.confirm(f"{path}/change", **(form | changes))
    (row,) = await fetch("SELECT config FROM trusted_issuer WHERE issuer = $1", issuer)
    config = json.loads(row["config"])
    assert config == config | {
        "purposes": list(purposes), "subject": "email",
        "email_domains": ["a.example", "b.example"], "enabled": True,
        "algorithms": ["ES256"], "create_users": True, "max_lifetime": 60, "scope": "", "jwks": None,
    }  # fmt: skip
    assert "b.example" in (await owner.get(path)).text
    assert "Deleted." in (await owner.confirm(f"{path}/remove")).text
    assert not await fetch("SELECT FROM trusted_issuer WHERE issuer = $1", issuer)


async def test_a_policy_of_token_exchange(owner: Admin) -> None:
    client, _ = await register_client(client_name="Orders", grant_types=[GRANT_TYPE], scope="stock:read")
    identifier = f"https://{client.client_id}.example.com"
    await register_resource_server(identifier, "Stock")
    assert "bearer_for_bound" in (await owner.get("/admin/token_exchange/new")).text
    form = {
        "client_id": client.client_id, "mode": "delegation", "resources": identifier, "scope": "stock:read",
        "subject_token_types": "access_token\nid_token", "bearer_for_bound": "on",
    }  # fmt: skip
    for wrong in (
        {"resources": "https://unknown.example"}, {"max_lifetime": "ten"}, {"max_lifetime": "0"}, {"user_ids": "x"},
        {"client_id": "no-such-client"}, {"mode": "both"}, {"added_scope": "email"},
    ):  # fmt: skip
        answer = await owner.confirm("/admin/token_exchange/new", **(form | wrong))
        assert answer.status == 400, wrong
    answer = await owner.confirm("/admin/token_exchange/new", **(form | {"max_lifetime": "60"}))
    assert "60 s" in answer.text
    (row,) = await fetch("SELECT * FROM token_exchange_policy WHERE client_id = $1", client.client_id)
    assert (row["subject_token_types"], row["bearer_for_bound"]) == (["access_token", "id_token"], True)
    assert identifier in (await owner.get("/admin/token_exchange")).text
    path = f"/admin/token_exchange/{row['id']}"
    assert "urn:ietf:params:oauth:token-type:access_token" in (await owner.get(path)).text
    assert "Deleted." in (await owner.confirm(f"{path}/remove")).text
    assert not await fetch("SELECT FROM token_exchange_policy WHERE client_id = $1", client.client_id)


async def test_a_policy_of_identity_assertions(owner: Admin) -> None:
    client, _ = await register_client(client_name="Agent", grant_types=["client_credentials"], scope="")
    form = {"client_id": client.client_id, "audience": "https://login.example", "audience_client_id": "agent",
            "resources": "https://a.example\nhttps://b.example", "scope": "a:read  a:write", "email": "on"}  # fmt: skip
    for wrong in ({"audience": "x"}, {"client_id": "none-such"}, {"user_ids": "x"}, {"acr": "9"}):
        answer = await owner.confirm("/admin/id_jag_policies/new", **(form | wrong))
        assert answer.status == 400, wrong
    answer = await owner.confirm("/admin/id_jag_policies/new", **form)
    assert "https://b.example" in answer.text
    (row,) = await fetch("SELECT * FROM id_jag_policy WHERE client_id = $1", client.client_id)
    assert (row["scope"], row["resources"]) == ("a:read a:write", ["https://a.example", "https://b.example"])
    assert (row["email"], row["acr"], row["relying_party"]) == (True, None, None)
    assert "https://login.example" in (await owner.get("/admin/id_jag_policies")).text
    assert "Deleted." in (await owner.confirm(f"/admin/id_jag_policies/{row['id']}/remove")).text
    assert not await fetch("SELECT FROM id_jag_policy WHERE client_id = $1", client.client_id)


async def test_a_form_that_is_outdated_overwrites_nothing(owner: Admin) -> None:
    """Two admins open the same record. Who saves second looks at it again."""
    name = f"u{secrets.token_hex(4)}"
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    server = await register_resource_server(f"https://{name}.example", "Shop")
    provider = registry.configure(kind="oidc", id=name, name="Shop", issuer="https://op.example.com", client_id="x")
    await registry.add(provider)
    uris = {"grant_types:authorization_code": "on", "redirect_uris": "https://shop.example/cb", "scope": "openid"}
    uris |= {"id_token_signed_response_alg": "RS256", "require_pkce": "on"}
    for path, field, more in (
        (f"/admin/clients/{client.client_id}", "client_name", uris),
        (f"/admin/resource_servers/{server.jwks_id}", "name", {}),
        (f"/admin/upstreams/{name}", "name", {"client_id": "x"}),
    ):
        form = next(form for form in (await owner.get(f"{path}/change")).forms if form.action == f"{path}/change")
        first = await owner.browser.post(form.action, _kept(form) | more | {field: "First"})
        assert isinstance(first, Page)
        assert "Saved." in first.text, first.text
        for kept in (_kept(form), {"csrf_token": form.fields["csrf_token"], "version": "x"}):
            second = await owner.browser.post(form.action, kept | more | {field: "Second"})
            assert isinstance(second, Page)
            assert second.status == 400
            assert "changed by another user" in second.text
            # Sending it once more does not either.
            assert next(f for f in second.forms if f.action == form.action).fields["version"] == kept["version"]
        shown = (await owner.get(path)).text
        assert "First" in shown
        assert "Second" not in shown
    assert "Deleted." in (await owner.confirm(f"/admin/upstreams/{name}/delete")).text


async def test_configuration_is_text_to_a_shell(owner: Admin) -> None:
    scope = "x';id;'"
    client, _ = await register_client(**(KINDS["service"] | {"client_name": "Job", "scope": scope}))
    row = flat(await fetchrow("SELECT * FROM client WHERE client_id = $1", client.client_id) or {})
    (_, command), *_ = snippets.of_client(row, "THE_SECRET")
    assert shlex.split(command)[-1] == f"scope={scope}"


async def test_a_key_is_rotated_and_its_witnesses_shown(owner: Admin) -> None:
    await lifecycle.ensure_signing_key("EdDSA")
    answer = await owner.confirm("/admin/keys/rotate", alg="EdDSA", deadline="hold")
    assert "The new key is published." in answer.text
    kid = answer.path.partition("?")[0].rpartition("/")[2]
    # It loads itself again until it signs, and says what it waits for.
    assert 'http-equiv="refresh"' in answer.text
    assert "minutes after its successor signs" in answer.text
    answer = await owner.confirm(f"/admin/keys/{kid}/activate")
    assert "The key signs from now on." in answer.text
    assert 'http-equiv="refresh"' not in answer.text
    old = next(key for key in await lifecycle.list_keys() if key.alg == "EdDSA" and key.state == State.RETIRING)
    answer = await owner.confirm(f"/admin/keys/{old.kid}/contain")
    assert "What continues" in answer.text
    assert answer.path.startswith(f"/admin/keys/{old.kid}/contained/")
    assert "destroy" in (await owner.get(f"/admin/keys/{old.kid}")).text


async def test_an_upstream_is_added_and_contained(owner: Admin) -> None:
    name = f"u{secrets.token_hex(4)}"
    fields = {"id": name, "name": "Acme", "issuer": "https://login.acme.example", "client_id": "x"}
    answer = await owner.confirm("/admin/upstreams/new/oidc", **fields, client_secret="hush-hush")
    assert f"/upstreams/{name}/callback" in answer.text
    assert "hush-hush" not in answer.text
    assert "hush-hush" not in (await owner.get(f"/admin/upstreams/{name}/change")).text
    answer = await owner.confirm(f"/admin/upstreams/{name}/contain")
    assert "Contained" in answer.text
    assert answer.path.startswith(f"/admin/upstreams/{name}/contained/")
    answer = await owner.confirm(f"/admin/upstreams/{name}/delete")
    assert "Deleted." in answer.text


async def test_the_form_has_the_fields_of_each_kind_of_upstream(owner: Admin) -> None:
    name = f"u{secrets.token_hex(4)}"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode()  # fmt: skip
    entered = {
        "id": name, "client_id": "com.example", "client_secret": pem, "option_team_id": "TEAM", "option_key_id": "KEY",
        "required_claims": "groups=staff, admins\nhd=example.com", "claims": "given_name=profile.first",
        "creates_accounts": "no", "scope": "",
    }  # fmt: skip
    offered = (await owner.get("/admin/upstreams/new/apple")).text
    assert 'value="Apple"' in offered
    assert 'name="trust_email" type="checkbox" value="on" checked' in offered
    answer = await owner.confirm("/admin/upstreams/new/apple", **entered | {"claims": "nonsense"})
    assert answer.status == 400
    assert "Write each claim on one line" in answer.text
    assert "groups=staff, admins" in answer.text
    assert "PRIVATE KEY" not in answer.text
    assert (await owner.confirm("/admin/upstreams/new/apple", **entered | {"option_key_id": ""})).status == 400
    answer = await owner.confirm("/admin/upstreams/new/apple", **entered)
    assert "TEAM" in answer.text
    before = next(each for each in await registry.load_stored() if each.id == name)
    assert before.options == {"team_id": "TEAM", "key_id": "KEY"}
    assert before.required_claims == {"groups": ("staff", "admins"), "hd": ("example.com",)}
    assert (before.claims, before.creates_accounts) == ({"given_name": "profile.first"}, False)
    await owner.confirm(f"/admin/upstreams/{name}/change", **entered | {"name": "Apple Inc", "required_claims": ""})
    after = next(each for each in await registry.load_stored() if each.id == name)
    assert after == msgspec.structs.replace(before, name="Apple Inc", required_claims={})
    assert "Deleted." in (await owner.confirm(f"/admin/upstreams/{name}/delete")).text


async def test_a_directory(owner: Admin) -> None:
    """It has a bind DN instead of a client_id, a CA of several lines, and no redirect URI."""
    name, (ca, *_rest) = f"u{secrets.token_hex(4)}", certificates()
    offered = (await owner.get("/admin/upstreams/new/ldap")).text
    assert "Password of the bind DN" in offered
    assert 'name="scope"' not in offered
    entered = {
        "id": name, "name": "Staff", "client_id": "cn=idp,dc=example", "client_secret": "hush-hush",
        "option_url": "ldaps://ldap.example.com", "option_base_dn": "dc=example", "option_ca": ca.replace("\n", "\r\n"),
        "option_email_domains": "example.com", "creates_accounts": "yes",
    }  # fmt: skip
    refused = await owner.confirm("/admin/upstreams/new/ldap", **entered | {"option_url": "ldap"})
    assert (refused.status, "is not a URL such as" in refused.text) == (400, True)
    assert "hush-hush" not in refused.text
    answer = await owner.confirm("/admin/upstreams/new/ldap", **entered)
    assert "ldaps://ldap.example.com" in answer.text
    assert "/callback" not in answer.text
    before = next(each for each in await registry.load_stored() if each.id == name)
    assert (before.issuer, before.client_secret) == (f"ldap:{name}:entryuuid", "hush-hush")
    changed = entered | {"client_secret": "", "option_groups": "member"}
    for elsewhere in ({"option_url": "ldaps://thief.example.com"}, {"option_ca": ""}):
        refused = await owner.confirm(f"/admin/upstreams/{name}/change", **changed | elsewhere)
        assert (refused.status, "another server" in refused.text) == (400, True)
    changed |= {"client_secret": "hush-hush", "option_ca": ""}
    await owner.confirm(f"/admin/upstreams/{name}/change", **changed)
    after = next(each for each in await registry.load_stored() if each.id == name)
    options = {option: value for option, value in before.options.items() if option != "ca"} | {"groups": "member"}
    assert after == msgspec.structs.replace(before, options=options)
    assert "Deleted." in (await owner.confirm(f"/admin/upstreams/{name}/delete")).text


async def test_the_rules_of_an_upstream(owner: Admin) -> None:
    """They are entered as lines of JSON, and shown with what they give."""
    name, group = f"u{secrets.token_hex(4)}", await a_group()
    fields = {
        "id": name,
        "name": "Acme",
        "issuer": "https://login.acme.example",
        "client_id": "x",
        "client_secret": "y",
    }
    rules = [
        {"claim": "groups", "equals": "<x>", "group": group.name},
        {"claim": "groups", "each": True, "prefix": "idp-"},
    ]
    refused = await owner.confirm("/admin/upstreams/new/oidc", **fields, rules="{")
    assert (refused.status, "Write each rule on one line" in refused.text) == (400, True)
    refused = await owner.confirm("/admin/upstreams/new/oidc", **fields, rules='{"claim": "x", "attribute": "none"}')
    assert (refused.status, "There is no attribute none" in refused.text) == (400, True)
    answer = await owner.confirm("/admin/upstreams/new/oidc", **fields, rules="\n".join(map(json.dumps, rules)))
    assert f"groups equals &lt;x&gt;: group {group.name}" in answer.text
    (stored,) = [one.rules for one in await registry.load_stored() if one.id == name]
    await groups.delete(group.id)
    answer = await owner.get(f"/admin/upstreams/{name}")
    assert "a group that is deleted. The rule is skipped." in answer.text
    form = await owner.get(f"/admin/upstreams/{name}/change")
    (entered,) = re.findall(r'name="rules"[^>]*>(.*?)</textarea>', form.text, re.DOTALL)
    await owner.confirm(form.path, name="Acme Inc", client_id="x", rules=html.unescape(entered).strip())
    assert [one.rules for one in await registry.load_stored() if one.id == name] == [stored]
    await owner.confirm(f"/admin/upstreams/{name}/delete")


async def test_an_event_shows_its_hash_and_checkpoint(owner: Admin, alice: User) -> None:
    await owner.confirm(f"/admin/users/{alice.id}/disable")
    event = await fetchrow("SELECT id, hash FROM audit_event WHERE user_id = $1 AND event = 'user_disabled'", alice.id)
    assert event is not None
    assert bytes(event["hash"]).hex() in (await owner.get(f"/admin/audit/{event['id']}")).text


async def test_a_refusal_is_listed_with_its_reason(owner: Admin, browser: Browser, alice: User) -> None:
    """In the trail and on the page of the user, by the same names."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, alice.email, "wrong")
    for path in (f"/admin/audit?user={alice.id}", f"/admin/users/{alice.id}"):
        text = (await owner.get(path)).text
        assert ">sign in<" in text, path
        assert "failure: wrong password" in text, path


async def test_the_trail_is_filtered_and_exported(owner: Admin, alice: User) -> None:
    await owner.confirm(f"/admin/users/{alice.id}/disable")
    page = await owner.get(f"/admin/audit?user_id={alice.id}&event=user_disabled")
    assert "user disabled" in page.text
    lines = (await owner.get(f"/admin/audit/export/jsonl?user_id={alice.id}")).text.splitlines()
    found = [json.loads(line) for line in lines]
    assert {each["user_id"] for each in found} == {str(alice.id)}
    disabled = next(each for each in found if each["event"] == "user_disabled")
    assert disabled["actor"] == f"user:{owner.user.id}"
    table = (await owner.get(f"/admin/audit/export/csv?user_id={alice.id}")).text.splitlines()
    assert table[0].startswith("id,at,event")
    assert len(table) == len(found) + 1
    exported = await fetch("SELECT detail FROM audit_event WHERE event = 'audit_exported'")
    assert str(alice.id) in "".join(each["detail"] for each in exported)


@pytest.mark.parametrize(
    "export", [lambda: audit._lines({}, "jsonl"), lambda: jobs._lines(ids.uuid7())], ids=["audit", "job"]
)
async def test_an_export_ends_with_its_authority(export: Callable[[], AsyncIterator[str]]) -> None:
    async def hold() -> None:
        raise PermissionDeniedError("Your role has been revoked.")

    token = authority.set(hold)
    try:
        with pytest.raises(PermissionDeniedError):
            assert [lines async for lines in export()]
    finally:
        authority.reset(token)


@pytest.mark.parametrize("query", ["since=soon", "outcome=nope", "user_id=x"])
async def test_an_export_that_cannot_be_is_no_empty_file(owner: Admin, query: str) -> None:
    page = await owner.get(f"/admin/audit/export/jsonl?{query}")
    assert page.status == 400
    assert "Nothing was exported" in page.text


async def test_a_role_is_given_and_taken(owner: Admin, alice: User) -> None:
    answer = await owner.confirm(f"/admin/users/{alice.id}/role", role=Role.SUPPORT)
    assert "The role is granted." in answer.text
    (row,) = await fetch("SELECT id, granted_by FROM admin_role WHERE user_id = $1", alice.id)
    assert row["granted_by"] == f"user:{owner.user.id}"
    answer = await owner.confirm(f"/admin/admins/{row['id']}/revoke")
    assert "The role is revoked." in answer.text


async def test_settings_are_masked(owner: Admin) -> None:
    page = await owner.get("/admin/settings")
    assert "IDP_MASTER_KEY" in page.text
    assert "***" in page.text
    assert MASTER_KEY not in page.text
