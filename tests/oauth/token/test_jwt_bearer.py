"""The JWT bearer grant and identity assertions (RFC 7523, draft-ietf-oauth-identity-assertion-authz-grant)."""

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.repository.users import disable_user
from idp.accounts.tables import User
from idp.accounts.users import ADMIN
from idp.errors import OAuthError
from idp.infra.db.engine import fetch, transaction
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import sign_out
from idp.oauth.claims import registration as claim_mappings
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.clients.service import delete_resource_server
from idp.oauth.details.registration import delete_type, register_type
from idp.oauth.issuers import registration
from idp.oauth.token.jwt_bearer import GRANT_TYPE, ID_JAG_PROFILE
from tests.conftest import MakeClient
from tests.support.directory import a_group
from tests.support.dpop import DPoPKey
from tests.support.grants import Grants, grants
from tests.support.issuers import TrustedIssuer
from tests.support.server import Server


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
async def wiki(make_client: MakeClient, issuer: TrustedIssuer, alice: User) -> AsyncIterator[Grants]:
    """A client that presents tokens about Alice."""
    party = await make_client(
        client_name="Wiki", grant_types=[GRANT_TYPE], redirect_uris=[],
        scope="openid email orders:read orders:write notes:read",
    )  # fmt: skip
    made = await grants(party, issuer, alice)
    yield made
    await registration.remove(made.id)


@pytest.fixture
async def resource() -> AsyncIterator[str]:
    identifier = f"https://{secrets.token_hex(6)}.example/mcp"
    await register_resource_server(identifier, "Notes", scope="orders:read")
    yield identifier
    await delete_resource_server(identifier)


def _claims(token: str) -> dict[str, Any]:
    return jose.verify(token, key_set.verification(), typ="at+jwt")


async def _events(wiki: Grants, event: str) -> list[dict[str, Any]]:
    rows = await fetch(
        "SELECT user_id, outcome, detail FROM audit_event WHERE event = $1 AND client_id = $2",
        event,
        wiki.party.client_id,
    )
    return [dict(row) for row in rows]


async def test_an_access_token_and_nothing_else(wiki: Grants) -> None:
    """No refresh token (draft section 4.4.3) and no ID token: the client gets a new assertion instead."""
    response = await wiki.present(wiki.assertion(auth_time=int(time.time()) - 100, amr=["pwd", "otp"]))
    body = response.json()
    assert (response.status_code, set(body)) == (200, {"access_token", "expires_in", "scope", "token_type"})
    assert response.headers["cache-control"] == "no-store"
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
    claims = _claims(body["access_token"])
    assert (claims["sub"], claims["client_id"]) == (str(wiki.user.id), wiki.party.client_id)
    assert (claims["acr"], claims["amr"]) == ("0", ["pwd", "otp"])
    assert abs(claims["auth_time"] - (time.time() - 100)) < 30
    assert (await wiki.party.userinfo(body["access_token"])).json()["email"] == wiki.user.email
    introspected = await wiki.party.introspect(body["access_token"])
    assert (introspected["active"], introspected["sub"]) == (True, str(wiki.user.id))
    assert (await wiki.party.post("/revoke", token=body["access_token"])).status_code == 200
    assert await wiki.party.introspect(body["access_token"]) == {"active": False}


async def test_it_is_used_once(wiki: Grants) -> None:
    """Of many at the same moment, one wins."""
    assertion = wiki.assertion()
    answers = await asyncio.gather(*(wiki.present(assertion) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}


@pytest.mark.parametrize(
    ("asserted", "asked", "granted"),
    [
        (None, None, "email openid orders:read orders:write"),
        (None, "orders:read", "orders:read"),
        (None, "orders:read orders:delete", "orders:read"),
        (None, "notes:read", None),
        (None, "orders:delete", None),
        ("orders:read", None, "orders:read"),
        ("orders:read", "orders:read orders:write", "orders:read"),
        ("orders:read", "orders:write", None),
        ("orders:read admin:users:write offline_access", None, "orders:read"),
        ("", None, ""),
        (["orders:read"], None, None),
        (7, None, None),
    ],
    ids=str,
)
async def test_scopes(wiki: Grants, asserted: Any, asked: str | None, granted: str | None) -> None:
    """What the request, the assertion, the rule of its issuer and the client all allow. The rule has no notes:read."""
    form = {} if asked is None else {"scope": asked}
    response = await wiki.present(wiki.assertion(scope=asserted), **form)
    if granted is None:
        assert response.status_code == 400
        assert response.json()["error"] == ("invalid_scope" if isinstance(asserted, str | None) else "invalid_grant")
    else:
        assert " ".join(sorted(response.json()["scope"].split())) == granted
        assert _claims(response.json()["access_token"])["scope"] == response.json()["scope"]


async def test_resources(wiki: Grants, resource: str) -> None:
    other = f"{resource}/other"
    await register_resource_server(other, "Other", scope="orders:write")
    async with asyncio.timeout(30):
        while (answer := await wiki.present(wiki.id_jag(resource=[resource, other]))).status_code != 200:
            await asyncio.sleep(0.02)
    assert _claims(answer.json()["access_token"])["aud"] == [resource, other]
    answer = await wiki.present(wiki.id_jag(resource=resource))
    assert _claims(answer.json()["access_token"])["aud"] == resource
    answer = await wiki.present(wiki.id_jag(resource=[resource, other]), resource=other)
    assert _claims(answer.json()["access_token"])["aud"] == other
    for claim, asked, error in (
        (resource, other, "invalid_target"),
        ("https://none-such.example", None, "invalid_target"),
        (None, "https://none-such.example", "invalid_target"),
        (f"{wiki.party.issuer}/admin/api", None, "invalid_target"),
        (7, None, "invalid_grant"),
        ([7], None, "invalid_grant"),
    ):
        form = {} if asked is None else {"resource": asked}
        answer = await wiki.present(wiki.id_jag(resource=claim), **form)
        assert (answer.status_code, answer.json()["error"]) == (400, error), claim
    await delete_resource_server(other)


async def test_an_id_jag(wiki: Grants) -> None:
    response = await wiki.present(wiki.id_jag())
    assert (response.status_code, response.json()["scope"]) == (200, "orders:read")
    for wrong in (
        wiki.id_jag(client_id="another"),
        wiki.id_jag(client_id=None),
        wiki.id_jag(aud=[wiki.party.issuer, "https://other.example"]),
        wiki.id_jag(aud=f"{wiki.party.issuer}/token"),
        wiki.id_jag(iat=None),
        wiki.id_jag(jti=None),
        wiki.id_jag(auth_time="yesterday"),
    ):
        response = await wiki.present(wrong)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_the_token_ends_with_its_user(wiki: Grants) -> None:
    token = await wiki.token()
    async with transaction():
        await disable_user(wiki.user.id, ADMIN, admin=True)
    assert await wiki.party.introspect(token) == {"active": False}
    assert (await wiki.present(wiki.assertion())).json()["error"] == "invalid_grant"


async def test_signing_out_everywhere_ends_the_token(wiki: Grants) -> None:
    token = await wiki.token()
    await sign_out.sign_out_everywhere(wiki.user.id, "signed_out_by_user")
    assert await wiki.party.introspect(token) == {"active": False}
    assert (await wiki.party.userinfo(token)).status_code == 401


async def test_the_token_ends_with_the_trust(wiki: Grants, make_client: MakeClient) -> None:
    """An issuer is disabled, loses one client, or is removed."""
    token = await wiki.token()
    await wiki.change(False, enabled=False)
    assert await wiki.party.introspect(token) == {"active": False}
    await wiki.change(True, enabled=True)
    other = await make_client(grant_types=["client_credentials"], redirect_uris=[])
    token = await wiki.token()
    await wiki.change(True, clients=[wiki.party.client_id, other.client_id])
    assert (await wiki.party.introspect(token))["active"] is True
    await wiki.change(False, clients=[other.client_id])
    assert await wiki.party.introspect(token) == {"active": False}
    await wiki.change(True, clients=[wiki.party.client_id])
    token = await wiki.token()
    await registration.remove(wiki.id)
    assert await wiki.party.introspect(token) == {"active": False}
    (row,) = await fetch("SELECT revoked_reason FROM token_family WHERE user_id = $1 LIMIT 1", wiki.user.id)
    assert row["revoked_reason"] == "issuer_distrusted"
    again = await grants(wiki.party, wiki.issuer, wiki.user)
    wiki.id = again.id


async def test_the_mappings_of_the_client(wiki: Grants, alice: User) -> None:
    """The access token has what the client gets about the user, who never signed in here."""
    group = await a_group(alice)
    source = {"kind": "groups", "names": [group.name]}
    await claim_mappings.add(wiki.party.client_id, claim="teams", source=source, places=["access_token"])
    async with asyncio.timeout(30):
        while "teams" not in (claims := _claims(await wiki.token())):
            await asyncio.sleep(0.02)
    assert claims["teams"] == [group.name]


async def test_a_rule_that_changed_a_moment_ago(wiki: Grants) -> None:
    """The cache of the server may be old. The statement that stores the family asks the database."""
    from idp.oauth.token.grant import Grant
    from idp.oauth.token.repository.assertions import insert_asserted_family

    def grant() -> Grant:
        from idp import clock, ids

        return Grant(ids.uuid7(), wiki.user.id, None, "", (), None, None, None, clock.now(), None, (), "0")

    assert await insert_asserted_family(grant(), wiki.party.client_id, 60, wiki.id)
    assert not await insert_asserted_family(grant(), "another", 60, wiki.id)
    await registration.update(wiki.id, enabled=False)
    assert not await insert_asserted_family(grant(), wiki.party.client_id, 60, wiki.id)


async def test_the_client_in_its_own_name(wiki: Grants) -> None:
    await registration.update(wiki.id, purposes=["jwt_bearer"], subject="client")
    async with asyncio.timeout(30):
        while (answer := await wiki.present(wiki.assertion(sub="machine-7"))).status_code != 200:
            await asyncio.sleep(0.02)
    claims = _claims(answer.json()["access_token"])
    assert (claims["sub"], "acr" in claims) == (wiki.party.client_id, False)
    assert (await wiki.party.introspect(answer.json()["access_token"]))["active"] is True


async def test_a_bound_token(wiki: Grants) -> None:
    key = DPoPKey()
    url = f"{wiki.party.issuer}/token"
    response = await wiki.present(wiki.assertion(), {"DPoP": key.proof("POST", url)})
    assert response.json()["token_type"] == "DPoP"
    assert _claims(response.json()["access_token"])["cnf"] == {"jkt": key.jkt}


async def test_an_invalid_proof_does_not_use_the_assertion_up(wiki: Grants) -> None:
    assertion = wiki.assertion()
    refused = await wiki.present(assertion, {"DPoP": DPoPKey().proof("GET", f"{wiki.party.issuer}/token")})
    assert refused.json()["error"] == "invalid_dpop_proof"
    assert (await wiki.present(assertion, scope="none:such")).json()["error"] == "invalid_scope"
    assert (await wiki.present(assertion)).status_code == 200


async def test_both_parties_are_in_the_trail(wiki: Grants) -> None:
    assertion = wiki.assertion(jti=(jti := secrets.token_hex(8)))
    assert (await wiki.present(assertion)).status_code == 200
    assert (await wiki.present(assertion)).status_code == 400
    async with asyncio.timeout(30):
        while not (found := [one for one in await _events(wiki, "assertion_accepted") if jti in one["detail"]]):
            await asyncio.sleep(0.05)
        while not (refused := await _events(wiki, "token_refused")) or not any(
            '"reused"' in one["detail"] and one["user_id"] == wiki.user.id for one in refused
        ):
            await asyncio.sleep(0.05)
    (accepted,) = found
    assert accepted["user_id"] == wiki.user.id
    for text in (wiki.issuer.issuer, wiki.subject, "jwt_bearer", "orders:read"):
        assert text in accepted["detail"]


@pytest.mark.parametrize("form", [{}, {"assertion": ""}, {"assertion": "x" * 40_000}, {"assertion": "a.b.c"}], ids=str)
async def test_malformed_requests(wiki: Grants, form: dict[str, str]) -> None:
    response = await wiki.party.post("/token", grant_type=GRANT_TYPE, **form)
    assert response.status_code == 400
    assert response.json()["error"] in ("invalid_request", "invalid_grant")


async def test_repeated_parameters(wiki: Grants) -> None:
    body = f"grant_type={GRANT_TYPE}&assertion={wiki.assertion()}&assertion={wiki.assertion()}"
    auth = (wiki.party.client_id, wiki.party.client_secret or "")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await wiki.party.http.post(f"{wiki.party.issuer}/token", content=body, headers=headers, auth=auth)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_a_client_without_the_grant(wiki: Grants, make_client: MakeClient) -> None:
    other = await make_client()
    response = await other.post("/token", grant_type=GRANT_TYPE, assertion=wiki.assertion())
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")


async def test_public_clients_cannot_have_it(db: str) -> None:
    with pytest.raises(OAuthError, match="client that authenticates"):
        await register_client(client_name="App", grant_types=[GRANT_TYPE], token_endpoint_auth_method="none")


async def test_discovery(wiki: Grants, start_server: Any) -> None:
    url = f"{wiki.party.issuer}/.well-known/oauth-authorization-server"
    metadata = (await wiki.party.http.get(url)).json()
    assert GRANT_TYPE in metadata["grant_types_supported"]
    assert metadata["authorization_grant_profiles_supported"] == [ID_JAG_PROFILE]
    # Others can be left of other tests.
    for row in await fetch("SELECT id FROM trusted_issuer"):
        await registration.update(row["id"], purposes=["jwt_bearer"])
    async with asyncio.timeout(30):
        while "authorization_grant_profiles_supported" in (await wiki.party.http.get(url)).json():
            await asyncio.sleep(0.02)
    off: Server = start_server()
    metadata = (await wiki.party.http.get(f"{off.issuer}/.well-known/openid-configuration")).json()
    assert GRANT_TYPE not in metadata["grant_types_supported"]
    assert "authorization_grant_profiles_supported" not in metadata
    wiki.party.issuer = off.issuer
    assert (await wiki.present(wiki.assertion())).json()["error"] == "unsupported_grant_type"


async def test_details_of_an_assertion(wiki: Grants) -> None:
    """Of a type that the client is not registered for: the assertion cannot give them."""
    for claim in ([{"type": "payment", "amount": 1}], "x", 7, {"type": "payment"}, [{"type": "\ud800"}]):
        answer = await wiki.present(wiki.id_jag(authorization_details=claim))
        assert answer.json()["error"] == "invalid_authorization_details"
    answer = await wiki.present(wiki.id_jag(), authorization_details='[{"type": "payment"}]')
    assert answer.json()["error"] == "invalid_authorization_details"


async def test_details_that_are_narrowed(
    make_client: MakeClient, issuer: TrustedIssuer, alice: User, resource: str
) -> None:
    """The assertion gives two actions; the request asks for one of them, or for another."""
    kind = f"notes-{secrets.token_hex(6)}"
    schema = {
        "type": "object", "additionalProperties": False, "required": ["type"],
        "properties": {"type": {"const": kind}, "actions": {"type": "array", "items": {"type": "string"}}},
    }  # fmt: skip
    added = await register_type(type=kind, resource=resource, title="Notes", schema=json.dumps(schema))
    party = await make_client(
        grant_types=[GRANT_TYPE], redirect_uris=[], scope="openid", authorization_details_types=[kind]
    )
    wiki = await grants(party, issuer, alice)
    both, one, other = ([{"type": kind, "actions": actions}] for actions in (["read", "write"], ["read"], ["delete"]))
    given = {"scope": "openid", "authorization_details": both}
    answer = await wiki.present(wiki.id_jag(**given))
    assert answer.json()["authorization_details"] == both
    claims = _claims(answer.json()["access_token"])
    assert (claims["authorization_details"], resource in claims["aud"]) == (both, True)
    answer = await wiki.present(wiki.id_jag(**given), authorization_details=json.dumps(one))
    assert _claims(answer.json()["access_token"])["authorization_details"] == one
    answer = await wiki.present(wiki.id_jag(**given), authorization_details=json.dumps(other))
    assert answer.json()["error"] == "invalid_authorization_details"
    # An assertion that has none gives none: nobody but the client would have decided about the user.
    answer = await wiki.present(wiki.assertion(), authorization_details=json.dumps(one))
    assert answer.json()["error"] == "invalid_authorization_details"
    await registration.remove(wiki.id)
    await delete_type(added.id)


async def test_the_scripts_of_the_document(wiki: Grants, tmp_path: Path) -> None:
    """docs/trusted-issuers.md, at this server."""
    text = (Path(__file__).parents[3] / "docs" / "trusted-issuers.md").read_text()
    script = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    key = wiki.issuer.keys.keys[-1]
    for here, there in {
        "https://idp.example.org": wiki.issuer.issuer,
        "https://id.example.com": wiki.party.issuer,
        "u-1017": wiki.subject,
        "key-1": key.kid,
        '"wiki", "THE_SECRET"': f'"{wiki.party.client_id}", "{wiki.party.client_secret}"',
    }.items():
        assert here in script
        script = script.replace(here, there)
    (tmp_path / "key.pem").write_bytes(jose.to_pem(key, private=True))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert _claims(printed.decode().strip())["scope"] == "orders:read"
