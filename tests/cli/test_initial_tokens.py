"""`idp initial-tokens`."""

from idp import ids
from idp.infra.db.engine import execute, fetchrow
from tests.cli.conftest import Cli


async def test_the_life_of_a_token(cli: Cli) -> None:
    ceiling = ("--scope", "openid email", "--grant-type", "authorization_code", "--redirect-host", ".example.com")
    created = cli("initial-tokens", "create", "Apps", "--uses", "3", "--lifetime", "1d", "--no-pkce", *ceiling)
    assert "shown only now" in created.err
    words = created.out.split()
    id_, token = words[1], words[3]
    row = await fetchrow(
        "SELECT expires_at - now() AS left FROM initial_access_token WHERE token_hash = $1", ids.digest(token)
    )
    assert row is not None
    assert 86000 < row["left"].total_seconds() <= 86400
    listed = cli("initial-tokens", "list", "--json")
    (found,) = [each for each in listed.json if each["id"] == id_]
    assert (found["name"], found["uses_left"]) == ("Apps", 3)
    assert found["ceiling"]["scopes"] == ["openid", "email"]
    assert found["ceiling"]["grant_types"] == ["authorization_code"]
    assert found["ceiling"]["redirect_hosts"] == [".example.com"]
    assert found["ceiling"]["require_pkce"] is False
    text = cli("initial-tokens", "list").out
    assert "Apps" in text
    assert token not in text + listed.out
    assert "is deleted" in cli("initial-tokens", "delete", id_).out
    # Registration is off by default.
    warned = cli("initial-tokens", "create", "Apps")
    assert "IDP_CLIENT_REGISTRATION is off" in warned.err
    assert "off" not in cli("initial-tokens", "create", "Apps", IDP_CLIENT_REGISTRATION="token").err
    await execute("DELETE FROM initial_access_token WHERE name = 'Apps'")
    assert "There is no initial access token" in cli("initial-tokens", "delete", id_, code=1).err


async def test_refused(cli: Cli) -> None:
    for options in (
        ("--uses", "0"),
        ("--uses", "10001"),
        ("--lifetime", "0s"),
        ("--lifetime", "400d"),
        ("--scope", "openid admin:users:write"),
        ("--grant-type", "password"),
        ("--redirect-host", "https://a.example"),
        ("--redirect-host", "*.example"),
    ):
        assert cli("initial-tokens", "create", "Apps", *options, code=1).err.startswith("Error: "), options
    assert cli("initial-tokens", "create", " ", code=1).err.startswith("Error: ")
