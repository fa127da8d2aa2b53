"""`idp users`."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

from idp import ids
from idp.accounts.passwords import verify_password
from idp.accounts.profile import FIELDS
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.cli.users_changes import update
from idp.infra.db.engine import fetch
from idp.mail.tables import Mail
from idp.oauth import subjects
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import delete_client
from idp.signin.factors import recovery_codes
from idp.signin.factors import service as factors
from idp.signin.tables import Session
from tests.cli.conftest import ROOT, Cli
from tests.conftest import MakeUser
from tests.support.rows import session_row
from tests.support.server import clean_environment

PASSWORD = "a good long password"


def new_email() -> str:
    return f"{ids.random_token()[:10].lower().replace('_', 'x').replace('-', 'x')}@example.com"


async def has_password(email: str, password: str) -> bool:
    user = await user_by_email(email)
    return user is not None and await verify_password(user.password_hash, password)


async def test_the_life_of_a_user(cli: Cli) -> None:
    email = new_email()
    create = ["users", "create", email.upper(), "--name", "Al \x1b[31m", "--email-verified", "--password-stdin"]
    created = cli(*create, "--json", input=f"{PASSWORD}\n").json
    assert created["email"] == email
    assert "password" not in created
    assert await has_password(email, PASSWORD)
    assert "already" in cli.fails(*create, input=PASSWORD)

    listed = cli("users", "list", "--limit", "1000")
    assert email in listed.out
    assert "\x1b" not in listed.out
    (row,) = [row for row in cli("users", "list", "--limit", "1000", "--json").json if row["email"] == email]
    assert (row["id"], row["email_verified"], row["disabled_at"]) == (created["id"], True, None)
    assert "password_hash" not in row

    assert "is disabled" in cli("users", "disable", email).out
    assert "was disabled already" in cli("users", "disable", created["id"]).out
    assert "can sign in again" in cli("users", "enable", email).out


async def test_a_subject_leads_to_its_user(cli: Cli, make_user: MakeUser) -> None:
    alice = await make_user()
    client, _ = await register_client(
        client_name="Pairwise", redirect_uris=["https://pairwise.example/cb"], subject_type="pairwise"
    )
    subject = subjects.subject(client, alice.id)
    assert alice.email in cli("users", "identify", subject).out
    assert cli("users", "identify", subject, "--sector", "pairwise.example", "--json").json["id"] == str(alice.id)
    assert "No user has this subject" in cli.fails("users", "identify", subject, "--sector", "other.example")
    # The sector of a client that is gone has to be named.
    await delete_client(client.client_id)
    other, _ = await register_client(
        client_name="Pairwise", redirect_uris=["https://former.example/cb"], subject_type="pairwise"
    )
    await delete_client(other.client_id)
    former = subjects.subject(other, alice.id)
    assert "No user has this subject" in cli.fails("users", "identify", former)
    assert alice.email in cli("users", "identify", former, "--sector", "former.example").out
    rows = await fetch("SELECT detail FROM audit_event WHERE event = 'subject_identified' AND user_id = $1", alice.id)
    assert [json.loads(row["detail"])["sector"] for row in rows] == [*["pairwise.example"] * 2, "former.example"]


async def test_a_new_password_ends_sessions(cli: Cli, make_user: MakeUser) -> None:
    alice = await make_user()
    session = session_row(alice.id)
    await session.save()
    changed = cli("users", "set-password", alice.email, "--generate", "--json").json
    assert len(changed["password"]) == 20
    assert await has_password(alice.email, changed["password"])
    assert await Session.exists().where((Session.id == session.id) & Session.ended_at.is_not_null())


async def test_mail_is_written(cli: Cli) -> None:
    """The mail is stored, whether this command or a server sends it."""
    email = new_email()
    created = cli("users", "create", email, "--generate")
    assert "shown only now" in created.err
    cli("users", "set-password", email, "--generate")
    cli("users", "set-password", email, "--generate", "--no-mail")
    rows = await Mail.select(Mail.template).where(Mail.recipient == email).order_by(Mail.id)
    assert [row["template"] for row in rows] == ["welcome", "password_changed"]


async def test_invalid_users_are_refused(cli: Cli) -> None:
    email = new_email()
    assert "too short" in cli.fails("users", "create", email, "--password-stdin", input="short")
    assert "too easy" in cli.fails("users", "create", email, "--password-stdin", input="password1")
    assert "hyphen" in cli.fails("users", "create", "a@-b", "--generate")
    for command in ("disable", "enable"):
        assert "no user" in cli.fails("users", command, "nobody")
    assert "no user" in cli.fails("users", "set-password", email, "--generate")
    assert "no terminal" in cli("users", "create", email, code=2).err
    assert "Choose one" in cli("users", "create", email, "--generate", "--password-stdin", code=2).err
    assert await user_by_email(email) is None


def on_a_terminal(cli: Cli, *arguments: str, answers: list[str]) -> tuple[int, str]:
    """Run a command on a terminal, and type an answer at each question."""
    master, slave = pty.openpty()
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)} | cli.settings
    process = subprocess.Popen(
        [sys.executable, "-m", "idp", *arguments], cwd=cli.folder, env=environment, stdin=slave, stdout=slave,
        stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen, waiting = "", iter(answers)
    for chunk in _read(master):
        seen += chunk
        if chunk.endswith(": ") and (answer := next(waiting, None)) is not None:
            os.write(master, f"{answer}\n".encode())
    os.close(master)
    return process.wait(30), seen


def _read(descriptor: int) -> Iterator[str]:
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:  # Linux's error when the other side is closed
            return
        if not data:
            return
        yield data.decode()


async def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(cli: Cli) -> None:
    email = new_email()
    code, seen = on_a_terminal(
        cli, "users", "create", email, "--no-mail", answers=[PASSWORD, "another one", PASSWORD, PASSWORD]
    )
    assert code == 0, seen
    assert "do not match" in seen
    assert PASSWORD not in seen
    assert await has_password(email, PASSWORD)
    assert await User.count().where(User.email == email) == 1


async def test_an_invitation(cli: Cli) -> None:
    email = new_email()
    invited = cli("users", "invite", email.upper(), "--name", "Al", "--json").json
    assert invited["email"] == email.upper()
    assert "/invitation?token=" in invited["link"]
    (row,) = cli("mail", "list", "--to", email, "--json").json
    assert (row["template"], row["recipient"]) == ("invitation", email)
    assert "content" not in row
    assert invited["link"].partition("token=")[2] not in str(row)
    cli("users", "create", email, "--generate", "--no-mail")
    assert "No mail is sent" in cli("users", "invite", f"another-{email}").err
    assert "already" in cli.fails("users", "invite", email)
    assert "@-sign" in cli.fails("users", "invite", "nobody")


async def test_factors_that_were_lost(cli: Cli, make_user: MakeUser) -> None:
    alice = await make_user()
    assert "had no second factor" in cli("users", "remove-factors", alice.email).out
    await recovery_codes.generate(alice.id)
    await factors.set_two_step(alice.id, True)
    assert "no longer has a second factor" in cli("users", "remove-factors", alice.email).out
    found = await factors.factors_of(alice.id)
    assert found is not None
    assert (found.has, found.two_step) == (frozenset(), False)


def test_mail_that_is_not_there(cli: Cli) -> None:
    assert "no deferred message" in cli.fails("mail", "retry", str(ids.uuid7()))
    # The shared server may be sending a mail for another test.
    assert {mail["state"] for mail in cli("mail", "list", "--state", "sending", "--json").json} <= {"sending"}


async def test_a_user_is_shown_changed_and_deleted(cli: Cli, make_user: MakeUser) -> None:
    user = await make_user(name="Old", email_verified=True)
    await session_row(user.id).save().run()
    shown = cli("users", "show", user.email, "--json").json
    assert (shown["id"], shown["name"], shown["password"], shown["sessions"]) == (str(user.id), "Old", True, 1)
    assert "Old" in cli("users", "show", str(user.id)).out
    assert "argon2" not in cli("users", "show", user.email, "--json").out
    cli("users", "update", user.email, "--name", "New", "--nickname", "N")
    cli("users", "update", user.email, "--nickname", "")
    changed = cli("users", "show", user.email, "--json").json
    assert (changed["name"], changed["nickname"], changed["email_verified"], changed["sessions"]) == (
        "New", None, True, 1,
    )  # fmt: skip
    assert cli("users", "update", user.email, "--phone-number", "12", code=1).out == ""
    assert cli("users", "update", user.email, code=2).out == ""
    email = new_email()
    cli("users", "update", user.email, "--email", email)
    moved = cli("users", "show", email, "--json").json
    assert (moved["id"], moved["email_verified"], moved["sessions"]) == (str(user.id), False, 0)
    await session_row(user.id).save().run()
    assert "signed out" in cli("users", "sign-out", email).out
    assert cli("users", "show", email, "--json").json["sessions"] == 0
    assert cli("users", "delete", email, input="n\n", code=1).out.startswith("The account")
    cli("users", "delete", email, "--yes")
    assert cli("users", "show", email, code=1).out == ""


async def test_users_are_searched(cli: Cli, make_user: MakeUser) -> None:
    mark = ids.random_token()[:8].lower()
    user, other = await make_user(name=f"{mark} one"), await make_user(name="somebody else")
    listed = cli("users", "list", "--search", mark, "--json").json
    assert [row["id"] for row in listed] == [str(user.id)]
    assert other.email not in cli("users", "list", "--search", user.email[:12]).out


def test_each_claim_of_the_profile_has_an_option() -> None:
    options = {option for parameter in update.params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in FIELDS} <= options
