"""The plan for FAPI 2.0 Security Profile with client credentials: 14 modules with private_key_jwt and DPoP.

``fapi2-security-profile-final-`` is left out of their names. These are tested in ``test_fapi2.py``, with this grant:
ensure-signed-client-assertion-with-RS256-fails, ensure-client-assertion-in-token-endpoint,
ensure-client-assertion-with-exp-is-5-minutes-in-past-fails, ensure-client-assertion-with-wrong-aud-fails,
ensure-client-assertion-with-no-sub-fails, discovery-end-point-verification.
"""

import asyncio
import time

import httpx
import pytest

from idp.admin.roles import Role
from idp.oauth.clients.service import set_admin_role
from tests.conformance.conftest import VARIANTS, MakeFapi
from tests.conformance.test_fapi2 import NO_PROOF, bound, check_proofs
from tests.support import tokens
from tests.support.conformance import check_json_error, entropy
from tests.support.fapi import FapiClient

pytestmark = pytest.mark.usefixtures("accepts_certificates")

#: The protected resource.
PATH, SCOPE = "/admin/api/v1/clients", "admin:clients:read"


async def ask(client: FapiClient, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    asked = {"grant_type": "client_credentials", "resource": f"{client.issuer}/admin/api"}
    return await client.post("/token", headers, **asked | form)


async def register(make_fapi: MakeFapi, variant: str) -> FapiClient:
    """Register a client of the admin API. Returns once the server knows its role."""
    client = await make_fapi(variant, grant_types=["client_credentials"], redirect_uris=[], scope=SCOPE)
    await set_admin_role(client.client_id, Role.OWNER)
    async with asyncio.timeout(30):
        while (await client.resource(PATH, (await ask(client)).json()["access_token"])).status_code != 200:
            await asyncio.sleep(0.02)
    return client


@pytest.mark.parametrize("variant", VARIANTS)
async def test_happy_flow(make_fapi: MakeFapi, variant: str) -> None:
    """happy-flow, ensure-holder-of-key-required, ensure-client-id-in-token-endpoint"""
    client = await register(make_fapi, variant)
    found = bound(await ask(client))
    token = found["access_token"]
    assert entropy(token) > 96
    assert not found.keys() & {"refresh_token", "id_token"}
    assert (await client.resource(PATH, token)).status_code == 200
    assert (await client.http.get(f"{client.issuer}{PATH}", params={"access_token": token})).status_code == 401
    other = await make_fapi(variant)
    assert (await other.resource(PATH, token)).status_code == 401
    assert (await ask(client, NO_PROOF)).status_code in (400, 401)
    response = await ask(client, client_id=other.client_id)
    assert (response.status_code, response.json()["error"]) in ((400, "invalid_request"), (401, "invalid_client"))


async def test_proofs(make_fapi: MakeFapi) -> None:
    """dpop-negative-tests, check-dpop-proof-nbf-exp, ensure-dpopproof-with-iat-10seconds-before-succeeds,
    ensure-dpopproof-with-iat-10seconds-after-succeeds, access-token-type-header-case-sensitivity
    """
    client = await register(make_fapi, VARIANTS[0])
    now = int(time.time())
    for times in ({"nbf": now, "exp": now + 300}, {"iat": now - 10}, {"iat": now + 8}):
        token = bound(await ask(client, client.proof("POST", "/token", **times)))["access_token"]
        sent = client.proof("GET", PATH, token, **times) | {"Authorization": f"dPOp {token}"}
        assert (await client.resource(PATH, token, sent)).status_code == 200
    await check_proofs(client, PATH, token)
    assert tokens.claims_of(token)["cnf"].keys() == {"jkt"}
    check_json_error(await ask(client, NO_PROOF), 400, "invalid_dpop_proof")
