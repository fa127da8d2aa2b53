"""Adding, changing and removing trusted issuers."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from idp.errors import VersionConflictError
from idp.infra.db.engine import fetch
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.repository import issuers
from idp.settings import settings
from tests.support.assertions import ClientKeys

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
async def client(db: str) -> Client:
    client, _ = await register_client(client_name="Wiki", grant_types=["client_credentials"], scope="")
    return client


@pytest.fixture
async def values(client: Client) -> AsyncIterator[dict[str, Any]]:
    issuer = f"https://{secrets.token_hex(6)}.example"
    yield {"issuer": issuer, "purposes": ["jwt_bearer", "id_jag"], "clients": [client.client_id]}
    for stored in await issuers():
        if stored.issuer == issuer:
            await registration.remove(stored.id)
    await registry.load()


async def test_the_life_of_an_issuer(values: dict[str, Any], client: Client) -> None:
    added = await registration.add(**values, scope="orders:read")
    await registry.load()
    known = registry.trusted_issuer(added.issuer)
    assert known is not None
    assert (known.id, known.scope, known.clients) == (added.id, "orders:read", (client.client_id,))
    assert known.purposes == (Purpose.JWT_BEARER, Purpose.ID_JAG)
    assert registry.has_trusted_issuer(Purpose.ID_JAG)
    with pytest.raises(registration.TrustedIssuerExistsError):
        await registration.add(**values)
    assert (await registration.update(added.id, scope="", max_lifetime=60)).max_lifetime == 60
    await registration.update(added.id, max_lifetime=60)
    await registration.update(added.id, enabled=False)
    await registry.load()
    assert registry.trusted_issuer(added.issuer) is None
    with pytest.raises(VersionConflictError):
        await registration.update(added.id, known.updated_at, scope="orders:write")
    await registration.remove(added.id)
    for call in (registration.remove(added.id), registration.update(added.id, scope="")):
        with pytest.raises(registration.UnknownTrustedIssuerError):
            await call
    events = await fetch(
        "SELECT event, detail ->> 'changed' AS changed FROM audit_event WHERE detail ->> 'issuer' = $1 ORDER BY id",
        added.issuer,
    )
    assert [tuple(row) for row in events] == [
        ("trusted_issuer_added", None),
        ("trusted_issuer_updated", '["max_lifetime", "scope"]'),
        ("trusted_issuer_updated", '["enabled"]'),
        ("trusted_issuer_removed", None),
    ]


async def test_a_deleted_client_presents_nothing(values: dict[str, Any], client: Client) -> None:
    """Nor does another client that gets its client_id."""
    added = await registration.add(**values)
    await delete_client(client.client_id)
    await register_client(client.client_id, client_name="Other", grant_types=["client_credentials"], scope="")
    await registry.load()
    known = registry.trusted_issuer(added.issuer)
    assert known is not None
    assert known.clients == ()
    assert not registry.has_trusted_issuer(*known.purposes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"issuer": "http://idp.example"},
        {"issuer": "no url"},
        {"issuer": "https://idp.example/#x"},
        {"issuer": settings().issuer},
        {"purposes": []},
        {"purposes": ["saml"]},
        {"subject": "sub"},
        {"subject": "client"},
        {"subject": "email"},
        {"create_users": True},
        {"email_domains": ["*"]},
        {"email_domains": ["example.com\n"]},
        {"subject": "email", "email_domains": [""]},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"jwks": {"keys": []}},
        {"jwks": {}},
        {"jwks": ClientKeys().jwks(), "jwks_uri": "https://idp.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://10.0.0.1/jwks"},
        {"clients": ["no-such-client"]},
        {"clients": [f"c{number}" for number in range(101)]},
        {"audiences": [""]},
        {"audiences": ["a\nb"]},
        {"audiences": ["a" * 501]},
        {"scope": "two  spaces"},
        {"scope": "offline_access"},
        {"max_lifetime": 0},
        {"max_lifetime": 1801},
        {"max_lifetime": True},
        {"secret": "x"},
    ],
    ids=" ".join,
)
async def test_what_is_refused(wrong: dict[str, Any], values: dict[str, Any]) -> None:
    before = await fetch("SELECT count(*) FROM trusted_issuer")
    with pytest.raises(registration.InvalidTrustedIssuerError):
        await registration.add(**(values | wrong))
    assert await fetch("SELECT count(*) FROM trusted_issuer") == before
    added = await registration.add(**values)
    if "issuer" not in wrong:
        with pytest.raises(registration.InvalidTrustedIssuerError):
            await registration.update(added.id, **wrong)
    with pytest.raises(registration.InvalidTrustedIssuerError):
        await registration.update(added.id, issuer="https://other.example")


async def test_scopes_of_this_server_cannot_be_given(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With those of the admin API, an issuer could administer this server."""
    monkeypatch.setattr(type(registry), "builtin_scopes", frozenset({"admin:users:write"}))
    with pytest.raises(registration.InvalidTrustedIssuerError):
        await registration.add(**values, scope="orders:read admin:users:write")


async def test_subjects_of_token_exchange_may_live_longer(values: dict[str, Any]) -> None:
    added = await registration.add(**(values | {"purposes": ["token_exchange"], "max_lifetime": 86400}))
    assert added.max_lifetime == 86400
    with pytest.raises(registration.InvalidTrustedIssuerError):
        await registration.update(added.id, purposes=["token_exchange", "jwt_bearer"])
