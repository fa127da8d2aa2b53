"""The sample data is created once and is complete, and its secrets stay the same."""

from pathlib import Path

import pytest

from idp.accounts.claims import CLAIMS_BY_SCOPE
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.accounts.users import set_password
from idp.dev import seed
from idp.ids import digest
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.clients.registration import rotate_secret
from idp.oauth.clients.registry import Registry
from idp.oauth.sign_out import sign_out_user

ISSUER = "http://localhost:8000"


async def demo_user() -> User:
    user = await user_by_email(seed.EMAIL)
    assert user is not None
    return user


async def registered(client_id: str) -> Client:
    registry = Registry()
    await registry.load()
    client = registry.client(client_id)
    assert client is not None
    return client


async def assert_that_they_hold(demo: seed.Demo) -> None:
    assert await verify_password((await demo_user()).password_hash, demo.password)
    for client_id, secret in (
        (seed.CLIENT_ID, demo.client_secret),
        (seed.SERVICE_CLIENT_ID, demo.service_client_secret),
    ):
        assert (await registered(client_id)).client_secret_hash == digest(secret)


async def test_the_first_time_makes_everything(own_database: str, tmp_path: Path) -> None:
    demo = await seed.seed(tmp_path / "data", ISSUER)
    await assert_that_they_hold(demo)

    user = (await demo_user()).to_dict()
    claims = {claim for scope in CLAIMS_BY_SCOPE.values() for claim in scope}
    assert {claim for claim in claims if not user[claim]} == set()

    client = await registered(seed.CLIENT_ID)
    assert client.token_endpoint_auth_method == "client_secret_basic"
    assert set(client.grant_types) == {"authorization_code", "refresh_token"}
    assert client.require_pkce
    assert not client.skip_consent
    assert client.redirect_uris == (f"{ISSUER}/demo/callback",)
    assert client.post_logout_redirect_uris == (f"{ISSUER}/demo",)
    assert (await registered(seed.SERVICE_CLIENT_ID)).grant_types == ("client_credentials",)


async def test_both_clients_may_call_the_api(own_database: str, tmp_path: Path) -> None:
    await seed.seed(tmp_path, ISSUER)
    registry = Registry()
    await registry.load()
    api = registry.resource_server(seed.API)
    assert isinstance(api, ResourceServer)
    for client_id in (seed.CLIENT_ID, seed.SERVICE_CLIENT_ID):
        assert (await registered(client_id)).scopes & api.scopes


async def test_the_second_time_changes_nothing(own_database: str, tmp_path: Path) -> None:
    first = await seed.seed(tmp_path, ISSUER)
    before = (await demo_user()).to_dict(), await registered(seed.CLIENT_ID)
    assert await seed.seed(tmp_path, ISSUER) == first
    assert ((await demo_user()).to_dict(), await registered(seed.CLIENT_ID)) == before


@pytest.mark.parametrize("left", [None, b"", b"{}", b'{"password": 1}'], ids=["no file", "empty", "older", "broken"])
async def test_lost_secrets_are_replaced(own_database: str, tmp_path: Path, left: bytes | None) -> None:
    first = await seed.seed(tmp_path, ISSUER)
    path = tmp_path / "demo.json"
    path.unlink() if left is None else path.write_bytes(left)
    again = await seed.seed(tmp_path, ISSUER)
    assert again != first
    await assert_that_they_hold(again)
    assert seed.load(tmp_path) == again


async def test_a_new_database_gets_new_secrets(own_database: str, tmp_path: Path) -> None:
    """The file outlived the database: its secrets are of no use."""
    stale = seed.Demo("old password", "old secret", "old service secret")
    seed._save(tmp_path / "demo.json", stale)
    demo = await seed.seed(tmp_path, ISSUER)
    await assert_that_they_hold(demo)
    assert seed.load(tmp_path) == demo


async def test_the_secrets_are_valid_after_a_rotation(own_database: str, tmp_path: Path) -> None:
    first = await seed.seed(tmp_path, ISSUER)
    await rotate_secret(seed.SERVICE_CLIENT_ID)
    again = await seed.seed(tmp_path, ISSUER)
    await assert_that_they_hold(again)
    assert (again.password, again.client_secret) == (first.password, first.client_secret)


async def test_the_password_is_valid_after_a_change(own_database: str, tmp_path: Path) -> None:
    first = await seed.seed(tmp_path, ISSUER)
    await set_password((await demo_user()).id, "another password", sign_out_user)
    again = await seed.seed(tmp_path, ISSUER)
    await assert_that_they_hold(again)
    assert again.client_secret == first.client_secret


async def test_the_demo_client_follows_the_issuer(own_database: str, tmp_path: Path) -> None:
    first = await seed.seed(tmp_path, ISSUER)
    assert await seed.seed(tmp_path, "http://localhost:9000") == first
    client = await registered(seed.CLIENT_ID)
    assert client.redirect_uris == ("http://localhost:9000/demo/callback",)
    assert client.post_logout_redirect_uris == ("http://localhost:9000/demo",)
    assert client.client_uri == "http://localhost:9000/demo"


async def test_only_the_owner_can_read_the_secrets(own_database: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_bytes(b"")
    path.chmod(0o644)
    await seed.seed(tmp_path, ISSUER)
    assert path.stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_to_is_named(own_database: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(seed.CannotKeepSecretsError, match="IDP_DATA_DIR"):
        await seed.seed(tmp_path / "data", ISSUER)


def test_the_banner_is_aligned_and_tells_all() -> None:
    demo = seed.Demo("the-password", "never shown", "the-service-secret")
    banner = seed.banner(demo, ISSUER)
    for text in (ISSUER, seed.EMAIL, "the-password", "demo-service:the-service-secret", "Ctrl-C"):
        assert text in banner
    assert "never shown" not in banner
