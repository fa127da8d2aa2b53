"""Registering and changing clients and resource servers."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.errors import OAuthError
from idp.infra.db.tables import Revision
from idp.oauth import subjects
from idp.oauth.clients import auth_methods
from idp.oauth.clients.authentication.methods import METHODS
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.registration import (
    UnknownClientError,
    disable_client,
    enable_client,
    register_client,
    register_resource_server,
    rotate_secret,
)
from idp.oauth.clients.tables import ClientRow
from idp.oauth.clients.validation import grants
from idp.oauth.token.grants import GRANTS
from idp.settings import settings

pytestmark = pytest.mark.usefixtures("db")

WEB: dict[str, Any] = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"]}
PUBLIC = WEB | {"token_endpoint_auth_method": "none"}
SERVICE: dict[str, Any] = {"client_name": "Batch", "grant_types": ["client_credentials"], "scope": "read"}


async def revision() -> int:
    row = await Revision.select(Revision.number).where(Revision.topic == "clients").first()
    return int(row["number"]) if row else 0


async def events_of(client_id: str) -> list[str]:
    rows = await AuditEvent.select(AuditEvent.event).where(AuditEvent.client_id == client_id).order_by(AuditEvent.id)
    return [row["event"] for row in rows]


async def test_a_client_gets_an_id_and_a_secret_that_is_not_kept() -> None:
    before = await revision()
    client, secret = await register_client(**WEB)
    assert secret is not None
    assert len(secret) >= 43
    row = await ClientRow.select().where(ClientRow.client_id == client.client_id).first()
    assert row is not None
    assert row["client_secret_hash"] == ids.digest(secret) == client.client_secret_hash
    assert secret not in str(row)
    metadata = msgspec.json.decode(row["metadata"])
    assert metadata["redirect_uris"] == ["https://shop.example/cb"]
    assert (metadata["token_endpoint_auth_method"], metadata["require_pkce"]) == ("client_secret_basic", True)
    assert await events_of(client.client_id) == ["client_registered"]
    assert await revision() > before


async def test_a_public_client_gets_no_secret() -> None:
    client, secret = await register_client(**PUBLIC)
    assert secret is None
    assert client.public
    assert client.client_secret_hash is None


async def test_an_id_of_ones_choice_is_given_once() -> None:
    client_id = f"shop-{ids.random_token()[:8]}"
    results = await asyncio.gather(*(register_client(client_id, **WEB) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, tuple) for result in results) == 1
    refusals = [result for result in results if isinstance(result, OAuthError)]
    assert {refusal.code for refusal in refusals} == {"invalid_client_metadata"}
    assert len(refusals) == 4


@pytest.mark.parametrize("client_id", ["", "a b", "a:b", "a;b", "a/b", "a%b", "\u00e9", "a\n", "\0", "x" * 101])
async def test_ids_that_need_care_elsewhere_are_refused(client_id: str) -> None:
    with pytest.raises(OAuthError, match="client_id"):
        await register_client(client_id, **WEB)


async def test_an_id_is_not_the_subject_of_a_user(alice: User) -> None:
    """RFC 9068 section 5: the tokens that a client gets for itself have its id as ``sub``."""
    pair, _ = await register_client(**WEB, subject_type="pairwise")
    for subject in (str(alice.id), subjects.subject(pair, alice.id)):
        with pytest.raises(OAuthError, match="the subject of a user"):
            await register_client(subject, **SERVICE)
    client, _ = await register_client(str(ids.uuid7()), **SERVICE)
    assert await events_of(client.client_id) == ["client_registered"]


@pytest.mark.parametrize(
    "bad",
    [
        {"client_name": ""},
        {"client_name": "  "},
        {"client_name": "a\nb"},
        {"client_name": "a\0b"},
        {"client_name": "a\x1b[31m"},
        {"client_name": "\u202egnp.exe"},
        {"client_name": "x" * 201},
        {"client_name": 5},
        {"client_name": None},
        {"surprise": True},
        {"client_secret": "mine"},
        {"client_secret_hash": b"x"},
        {"disabled_at": None},
        {"application_type": "desktop"},
        {"token_endpoint_auth_method": "client_secret"},
        {"token_endpoint_auth_method": ""},
        {"id_token_signed_response_alg": "none"},
        {"id_token_signed_response_alg": "HS256"},
        {"scope": "openid  profile"},
        {"scope": 'openid "profile"'},
        {"scope": "openid\tprofile"},
        {"scope": "openid \u00e9"},
        {"scope": " openid"},
        {"grant_types": []},
        {"grant_types": ["password"]},
        {"grant_types": ["implicit", "authorization_code"]},
        {"grant_types": ["refresh_token"], "redirect_uris": []},
        {"grant_types": "authorization_code"},
        {"client_uri": "javascript:alert(1)"},
        {"logo_uri": "http://shop.example/logo.png"},
        {"policy_uri": "//shop.example/policy"},
        {"tos_uri": "/tos"},
        {"refresh_token_cookie": True},
        {"post_logout_redirect_uris": ["http://shop.example"]},
        {"require_pkce": "no"},
    ],
    ids=str,
)
async def test_metadata_that_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OAuthError) as refused:
        await register_client(**(WEB | bad))
    assert refused.value.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    "bad",
    [
        WEB | {"redirect_uris": []},
        SERVICE | {"redirect_uris": ["https://shop.example/cb"]},
        WEB | {"redirect_uris": ["https://shop.example/cb", "http://shop.example/cb"]},
    ],
    ids=str,
)
async def test_redirect_uris_that_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OAuthError) as refused:
        await register_client(**bad)
    assert refused.value.code == "invalid_redirect_uri"


async def test_metadata_that_needs_a_secret() -> None:
    for bad in ({"require_pkce": False}, {"grant_types": ["authorization_code", "client_credentials"]}):
        with pytest.raises(OAuthError) as refused:
            await register_client(**(PUBLIC | bad))
        assert refused.value.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    "good",
    [
        WEB | {"require_pkce": False},
        WEB | {"scope": ""},
        WEB | {"grant_types": ["authorization_code", "refresh_token", "client_credentials"]},
        WEB | {"logo_uri": "https://shop.example/logo.png", "client_uri": "http://localhost:3000"},
        WEB | {"client_name": "Café 東京"},
        WEB | {"post_logout_redirect_uris": ["https://shop.example/bye?a=b"]},
        PUBLIC | {"refresh_token_cookie": True, "grant_types": ["authorization_code", "refresh_token"]},
        SERVICE,
    ],
    ids=str,
)
async def test_metadata_that_is_accepted(good: dict[str, Any]) -> None:
    client, _ = await register_client(**good)
    assert await ClientRow.exists().where(ClientRow.client_id == client.client_id)


async def test_no_description_breaks_the_rules_of_rfc_6749() -> None:
    """Section 5.2: no double quote, no backslash, ASCII only; and no text from the request."""
    allowed = set(map(chr, [*range(0x20, 0x7F)])) - set('"\\')
    for bad in ({"client_name": '\n"\\\u00e9'}, {"redirect_uris": ['"\\\u00e9']}, {'"\\\u00e9': 1}):
        with pytest.raises(OAuthError) as refused:
            await register_client(**(WEB | bad))
        assert set(refused.value.description) <= allowed


async def test_a_new_secret_replaces_the_old_one() -> None:
    client, old = await register_client(**WEB)
    before = await revision()
    new = await rotate_secret(client.client_id)
    row = await ClientRow.select().where(ClientRow.client_id == client.client_id).first()
    assert row is not None
    assert new != old
    assert row["client_secret_hash"] == ids.digest(new)
    assert await revision() > before
    assert await events_of(client.client_id) == ["client_registered", "client_secret_rotated"]


async def test_no_secret_for_those_that_have_none() -> None:
    client, _ = await register_client(**PUBLIC)
    for client_id in (client.client_id, "no-such-client"):
        with pytest.raises(UnknownClientError):
            await rotate_secret(client_id)


async def test_disabling_counts_once() -> None:
    client, _ = await register_client(**WEB)
    results = await asyncio.gather(*(disable_client(client.client_id) for _ in range(5)))
    assert sorted(results) == [False] * 4 + [True]
    assert await enable_client(client.client_id)
    assert not await enable_client(client.client_id)
    assert not await disable_client("no-such-client")
    assert await events_of(client.client_id) == ["client_registered", "client_disabled", "client_enabled"]


class TestResourceServer:
    """Services that accept our access tokens."""

    async def test_an_identifier_is_unique(self) -> None:
        identifier = f"https://api.example/{ids.random_token()[:8]}"
        server = await register_resource_server(identifier, "The API", scope="read write")
        assert server.scopes == {"read", "write"}
        with pytest.raises(OAuthError, match="already"):
            await register_resource_server(identifier, "Another")

    @pytest.mark.parametrize(
        "identifier",
        [
            "",
            "api",
            "/api",
            "//api.example",
            "https:",
            "https://api.example/#x",
            "https://api.example/#",
            "urn:a b",
            "\0",
        ],
    )
    async def test_identifiers_that_are_refused(self, identifier: str) -> None:
        """RFC 8707 section 2: an absolute URI without fragment."""
        with pytest.raises(OAuthError) as refused:
            await register_resource_server(identifier, "The API")
        assert refused.value.code == "invalid_target"

    @pytest.mark.fault(14)
    @pytest.mark.parametrize("change", [str, lambda issuer: f"{issuer}/", str.upper])
    async def test_the_issuer_cannot_be_registered(self, change: Callable[[str], str]) -> None:
        """Tokens without a resource name it as their audience, and a resource server may introspect its own."""
        with pytest.raises(OAuthError) as refused:
            await register_resource_server(change(settings().issuer), "The API")
        assert refused.value.code == "invalid_target"

    @pytest.mark.parametrize("identifier", ["https://api.example/v1?x=y", "urn:example:api", "http://internal:8080"])
    async def test_identifiers_that_are_accepted(self, identifier: str) -> None:
        assert (await register_resource_server(identifier, "The API")).identifier == identifier

    @pytest.mark.parametrize(
        "bad", [{"name": ""}, {"scope": "a  b"}, {"access_token_signed_response_alg": "none"}], ids=str
    )
    async def test_the_rest_is_checked_too(self, bad: dict[str, str]) -> None:
        values = {"identifier": "https://api.example/other", "name": "The API"} | bad
        with pytest.raises(OAuthError):
            await register_resource_server(**values)


def test_registrable_names_equal_the_implemented_ones() -> None:
    """The names in the rules are those of the functions that do the work."""
    assert set(auth_methods.AUTH_METHODS) == set(METHODS)
    for grant in GRANTS:
        fits = ClientMetadata(client_name="X", grant_types=(grant, "authorization_code"))
        grants.grants_fit_together(fits)
    with pytest.raises(OAuthError):
        grants.grants_fit_together(ClientMetadata(client_name="X", grant_types=("password",)))
