"""Users in the console: created, edited, and allowed to try again."""

import secrets

from idp.accounts.attributes.forms import field_name
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from idp.infra.rate_limits import spend
from idp.signin import limits
from tests.admin.console.conftest import Admin
from tests.conftest import MakeUser
from tests.support.attributes import Declare, declare
from tests.support.browser import Browser, Page, as_page
from tests.support.oauth import PASSWORD

__all__ = ["declare"]


async def _events(user: User) -> set[str]:
    return {row["event"] for row in await fetch("SELECT event FROM audit_event WHERE user_id = $1", user.id)}


async def test_a_user_is_created(owner: Admin, declare: Declare) -> None:
    """With an attribute, and a mail to choose a password."""
    name, email = (await declare("integer")).name, f"{secrets.token_hex(4)}@example.com"
    entered = {"email": f" {email.upper()} ", "name": "Nina New", "family_name": "New"}
    answer = await owner.confirm("/admin/users/new", **entered, **{field_name(name): "seven"}, send_mail="on")
    assert answer.status == 400
    assert "Nina New" in answer.text
    assert await user_by_email(email) is None
    answer = await owner.confirm("/admin/users/new", **entered, **{field_name(name): "7"}, send_mail="on")
    assert "The user is created." in answer.text
    user = await user_by_email(email)
    assert user is not None
    assert (user.name, user.family_name, user.email_verified, user.password_hash) == ("Nina New", "New", False, None)
    assert answer.path == f"/admin/users/{user.id}"
    assert name in answer.text
    assert await fetch("SELECT FROM mail WHERE recipient = $1 AND template = 'reset_password'", email)
    answer = await owner.confirm("/admin/users/new", email=email)
    assert answer.status == 400
    assert email in answer.text


async def test_a_profile_is_edited(owner: Admin, make_user: MakeUser) -> None:
    user = await make_user(name="Old Name", email_verified=True)
    path = f"/admin/users/{user.id}/edit"
    refused = await owner.confirm(path, phone_number="12", nickname="Nick")
    assert refused.status == 400
    assert 'value="Nick"' in refused.text
    answer = await owner.confirm(
        path, name="New Name", phone_number="+44 20 7946 0000", **{"address.locality": "Leeds"}
    )
    assert "Saved." in answer.text
    changed = await user_by_email(user.email)
    assert changed is not None
    assert (changed.name, changed.phone_number, changed.address) == (
        "New Name", "+442079460000", '{"locality": "Leeds"}',
    )  # fmt: skip
    assert changed.email_verified
    assert await _events(user) >= {"profile_changed"}
    assert "email_changed" not in await _events(user)


async def test_an_edit_does_not_overwrite_another(owner: Admin, alice: User) -> None:
    page = await owner.get(f"/admin/users/{alice.id}/edit")
    await owner.confirm(f"/admin/users/{alice.id}/edit", nickname="first")
    answer = as_page(await owner.browser.submit(page, "confirm", nickname="second"))
    assert answer.status == 400
    assert 'value="second"' in answer.text
    (row,) = await fetch("SELECT nickname FROM users WHERE id = $1", alice.id)
    assert row["nickname"] == "first"


async def test_an_address_is_changed(owner: Admin, browser: Browser, alice: User, make_user: MakeUser) -> None:
    """It is not verified, sessions end, the old address is told. An address of another user is refused."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    taken, before = await make_user(email_verified=True), alice.email
    path, after = f"/admin/users/{alice.id}/edit", f"{secrets.token_hex(4)}@example.com"
    assert (await owner.confirm(path, email=taken.email)).status == 400
    assert (await owner.confirm(path, email="nobody")).status == 400
    answer = await owner.confirm(path, email=after, nickname="Al")
    assert "Saved." in answer.text
    user = await user_by_email(after)
    assert user is not None
    assert (user.id, user.email_verified, user.nickname) == (alice.id, False, "Al")
    assert not await fetch("SELECT FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id)
    assert await fetch("SELECT FROM mail WHERE recipient = $1 AND template = 'email_changed'", before)


async def test_a_user_may_try_again(owner: Admin, browser: Browser, alice: User) -> None:
    """Support sees that failed passwords lock an account, and lifts it."""
    path = f"/admin/users/{alice.id}"
    assert f"{path}/unlock" not in (await owner.get(path)).text
    await spend((limits.PASSWORDS, alice.email))
    raised = "UPDATE throttle SET number = 12, free_at = now() + interval '20 minutes' WHERE rule = $1"
    await execute(raised, limits.PASSWORDS.name)
    assert "next attempt in 20 min" in (await owner.get(path)).text
    page = as_page(await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD))
    assert page.status == 429
    answer = await owner.confirm(f"{path}/unlock")
    assert "The user can try again now." in answer.text
    assert f"{path}/unlock" not in answer.text
    signed_in = await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    assert isinstance(signed_in, Page)
    assert signed_in.status == 200
