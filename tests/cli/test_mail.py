"""`idp mail`, and the mail that commands send."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.cli.conftest import Cli, OwnCli
from tests.support.mailbox import Mailbox
from tests.support.server import free_port

#: No other test has mail to it.
EMAIL = "deferred@example.com"


@pytest.fixture
async def own(own_cli: OwnCli) -> Cli:
    return await own_cli()


async def _listed(cli: Cli, *options: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await asyncio.to_thread(cli, "mail", "list", *options, "--json")).json
    return listed


async def test_deferred_mail_is_listed_and_retried(own: Cli, mailbox: Mailbox) -> None:
    """Without the content, which would let a reader sign in."""
    nowhere = {"IDP_SMTP_URL": f"smtp://127.0.0.1:{free_port()}"}
    invited = (await asyncio.to_thread(own, "users", "invite", EMAIL, "--json", **nowhere)).json
    (row,) = await _listed(own)
    assert (row["recipient"], row["template"], row["state"], row["attempts"]) == (EMAIL, "invitation", "deferred", 1)
    assert "refused" in row["response"].lower() or "SMTPConnectError" in row["response"]
    assert row["next_attempt_at"]
    assert row["finished_at"] is None
    assert invited["link"].partition("token=")[2] not in str(row)
    assert set(row) == {
        *("id", "created_at", "recipient", "template", "state", "attempts", "response"),
        *("next_attempt_at", "finished_at"),
    }
    assert own("mail", "retry", row["id"]).out.startswith("A running server tries the message again")
    await asyncio.to_thread(own, "users", "create", "other@example.com", "--generate", IDP_SMTP_URL=mailbox.url)
    assert (await mailbox.next(EMAIL)).link == invited["link"]
    assert {row["state"] for row in await _listed(own)} == {"sent"}
    assert "no deferred message" in own.fails("mail", "retry", row["id"])
    assert "no deferred message" in own.fails("mail", "retry", str(uuid.uuid4()))


async def test_a_choice_of_the_list(own: Cli) -> None:
    for name in ("a", "b", "c"):
        own("users", "create", f"{name}@example.com", "--generate", IDP_SMTP_URL=f"smtp://127.0.0.1:{free_port()}")
    assert [row["recipient"][0] for row in await _listed(own)] == ["c", "b", "a"]
    assert [row["recipient"][0] for row in await _listed(own, "--limit", "2")] == ["c", "b"]
    assert [row["recipient"][0] for row in await _listed(own, "--to", "a@example.com")] == ["a"]
    assert len(await _listed(own, "--state", "deferred")) == 3
    assert await _listed(own, "--state", "sent") == []
    assert "welcome" in own("mail", "list").out
    assert "--state" in own("mail", "list", "--state", "lost", code=2).err


async def test_a_user_that_is_not_added_is_not_welcomed(own: Cli) -> None:
    own("users", "create", EMAIL, "--generate")
    own.fails("users", "create", EMAIL, "--generate")
    assert len(await _listed(own)) == 1


async def test_a_test_mail_says_what_the_server_answers(own: Cli, mailbox: Mailbox) -> None:
    accepted = await asyncio.to_thread(own, "mail", "test", "tester@example.com", IDP_SMTP_URL=mailbox.url)
    assert accepted.out == "Accepted: Kept\n"
    assert (await mailbox.next("tester@example.com")).subject.startswith("Test email from")
    assert await _listed(own) == []
    (event,) = own("audit", "list", "--event", "mail_test_sent", "--json").json
    assert event["detail"] == {"template": "test", "to": "t…@example.com", "response": "Kept"}


async def test_a_test_mail_that_fails_says_why(own: Cli) -> None:
    port = free_port()
    error = own.fails("mail", "test", EMAIL, IDP_SMTP_URL=f"smtp://127.0.0.1:{port}")
    assert error.startswith("The email was not sent: ")
    assert str(port) in error
    assert "IDP_SMTP_URL" in own.fails("mail", "test", EMAIL, IDP_SMTP_URL="smtp://")
    assert "@-sign" in own.fails("mail", "test", "nobody")
