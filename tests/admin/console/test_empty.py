"""Lists without rows say what to do next."""

from typing import Any

import pytest

from idp.admin.console.components import Action
from idp.admin.console.empty import EMPTY, first_step
from idp.admin.console.menu import MENU
from tests.admin.console.conftest import Admin

#: Screens of the menu that are no lists of records.
NO_LISTS = {"settings", "health", "api_reference", "branding", "mail_templates"}


def test_every_list_of_the_menu_has_a_text() -> None:
    sections = [section for _, sections in MENU for section in sections]
    names = {name for each in sections for name, _ in each.screens or ((each.name, each.label),)}
    assert names - NO_LISTS <= EMPTY.keys()


@pytest.mark.parametrize(
    ("acts", "forms", "step"),
    [
        ([], [], None),
        ([("Back", "/admin/x")], [], None),
        ([("Export", "/admin/x/export"), ("New client", "/admin/clients/new/web")], [], "New client"),
        ([("Back", "/admin/x")], [{"heading": "Add a domain"}], "Add a domain"),
    ],
)
def test_the_first_step(acts: Any, forms: Any, step: str | None) -> None:
    found = first_step([Action(*each) for each in acts], forms)
    assert (found and found[0]) == step


async def test_a_list_without_rows(owner: Admin) -> None:
    """With filters it leads back to all; without, to what creates the first row."""
    page = await owner.get("/admin/clients?q=none-such-client")
    assert "Nothing matches." in page.text
    assert '<a href="/admin/clients">Show all</a>' in page.text
    page = await owner.get("/admin/provisioning")
    assert EMPTY["provisioning"] in page.text
    assert page.text.count('href="/admin/provisioning/new"') == 2
