"""`idp keys`."""

import stat
from pathlib import Path

import pytest

from idp.keys import jose, propagation
from tests.cli.conftest import Cli, OwnCli
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.server import clean_environment


def test_a_master_key_is_made_once_and_for_its_owner_alone(python: Cli) -> None:
    result = python("keys", "init")
    path = python.folder / "keys" / "master.key"
    assert "keys/master.key" in result.out
    assert path.read_text().strip() not in result.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "exists already" in python.fails("keys", "init")


async def test_the_life_of_a_signing_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    assert "There is no active RS256 key" in cli.fails("keys", "rotate")
    assert "it is active" in cli("keys", "generate").out
    assert "active RS256 key already" in cli.fails("keys", "generate")
    assert "signs when all resource servers have fetched it, or at the deadline" in cli("keys", "rotate").out
    assert "published already" in cli.fails("keys", "rotate")
    assert "is active" in cli("keys", "rotate", "--now").out
    cli("keys", "generate", "--alg", "ES256")
    cli("keys", "rotate", "--alg", "ES256", "--hold")
    keys = cli("keys", "list", "--json").json
    assert [(key["alg"], key["state"]) for key in keys] == [
        ("ES256", "active"),
        ("ES256", "pending"),
        ("RS256", "retiring"),
        ("RS256", "active"),
    ]
    assert not any("private" in name for key in keys for name in key)
    table = cli("keys", "list").out
    assert all(key["kid"] in table for key in keys)
    assert "is active" in cli("keys", "activate", keys[1]["kid"]).out
    assert "This key is active. Only a pending key" in cli.fails("keys", "activate", keys[1]["kid"])
    assert "no key with this id" in cli.fails("keys", "activate", "none")


async def test_the_resource_servers_that_have_fetched_a_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    cli("resources", "create", "https://api.example.com", "--name", "Orders")
    assert "Waiting for https://api.example.com." in cli("keys", "rotate", "--deadline", "90m").out
    pending = cli("keys", "list", "--json").json[1]
    shown = cli("keys", "show", pending["kid"]).out
    assert all(word in shown for word in ("Orders", "https://api.example.com", "never", "not known"))
    (server,) = cli("keys", "show", pending["kid"], "--json").json["resource_servers"]
    assert (server["identifier"], server["seen"], server["instances"]) == ("https://api.example.com", False, [])
    async with isolated(cli.settings["IDP_DATABASE_URL"]):
        propagation.note(["https://api.example.com"], "192.0.2.7", "curl/8.14", "older")
        await propagation.write()
    assert "by curl/8.14 at 192.0.2.7." in cli("keys", "show", pending["kid"]).out
    refused = cli("keys", "activate", pending["kid"], input="n\n", code=1)
    assert "https://api.example.com has not fetched it" in refused.err
    assert "refuse the tokens of the key until they fetch it" in refused.out
    assert cli("keys", "list", "--json").json[1]["state"] == "pending"
    result = cli("keys", "activate", pending["kid"], "--yes")
    assert "https://api.example.com has not fetched it" in result.err
    assert "is active" in result.out
    assert "no key with this id" in cli.fails("keys", "show", "none")


@pytest.mark.parametrize("words", [("--deadline", "tomorrow"), ("--deadline", "-1h"), ("--now", "--hold")])
async def test_a_rotation_that_makes_no_sense(own_cli: OwnCli, words: tuple[str, ...]) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    cli("keys", "rotate", *words, code=2)
    assert len(cli("keys", "list", "--json").json) == 1


async def test_a_question_names_what_exists(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    (key,) = cli("keys", "list", "--json").json
    assert "This key is active." in cli.fails("keys", "destroy", key["kid"])
    ended = cli("keys", "revoke", key["kid"], input="n\n", code=1)
    assert "this active RS256 key will be refused" in ended.out
    assert "Aborted" in ended.err
    assert [each["state"] for each in cli("keys", "list", "--json").json] == ["active"]


async def test_an_emergency(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    cli("resources", "create", "https://api.example.com", "--name", "Orders")
    (key,) = cli("keys", "list", "--json").json
    cli("keys", "revoke", key["kid"], code=1)  # no terminal to confirm on
    report = cli("keys", "revoke", key["kid"], "--yes").out
    keys = cli("keys", "list", "--json").json
    assert [key["state"] for key in keys] == ["revoked", "active"]
    assert all(word in report for word in ("was active", keys[1]["kid"], "Orders"))
    assert "This key is revoked." in cli.fails("keys", "revoke", key["kid"])
    assert "is erased" in cli("keys", "destroy", key["kid"], "--yes").out
    assert cli("keys", "list", "--json").json[0]["state"] == "destroyed"
    for action in ("show", "activate", "revoke", "destroy"):
        assert cli.fails("keys", action, "none") == "There is no key with this id."


@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_a_key_goes_out_and_comes_in(own_cli: OwnCli, form: str, tmp_path: Path) -> None:
    one, other = await own_cli(), await own_cli()
    one("keys", "generate", "--alg", "ES256")
    kid = one("keys", "list", "--json").json[0]["kid"]
    file = tmp_path / "key"
    one("keys", "export", kid, "--private", "--format", form, "--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "cannot be written" in one.fails("keys", "export", kid, "--output", str(file))
    public = one("keys", "export", kid, "--format", form).out
    assert "PRIVATE" not in public
    assert '"d"' not in public
    assert kid in other("keys", "import", "--alg", "ES256", str(file)).out
    assert other("keys", "list", "--json").json[0]["state"] == "pending"
    other.fails("keys", "import", "--alg", "RS256", str(file))
    (tmp_path / "public").write_text(public)
    assert "private key" in other.fails("keys", "import", "--alg", "ES256", str(tmp_path / "public"))


async def test_a_key_whose_id_begins_with_a_hyphen(own_cli: OwnCli, tmp_path: Path) -> None:
    """It is not an option, in any position."""
    keys = (jose.generate("ES256") for _ in range(10_000))
    key = next(key for key in keys if key.kid.startswith("-"))
    file = tmp_path / "key.pem"
    file.write_bytes(jose.to_pem(key, private=True))
    cli = await own_cli()
    cli("keys", "generate", "--alg", "ES256")
    cli("keys", "import", "--alg", "ES256", str(file))
    assert key.kid in cli("keys", "show", key.kid).out
    assert "is active" in cli("keys", "activate", key.kid).out
    assert "PUBLIC" in cli("keys", "export", "--format", "pem", key.kid).out
    assert "PUBLIC" in cli("keys", "export", "--", key.kid).out
    assert "is revoked" in cli("keys", "revoke", key.kid, "--yes").out
    assert "is erased" in cli("keys", "destroy", "--yes", key.kid).out
    assert "This key is destroyed." in cli.fails("incident", "revoke", "key", key.kid)
    assert "No such option" in cli("keys", "show", "-x", code=2).err


async def test_the_master_key_changes(own_cli: OwnCli, tmp_path: Path) -> None:
    """A kill between any two steps leaves a master key that opens the database."""
    cli = await own_cli()
    file = tmp_path / "keys" / "master.key"
    file.parent.mkdir()
    file.write_text(MASTER_KEY)
    settings = {"IDP_MASTER_KEY": "", "IDP_KEYS_DIR": str(file.parent)}
    cli("keys", "generate", **settings)
    assert "is set by IDP_MASTER_KEY" in cli.fails("keys", "rewrap")
    out = cli("keys", "rewrap", **settings).out
    assert "rewrap --finish" in out
    new, old = file.read_text(), file.with_suffix(".old").read_text()
    assert old == MASTER_KEY != new
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    cli("keys", "rotate", "--now")  # signed with the old key
    cli("keys", "rotate", "--now", **settings)  # signed with the new key
    assert "1 other master key can no longer" in cli("keys", "rewrap", "--finish", **settings).out
    cli("keys", "rotate", "--now", **settings)
    assert "This master key does not open" in cli.fails("keys", "rotate", "--now")


async def test_a_wrong_master_key_makes_no_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    wrong = "A" * 43
    assert "This master key does not open" in cli.fails("keys", "generate", "--alg", "ES256", IDP_MASTER_KEY=wrong)
    assert len(cli("keys", "list", "--json").json) == 1
    assert "IDP_MASTER_KEY" not in clean_environment()
