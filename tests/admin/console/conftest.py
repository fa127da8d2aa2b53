"""Admins of every role, signed in at the console."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from html import unescape
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.admin.console.actions import TYPED
from idp.admin.roles import Role, grant
from idp.directory import groups, roles
from idp.ids import uuid7_text
from idp.signin.transitions import Step
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip
from tests.support.server import Server


async def make_directory(user_id: UUID, name: str = "Shown") -> dict[str, str]:
    """A group and a role of a user, and a role in it, by the names that paths have for them."""
    mark = f"{name} {uuid7_text()}"
    group = await groups.create(f"{mark} group")
    role, contained = [await roles.create(f"{mark} {each}") for each in ("role", "contained")]
    await roles.contain(role.id, contained.id)
    await groups.give_role(group.id, role.id)
    await groups.add_members(group.id, [user_id])
    await roles.give(role.id, [user_id])
    return {"group_id": str(group.id), "role_id": str(role.id), "contained_id": str(contained.id)}


async def delete_directory(made: dict[str, str]) -> None:
    await groups.delete(UUID(made["group_id"]))
    for name in ("role_id", "contained_id"):
        await roles.delete(UUID(made[name]))


#: What a screen asks to type before something that cannot be undone.
TO_TYPE = re.compile("Type “(.+?)” to confirm")


class Admin:
    """An admin, signed in with two factors."""

    def __init__(self, person: Person, browser: Browser) -> None:
        self.person, self.browser = person, browser

    @property
    def user(self) -> User:
        return self.person.user

    async def get(self, path: str) -> Page:
        page = await self.browser.get(path)
        assert isinstance(page, Page)
        return page

    async def confirm(self, path: str, **fields: str) -> Page:
        """Open the screen and send its form, with the name typed if the screen asks for one."""
        page = await self.get(path)
        assert page.status == 200, page.text
        if name := TO_TYPE.search(unescape(page.text)):
            fields = {TYPED: name.group(1)} | fields
        answer = await self.browser.submit(page, "confirm", **fields)
        assert isinstance(answer, Page)
        return answer


async def sign_in_admin(server: Server, browser: Browser, role: Role | None) -> Admin:
    user = await create_user(f"{uuid7_text()}@example.com", PASSWORD, name="Ada Admin", email_verified=True)
    person = await equip(user, server.issuer, [Step.TOTP], two_step=False)
    if role is not None:
        await grant(user.id, role)
    page = await browser.get("/login")
    assert isinstance(page, Page)
    page_or_home = await browser.sign_in(page, user.email, PASSWORD)
    assert isinstance(page_or_home, Page)
    admin = Admin(person, browser)
    if role is not None:
        step = await admin.get("/admin")
        assert "totp-submit" in step.ids, step.text
        await browser.submit(step, "totp-submit", code=await person.otp())
    return admin


@pytest.fixture(scope="module")
async def admins(server: Server) -> AsyncIterator[dict[Role, Admin]]:
    """One for each role."""
    async with AsyncExitStack() as stack:
        yield {
            role: await sign_in_admin(server, await stack.enter_async_context(open_browser(server.issuer)), role)
            for role in Role
        }


@pytest.fixture
def owner(admins: dict[Role, Admin]) -> Admin:
    return admins[Role.OWNER]
