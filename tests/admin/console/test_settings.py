"""The settings in the console: by group, searchable, with durations in words."""

import pytest

from idp.admin.configuration import in_words, settings_in_effect, with_unit
from tests.admin.console.conftest import Admin


@pytest.mark.parametrize(
    ("value", "unit", "words", "shown"),
    [
        ("7776000", "seconds", "90 days", "7776000 (90 days)"),
        ("3600", "seconds", "1 hour", "3600 (1 hour)"),
        ("5400", "seconds", "90 minutes", "5400 (90 minutes)"),
        ("30", "seconds", "", "30 s"),
        ("0.5", "seconds", "", "0.5 s"),
        ("0", "seconds", "", "0 s"),
        ("", "seconds", "", ""),
        ("8000", None, "", "8000"),
    ],
)
def test_durations_in_words(value: str, unit: str | None, words: str, shown: str) -> None:
    assert in_words(value, unit) == words
    assert with_unit(value, unit) == shown


def test_every_setting_has_a_group_and_durations_have_a_unit() -> None:
    rows = settings_in_effect()
    assert all(row["group"] for row in rows)
    groups = [row["group"] for row in rows]
    assert groups == sorted(groups, key=groups.index), "A group is in two places."
    seconds = {row["name"] for row in rows if row["unit"] == "seconds"}
    endings = ("_LIFETIME", "_TIMEOUT", "_INTERVAL", "_MAX_AGE", "_RETENTION", "_OVERLAP", "_GRACE", "_KEPT", "_WAIT")
    assert {row["name"] for row in rows if row["name"].endswith(endings)} <= seconds


async def test_settings_are_found_and_marked(owner: Admin) -> None:
    page = await owner.get("/admin/settings")
    assert "IDP_SMTP_URL" in page.text
    assert ">Mail</h2>" in page.text
    assert "<code>idp serve --dev</code>" in page.text
    found = await owner.get("/admin/settings?q=key rotation")
    assert "IDP_KEY_ROTATION_INTERVAL" in found.text
    assert "7776000 (90 days)" in found.text
    assert "IDP_SMTP_URL" not in found.text
    changed = await owner.get("/admin/settings?changed=yes")
    assert "IDP_ISSUER" in changed.text
    assert "IDP_JWT_BEARER" in changed.text
    assert "IDP_REFRESH_TOKEN_FAMILY_LIFETIME" not in changed.text
