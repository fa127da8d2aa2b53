"""Row 22: no form of a person sets more than what it is for, whatever fields are sent along.

Every column of the users, and names of other products, go along with every form. Then whole rows are compared.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from idp import clock
from idp.accounts import invitations
from idp.accounts.passwords import verify_password
from idp.accounts.profile import FIELDS
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty

NEW_PASSWORD = "seven tired otters nap"
#: Names that other products use for fields that users must not set, and names of fields that our own flows keep.
OTHER_NAMES = [
    "sub", "uid", "user_id", "role", "roles", "groups", "is_admin", "admin", "superuser", "permissions", "scopes",
    "verified", "disabled", "enabled", "acr", "amr", "auth_time", "invitation_id", "invited_email",
    "registration", "purpose", "session_id",
]  # fmt: skip
SPELLINGS = {"plain": "{}", "dotted": "user.{}", "brackets": "user[{}]"}


class Person(NamedTuple):
    """The sender of the forms: ``extra`` is added to every form."""

    browser: Browser
    user: User
    mailbox: Mailbox
    extra: dict[str, str]

    async def page(self, path: str) -> Page:
        page = await self.browser.get(path)
        assert isinstance(page, Page)
        return page

    async def send(self, page: Page, button: str, **fields: str) -> Page:
        """Press a button, with the hostile fields besides those that the form has."""
        form = next(form for form in page.forms if button in form.buttons)
        more = {name: value for name, value in self.extra.items() if name not in form.fields and name != "action"}
        answer = await self.browser.submit(page, button, **(more | fields))
        assert isinstance(answer, Page)
        assert answer.status == 200
        return answer

    async def open_flow(self, path: str) -> Page:
        self.browser.cookies.clear()
        return await self.page(f"{(await self.page('/login')).path}/{path}")


async def _hostile(bob: User, spelling: str) -> dict[str, str]:
    """A value for each column that its type would take, and for each of the other names."""
    columns = await fetch(
        "SELECT column_name AS name, data_type AS type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'users'"
    )
    values = {"boolean": "true", "uuid": str(bob.id), "jsonb": '{"locality": "Mallory"}'}
    values["timestamp with time zone"] = "2001-02-03T04:05:06Z"
    found = {row["name"]: values.get(row["type"], "mallory") for row in columns}
    found |= {"email": bob.email, "password_hash": bob.password_hash or ""}
    found |= dict.fromkeys(OTHER_NAMES, "true") | {"sub": str(bob.id), "user_id": str(bob.id)}
    assert {"id", "email_verified", "phone_number_verified", "disabled_at", "created_at", "two_step"} <= found.keys()
    camel = {re.sub(r"_(\w)", lambda letter: letter[1].upper(), name): value for name, value in found.items()}
    return {SPELLINGS[spelling].format(name): value for name, value in (camel | found).items()}


async def _row(user_id: UUID) -> dict[str, Any]:
    (row,) = await fetch("SELECT * FROM users WHERE id = $1", user_id)
    return dict(row)


async def _everybody_else(*but: str) -> str:
    """Return a fingerprint of the rows of all users except those with these addresses."""
    (row,) = await fetch("SELECT md5(string_agg(u::text, ' ' ORDER BY id)) FROM users u WHERE email <> ALL($1)", but)
    return str(row[0])


async def _sign_in(browser: Browser, user: User) -> None:
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, user.email, PASSWORD)


@pytest.fixture(params=SPELLINGS)
async def person(
    request: pytest.FixtureRequest, browser: Browser, alice: User, make_user: MakeUser, mailbox: Mailbox
) -> Person:
    """Alice, signed in, with a number that was verified."""
    await execute(
        "UPDATE users SET phone_number = '+351211234567', phone_number_verified = true WHERE id = $1", alice.id
    )
    await _sign_in(browser, alice)
    return Person(browser, alice, mailbox, await _hostile(await make_user(), request.param))


async def _profile(person: Person) -> None:
    await _save(person, nickname="ali")


async def _save(person: Person, **fields: str) -> None:
    # Select fields are not among the fields collected from the page.
    await person.send(await person.page("/account"), "profile-save", **({"zoneinfo": "", "locale": ""} | fields))


async def _password(person: Person) -> None:
    await person.send(await person.page("/account/password"), "password-save", password=NEW_PASSWORD)


async def _two_step(person: Person) -> None:
    csrf = next(form.fields for form in (await person.page("/account")).forms if "csrf_token" in form.fields)[
        "csrf_token"
    ]
    await person.browser.post("/account/two-step", person.extra | {"two_step": "on", "csrf_token": csrf})


async def _email(person: Person) -> None:
    new = f"new-{person.user.email}"
    page = await person.send(await person.page("/account/email"), "email-send", email=new)
    assert (await _row(person.user.id))["email"] == person.user.email
    await person.send(page, "code-submit", code=(await person.mailbox.next(new)).code)
    assert (await _row(person.user.id))["email"] == new


async def _email_code(person: Person) -> None:
    page = await person.open_flow("email_code")
    page = await person.send(page, "email-code-send", username=person.user.email)
    await person.send(page, "code-submit", code=(await person.mailbox.next(person.user.email)).code)


async def _forgot(person: Person) -> None:
    page = await person.send(await person.open_flow("forgot"), "forgot-submit", username=person.user.email)
    code = (await person.mailbox.next(person.user.email)).code
    await person.send(page, "reset-submit", code=code, password=NEW_PASSWORD)


async def _reset(person: Person) -> None:
    await person.send(await person.open_flow("forgot"), "forgot-submit", username=person.user.email)
    parts = urlsplit((await person.mailbox.next(person.user.email)).link)
    page = await person.page(f"{parts.path}?{parts.query}")
    await person.send(page, "reset-submit", password=NEW_PASSWORD)


PASSWORD_COLUMNS = {"password_hash", "password_changed_at"}
WAYS: list[tuple[Callable[[Person], Awaitable[None]], set[str]]] = [
    (_profile, {"nickname", "updated_at"}),
    (_password, PASSWORD_COLUMNS),
    (_two_step, set()),
    (_email, {"email", "email_verified", "updated_at"}),
    (_email_code, {"email_verified"}),
    (_forgot, PASSWORD_COLUMNS | {"email_verified"}),
    (_reset, PASSWORD_COLUMNS | {"email_verified"}),
]


@pytest.mark.parametrize(("way", "columns"), WAYS, ids=[way.__name__[1:] for way, _ in WAYS])
async def test_22_a_form_changes_only_its_own_columns(
    person: Person, way: Callable[[Person], Awaitable[None]], columns: set[str]
) -> None:
    before = await _row(person.user.id)
    own = person.user.email, f"new-{person.user.email}"
    others = await _everybody_else(*own)
    await way(person)
    after = await _row(person.user.id)
    assert {name for name in after if after[name] != before[name]} == columns
    assert await _everybody_else(*own) == others
    if "password_hash" in columns:
        assert await verify_password(after["password_hash"], NEW_PASSWORD)
    times = [after[name] for name in ("updated_at", "password_changed_at") if name in columns]
    assert all(abs(time - clock.now()) < timedelta(minutes=1) for time in times)


async def test_22_the_columns_of_the_profile(alice: User) -> None:
    protected = {
        "id", "email", "email_verified", "password_hash", "phone_number_verified", "address", "two_step",
        "password_changed_at", "created_at", "updated_at", "disabled_at", "disabled_by",
        "origin", "directory_version",
    }  # fmt: skip
    assert (await _row(alice.id)).keys() - FIELDS.keys() == protected


@pytest.mark.parametrize("number", ["+351217654321", ""])
@pytest.mark.parametrize("person", ["plain"], indirect=True)
async def test_22_another_number_is_not_a_verified_one(person: Person, number: str) -> None:
    await _save(person, phone_number=number)
    row = await _row(person.user.id)
    assert (row["phone_number"], row["phone_number_verified"]) == (number or None, False)


# New accounts


async def _by_page(person: Person, email: str, app: RelyingParty, extra: dict[str, str]) -> None:
    sender = person._replace(extra=extra)
    page = await sender.open_flow("registration")
    given = {"username": email, "name": "New", "password": NEW_PASSWORD}
    page = await sender.send(page, "register-submit", **given)
    await sender.send(page, "code-submit", code=(await person.mailbox.next(email)).code)


async def _by_invitation(person: Person, email: str, app: RelyingParty, extra: dict[str, str]) -> None:
    sender = person._replace(extra=extra)
    person.browser.cookies.clear()
    parts = urlsplit(await invitations.invite(email, "Invited"))
    page = await sender.send(await sender.page(f"{parts.path}?{parts.query}"), "invitation-accept")
    await sender.send(page, "register-submit", name="New", password=NEW_PASSWORD)


async def _by_challenge(person: Person, email: str, app: RelyingParty, extra: dict[str, str]) -> None:
    asked = app.parameters(redirect_uri=None, response_type=None, state=None) | {"client_id": app.client_id}
    # This one is refused because OpenID Connect defines the parameter for another purpose.
    fields = {name: value for name, value in extra.items() if name != "registration"}
    given = {"step": "registration", "username": email, "name": "New", "password": NEW_PASSWORD}
    answer = await app.http.post(f"{app.issuer}/challenge", json=fields | asked | given)
    content = answer.json()
    assert content["error"] == "insufficient_authorization", content
    code = {"step": "registration", "otp": (await person.mailbox.next(email)).code}
    second = {"auth_session": content["auth_session"], "client_id": app.client_id} | code
    answer = await app.http.post(f"{app.issuer}/challenge", json=fields | second)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("way", [_by_page, _by_invitation, _by_challenge], ids=["page", "invitation", "challenge"])
async def test_22_a_new_account_is_as_any_other(
    person: Person, make_client: MakeClient, way: Callable[..., Awaitable[None]]
) -> None:
    """One made with the hostile fields differs from one made without only in what must be its own."""
    app = await make_client(token_endpoint_auth_method="none", authorization_challenge=True, skip_consent=True)
    emails = [f"{secrets.token_hex(6)}@example.com" for _ in range(2)]
    others = await _everybody_else(*emails)
    for email, extra in zip(emails, ({}, person.extra), strict=True):
        await way(person, email, app, extra)
    plain, hostile = [dict(row) for row in await fetch("SELECT * FROM users WHERE email = ANY($1) ORDER BY id", emails)]
    own = {"id", "email", "password_hash", "created_at", "updated_at"}
    assert {name for name in plain if plain[name] != hostile[name]} == own
    assert hostile["email"] == emails[1]
    assert await verify_password(hostile["password_hash"], NEW_PASSWORD)
    assert abs(hostile["created_at"] - clock.now()) < timedelta(minutes=1)
    assert await _everybody_else(*emails) == others
