"""The menu, the search, sorted lists, and pages for those who are in the wrong place."""

import secrets
from urllib.parse import quote

import pytest

from idp.accounts.tables import User
from idp.admin.console.menu import MENU, allowed_menu, section_of
from idp.admin.console.screen import ROUTES
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.directory import groups
from idp.oauth.clients.registration import register_client
from tests.admin.console.conftest import Admin
from tests.conftest import MakeUser
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD

PATHS = {path for route in ROUTES for path in route.paths}


def test_every_entry_leads_to_a_screen() -> None:
    sections = [section for _, sections in MENU for section in sections]
    names = [name for each in sections for name, _ in each.screens or ((each.name, each.label),)]
    assert len(names) == len(set(names))
    assert {f"/admin/{name}" for name in names} <= PATHS
    assert all(each.screens[0][0] == each.name for each in sections if each.screens)
    assert section_of("jobs") == section_of("users")
    assert section_of("") is None


def test_a_role_sees_the_groups_that_it_may_open() -> None:
    assert allowed_menu(PERMISSIONS[Role.OWNER]) == [(group, list(sections)) for group, sections in MENU]
    assert allowed_menu({Permission.KEYS_READ}) == [
        ("Server", [section for section in MENU[-1][1] if section.name in ("keys", "api_reference")])
    ]


async def test_the_search_finds_each_kind(owner: Admin, make_user: MakeUser) -> None:
    mark = f"zz{secrets.token_hex(4)}"
    user = await make_user(name=f"{mark} user")
    client, _ = await register_client(client_name=f"{mark} client", redirect_uris=["https://a.example/cb"])
    group = await groups.create(f"{mark} group")
    page = await owner.get(f"/admin/search?q={mark}")
    for path in (f"users/{user.id}", f"clients/{client.client_id}", f"groups/{group.id}"):
        assert f'href="/admin/{path}"' in page.text
    assert f'value="{mark}"' in page.text
    assert "IDP_SMTP_URL" in (await owner.get("/admin/search?q=smtp")).text
    assert "Nothing matches" in (await owner.get("/admin/search?q=none-such-record")).text
    hostile = await owner.get(f"/admin/search?q={quote('<script>alert(1)</script>')}")
    assert "<script>alert" not in hostile.text


async def test_the_search_shows_what_a_role_may_read(admins: dict[Role, Admin], make_user: MakeUser) -> None:
    mark = f"zz{secrets.token_hex(4)}"
    user = await make_user(name=f"{mark} user")
    for role, admin in admins.items():
        page = await admin.get(f"/admin/search?q={mark}")
        assert (user.email in page.text) == (Permission.USERS_READ in PERMISSIONS[role]), role


async def test_lists_are_sorted_by_their_headings(owner: Admin, make_user: MakeUser) -> None:
    mark = f"zz{secrets.token_hex(4)}"
    users = [await make_user(email=f"{mark}{letter}@example.com") for letter in "bac"]
    emails = [user.email for user in users]
    page = await owner.get(f"/admin/users?q={mark}")
    assert 'aria-sort="descending"' in page.text  # by creation
    assert f'href="/admin/users?q={mark}&amp;sort=email"' in page.text
    assert "3 results" in page.text
    for sort, expected in (("email", sorted(emails)), ("-email", sorted(emails, reverse=True)), ("created_at", emails)):
        text = (await owner.get(f"/admin/users?q={mark}&sort={sort}")).text
        assert sorted(emails, key=text.index) == expected, sort
    assert (await owner.get("/admin/users?sort=password_hash")).status == 200


async def test_somebody_without_a_role_can_sign_in_with_another_account(browser: Browser, alice: User) -> None:
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    page = as_page(await browser.get("/admin"))
    assert page.status == 403
    assert alice.email in page.text
    page = as_page(await browser.get("/admin/switch"))
    assert "login-submit" in page.ids
    assert alice.email not in page.text


async def test_an_error_leads_back_to_the_console(owner: Admin) -> None:
    page = await owner.get("/admin/users/none-such")
    assert page.status == 404
    assert 'href="/admin"' in page.text


@pytest.mark.parametrize("path", ["/admin/clients/new/web"])
async def test_a_secret_is_shown_once_after_a_redirect(owner: Admin, path: str) -> None:
    """The form is not sent again when the page is reloaded, and no other page shows the secret."""
    form = next(form for form in (await owner.get(path)).forms if form.action == path)
    entered = {"client_name": secrets.token_hex(4), "redirect_uris": "https://shop.example/cb"}
    answer = await owner.browser.client.post(
        f"{owner.browser.issuer}{path}", data=form.fields | entered, headers={"Origin": owner.browser.issuer}
    )
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    other = await owner.get("/admin/clients")
    assert "client-secret" not in other.ids
    answer = await owner.browser.client.post(
        f"{owner.browser.issuer}{path}", data=form.fields | entered, headers={"Origin": owner.browser.issuer}
    )
    shown = await owner.get(answer.headers["location"])
    assert "client-secret" in shown.ids
    assert "client-secret" not in (await owner.get(answer.headers["location"])).ids
