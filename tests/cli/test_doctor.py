"""`idp doctor`: the report, its JSON, its exit code, and what it does when little works."""

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Cli, OwnCli

SECRET = "a-secret-password"
#: Settings of a server whose findings are known.
QUIET = {"IDP_LOG_LEVEL": "error"}


def names(ended: Any) -> set[str]:
    return {one["name"] for check in json.loads(ended.out)["checks"] for one in check["findings"]} - {""}


async def test_a_sound_server(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    ended = cli("doctor", "--offline", "--only", "signing_keys", "--only", "migrations")
    assert ended.out == "0 errors, 0 warnings, 0 notes by 2 checks.\n"
    shown = cli("doctor", "--offline", "--only", "migrations", "--all")
    assert "OK" in shown.out
    assert "Every migration is applied." in shown.out


async def test_the_report_is_for_people_with_80_columns(own_cli: OwnCli) -> None:
    cli = await own_cli()
    ended = cli("doctor", "--offline", code=2, IDP_SESSION_LIFETIME="60")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "WARNING session_idle_beyond_lifetime" in ended.out
    assert "Fix: Set IDP_SESSION_IDLE_LIFETIME to less." in ended.out
    assert "docs/doctor.md#settings" in ended.out


async def test_the_exit_code(own_cli: OwnCli) -> None:
    cli = await own_cli()
    only = ("doctor", "--only", "settings")
    sound = {"IDP_SMTP_URL": "smtp://mail.example.com"}
    cli(*only, code=0, **sound)
    cli(*only, code=0, IDP_PASSWORD_MIN_SCORE="0", **sound)
    cli(*only, code=1, IDP_SESSION_LIFETIME="60", **sound)
    cli(*only, code=2, IDP_KEY_PUBLICATION="0", **sound)


def test_settings_that_are_refused(bare: Cli) -> None:
    ended = bare("doctor", "--json", code=2, IDP_PORT=SECRET, IDP_SMTP="x")
    assert names(ended) == {"settings_invalid"}
    assert SECRET not in ended.out + ended.err


def test_a_database_that_does_not_answer(bare: Cli) -> None:
    ended = bare(
        "doctor", "--offline", "--json", code=2, IDP_DATABASE_URL=f"postgresql://idp:{SECRET}@127.0.0.1:9/idp", **QUIET
    )
    assert {"database_unreachable", "master_key_unreadable"} <= names(ended)
    skipped = {check["check"] for check in json.loads(ended.out)["checks"] if check["skipped"]}
    assert {"tables", "connections", "clients"} <= skipped
    assert SECRET not in ended.out + ended.err


def test_no_database_yet(bare: Cli, tmp_path: Path) -> None:
    ended = bare("doctor", "--offline", "--json", code=2)
    assert "database_unreachable" in names(ended)
    assert not (tmp_path / "data").exists()


async def test_the_wrong_master_key(own_cli: OwnCli) -> None:
    cli = await own_cli()
    cli("keys", "generate")
    ended = cli("doctor", "--offline", "--json", code=2, IDP_MASTER_KEY="A" * 43)
    assert "master_key_wrong" in names(ended)
    assert {check["check"] for check in json.loads(ended.out)["checks"] if check["skipped"]} >= {"signing_keys"}


async def test_secrets_are_never_shown(own_cli: OwnCli) -> None:
    """Every secret setting has a value, every other system fails, and the whole report is printed."""
    cli = await own_cli()
    cli("keys", "generate")
    hidden = f"{SECRET}-2"
    given = {
        "IDP_SMTP_URL": f"smtp://idp:{SECRET}@127.0.0.1:9",
        "IDP_GOOGLE_CLIENT_ID": "google",
        "IDP_GOOGLE_CLIENT_SECRET": SECRET,
        "IDP_GITHUB_CLIENT_ID": "github",
        "IDP_GITHUB_CLIENT_SECRET": SECRET,
        "IDP_AUDIT_CHECKPOINT_URL": f"http://127.0.0.1:9/?key={hidden}",
        "IDP_ISSUER": "http://localhost:9",
        "IDP_DNS_RESOLVER": "127.0.0.1:9",
    }
    for form in ((), ("--json",)):
        ended = cli("doctor", "--all", "--time-server", "127.0.0.1:9", *form, code=2, **given)
        shown = ended.out + ended.err
        assert "smtp_unreachable" in shown
        for secret in (SECRET, hidden, cli.settings["IDP_MASTER_KEY"]):
            assert secret not in shown


async def test_nothing_is_made(own_cli: OwnCli) -> None:
    """Neither a root key nor a signing key: the patient stays as it is."""
    cli = await own_cli()
    ended = cli("doctor", "--offline", "--json", code=2)
    assert json.loads(cli("keys", "list", "--json").out) == []
    assert "signing_key_missing" not in names(ended)


def test_an_unknown_check(bare: Cli) -> None:
    assert "The checks are settings, files" in bare("doctor", "--only", "none-such", code=2).err
