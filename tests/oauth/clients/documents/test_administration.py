"""What an administrator can do with a client by document."""

import secrets
from collections.abc import AsyncIterator

import pytest

from idp.errors import OAuthError
from idp.infra.db.engine import execute
from idp.keys.key_set import key_set
from idp.oauth.clients import service
from idp.oauth.clients.documents import resolver
from idp.oauth.clients.documents import service as documents
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.lookup import authorized_client, client_for_authorization
from idp.oauth.clients.path_ids import client_id_of, decoded, path_id
from idp.oauth.clients.registry import registry
from tests.support.documents import ClientSite, store_document
from tests.support.request_objects import jwks


@pytest.fixture
async def url(db: str) -> AsyncIterator[str]:
    """The URL of a stored client."""
    url = f"https://app.example.com/{secrets.token_hex(8)}.json"
    await store_document(url)
    yield url
    await execute("DELETE FROM client WHERE client_id = $1", url)


@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Another"},
        {"redirect_uris": ("https://evil.example/",)},
        {"scope": "openid"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"skip_consent": True},
    ],
)
async def test_the_document_decides(url: str, change: dict[str, object]) -> None:
    with pytest.raises(OAuthError) as refused:
        await service.update_client(url, **change)
    assert refused.value.code == "invalid_client_metadata"


@pytest.mark.usefixtures("accepted")
async def test_the_operators_own_members_stay(site: ClientSite, path: str) -> None:
    await store_document(site.url(path))
    await service.update_client(site.url(path), default_acr_values=("2",), upstreams=("corporate",))
    await registry.load()
    await execute("UPDATE client_document SET fresh_until = now() WHERE client_id = $1", site.url(path))
    site.members["client_name"] = "Renamed"
    client = await client_for_authorization(site.url(path))
    assert client is not None
    assert (client.client_name, client.default_acr_values, client.upstreams) == ("Renamed", ("2",), ("corporate",))
    assert registry.client(site.url(path)) == client
    await execute("DELETE FROM client WHERE client_id = $1", site.url(path))


@pytest.mark.usefixtures("accepted")
async def test_a_client_that_gives_up_its_key(site: ClientSite, path: str) -> None:
    """What was issued to the key is revoked, as by an administrator who makes a client public."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "1"}
    site.members |= {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key]}}
    client = await client_for_authorization(site.url(path))
    assert client is not None
    assert (client.token_endpoint_auth_method, client.public) == ("private_key_jwt", False)
    await store_document(
        site.url(path), **{name: getattr(client, name) for name in ("token_endpoint_auth_method", "jwks")}
    )
    await registry.load()
    resolver.fresh.clear()
    await execute("UPDATE client_document SET fresh_until = now() WHERE client_id = $1", site.url(path))
    site.members |= {"token_endpoint_auth_method": "none", "jwks": None}
    found = await authorized_client(site.url(path))
    assert found is not None
    assert found.public
    assert documents.STALE_SECONDS == 86400
    await execute("DELETE FROM client WHERE client_id = $1", site.url(path))


def test_a_url_in_a_path() -> None:
    url = "https://app.example.com/oauth/client.json"
    assert path_id("an-id.1~") == client_id_of("an-id.1~") == "an-id.1~"
    assert "/" not in path_id(url)
    assert client_id_of(path_id(url)) == url
    assert decoded({"client_id": path_id(url), "kind": path_id(url)}) == {"client_id": url, "kind": path_id(url)}
    for other in ("~", "~x", "~" + "A" * 50, path_id(url)[1:], path_id(url) + "=", path_id(url) + "A", "~/w=="):
        assert client_id_of(other) == other
    assert client_id_of(path_id("https://app.example.com/\0")) == path_id("https://app.example.com/\0")


@pytest.mark.usefixtures("accepted")
async def test_a_profile(site: ClientSite, path: str) -> None:
    """The document must meet it, and one that does not any more is refused with the reason: nothing is set for it."""
    url, keys = site.url(path), jwks("ES256")
    with pytest.raises(OAuthError, match="The profile fapi2 requires"):
        await service.update_client((await store_document(url)).client_id, profile="fapi2")
    await execute("DELETE FROM client WHERE client_id = $1", url)
    members = {
        "token_endpoint_auth_method": "private_key_jwt", "jwks": keys, "dpop_bound_access_tokens": True,
        "require_pushed_authorization_requests": True,
        **{f"{kind}_signed_response_alg": "ES256" for kind in ("id_token", "introspection", "authorization")},
    }  # fmt: skip
    site.members |= members
    await store_document(url, **site.members)
    await service.update_client(url, profile="fapi2")
    await registry.load()
    # A key for ES256 may be new.
    await key_set.load()
    for changes, problem in (({"client_name": "Renamed"}, None), ({"dpop_bound_access_tokens": False}, "fapi2")):
        site.members |= changes
        resolver.fresh.clear()
        await execute("UPDATE client_document SET fresh_until = now() WHERE client_id = $1", url)
        if problem is None:
            client = await client_for_authorization(url)
            assert client is not None
            assert (client.client_name, client.profile) == ("Renamed", "fapi2")
        else:
            with pytest.raises(DocumentError, match="The profile fapi2 requires one of dpop_bound_access_tokens"):
                await client_for_authorization(url)
    stored = registry.client(url)
    assert stored is not None
    assert stored.dpop_bound_access_tokens
    await execute("DELETE FROM client WHERE client_id = $1", url)
