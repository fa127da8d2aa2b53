"""`idp keys`."""

import stat

from tests.cli.conftest import Cli, OwnCli
from tests.support.server import clean_environment


def test_a_master_key_is_made_once_and_for_its_owner_alone(bare: Cli) -> None:
    result = bare("keys", "init")
    path = bare.folder / "keys" / "master.key"
    assert "keys/master.key" in result.out
    assert path.read_text().strip() not in result.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "exists already" in bare.fails("keys", "init")


async def test_the_life_of_a_signing_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    assert "There is no active RS256 key" in cli.fails("keys", "rotate")
    assert "is active" in cli("keys", "generate", "--now").out
    assert "is pending" in cli("keys", "rotate").out
    assert "published already" in cli.fails("keys", "rotate")
    assert "is active" in cli("keys", "rotate", "--now").out
    assert "is pending" in cli("keys", "generate", "--alg", "ES256").out
    keys = cli("keys", "list", "--json").json
    assert [(key["alg"], key["state"]) for key in keys] == [
        ("ES256", "pending"),
        ("RS256", "retiring"),
        ("RS256", "active"),
    ]
    assert not any("private" in name for key in keys for name in key)
    table = cli("keys", "list").out
    assert all(key["kid"] in table for key in keys)


async def test_a_wrong_master_key_makes_no_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate", "--now")
    wrong = "A" * 43
    assert "The master key is not the one" in cli.fails("keys", "generate", "--alg", "ES256", IDP_MASTER_KEY=wrong)
    assert len(cli("keys", "list", "--json").json) == 1
    assert "IDP_MASTER_KEY" not in clean_environment()
