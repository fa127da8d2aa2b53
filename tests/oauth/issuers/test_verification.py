"""Tokens of trusted issuers: which are accepted, for whom, and whom they are about (RFC 7523 section 3)."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from idp.accounts.repository.users import delete_user, disable_user, user_by_email
from idp.accounts.users import ADMIN
from idp.federation.linking import import_identity
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.repository import issuers
from idp.oauth.issuers.verification import UntrustedTokenError, VerifiedAssertion, use_up, verify_external
from idp.reasons import Reason
from idp.settings import settings
from tests.conftest import MakeUser
from tests.support.assertions import ClientKeys, KeyHost, claims
from tests.support.issuers import TrustedIssuer
from tests.support.tokens import hmac_signed, unsigned

pytestmark = pytest.mark.usefixtures("db")

AUDIENCE = settings().issuer
#: Login hints: tests/oauth/ciba/test_hint_tokens.py.
ALL = tuple(purpose for purpose in Purpose if purpose is not Purpose.LOGIN_HINT)


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
async def client(db: str) -> AsyncIterator[Client]:
    client, _ = await register_client(client_name="Wiki", grant_types=["client_credentials"], scope="")
    await registry.load()
    yield client
    await delete_client(client.client_id)


@pytest.fixture(autouse=True)
async def clean(db: str) -> AsyncIterator[None]:
    """An issuer that is left would be trusted in another test."""
    yield
    for stored in await issuers():
        await registration.remove(stored.id)
    await registry.load()


async def trust(client: Client, issuer: TrustedIssuer, **values: Any) -> str:
    """Trust an issuer, for everything if nothing else is given. Returns its id."""
    given = {"issuer": issuer.issuer, "clients": [client.client_id], "purposes": ALL} | values
    added = await registration.add(**given)
    await registry.load()
    return added.id


async def link(make_user: MakeUser, issuer: TrustedIssuer, subject: str) -> Any:
    user = await make_user()
    async with transaction():
        await import_identity(user.id, issuer.issuer, subject, None)
    return user


async def refused(token: str, client: Client, purpose: Purpose = Purpose.JWT_BEARER) -> Reason | None:
    with pytest.raises(UntrustedTokenError) as error:
        await verify_external(token, purpose, client)
    assert error.value.refused.reason is error.value.reason
    return error.value.reason


@pytest.mark.parametrize("purpose", ALL)
async def test_the_user_of_a_linked_identity(
    purpose: Purpose, issuer: TrustedIssuer, client: Client, make_user: MakeUser
) -> None:
    await trust(client, issuer)
    subject = secrets.token_hex(8)
    user = await link(make_user, issuer, subject)
    typ = "oauth-id-jag+jwt" if purpose is Purpose.ID_JAG else "JWT"
    token = issuer.grant(AUDIENCE, subject, typ, client_id=client.client_id, department="shop")
    found = await verify_external(token, purpose, client)
    assert (found.user_id, found.subject, found.purpose) == (user.id, subject, purpose)
    assert (found.issuer.issuer, found.claims["department"]) == (issuer.issuer, "shop")
    stranger = issuer.grant(AUDIENCE, f"{subject}x", typ, client_id=client.client_id)
    assert await refused(stranger, client, purpose) is Reason.UNKNOWN_USER
    async with transaction():
        await disable_user(user.id, ADMIN, admin=True)
    with pytest.raises(UntrustedTokenError) as error:
        await verify_external(token, purpose, client)
    assert error.value.refused == (Reason.USER_DISABLED, user.id, None)


async def test_the_client_itself(issuer: TrustedIssuer, client: Client) -> None:
    await trust(client, issuer, subject="client", purposes=["jwt_bearer"])
    found = await verify_external(issuer.grant(AUDIENCE, "machine-7"), Purpose.JWT_BEARER, client)
    assert (found.user_id, found.subject) == (None, "machine-7")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"email_verified": False}, False),
        ({"email_verified": "true"}, False),
        ({"email_verified": 1}, False),
        ({"email_verified": None}, False),
        ({"email": None}, False),
        ({"email": ["ada@staff.example"]}, False),
        ({"email": "no address"}, False),
        ({"email": "ada@evil.example"}, False),
        ({"email": "ada@sub.staff.example"}, False),
        ({"email": "ADA@Staff.Example"}, True),
        ({"email": "\uff41da@staff.example"}, False),
        ({"email": "ada@staff.example\x00"}, False),
    ],
    ids=str,
)
async def test_a_verified_address(
    changes: dict[str, Any], found: bool, issuer: TrustedIssuer, client: Client, make_user: MakeUser
) -> None:
    """Only if the operator says so, only in the domains that the issuer vouches for, and in the same spelling."""
    user = await user_by_email("ada@staff.example") or await make_user(email="ada@staff.example", email_verified=True)
    id_ = await trust(client, issuer, subject="email", email_domains=["Staff.example"])
    values = {"email": "ada@staff.example", "email_verified": True} | changes
    token = issuer.grant(AUDIENCE, "ada", **values)
    if found:
        assert (await verify_external(token, Purpose.JWT_BEARER, client)).user_id == user.id
    else:
        assert await refused(token, client) is Reason.UNKNOWN_USER
    await registration.update(id_, subject="identity")
    await registry.load()
    assert await refused(token, client) is Reason.UNKNOWN_USER


async def test_an_address_that_nobody_verified_here(issuer: TrustedIssuer, client: Client, make_user: MakeUser) -> None:
    """Somebody else may have registered with it."""
    user = await make_user(email_verified=False)
    await trust(client, issuer, subject="email", email_domains=["example.com"], create_users=True)
    token = issuer.grant(AUDIENCE, secrets.token_hex(8), email=user.email, email_verified=True)
    assert await refused(token, client) is Reason.UNKNOWN_USER
    # An account that the operator made stays. One of a stranger is no reason to turn the owner of the address away.
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", user.id)
    created = await verify_external(token, Purpose.JWT_BEARER, client)
    assert created.user_id not in (None, user.id)


async def test_a_user_is_created_just_in_time(issuer: TrustedIssuer, client: Client) -> None:
    """Once, with the identity linked; later tokens need no address."""
    email, subject = f"{secrets.token_hex(6)}@staff.example", secrets.token_hex(8)
    token = issuer.grant(AUDIENCE, subject, email=email, email_verified=True)
    id_ = await trust(client, issuer, email_domains=["staff.example"])
    assert await refused(token, client) is Reason.UNKNOWN_USER
    await registration.update(id_, create_users=True)
    await registry.load()
    created = await verify_external(token, Purpose.JWT_BEARER, client)
    assert created.user_id is not None
    again = await verify_external(issuer.grant(AUDIENCE, subject), Purpose.JWT_BEARER, client)
    assert again.user_id == created.user_id
    user = await user_by_email(email)
    assert user is not None
    assert (user.id, user.email_verified, user.password_hash) == (created.user_id, True, None)


@pytest.mark.parametrize(
    ("purpose", "audience", "accepted"),
    [
        (Purpose.JWT_BEARER, AUDIENCE, True),
        (Purpose.JWT_BEARER, f"{AUDIENCE}/token", True),
        (Purpose.JWT_BEARER, [AUDIENCE, f"{AUDIENCE}/token"], True),
        (Purpose.JWT_BEARER, "urn:api", False),
        (Purpose.JWT_BEARER, [AUDIENCE, "https://other.example"], False),
        (Purpose.JWT_BEARER, [], False),
        (Purpose.JWT_BEARER, None, False),
        (Purpose.JWT_BEARER, [[AUDIENCE]], False),
        (Purpose.JWT_BEARER, {AUDIENCE: 1}, False),
        (Purpose.JWT_BEARER, f"{AUDIENCE}/", False),
        (Purpose.ID_JAG, AUDIENCE, True),
        (Purpose.ID_JAG, [AUDIENCE], True),
        (Purpose.ID_JAG, [AUDIENCE, AUDIENCE], False),
        (Purpose.ID_JAG, f"{AUDIENCE}/token", False),
        (Purpose.ID_JAG, "urn:api", False),
        (Purpose.TOKEN_EXCHANGE, "urn:api", True),
        (Purpose.TOKEN_EXCHANGE, ["urn:api", AUDIENCE], True),
        (Purpose.TOKEN_EXCHANGE, ["urn:api", "urn:other"], False),
    ],
    ids=str,
)
async def test_audiences(
    purpose: Purpose, audience: Any, accepted: bool, issuer: TrustedIssuer, client: Client, make_user: MakeUser
) -> None:
    """Grants are for this server alone. Subjects of token exchange may be for another audience that the rule names."""
    await trust(client, issuer, audiences=["urn:api"])
    user = await link(make_user, issuer, subject := secrets.token_hex(8))
    typ = "oauth-id-jag+jwt" if purpose is Purpose.ID_JAG else "JWT"
    token = issuer.grant(audience, subject, typ, client_id=client.client_id)
    if accepted:
        assert (await verify_external(token, purpose, client)).user_id == user.id
    else:
        assert await refused(token, client, purpose) in (Reason.WRONG_AUDIENCE, Reason.MALFORMED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -1}, Reason.EXPIRED),
        ({"exp": None}, Reason.MALFORMED),
        ({"exp": "x"}, Reason.MALFORMED),
        ({"nbf": 600}, Reason.NOT_YET_VALID),
        ({"iat": 600}, Reason.NOT_YET_VALID),
        ({"exp": 900}, Reason.MALFORMED),
        ({"exp": 10, "iat": -900}, Reason.MALFORMED),
        ({"exp": 9e99}, Reason.MALFORMED),
    ],
    ids=str,
)
async def test_times(changes: dict[str, Any], reason: Reason, issuer: TrustedIssuer, client: Client) -> None:
    """Numbers are seconds from now. The issuer may say 300 seconds."""
    await trust(client, issuer)
    now = int(time.time())
    moved = {name: now + value if isinstance(value, int | float) else value for name, value in changes.items()}
    assert await refused(issuer.grant(AUDIENCE, "ada", **moved), client) is reason


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\x00b", "a\ud800", None, 7, ["ada"], {}], ids=repr)
async def test_malformed_subjects(subject: Any, issuer: TrustedIssuer, client: Client) -> None:
    await trust(client, issuer)
    assert await refused(issuer.grant(AUDIENCE, subject), client) is Reason.MALFORMED


@pytest.mark.parametrize("jti", [None, "", "x" * 257, 7, ["x"]], ids=repr)
async def test_a_grant_has_a_jti(jti: Any, issuer: TrustedIssuer, client: Client, make_user: MakeUser) -> None:
    """Without it, it could be used again. A subject of token exchange may be used again anyway."""
    await trust(client, issuer)
    user = await link(make_user, issuer, subject := secrets.token_hex(8))
    token = issuer.grant(AUDIENCE, subject, jti=jti)
    assert await refused(token, client) is Reason.MALFORMED
    assert (await verify_external(token, Purpose.TOKEN_EXCHANGE, client)).user_id == user.id


async def test_an_id_jag_is_for_one_client(issuer: TrustedIssuer, client: Client) -> None:
    await trust(client, issuer)
    for wrong in ("other", None, [client.client_id], ""):
        token = issuer.grant(AUDIENCE, "ada", "oauth-id-jag+jwt", client_id=wrong)
        assert await refused(token, client, Purpose.ID_JAG) is Reason.WRONG_CLIENT
    undated = issuer.id_jag(AUDIENCE, "ada", client.client_id, iat=None)
    assert await refused(undated, client, Purpose.ID_JAG) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("purpose", "typ"),
    [
        (Purpose.ID_JAG, "JWT"),
        (Purpose.ID_JAG, None),
        (Purpose.ID_JAG, ""),
        (Purpose.ID_JAG, "at+jwt"),
        (Purpose.ID_JAG, 1),
        (Purpose.JWT_BEARER, "oauth-id-jag+jwt"),
        (Purpose.JWT_BEARER, "at+jwt"),
        (Purpose.JWT_BEARER, "logout+jwt"),
        (Purpose.JWT_BEARER, "dpop+jwt"),
        (Purpose.TOKEN_EXCHANGE, "oauth-id-jag+jwt"),
        (Purpose.TOKEN_EXCHANGE, "client-authentication+jwt"),
    ],
    ids=str,
)
async def test_types(purpose: Purpose, typ: Any, issuer: TrustedIssuer, client: Client) -> None:
    """A token of one kind is not one of another (RFC 8725 section 3.11)."""
    await trust(client, issuer)
    token = issuer.grant(AUDIENCE, "ada", typ, client_id=client.client_id)
    assert await refused(token, client, purpose) is Reason.WRONG_TYPE


async def test_forged_tokens(issuer: TrustedIssuer, client: Client) -> None:
    await trust(client, issuer)
    stranger, kid = ClientKeys("RS256"), issuer.keys.keys[0].kid
    values = claims("ada", iss=issuer.issuer)
    header = {"alg": "none", "kid": kid}
    host = KeyHost(stranger)
    for token in (
        stranger.sign(values),
        stranger.sign(values, kid=kid),
        stranger.sign(values, kid=None),
        stranger.sign(values, kid=[kid]),
        stranger.sign(values, kid="../../dev/null"),
        stranger.sign(values, jwk=stranger.keys[0].public_jwk),
        stranger.sign(values, jku=host.jwks_uri, kid=stranger.keys[0].kid),
        issuer.keys.sign(values, crit=["exp"]),
        f"{unsigned(header, values)}.",
        hmac_signed(issuer.keys.keys[0].public_jwk["n"].encode(), header | {"alg": "HS256"}, values),
        "",
        "a.b.c",
        "x" * 20_000,
    ):
        reason = await refused(token, client)
        assert reason not in (Reason.UNKNOWN_USER, None), token
    assert host.requests == []
    host.stop()


async def test_the_algorithms_of_a_rule(issuer: TrustedIssuer, client: Client) -> None:
    await trust(client, issuer, algorithms=["ES256"])
    assert await refused(issuer.grant(AUDIENCE, "ada"), client) is Reason.MALFORMED


async def test_who_is_trusted(issuer: TrustedIssuer, client: Client) -> None:
    """An issuer is trusted for the purposes of its rule, from its clients, and while it is enabled."""
    token = issuer.grant(AUDIENCE, "ada")
    assert await refused(token, client) is Reason.UNTRUSTED_ISSUER
    id_ = await trust(client, issuer, purposes=["jwt_bearer"])
    assert await refused(token, client) is Reason.UNKNOWN_USER
    assert await refused(token, client, Purpose.TOKEN_EXCHANGE) is Reason.UNTRUSTED_ISSUER
    await registration.update(id_, clients=[])
    await registry.load()
    assert await refused(token, client) is Reason.WRONG_CLIENT
    await registration.update(id_, clients=[client.client_id], enabled=False)
    await registry.load()
    assert await refused(token, client) is Reason.UNTRUSTED_ISSUER
    await registration.update(id_, enabled=True)
    await registry.load()
    assert await refused(token, client) is Reason.UNKNOWN_USER


async def test_an_issuer_cannot_speak_for_another(issuer: TrustedIssuer, client: Client, make_user: MakeUser) -> None:
    """Its keys sign for its own iss only, and its sub means its own people."""
    other = TrustedIssuer()
    await trust(client, issuer)
    await trust(client, other)
    await link(make_user, issuer, subject := secrets.token_hex(8))
    assert await refused(other.grant(AUDIENCE, subject, iss=issuer.issuer), client) is not Reason.UNKNOWN_USER
    assert await refused(other.grant(AUDIENCE, subject), client) is Reason.UNKNOWN_USER
    for name in (f"{issuer.issuer}/", issuer.issuer.upper(), None, 7, [issuer.issuer]):
        assert await refused(issuer.grant(AUDIENCE, subject, iss=name), client) is Reason.UNTRUSTED_ISSUER
    other.stop()


async def test_keys_that_cannot_be_had(issuer: TrustedIssuer, client: Client) -> None:
    """An issuer whose discovery document names another issuer is not that issuer."""
    liar = TrustedIssuer()
    liar.metadata["issuer"] = issuer.issuer
    await trust(client, liar)
    assert await refused(liar.grant(AUDIENCE, "ada"), client) is Reason.KEYS_UNAVAILABLE
    liar.stop()


async def test_a_grant_is_used_once(issuer: TrustedIssuer, client: Client, make_user: MakeUser) -> None:
    await trust(client, issuer)
    user = await link(make_user, issuer, subject := secrets.token_hex(8))
    verified: VerifiedAssertion = await verify_external(issuer.grant(AUDIENCE, subject), Purpose.JWT_BEARER, client)
    await use_up(verified)
    with pytest.raises(UntrustedTokenError) as error:
        await use_up(verified)
    assert error.value.refused == (Reason.REUSED, user.id, None)


async def test_the_identity_ends_with_its_user(issuer: TrustedIssuer, client: Client, make_user: MakeUser) -> None:
    await trust(client, issuer)
    user = await link(make_user, issuer, subject := secrets.token_hex(8))
    async with transaction():
        await delete_user(user.id)
    assert await refused(issuer.grant(AUDIENCE, subject), client) is Reason.UNKNOWN_USER
    assert await fetch("SELECT FROM upstream_subject WHERE subject = $1", subject) == []
