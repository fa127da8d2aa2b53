"""Subject and actor tokens of trusted issuers (RFC 8693 section 3: ``jwt``)."""

from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from idp.accounts.repository import admin_roles
from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.errors import Refused
from idp.federation.linking import import_identity
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth import access_tokens
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.exchange import token_types
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.repository import issuers
from idp.oauth.sign_out import sign_out_user
from idp.settings import settings
from tests.signin.test_lock_order import take, waiting
from tests.support.exchange import a_service, allow, an_api, exchange, refusal
from tests.support.issuers import SERVICE_ACCOUNT, TrustedIssuer
from tests.support.tokens import claims_of

pytestmark = pytest.mark.usefixtures("db")
KIND = {"subject_token_type": token_types.JWT}


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture(autouse=True)
async def clean(db: str) -> AsyncIterator[None]:
    """An issuer that is left would be trusted in another test."""
    yield
    for stored in await issuers():
        await registration.remove(stored.id)
    await registry.load()


@pytest.fixture
async def place(issuer: TrustedIssuer, alice: User) -> tuple[Client, str]:
    """A service that may present tokens of the issuer, which calls Alice by a name of its own, and an API."""
    service, api = await a_service("read write"), await an_api("read write")
    purposes = (Purpose.TOKEN_EXCHANGE,)
    await registration.add(
        issuer=issuer.issuer, clients=[service.client_id], purposes=purposes, scope="read", max_lifetime=3600
    )
    await execute("DELETE FROM identity WHERE subject = $1", SERVICE_ACCOUNT)
    await execute("DELETE FROM upstream_subject WHERE subject = $1", SERVICE_ACCOUNT)
    async with transaction():
        await import_identity(alice.id, issuer.issuer, SERVICE_ACCOUNT, None)
    await allow(service, api, scope="read write", subject_token_types=["jwt"])
    return service, api


def token_of(issuer: TrustedIssuer, **changes: Any) -> str:
    return issuer.kubernetes(settings().issuer, **changes)


async def test_a_token_of_a_trusted_issuer(issuer: TrustedIssuer, place: tuple[Client, str], alice: User) -> None:
    """It gives what the rule of its issuer and the policy both allow, and ends with its user."""
    service, api = place
    given = await exchange(service, token_of(issuer), resource=api, **KIND)
    claims = claims_of(given.access_token)
    assert (claims["sub"], claims["scope"], claims["acr"], claims["amr"]) == (str(alice.id), "read", "0", [])
    assert claims["act"] == {"sub": service.client_id, "client_id": service.client_id}
    assert not isinstance(await access_tokens.validate(given.access_token), Refused)
    (family,) = await fetch("SELECT client_id, session_id FROM token_family WHERE user_id = $1", alice.id)
    assert (family["client_id"], family["session_id"]) == (service.client_id, None)
    async with transaction():
        await sign_out_user(alice.id, "signed_out_by_user")
    assert isinstance(await access_tokens.validate(given.access_token), Refused)


async def test_what_is_refused(issuer: TrustedIssuer, place: tuple[Client, str], alice: User) -> None:
    service, api = place
    for changes, reason in (
        ({"aud": ["https://other.example"]}, "wrong_audience"),
        ({"exp": 1}, "expired"),
        ({"sub": "system:serviceaccount:shop:nobody"}, "unknown_user"),
        ({"iss": "https://evil.example"}, "untrusted_issuer"),
        ({"act": {"sub": "x"}}, "wrong_actor"),
        ({"cnf": "x"}, "wrong_key"),
        ({"may_act": {"sub": "another"}}, "wrong_actor"),
    ):
        refused = await refusal(service, token_of(issuer, **changes), resource=api, **KIND)
        assert refused == ("invalid_request", reason), changes
    assert (await refusal(service, token_of(issuer), **KIND))[0] == "invalid_target"
    beyond = await refusal(service, token_of(issuer), resource=api, scope="write", **KIND)
    assert beyond[0] == "invalid_scope"
    other = await a_service("read")
    await allow(other, api, scope="read", subject_token_types=["jwt"])
    assert await refusal(other, token_of(issuer), resource=api, **KIND) == ("invalid_request", "wrong_client")
    # What is refused leaves nothing behind.
    assert not await fetch("SELECT FROM token_family WHERE user_id = $1", alice.id)


async def test_no_administrator(issuer: TrustedIssuer, place: tuple[Client, str], alice: User) -> None:
    service, _ = place
    api = await an_api("read")
    await allow(service, api, mode="impersonation", scope="read", subject_token_types=["jwt"])
    assert await exchange(service, token_of(issuer), resource=api, **KIND)
    await admin_roles.grant_role(alice.id, "auditor", "test")
    refused = await refusal(service, token_of(issuer), resource=api, **KIND)
    assert refused == ("invalid_request", "administrator")


async def test_a_disabled_user(issuer: TrustedIssuer, place: tuple[Client, str], alice: User) -> None:
    service, api = place
    given = await exchange(service, token_of(issuer), resource=api, **KIND)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", alice.id)
    assert isinstance(await access_tokens.validate(given.access_token), Refused)
    assert await refusal(service, token_of(issuer), resource=api, **KIND) == ("invalid_request", "user_disabled")


async def test_a_sign_out_at_the_same_moment(issuer: TrustedIssuer, place: tuple[Client, str], alice: User) -> None:
    """The user is locked first, so that a sign-out ends before the family starts, or revokes it."""
    service, api = place
    work = exchange(service, token_of(issuer), resource=api, **KIND)
    async with waiting(partial(lock_user, alice.id), work, copy_context()) as exchanging:
        await take("SELECT FROM trusted_issuer WHERE issuer = $1", issuer.issuer)
    given = await exchanging
    assert not isinstance(await access_tokens.validate(given.access_token), Refused)


async def test_the_end_of_the_trust(issuer: TrustedIssuer, place: tuple[Client, str]) -> None:
    service, api = place
    given = await exchange(service, token_of(issuer), resource=api, **KIND)
    (stored,) = await issuers()
    await registration.remove(stored.id)
    await registry.load()
    found = await access_tokens.validate(given.access_token)
    assert isinstance(found, Refused)
    assert await refusal(service, token_of(issuer), resource=api, **KIND) == ("invalid_request", "untrusted_issuer")


async def test_its_own_scope_and_resource(issuer: TrustedIssuer, place: tuple[Client, str]) -> None:
    """A token that names scopes or resource servers is limited to them, as an assertion is."""
    service, api = place
    for claims, scope in (({"scope": "read list"}, "read"), ({"scope": "list"}, ""), ({"scope": ""}, "")):
        assert (await exchange(service, token_of(issuer, **claims), resource=api, **KIND)).scope == scope, claims
    # By default the new token is for the resource server that it names.
    given = await exchange(service, token_of(issuer, resource=f"{api}/"), **KIND)
    assert claims_of(given.access_token)["aud"] == api
    for claims, form, error in (
        ({"scope": "list"}, {"scope": "read"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, {}, "invalid_target"),
        ({"resource": ["https://elsewhere.example"]}, {}, "invalid_target"),
        ({"scope": ["read"]}, {}, "invalid_request"),
        ({"resource": [1]}, {}, "invalid_request"),
    ):
        refused = await refusal(service, token_of(issuer, **claims), **({"resource": api} | form), **KIND)
        assert refused[0] == error, claims
