"""Workload identity: tokens of a trusted issuer that authenticate a client."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from idp.errors import DomainError, InvalidClientError, OAuthError
from idp.infra.db.engine import fetch
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPES
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client, register_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from idp.oauth.clients.workloads import registration
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.clients.workloads.repository import identities
from idp.reasons import Reason
from idp.settings import settings
from tests.support.assertions import ClientKeys, claims, form
from tests.support.issuers import DEPLOYMENT, SERVICE_ACCOUNT, TrustedIssuer
from tests.support.server import Server
from tests.support.tokens import hmac_signed, unsigned

pytestmark = pytest.mark.usefixtures("db")

AUDIENCE = settings().issuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture(autouse=True)
async def clean(db: str) -> AsyncIterator[None]:
    """A rule that is left would trust the issuer of another test."""
    yield
    for rule in await identities():
        await delete_client(rule.client_id)
    await registry.load()


async def register(**rule: Any) -> Client:
    """Register a client, with a rule if one is given."""
    client, secret = await register_client(
        client_name="Orders",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="workload_identity",
    )
    assert secret is None
    if rule:
        await registration.add(client.client_id, **rule)
    await registry.load()
    return client


async def refused(token: str, **more: str) -> Reason | None:
    with pytest.raises(InvalidClientError) as error:
        await authenticate(None, form(token, **more))
    assert error.value.description == "Client authentication failed."
    return error.value.reason


async def test_a_service_account_of_kubernetes(issuer: TrustedIssuer) -> None:
    """Its token is sent again and again until the kubelet replaces it."""
    client = await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    token = issuer.kubernetes(AUDIENCE)
    for _ in range(3):
        assert await authenticate(None, form(token)) == client
    assert await authenticate(None, form(token, client_id=client.client_id)) == client
    for other in ("system:serviceaccount:shop:billing", "system:serviceaccount:evil:orders", f"{SERVICE_ACCOUNT}s"):
        assert await refused(issuer.kubernetes(AUDIENCE, sub=other)) is Reason.UNKNOWN_WORKLOAD


async def test_a_job_of_github_actions(issuer: TrustedIssuer) -> None:
    client = await register(issuer=issuer.issuer, subject="repo:octo-org/*:environment:production")
    token = issuer.github(AUDIENCE)
    assert await authenticate(None, form(token)) == client
    assert await refused(token) is Reason.REUSED
    for other in (
        "repo:octo-org/octo-repo:environment:staging",
        "repo:octo-org/octo-repo:ref:refs/heads/main",
        "repo:evil/octo-repo:environment:production",
        "repo:octo-org/a/b:environment:production",
        "repo:octo-org/x:ref:y:environment:production",
        "repo:octo-org/:environment:production",
        f"{DEPLOYMENT}\n",
    ):
        assert await refused(issuer.github(AUDIENCE, sub=other)) is Reason.UNKNOWN_WORKLOAD
    assert await refused(issuer.github(AUDIENCE, jti=None)) is Reason.MALFORMED


@pytest.mark.parametrize("kind", ASSERTION_TYPES)
async def test_a_jwt_svid(issuer: TrustedIssuer, kind: str) -> None:
    """Its issuer is the trust domain of its subject, and its keys are marked for SVIDs."""
    jwks = {"keys": [key | {"use": "jwt-svid"} for key in issuer.keys.jwks()["keys"]]}
    client = await register(
        issuer="spiffe://shop.example", subject="spiffe://shop.example/ns/prod/*", jwks=jwks, single_use=False
    )
    token = issuer.svid(AUDIENCE)
    assert await authenticate(None, form(token) | {"client_assertion_type": kind}) == client
    for other in (
        "spiffe://evil.example/ns/prod/orders",
        "spiffe://shop.example/ns/test/orders",
        "spiffe://shop.example",
    ):
        assert await refused(issuer.svid(AUDIENCE, sub=other)) is not None
    evil = issuer.svid(AUDIENCE, iss="spiffe://shop.example", sub="spiffe://evil.example/ns/prod/orders")
    assert await refused(evil) is Reason.UNKNOWN_WORKLOAD


@pytest.mark.parametrize(
    "audience",
    ["https://other.example", [AUDIENCE, "https://other.example"], [AUDIENCE, AUDIENCE], [], [[AUDIENCE]], None, 1, {}],
    ids=str,
)
async def test_a_token_for_others(issuer: TrustedIssuer, audience: Any) -> None:
    """One that is for several audiences too: each of them could use it here."""
    await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    assert await refused(issuer.kubernetes(audience)) is Reason.UNKNOWN_WORKLOAD


async def test_another_audience_by_the_rule(issuer: TrustedIssuer) -> None:
    client = await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, audience="idp", single_use=False)
    assert await authenticate(None, form(issuer.kubernetes("idp"))) == client
    assert await refused(issuer.kubernetes(AUDIENCE)) is Reason.UNKNOWN_WORKLOAD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -1}, Reason.EXPIRED),
        ({"exp": None}, Reason.MALFORMED),
        ({"exp": "x"}, Reason.MALFORMED),
        ({"nbf": 600}, Reason.NOT_YET_VALID),
        ({"iat": 600}, Reason.NOT_YET_VALID),
        ({"exp": 365 * 86400}, Reason.MALFORMED),
        ({"exp": 1800, "iat": -86400}, Reason.MALFORMED),
    ],
    ids=str,
)
async def test_times(issuer: TrustedIssuer, changes: dict[str, Any], reason: Reason) -> None:
    """Numbers are seconds from now. A cluster may extend a token to a year; such a one is refused."""
    await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    now = int(time.time())
    moved = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
    assert await refused(issuer.kubernetes(AUDIENCE, **moved)) is reason


async def test_forged_tokens(issuer: TrustedIssuer) -> None:
    await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=True)
    stranger = ClientKeys("RS256")
    values = {"iss": issuer.issuer, "sub": SERVICE_ACCOUNT}
    header = {"alg": "none", "kid": issuer.keys.keys[0].kid}
    before = await fetch("SELECT count(*) FROM used_jwt")
    for token in (
        stranger.sign(claims("", **values)),
        stranger.sign(claims("", **values), kid=issuer.keys.keys[0].kid),
        stranger.sign(claims("", **values), kid=None),
        f"{unsigned(header, claims('', **values))}.",
        hmac_signed(issuer.keys.keys[0].public_jwk["n"].encode(), header | {"alg": "HS256"}, claims("", **values)),
        issuer.keys.sign(claims("", **values), typ="at+jwt"),
    ):
        assert await refused(token) is not None
    assert await fetch("SELECT count(*) FROM used_jwt") == before


async def test_an_issuer_is_trusted_by_its_rules_only(issuer: TrustedIssuer) -> None:
    """Not for other clients, nor after its rule is removed; and not for a client of another method."""
    client = await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    other = await register()
    token = issuer.kubernetes(AUDIENCE)
    assert await authenticate(None, form(token)) == client
    assert await refused(token, client_id=other.client_id) is Reason.UNKNOWN_WORKLOAD
    (rule,) = await identities()
    await registration.remove(rule.id)
    await registry.load()
    assert await refused(token) is Reason.UNKNOWN_CLIENT
    await registration.add(client.client_id, issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    await disable_client(client.client_id)
    await registry.load()
    assert await refused(token) is Reason.CLIENT_DISABLED
    keys = ClientKeys()
    signer, _ = await register_client(
        client_name="Signer",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="private_key_jwt",
        jwks=keys.jwks(),
    )
    await registry.load()
    assert await authenticate(None, form(keys.assertion(signer.client_id))) == signer
    with pytest.raises(registration.WorkloadIdentityExistsError):
        await registration.add(signer.client_id, issuer=issuer.issuer, subject="x:y")


async def test_several_clients_with_one_rule(issuer: TrustedIssuer) -> None:
    first = await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
    second = await register(issuer=issuer.issuer, subject="system:serviceaccount:shop:*", single_use=False)
    token = issuer.kubernetes(AUDIENCE)
    assert await refused(token) is Reason.UNKNOWN_WORKLOAD
    for client in (first, second):
        assert await authenticate(None, form(token, client_id=client.client_id)) == client


async def test_keys_by_value_need_no_call(issuer: TrustedIssuer) -> None:
    """For a cluster that this server cannot reach."""
    before = len(issuer.requests)
    client = await register(
        issuer="https://kubernetes.default.svc", subject=SERVICE_ACCOUNT, jwks=issuer.keys.jwks(), single_use=False
    )
    assert await authenticate(None, form(issuer.kubernetes(AUDIENCE, iss="https://kubernetes.default.svc"))) == client
    assert len(issuer.requests) == before


@pytest.mark.parametrize(
    "metadata", [{"issuer": "https://evil.example"}, {"jwks_uri": 1}, {"jwks_uri": None}, {"issuer": None}], ids=str
)
async def test_a_discovery_document_of_another_issuer(metadata: dict[str, Any]) -> None:
    issuer = TrustedIssuer()
    issuer.metadata = metadata
    try:
        await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, single_use=False)
        assert await refused(issuer.kubernetes(AUDIENCE)) is Reason.KEYS_UNAVAILABLE
    finally:
        issuer.stop()
    # It has stopped: nobody waits for it, and nothing is served from memory.
    assert await refused(issuer.kubernetes(AUDIENCE)) is Reason.KEYS_UNAVAILABLE


KEY = ClientKeys().jwks()
RULE: dict[str, Any] = {"issuer": "https://issuer.example", "subject": "a:b"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"issuer": "issuer.example"},
        {"issuer": "http://issuer.example"},
        {"issuer": "https://issuer.example#x"},
        {"issuer": AUDIENCE},
        {"issuer": "spiffe://shop.example"},
        {"issuer": "spiffe://shop.example/path", "jwks": KEY},
        {"issuer": "spiffe://", "jwks": KEY},
        {"issuer": "x" * 501},
        {"issuer": 1},
        {"subject": ""},
        {"subject": "*"},
        {"subject": "*:b"},
        {"subject": "a:**"},
        {"subject": "a:*:*:*:*"},
        {"subject": "a\0b"},
        {"subject": "a\nb"},
        {"subject": " a"},
        {"subject": "x" * 501},
        {"audience": ""},
        {"audience": "\0"},
        {"jwks": {}},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"jwks": KEY, "jwks_uri": "https://issuer.example/jwks"},
        {"jwks_uri": "http://issuer.example/jwks"},
        {"jwks_uri": "javascript:x"},
        {"single_use": "yes"},
        {"unknown": None, "subject": None},
    ],
    ids=" ".join,
)
async def test_rules_that_are_refused(wrong: dict[str, Any]) -> None:
    client = await register()
    with pytest.raises((DomainError, OAuthError)):
        await registration.add(client.client_id, **(RULE | wrong))
    assert await identities() == []


async def test_a_rule_is_added_once_and_audited() -> None:
    client = await register()
    rule = await registration.add(client.client_id, **RULE)
    assert rule.audience == AUDIENCE
    with pytest.raises(registration.WorkloadIdentityExistsError):
        await registration.add(client.client_id, **RULE)
    with pytest.raises(registration.UnknownClientError):
        await registration.add("no-such-client", **RULE)
    await registration.remove(rule.id)
    with pytest.raises(registration.UnknownWorkloadIdentityError):
        await registration.remove(rule.id)
    events = await fetch(
        "SELECT event, detail ->> 'id' AS id FROM audit_event WHERE client_id = $1 AND event LIKE 'workload%'"
        " ORDER BY id",
        client.client_id,
    )
    assert {(row["event"], row["id"]) for row in events} == {
        ("workload_identity_added", str(rule.id)),
        ("workload_identity_removed", str(rule.id)),
    }


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a:b", "a:b", True),
        ("a.b", "axb", False),
        ("a:*", "a:b", True),
        ("a:*", "a:", False),
        ("a:*", "a:b:c", False),
        ("a:*", "a:b/c", False),
        ("a/*/c", "a/b/c", True),
        ("(a+)+:*", "a" * 5000, False),
        ("a*b*c*", "a" + "b" * 2000, False),
        ("a-*-*-*", "a-" + "-" * 10000 + ":", False),
        ("a-*-*-*z", "a-" + "-" * 10000, False),
        ("a-*-*-*", "a-b--c-d", True),
        ("a*-b*-b", "a-b-b-b-b", True),
        ("a*b*c:*", "abbbcbc:d", True),
        ("a*:b*c", "ax:bc", False),
        ("a:*", "a:\n", True),
        ("a:b", "a:b\n", False),
    ],
)
def test_patterns(pattern: str, subject: str, fits: bool) -> None:
    rule = WorkloadIdentity(
        id=uuid4(), client_id="c", issuer="i", subject=pattern, audience="a", created_at=datetime.now(UTC)
    )
    started = time.thread_time()
    assert rule.fits(subject, "a") is fits
    assert time.thread_time() - started < 0.5


async def test_over_http(issuer: TrustedIssuer, server: Server, http: httpx.AsyncClient) -> None:
    """From the token of a pod to an access token, without any secret; and discovery says so."""
    client = await register(issuer=issuer.issuer, subject=SERVICE_ACCOUNT, audience=server.issuer, single_use=False)
    sent = form(issuer.kubernetes(server.issuer), grant_type="client_credentials")
    async with asyncio.timeout(30):
        while (answer := await http.post(f"{server.issuer}/token", data=sent)).status_code in (400, 401):
            await asyncio.sleep(0.05)
    assert answer.status_code == 200, answer.text
    introspected = await http.post(
        f"{server.issuer}/introspect", data=form(issuer.kubernetes(server.issuer), token=answer.json()["access_token"])
    )
    assert introspected.json()["client_id"] == client.client_id
    metadata = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert "workload_identity" in metadata["token_endpoint_auth_methods_supported"]
