"""``login_hint_token`` (CIBA Core section 7.1): signed by the client or by a trusted issuer."""

import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.repository.users import disable_user
from idp.accounts.tables import User
from idp.accounts.users import ADMIN
from idp.errors import InvalidGrantError, OAuthError
from idp.federation.linking import import_identity
from idp.infra.db.engine import fetch, transaction
from idp.keys import jose
from idp.oauth.ciba import hints
from idp.oauth.ciba.hint_tokens import MAX_LIFETIME
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import Purpose
from idp.oauth.token import jwt_bearer
from idp.reasons import Reason
from idp.settings import settings
from tests.conftest import MakeClient, MakeUser
from tests.support.assertions import ClientKeys
from tests.support.ciba import CIBA, ask
from tests.support.conformance import check_json_error
from tests.support.issuers import TrustedIssuer

pytestmark = pytest.mark.usefixtures("db")

AUDIENCE = settings().issuer
TYPE = "login-hint+jwt"
KEYS = ClientKeys()


@pytest.fixture
async def bank(db: str) -> AsyncIterator[Client]:
    client, _ = await register_client(**CIBA, jwks=KEYS.jwks())
    await registry.load()
    yield client
    await delete_client(client.client_id)


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
async def trusted(bank: Client, issuer: TrustedIssuer) -> AsyncIterator[TrustedIssuer]:
    added = await registration.add(
        issuer=issuer.issuer, clients=[bank.client_id], purposes=["login_hint", "jwt_bearer"], subject="email",
        email_domains=["example.com"], create_users=True,
    )  # fmt: skip
    await registry.load()
    yield issuer
    await registration.remove(added.id)
    await registry.load()


def signed(client_id: str, audience: str = AUDIENCE, typ: str | None = TYPE, **changes: Any) -> str:
    now = int(time.time())
    values = {"iss": client_id, "aud": audience, "iat": now, "exp": now + 60} | changes
    return KEYS.sign({name: value for name, value in values.items() if value is not None}, typ=typ)


async def find(token: str, client: Client) -> hints.Person:
    return await hints.find({"login_hint_token": token}, client)


async def refused(token: str, client: Client) -> tuple[str, Reason | None]:
    with pytest.raises(OAuthError) as error:
        await find(token, client)
    return error.value.code, error.value.reason


@pytest.mark.parametrize("named", ["sub", "email"])
async def test_the_client_signs_it(named: str, bank: Client, alice: User) -> None:
    value = str(alice.id) if named == "sub" else alice.email.upper()
    found = await find(signed(bank.client_id, **{named: value}), bank)
    assert (found.user_id, found.email) == (alice.id, alice.email)
    async with transaction():
        await disable_user(alice.id, ADMIN, admin=True)
    void = await find(signed(bank.client_id, **{named: value}), bank)
    assert (void.email, void.user) == (alice.email, None)
    assert void.user_id != alice.id


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"exp": -1}, "expired_login_hint_token", Reason.EXPIRED),
        ({"exp": None}, "invalid_request", Reason.MALFORMED),
        ({"exp": MAX_LIFETIME + 120}, "invalid_request", Reason.MALFORMED),
        ({"nbf": 600}, "invalid_request", Reason.NOT_YET_VALID),
        ({"audience": "https://other.example"}, "invalid_request", Reason.WRONG_AUDIENCE),
        ({"aud": [AUDIENCE, "https://other.example"]}, "invalid_request", Reason.WRONG_AUDIENCE),
        ({"typ": None}, "invalid_request", Reason.WRONG_TYPE),
        ({"typ": "JWT"}, "invalid_request", Reason.WRONG_TYPE),
        ({"sub": None}, "invalid_request", Reason.MALFORMED),
        ({"email": "ada@example.com"}, "invalid_request", Reason.MALFORMED),
        ({"sub": "a\ud800"}, "invalid_request", Reason.MALFORMED),
        ({"sub": ""}, "invalid_request", Reason.MALFORMED),
        ({"sub": None, "email": "no address"}, "unknown_user_id", Reason.UNKNOWN_USER),
        ({"iss": "https://unknown.example"}, "invalid_request", Reason.UNTRUSTED_ISSUER),
    ],
    ids=str,
)
async def test_what_of_the_client_is_refused(changes: dict[str, Any], code: str, reason: Reason, bank: Client) -> None:
    now = int(time.time())
    moved = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
    assert await refused(signed(bank.client_id, **({"sub": "someone"} | moved)), bank) == (code, reason)


async def test_the_key_of_another_client(bank: Client) -> None:
    other = ClientKeys().sign(
        {"iss": bank.client_id, "aud": AUDIENCE, "sub": "x", "exp": int(time.time()) + 60}, typ=TYPE
    )
    assert await refused(other, bank) == ("invalid_request", Reason.BAD_SIGNATURE)


async def test_a_trusted_issuer_signs_it(trusted: TrustedIssuer, bank: Client, make_user: MakeUser) -> None:
    """By the rule of the issuer: an identity that is linked, or a verified address."""
    alice, subject = await make_user(email_verified=True), secrets.token_hex(8)
    by_address = trusted.grant(AUDIENCE, subject, TYPE, email=alice.email, email_verified=True)
    assert (await find(by_address, bank)).user_id == alice.id
    assert (await find(trusted.grant(AUDIENCE, subject, TYPE), bank)).user is None
    async with transaction():
        await import_identity(alice.id, trusted.issuer, subject, None)
    assert (await find(trusted.grant(AUDIENCE, subject, TYPE), bank)).user_id == alice.id
    # A hint is not used up.
    assert (await find(by_address, bank)).email == alice.email


async def test_nobody_is_created_and_nobody_is_told_apart(trusted: TrustedIssuer, bank: Client) -> None:
    """Who is unknown is the same nobody each time, so that the limits count. Other people are others."""
    email = f"{secrets.token_hex(6)}@example.com"
    token = trusted.grant(AUDIENCE, "new", TYPE, email=email, email_verified=True)
    first, again = await find(token, bank), await find(token, bank)
    assert first == again
    assert first.user is None
    assert first.email.endswith(f"@{hints.NOBODYS_DOMAIN}")
    assert (await find(trusted.grant(AUDIENCE, "newer", TYPE), bank)).user_id != first.user_id
    assert await fetch("SELECT FROM user_email WHERE email = $1", email) == []


async def test_a_hint_is_no_grant(trusted: TrustedIssuer, bank: Client) -> None:
    """And a grant is no hint (RFC 8725 section 3.11)."""
    hint, grant = (trusted.grant(AUDIENCE, "ada", typ) for typ in (TYPE, "JWT"))
    assert await refused(grant, bank) == ("invalid_request", Reason.WRONG_TYPE)

    async def prove() -> None:
        raise AssertionError

    with pytest.raises(InvalidGrantError) as error:
        await jwt_bearer.redeem(bank, {"assertion": hint}, prove)
    assert error.value.reason is Reason.WRONG_TYPE


async def test_an_issuer_that_is_trusted_for_something_else(trusted: TrustedIssuer, bank: Client) -> None:
    rule = registry.trusted_issuer(trusted.issuer)
    assert rule is not None
    await registration.update(rule.id, purposes=[Purpose.JWT_BEARER])
    await registry.load()
    assert await refused(trusted.grant(AUDIENCE, "ada", TYPE), bank) == ("invalid_request", Reason.UNTRUSTED_ISSUER)
    await registration.update(rule.id, purposes=[Purpose.LOGIN_HINT], clients=[])
    await registry.load()
    assert await refused(trusted.grant(AUDIENCE, "ada", TYPE), bank) == ("invalid_request", Reason.WRONG_CLIENT)


async def test_an_issuer_without_users(bank: Client) -> None:
    with pytest.raises(registration.InvalidTrustedIssuerError, match="login_hint"):
        await registration.add(issuer="https://no.example", purposes=["login_hint"], subject="client")


async def test_the_script_of_the_document(make_client: MakeClient, alice: User) -> None:
    """docs/ciba.md, at this server. Known and unknown people get the same answer."""
    keys = ClientKeys("RS256")
    client = await make_client(**CIBA, jwks=keys.jwks())
    text = (Path(__file__).parents[3] / "docs" / "ciba.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for sub in (str(alice.id), "nobody"):
        here = {
            "https://id.example.com": client.issuer,
            "call-centre": client.client_id,
            '"SUB"': f'"{sub}"',
            "key-1": keys.keys[-1].kid,
            'open("key.pem").read()': "pem",
        }
        run = script
        for words, there in here.items():
            assert words in run
            run = run.replace(words, there)
        names = {"pem": jose.to_pem(keys.keys[-1], private=True)}
        exec(run, names)
        response = await ask(client, None, login_hint_token=str(names["login_hint_token"]))
        assert response.status_code == 200, response.text
        assert response.json().keys() == {"auth_req_id", "expires_in", "interval"}
    assert len(await fetch("SELECT FROM backchannel_request WHERE user_id = $1", alice.id)) == 1
    check_json_error(await ask(client, None, login_hint_token="a.b.c"), 400, "invalid_request")
