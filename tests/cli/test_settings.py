"""`idp settings`: its table, and the page generated from it."""

from idp.settings import SECRETS, Settings
from tests.cli.conftest import ROOT, Cli

NAMES = {f"IDP_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_is_listed_without_secrets(bare: Cli) -> None:
    given = {"IDP_PORT": "8123", "IDP_MASTER_KEY": "sesame", "IDP_DATABASE_URL": "postgresql://u:sesame@h/d"}
    rows = bare("settings", "--json", **given).json
    assert {row["name"] for row in rows} == NAMES
    assert all(row["help"] for row in rows)
    values = {row["name"]: row["value"] for row in rows}
    assert values["IDP_PORT"] == "8123"
    assert values["IDP_MASTER_KEY"] == values["IDP_DATABASE_URL"] == "***"
    assert values["IDP_SMTP_URL"] == ""
    table = bare("settings", **given).out
    assert "8123" in table
    assert "sesame" not in table


def test_the_page_does_not_depend_on_the_machine(bare: Cli) -> None:
    page = bare("settings", "--markdown").out
    assert page == bare("settings", "--markdown", IDP_PORT="8123", IDP_DEV="1").out
    assert page == (ROOT / "docs" / "settings.md").read_text(), "Run: idp settings --markdown > docs/settings.md"
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(NAMES)
    assert sum("`¹ |" in row for row in rows) == len(SECRETS)
    assert "| `IDP_HASHING_THREADS` |  |" in page


def test_a_value_that_is_not_allowed(bare: Cli) -> None:
    result = bare("settings", code=1, IDP_PORT="99999", IDP_ISSUER="https://x/")
    assert result.out == ""
    assert "IDP_PORT" in result.err
    assert "IDP_ISSUER" in result.err
